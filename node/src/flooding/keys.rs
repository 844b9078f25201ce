//! Mesh keys: a node with one of them is a member of the mesh.

use std::fmt;

/// Least length of a key in bytes.
const LEAST: usize = 32;
/// Largest number of keys in a file.
const MOST: usize = 8;
/// Context string of the key derivation (BLAKE3 `derive_key`).
const CONTEXT: &str = "beemesh 2026-11 link states between daemons";

/// Pre-shared key of Noise.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

/// Keys in use, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    first: Key,
    others: Vec<Key>,
}

impl Keys {
    /// Parses a key file: one key a line; a file that is not UTF-8 is one key.
    ///
    /// # Errors
    /// Problem of the file, as a sentence.
    pub(super) fn parse(file: &[u8]) -> Result<Keys, String> {
        let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        let lines: Vec<&[u8]> = if file.iter().all(is_text) {
            let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            lines.filter(|line| !line.is_empty()).collect()
        } else {
            vec![file]
        };
        if let Some(short) = lines.iter().find(|line| line.len() < LEAST) {
            let bytes = short.len();
            return Err(format!(
                "a key of {bytes} bytes, at least {LEAST} are needed"
            ));
        }
        if lines.len() > MOST {
            return Err(format!("{} keys, at most {MOST} are accepted", lines.len()));
        }
        let mut keys = lines
            .into_iter()
            .map(|line| Key(blake3::derive_key(CONTEXT, line)));
        let first = keys.next().ok_or("there is no key in it")?;
        Ok(Keys {
            first,
            others: keys.collect(),
        })
    }

    /// Key for dialling.
    pub(super) fn first(&self) -> &Key {
        &self.first
    }

    /// Accepted keys.
    pub(super) fn accepted(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_a_key_a_line() {
        let (one, two) = ("1".repeat(32), "2".repeat(44));
        let only = Keys::parse(one.as_bytes()).unwrap();
        assert_eq!(only.accepted().count(), 1);
        let both = Keys::parse(format!("\n {two} \r\n{one}\n\n").as_bytes()).unwrap();
        assert_eq!(both.accepted().count(), 2);
        assert_ne!(both.first(), only.first());
        assert!(both.accepted().any(|key| key == only.first()));
        assert_eq!(format!("{:?}", both.first()), "Key", "it is not printed");
    }

    #[test]
    fn bytes_that_are_no_text_are_one_key() {
        let mut bytes = [b'\n'; 32];
        bytes[7] = 0xff;
        assert_eq!(Keys::parse(&bytes).unwrap().accepted().count(), 1);
    }

    #[test]
    fn a_file_without_a_sound_key_is_told() {
        #[rustfmt::skip]
        let cases = [
            (String::new(),                       "there is no key in it"),
            ("\n \n".to_owned(),                  "there is no key in it"),
            ("short".to_owned(),                  "a key of 5 bytes, at least 32 are needed"),
            (format!("{}\nx", "1".repeat(32)),    "a key of 1 bytes, at least 32 are needed"),
            (format!("{:032}\n", 1).repeat(9),    "9 keys, at most 8 are accepted"),
        ];
        for (file, expected) in cases {
            assert_eq!(
                Keys::parse(file.as_bytes()).unwrap_err(),
                expected,
                "{file:?}"
            );
        }
    }
}
