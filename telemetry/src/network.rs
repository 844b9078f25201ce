//! Networks that one host may have to itself.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the first 64 bits of an IPv6 address: who has one address of a network has them all.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_one_host_may_have_are_one_network() {
        #[rustfmt::skip]
        let cases = [
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8::1", "2001:db8:0:1::1",  false),
            ("192.0.2.1",   "192.0.2.2",        false),
        ];
        for (one, other, expected) in cases {
            let [a, b] = [one, other].map(|it| network(it.parse().unwrap()));
            assert_eq!(a == b, expected, "{one} and {other}");
        }
    }
}
