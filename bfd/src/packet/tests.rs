use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::udp::{ReceiveError, receive};

/// A packet whose fields all differ.
pub(crate) fn packet() -> Packet {
    Packet {
        diagnostic: Diagnostic::NEIGHBOUR_DOWN,
        state: State::Down,
        is_poll: true,
        is_final: false,
        is_control_plane_independent: true,
        is_demand: false,
        detect_multiplier: NonZeroU8::new(5).unwrap(),
        my_discriminator: NonZeroU32::new(0x0102_0304).unwrap(),
        your_discriminator: NonZeroU32::new(0x0506_0708),
        desired_min_tx: Interval::from_micros(100_000),
        required_min_rx: Interval::from_micros(0xdead_beef),
        required_min_echo_rx: Interval::from_micros(50_000),
    }
}

/// Its bytes, written down from the figure of section 4.1.
#[rustfmt::skip]
const BYTES_OF_PACKET: [u8; BYTES] = [
    0b001_00011, 0b01_101000, 5, 24,
    1, 2, 3, 4,
    5, 6, 7, 8,
    0x00, 0x01, 0x86, 0xa0,
    0xde, 0xad, 0xbe, 0xef,
    0x00, 0x00, 0xc3, 0x50,
];

fn packets() -> impl Strategy<Value = Packet> {
    let header = (any::<[bool; 4]>(), 0..32_u8, 0..4_u8, any::<NonZeroU8>());
    let discriminators = (any::<NonZeroU32>(), any::<u32>());
    (header, discriminators, any::<[u32; 3]>()).prop_map(|(header, (my, your), words)| {
        let ([is_poll, is_final, is_independent, is_demand], code, bits, detect_multiplier) =
            header;
        let state = State::from_bits(bits);
        let is_start = matches!(state, State::Down | State::AdminDown);
        let [tx, rx, echo] = words.map(Interval::from_micros);
        Packet {
            diagnostic: Diagnostic::from_code(code),
            state,
            is_poll,
            is_final,
            is_control_plane_independent: is_independent,
            is_demand,
            detect_multiplier,
            my_discriminator: my,
            your_discriminator: NonZeroU32::new(if is_start { your } else { your | 1 }),
            desired_min_tx: tx,
            required_min_rx: rx,
            required_min_echo_rx: echo,
        }
    })
}

/// Datagrams that begin like packets, so that the later checks are reached, too.
fn datagrams() -> impl Strategy<Value = Vec<u8>> {
    let parts = (vec(any::<u8>(), 24..40), any::<bool>(), any::<[bool; 3]>());
    let similar = parts.prop_map(|(mut bytes, is_exact, is_zero)| {
        bytes[0] = bytes[0] & 0x1f | 0x20;
        bytes[1] &= if is_exact { 0xfa } else { 0xff };
        bytes[3] = if is_exact { 24 } else { bytes[3] % 42 };
        for (place, is_zero) in bytes[4..16].chunks_exact_mut(4).zip(is_zero) {
            place.fill_with(|| if is_zero { 0 } else { 7 });
        }
        bytes
    });
    prop_oneof![1 => vec(any::<u8>(), 0..64), 4 => similar]
}

#[test]
fn bytes_are_those_of_section_4_1() {
    assert_eq!(encode(&packet()), BYTES_OF_PACKET);
    assert_eq!(decode(&BYTES_OF_PACKET), Ok(packet()));
}

#[test]
fn each_check_of_section_6_8_6() {
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = BYTES_OF_PACKET.to_vec();
        bytes.resize(32, 0);
        changes.iter().for_each(|(at, value)| bytes[*at] = *value);
        decode(&bytes).map(|_| ())
    };
    let no_your = [(4, 0), (5, 0), (6, 0), (7, 0)].map(|(at, value)| (at + 4, value));
    let state = |bits: u8| [&no_your[..], &[(1, bits << 6)]].concat();
    let length = |length| Err(DecodeError::Length { length, bytes: 32 });
    #[rustfmt::skip]
    let cases = [
        (&[][..],                           Ok(())),
        (&[(0, 0b000_00011)],               Err(DecodeError::Version { version: 0 })),
        (&[(0, 0b010_00011)],               Err(DecodeError::Version { version: 2 })),
        (&[(3, 23)],                        length(23)),
        (&[(3, 32)],                        Ok(())),
        (&[(3, 33)],                        length(33)),
        (&[(1, 0b01_000100), (3, 25)],      length(25)),
        (&[(1, 0b01_000100), (3, 26)],      Err(DecodeError::Authenticated)),
        (&[(2, 0)],                         Err(DecodeError::DetectMultiplier)),
        (&[(1, 0b01_000001)],               Err(DecodeError::Multipoint)),
        (&[(4, 0), (5, 0), (6, 0), (7, 0)], Err(DecodeError::MyDiscriminator)),
        (&no_your,                          Ok(())),
        (&state(0),                         Ok(())),
        (&state(2),                         Err(DecodeError::YourDiscriminator { state: State::Init })),
        (&state(3),                         Err(DecodeError::YourDiscriminator { state: State::Up })),
        // Both P and F: tolerated.
        (&[(1, 0b01_110000)],               Ok(())),
    ];
    for (changes, expected) in cases {
        assert_eq!(with(changes), expected, "{changes:?}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for bytes in 0..BYTES {
        let refused = decode(&BYTES_OF_PACKET[..bytes]);
        assert_eq!(refused, Err(DecodeError::Short { bytes }));
    }
}

#[test]
fn a_packet_that_a_router_forwarded_is_refused() {
    assert_eq!(receive(&BYTES_OF_PACKET, 255), Ok(packet()));
    for ttl in [0, 1, 64, 254] {
        let refused = receive(&BYTES_OF_PACKET, ttl);
        assert_eq!(refused, Err(ReceiveError::Ttl { ttl }));
    }
    let short = ReceiveError::Packet(DecodeError::Short { bytes: 0 });
    assert_eq!(receive(&[], 255), Err(short));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn packets_survive_the_wire(packet in packets(), tail in vec(any::<u8>(), 0..8)) {
        let mut bytes = encode(&packet).to_vec();
        bytes.extend(tail);
        prop_assert_eq!(decode(&bytes), Ok(packet));
    }

    /// No bytes panic; bytes that are taken are the packet's own, but for the reserved echo of a longer datagram.
    #[test]
    fn bytes_are_refused_or_taken_as_they_are(bytes in datagrams()) {
        if let Ok(packet) = decode(&bytes) {
            let mut again = encode(&packet);
            again[3] = bytes[3];
            prop_assert_eq!(&again[..], &bytes[..BYTES]);
        }
    }

    /// The checks, written a second time, as section 6.8.6 lists them.
    #[test]
    fn refusals_are_those_of_the_list(bytes in datagrams()) {
        let bit = |at: usize, mask: u8| bytes[at] & mask != 0;
        let is_zero = |at: usize| bytes[at..at + 4] == [0; 4];
        let is_taken = bytes.len() >= 24
            && bytes[0] >> 5 == 1
            && bytes[3] >= 24
            && usize::from(bytes[3]) <= bytes.len()
            && bytes[2] != 0
            && !bit(1, 1)
            && !bit(1, 4)
            && !is_zero(4)
            && (!is_zero(8) || bytes[1] >> 6 <= 1);
        prop_assert_eq!(decode(&bytes).is_ok(), is_taken);
    }

    #[test]
    fn truncations_of_any_packet_are_refused(packet in packets(), bytes in 0..BYTES) {
        prop_assert_eq!(decode(&encode(&packet)[..bytes]), Err(DecodeError::Short { bytes }));
    }
}
