//! Framing of messages in a byte stream. Pure.
//!
//! ```text
//! message: length (4 bytes, big endian), JSON   -- a sequence of them, split at any byte, is
//! record:  length (2 bytes, big endian), sealed -- encrypted by Noise
//! ```

use super::error::Error;
use super::message::{MAX_MESSAGE, Message};

/// Largest Noise record, in bytes.
pub(super) const MAX_RECORD: usize = 65_535;
/// Length of the authentication tag of a record, in bytes.
pub(super) const TAG: usize = 16;

/// Appends a message to `stream`.
///
/// # Errors
/// [`Error::Oversize`]; nothing is appended then.
pub(super) fn write(message: &Message, stream: &mut Vec<u8>) -> Result<(), Error> {
    let json = serde_json::to_vec(message)?;
    if json.len() > MAX_MESSAGE {
        return Err(Error::Oversize { bytes: json.len() });
    }
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    stream.extend_from_slice(&length.to_be_bytes());
    stream.extend_from_slice(&json);
    Ok(())
}

/// Removes the first complete message from `stream`.
///
/// # Errors
/// Oversized or unreadable message.
pub(super) fn read(stream: &mut Vec<u8>) -> Result<Option<Message>, Error> {
    let Some((length, rest)) = stream.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let bytes = u32::from_be_bytes(*length) as usize;
    if bytes > MAX_MESSAGE {
        return Err(Error::Oversize { bytes });
    }
    let Some(json) = rest.get(..bytes) else {
        return Ok(None);
    };
    let message = serde_json::from_slice(json)?;
    stream.drain(..4 + bytes);
    Ok(Some(message))
}

/// Removes the first complete encrypted record from `stream`.
pub(super) fn read_record(stream: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (length, rest) = stream.split_first_chunk::<2>()?;
    let bytes = usize::from(u16::from_be_bytes(*length));
    let record = rest.get(..bytes)?.to_vec();
    stream.drain(..2 + bytes);
    Some(record)
}

/// Appends an encrypted record with its length.
pub(super) fn write_record(sealed: &[u8], stream: &mut Vec<u8>) {
    let length = u16::try_from(sealed.len()).unwrap_or(u16::MAX);
    stream.extend_from_slice(&length.to_be_bytes());
    stream.extend_from_slice(sealed);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;

    use linkstate::{End, Reason, Report, Sequence, State, Versions};

    use super::*;

    fn sequence(number: u64) -> Sequence {
        Sequence {
            incarnation: 1,
            number,
        }
    }

    /// A report on links, of each the begin of its state.
    fn report(forwarder: String, number: u64, links: BTreeMap<String, u64>) -> Report {
        let end = |since| End::observed(None, State::Up, Reason::None, since);
        Report {
            origin: "n1".to_owned(),
            forwarder,
            sequence: sequence(number),
            ends: links
                .into_iter()
                .map(|(id, since)| (id, end(since)))
                .collect(),
        }
    }

    fn message() -> impl Strategy<Value = Message> {
        let name = "[a-z.]{0,12}";
        prop_oneof![
            (any::<u32>(), name, name, any::<u64>()).prop_map(
                |(version, node, instance, known)| {
                    Message::Hello {
                        speaks: Some(Versions {
                            lowest: version,
                            highest: version,
                        }),
                        node,
                        instance,
                        known: sequence(known),
                    }
                }
            ),
            (name, any::<u64>(), btree_map(".{0,8}", any::<u64>(), 0..40)).prop_map(
                |(forwarder, number, links)| Message::Report(report(forwarder, number, links))
            ),
            (name, any::<u64>()).prop_map(|(forwarder, number)| Message::Withdrawn {
                forwarder,
                sequence: sequence(number)
            }),
            btree_set(name, 0..9).prop_map(|pending| Message::Whole { pending }),
            Just(Message::Ping),
            Just(Message::Pong),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_wherever_the_stream_is_cut(
            messages in vec(message(), 0..8),
            piece in 1_usize..50,
        ) {
            let mut sent = Vec::new();
            for message in &messages {
                write(message, &mut sent).unwrap();
            }
            let (mut stream, mut received) = (Vec::new(), Vec::new());
            for piece in sent.chunks(piece) {
                stream.extend_from_slice(piece);
                while let Some(message) = read(&mut stream).unwrap() {
                    received.push(message);
                }
            }
            prop_assert_eq!(received, messages);
            prop_assert!(stream.is_empty());
        }

        #[test]
        fn garbage_is_refused_or_waited_for_and_never_kept_beyond_a_message(
            garbage in vec(any::<u8>(), 0..2000),
        ) {
            let mut stream = garbage.clone();
            let mut rounds = 0;
            while let Ok(Some(_)) = read(&mut stream) {
                rounds += 1;
            }
            prop_assert!(rounds <= garbage.len() / 4);
            let mut stream = garbage;
            while let Some(record) = read_record(&mut stream) {
                prop_assert!(record.len() <= MAX_RECORD);
            }
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_at_its_first_bytes() {
        let mut stream = u32::MAX.to_be_bytes().to_vec();
        assert!(matches!(read(&mut stream), Err(Error::Oversize { .. })));
        let links = (0..60_000).map(|link| (format!("some-link-{link:020}"), link));
        let report = Message::Report(report("t.a".to_owned(), 1, links.collect()));
        let mut stream = Vec::new();
        let refused = write(&report, &mut stream);
        assert!(matches!(refused, Err(Error::Oversize { .. })));
        assert!(stream.is_empty());
    }

    #[test]
    fn what_later_versions_say_is_passed_over() {
        let json = br#"{"type":"weather","rain":true}"#;
        let mut stream = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
        stream.extend_from_slice(json);
        assert_eq!(read(&mut stream).unwrap(), Some(Message::Unknown));
    }
}
