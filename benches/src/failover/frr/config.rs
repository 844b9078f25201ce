//! Configuration of FRR's daemons in the diamond. Pure.

use std::{fmt::Write as _, net::Ipv4Addr};

use super::super::{Liveness, diamond::LINKS};

/// Names of the routers; the position gives the numbers.
const ROUTERS: [&str; 4] = ["s", "a", "b", "t"];
/// Addresses of the hosts at s and at t.
pub(crate) const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 93, 0, 2), Ipv4Addr::new(10, 93, 1, 2)];

/// Routing protocol beside BFD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// eBGP, each router an AS of its own.
    Bgp,
    /// OSPFv2, one area.
    Ospf,
}

impl Protocol {
    /// Name of the daemon.
    pub(crate) fn daemon(self) -> &'static str {
        match self {
            Self::Bgp => "bgpd",
            Self::Ospf => "ospfd",
        }
    }

    /// Name of the peer in a figure.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bgp => "FRR bgpd + bfdd",
            Self::Ospf => "FRR ospfd + bfdd",
        }
    }
}

/// Prefix of the host at s (0) or t (1).
fn prefix(host: usize) -> String {
    format!("10.93.{host}.0/24")
}

/// Address of an end (0 or 1) of a link.
pub(crate) fn address(link: usize, end: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 92, link as u8, 1 + end as u8)
}

/// Name of the interface towards a router.
pub(crate) fn interface(other: &str) -> String {
    format!("to-{other}")
}

/// A router.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Router {
    /// Its name.
    pub(crate) name: &'static str,
    number: usize,
}

/// A neighbour of a router: its name, its number, and its address on the link.
type Neighbour = (&'static str, usize, Ipv4Addr);

impl Router {
    /// All four.
    pub(crate) fn all() -> impl Iterator<Item = Router> {
        let numbered = ROUTERS.into_iter().enumerate();
        numbered.map(|(number, name)| Router { name, number })
    }

    /// Configuration of the routing daemon.
    pub(crate) fn config(self, protocol: Protocol) -> String {
        match protocol {
            Protocol::Bgp => self.bgpd(),
            Protocol::Ospf => self.ospfd(),
        }
    }

    fn neighbours(self) -> Vec<Neighbour> {
        let mut found = vec![];
        for (link, ends) in LINKS.into_iter().enumerate() {
            for (end, name) in ends.into_iter().enumerate() {
                if name == self.name {
                    let other = ends[1 - end];
                    let number = ROUTERS.iter().position(|router| *router == other);
                    found.push((other, number.expect("a router"), address(link, 1 - end)));
                }
            }
        }
        found
    }

    /// The host's prefix of s and t.
    fn prefix(self) -> Option<String> {
        match self.name {
            "s" => Some(prefix(0)),
            "t" => Some(prefix(1)),
            _ => None,
        }
    }

    fn bgpd(self) -> String {
        let own = self.number;
        let mut text = format!(
            "router bgp {}\n bgp router-id 10.94.0.{}\n no bgp ebgp-requires-policy\n \
             bgp bestpath as-path multipath-relax\n timers bgp 3 9\n",
            65_001 + own,
            1 + own
        );
        for (_, number, address) in self.neighbours() {
            let remote = 65_001 + number;
            for line in [
                format!("remote-as {remote}"),
                "bfd profile bench".to_owned(),
                "advertisement-interval 0".to_owned(),
                "timers connect 1".to_owned(),
            ] {
                writeln!(text, " neighbor {address} {line}").expect("a string takes everything");
            }
        }
        text += " address-family ipv4 unicast\n  maximum-paths 16\n";
        if let Some(prefix) = self.prefix() {
            writeln!(text, "  network {prefix}").expect("a string takes everything");
        }
        text + " exit-address-family\n"
    }

    fn ospfd(self) -> String {
        let mut text = String::new();
        for (other, ..) in self.neighbours() {
            write!(
                text,
                "interface {}\n ip ospf network point-to-point\n ip ospf hello-interval 1\n \
                 ip ospf dead-interval 4\n ip ospf bfd\n ip ospf bfd profile bench\n",
                interface(other)
            )
            .expect("a string takes everything");
        }
        let id = 1 + self.number;
        text + &format!(
            "interface edge\n ip ospf passive\nrouter ospf\n ospf router-id 10.94.0.{id}\n maximum-paths 16\n \
             timers throttle spf 0 10 100\n timers throttle lsa all 0\n timers lsa min-arrival 0\n \
             network 10.92.0.0/16 area 0\n network 10.93.0.0/16 area 0\n"
        )
    }
}

/// Configuration of bfdd.
pub(crate) fn bfdd(liveness: &Liveness) -> String {
    let Liveness {
        interval_ms,
        multiplier,
    } = liveness;
    format!(
        "bfd\n profile bench\n  detect-multiplier {multiplier}\n  transmit-interval {interval_ms}\n  \
         receive-interval {interval_ms}\n"
    )
}

/// Configuration of zebra: groups of next hops are its default. It keeps unused ones for 180 s, and
/// does not notice that the kernel took a member out: traffic would not return to a repaired link.
pub(crate) fn zebra() -> String {
    "zebra nexthop kernel enable\nzebra nexthop-group keep 1\n".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_in_the_middle_has_two_neighbours_and_no_prefix() {
        let text = Router::all().nth(1).unwrap().config(Protocol::Bgp);
        assert!(text.contains("router bgp 65002\n"), "{text}");
        assert!(
            text.contains(" neighbor 10.92.0.1 remote-as 65001\n"),
            "{text}"
        );
        assert!(
            text.contains(" neighbor 10.92.2.2 remote-as 65004\n"),
            "{text}"
        );
        assert!(!text.contains("network"), "{text}");
    }

    #[test]
    fn ends_announce_their_hosts() {
        let text = Router::all().last().unwrap().config(Protocol::Bgp);
        assert!(text.contains("  network 10.93.1.0/24\n"), "{text}");
        let text = Router::all().next().unwrap().config(Protocol::Ospf);
        assert!(
            text.contains("interface to-a\n") && text.contains("interface to-b\n"),
            "{text}"
        );
    }
}
