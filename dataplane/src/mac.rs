//! Link-layer addresses that both ends of a link compute without asking each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use topology::hash::{fnv1a, mix};

/// A link-layer address.
pub type Mac = [u8; 6];

/// The smallest MTU with which a link may carry IPv6 (RFC 8200, section 5).
pub const IPV6_MIN_MTU: u32 = 1280;

/// Next hop on a link without IPv6.
pub(crate) const IPV4_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);

/// The address of one end of a link: locally administered, unicast, from a hash of `link` (unique in the
/// topology's network, such as namespace, topology and link id) and `end` (that end's name).
///
/// Each string is hashed with its length, so no two pairs of strings run together.
pub fn link_mac(link: &str, end: &str) -> Mac {
    let [.., a, b, c, d, e] = hash(&[link.as_bytes(), end.as_bytes()]).to_be_bytes();
    [0x02, a, b, c, d, e]
}

/// The link-local address of an interface with this MAC (modified EUI-64, RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        pair(a ^ 2, b),
        pair(c, 0xff),
        pair(0xfe, d),
        pair(e, f),
    )
}

/// Next hop for the peer with `mac` on an unnumbered link of `mtu` bytes: link-local IPv6 for routes of both
/// families (RFC 8950); below [`IPV6_MIN_MTU`] the kernel has no IPv6 on the link, so an IPv4 one.
pub fn gateway(mac: Mac, mtu: u32) -> IpAddr {
    if mtu < IPV6_MIN_MTU {
        IPV4_GATEWAY.into()
    } else {
        link_local(mac).into()
    }
}

/// The text of an address: `02:00:5e:10:00:01`.
pub fn format(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The address of a text: six pairs of hexadecimal digits, in either case, with colons between them. None for anything else.
pub fn parse(text: &str) -> Option<Mac> {
    let mut mac = Mac::default();
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next()?;
        let is_pair = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        let part = is_pair.then_some(part)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Stable for ever: the length before each word keeps words from running into one another.
fn hash(words: &[&[u8]]) -> u64 {
    let length = |word: &[u8]| (word.len() as u64).to_le_bytes();
    let bytes = words
        .iter()
        .flat_map(|word| length(word).into_iter().chain(word.iter().copied()));
    mix(fnv1a(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_differ_and_are_local_unicast() {
        let (a, b) = (link_mac("t/A/B", "A"), link_mac("t/A/B", "B"));
        assert_ne!(a, b);
        assert_eq!(a[0] & 3, 2, "locally administered and unicast");
        assert_eq!(a, link_mac("t/A/B", "A"), "the same for ever");
        assert_ne!(link_mac("ab", "c"), link_mac("a", "bc"));
    }

    #[test]
    fn texts_are_read_and_written_alike() {
        let mac = [2, 0, 0x5e, 0x10, 0, 10];
        assert_eq!(format(mac), "02:00:5e:10:00:0a");
        assert_eq!(parse("02:00:5E:10:00:0A"), Some(mac));
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:0a:0b",
            "02:00:5e:10:00:xx",
            "2:0:5e:10:0:a",
            "02-00-5e-10-00-0a",
            "+2:00:5e:10:00:0a",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn link_local_follows_the_rfc() {
        let address = link_local([0x02, 0x00, 0x5e, 0x10, 0x20, 0x30]);
        assert_eq!(address.to_string(), "fe80::5eff:fe10:2030");
    }

    #[test]
    fn gateway_is_ipv4_where_ipv6_cannot_be() {
        assert!(gateway([2; 6], 1280).is_ipv6());
        assert!(gateway([2; 6], 1279).is_ipv4());
    }
}
