//! Encapsulation of control packets: IP and UDP headers (RFC 5881, sections 4 and 5). Pure.

use std::net::IpAddr;

use bfd::{BYTES, PORT, TTL};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
/// Class selector 6, network control (RFC 2474).
const TRAFFIC_CLASS: u8 = 48 << 2;
/// Bytes of the largest datagram.
pub(crate) const MOST: usize = IPV6_HEADER + UDP_HEADER + BYTES;

/// Headers of one link's datagrams.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    bytes: [u8; IPV6_HEADER + UDP_HEADER],
    length: usize,
    /// Sum of all that the checksum of UDP covers but the payload.
    sum: u32,
}

impl Headers {
    /// Headers of datagrams from `own` to `peer`, of one family.
    pub(crate) fn new(own: IpAddr, peer: IpAddr, source_port: u16) -> Headers {
        let udp_length = (UDP_HEADER + BYTES) as u16;
        let mut bytes = [0; IPV6_HEADER + UDP_HEADER];
        let (header, pseudo) = match (own, peer) {
            (IpAddr::V4(own), IpAddr::V4(peer)) => {
                let (own, peer) = (own.octets(), peer.octets());
                ipv4(&mut bytes, own, peer, udp_length);
                (IPV4_HEADER, sum(&own) + sum(&peer))
            }
            (own, peer) => {
                let octets = |address: IpAddr| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                let (own, peer) = (octets(own), octets(peer));
                ipv6(&mut bytes, own, peer, udp_length);
                (IPV6_HEADER, sum(&own) + sum(&peer))
            }
        };
        let udp = &mut bytes[header..header + UDP_HEADER];
        udp[..2].copy_from_slice(&source_port.to_be_bytes());
        udp[2..4].copy_from_slice(&PORT.to_be_bytes());
        udp[4..6].copy_from_slice(&udp_length.to_be_bytes());
        let sum = pseudo + u32::from(UDP) + u32::from(udp_length) + sum(udp);
        Headers {
            bytes,
            length: header + UDP_HEADER,
            sum,
        }
    }

    /// Writes a datagram; its length.
    pub(crate) fn write(&self, payload: &[u8; BYTES], datagram: &mut [u8; MOST]) -> usize {
        datagram[..self.length].copy_from_slice(&self.bytes[..self.length]);
        datagram[self.length..self.length + BYTES].copy_from_slice(payload);
        let checksum = match folded(self.sum + sum(payload)) {
            // Zero means that there is none.
            0 => 0xffff,
            checksum => checksum,
        };
        datagram[self.length - 2..self.length].copy_from_slice(&checksum.to_be_bytes());
        self.length + BYTES
    }
}

fn ipv4(bytes: &mut [u8], own: [u8; 4], peer: [u8; 4], udp_length: u16) {
    let header = &mut bytes[..IPV4_HEADER];
    header[0] = 0x45;
    header[1] = TRAFFIC_CLASS;
    header[2..4].copy_from_slice(&(IPV4_HEADER as u16 + udp_length).to_be_bytes());
    // Not to be fragmented, so it needs no identification (RFC 6864).
    header[6] = 0x40;
    header[8] = TTL;
    header[9] = UDP;
    header[12..16].copy_from_slice(&own);
    header[16..20].copy_from_slice(&peer);
    let checksum = folded(sum(header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn ipv6(bytes: &mut [u8], own: [u8; 16], peer: [u8; 16], udp_length: u16) {
    let header = &mut bytes[..IPV6_HEADER];
    header[0] = 0x60 | TRAFFIC_CLASS >> 4;
    header[1] = TRAFFIC_CLASS << 4;
    header[4..6].copy_from_slice(&udp_length.to_be_bytes());
    header[6] = UDP;
    header[7] = TTL;
    header[8..24].copy_from_slice(&own);
    header[24..40].copy_from_slice(&peer);
}

/// Sum of 16-bit words (RFC 1071). All lengths here are even.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.as_chunks::<2>().0.iter();
    words.map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(own: &str, peer: &str, payload: [u8; BYTES]) -> Vec<u8> {
        let headers = Headers::new(own.parse().unwrap(), peer.parse().unwrap(), 49_152);
        let mut datagram = [0; MOST];
        let length = headers.write(&payload, &mut datagram);
        datagram[..length].to_vec()
    }

    #[test]
    fn headers_are_those_of_the_rfcs() {
        let datagram4 = datagram("192.0.2.1", "192.0.2.2", [7; BYTES]);
        assert_eq!(datagram4.len(), 52);
        assert_eq!(
            datagram4[..12],
            [0x45, 0xc0, 0, 52, 0, 0, 0x40, 0, 255, 17, 0xf6, 0xf4]
        );
        assert_eq!(folded(sum(&datagram4[..20])), 0, "checksum of the header");
        assert_eq!(datagram4[20..26], [0xc0, 0, 0x0e, 0xc8, 0, 32]);

        let datagram6 = datagram("2001:db8::1", "2001:db8::2", [7; BYTES]);
        assert_eq!(datagram6.len(), 72);
        assert_eq!(datagram6[..8], [0x6c, 0, 0, 0, 0, 32, 17, 255]);
        for (bytes, header, addresses) in [(&datagram4, 20, 12..20), (&datagram6, 40, 8..40)] {
            let pseudo = sum(&bytes[addresses]) + 17 + 32;
            assert_eq!(folded(pseudo + sum(&bytes[header..])), 0, "checksum of UDP");
        }
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_ones() {
        let found = (0..=u16::MAX).find_map(|word| {
            let mut payload = [0; BYTES];
            payload[..2].copy_from_slice(&word.to_be_bytes());
            let bytes = datagram("2001:db8::1", "2001:db8::2", payload);
            (bytes[46..48] == [0xff, 0xff]).then_some(bytes)
        });
        assert!(found.is_some());
        for word in 0..=u16::MAX {
            let mut payload = [0; BYTES];
            payload[..2].copy_from_slice(&word.to_be_bytes());
            let bytes = datagram("192.0.2.1", "192.0.2.2", payload);
            assert_ne!(bytes[26..28], [0, 0], "{word}");
        }
    }
}
