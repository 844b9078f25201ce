//! Payload of a probe, which identifies its answer.

/// Nonce, flow and time to live.
pub(super) const PROBE_BYTES: usize = 8 + 4 + 1;

pub(super) fn encode(nonce: u64, flow: usize, ttl: u8) -> [u8; PROBE_BYTES] {
    let mut probe = [0; PROBE_BYTES];
    probe[..8].copy_from_slice(&nonce.to_be_bytes());
    probe[8..12].copy_from_slice(&u32::try_from(flow).unwrap_or(u32::MAX).to_be_bytes());
    probe[12] = ttl;
    probe
}

pub(super) fn decode(nonce: u64, flows: usize, probe: &[u8]) -> Option<(usize, u8)> {
    if probe.len() != PROBE_BYTES || probe[..8] != nonce.to_be_bytes() {
        return None;
    }
    let flow = u32::from_be_bytes(probe[8..12].try_into().expect("4 bytes")) as usize;
    (flow < flows && probe[12] > 0).then_some((flow, probe[12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_says_which_flow_and_hop_it_is_about() {
        let probe = encode(7, 300, 9);
        assert_eq!(decode(7, 301, &probe), Some((300, 9)));
        assert_eq!(decode(8, 301, &probe), None, "another trace's");
        assert_eq!(decode(7, 300, &probe), None, "no such flow");
        assert_eq!(decode(7, 301, &probe[..12]), None, "cut short");
        assert_eq!(decode(7, 301, &encode(7, 1, 0)), None, "never sent");
    }
}
