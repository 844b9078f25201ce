//! Source and destination of a probe.

use std::net::IpAddr;

/// A pod, an App instance or a Forwarder: a network namespace with addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the pod, instance or Forwarder.
    pub name: String,
    /// Its network namespace, as [`crate::namespace::path`] takes it.
    pub netns: String,
    /// The Forwarder, or the one that it is attached to.
    pub forwarder: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Attached to its Forwarder, one hop behind it.
    pub is_instance: bool,
}

impl Endpoint {
    /// Its first address of one family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        let is_of = |address: &&IpAddr| address.is_ipv6() == (family == Family::V6);
        self.addresses.iter().find(is_of).copied()
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "ipv4")]
    V4,
    /// IPv6.
    #[serde(rename = "ipv6")]
    V6,
}

/// Addresses of both ends of the first of `families` that both have; `None` when there is no such family.
pub fn common(
    from: &Endpoint,
    to: &Endpoint,
    families: &[Family],
) -> Option<(Family, IpAddr, IpAddr)> {
    let both = |family: &Family| Some((*family, from.address(*family)?, to.address(*family)?));
    families.iter().find_map(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(addresses: &[&str]) -> Endpoint {
        Endpoint {
            name: String::new(),
            netns: String::new(),
            forwarder: String::new(),
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            is_instance: true,
        }
    }

    #[test]
    fn the_first_family_that_both_ends_have_is_used() {
        let (dual, v6) = (endpoint(&["10.0.0.1", "fd00::1"]), endpoint(&["fd00::2"]));
        let both = [Family::V4, Family::V6];
        let found = common(&dual, &v6, &both).unwrap();
        assert_eq!((found.0, found.2), (Family::V6, v6.addresses[0]));
        assert_eq!(common(&dual, &dual, &both).unwrap().0, Family::V4);
        assert_eq!(common(&dual, &v6, &[Family::V4]), None);
    }
}
