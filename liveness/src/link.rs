//! Links that the detector watches.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use bfd::{Config, Interval, MIN_INTERVAL};
use linkstate::PathVerdict;

use crate::budget::Stretch;

/// One end of a link between two Forwarders, whose interface is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Name of the interface in the Forwarder's namespace.
    pub interface: String,
    /// Link-layer address of the other end.
    pub peer_mac: [u8; 6],
    /// Address of the Forwarder.
    pub own: IpAddr,
    /// Address of the Forwarder at the other end, of the same family.
    pub peer: IpAddr,
    /// Node of the other end.
    pub peer_node: String,
    /// Interval of packets, in both directions.
    pub interval: Duration,
    /// Number of intervals of silence after which a link fails.
    pub multiplier: NonZeroU8,
}

impl Path {
    /// True when both are between the same ends, by the same interface.
    pub(crate) fn has_ends_of(&self, other: &Path) -> bool {
        let ends = |it: &Path| (it.own, it.peer, it.peer_mac);
        ends(self) == ends(other)
            && self.interface == other.interface
            && self.peer_node == other.peer_node
    }

    /// Parameters of the session, with intervals stretched.
    pub(crate) fn config(&self, stretch: Stretch) -> Config {
        let micros = stretch.of(self.interval).as_micros();
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        let interval = Interval::from_micros(micros.max(MIN_INTERVAL.micros()));
        Config::new(interval, interval, self.multiplier).expect("the interval is long enough")
    }
}

/// Address family of a topology's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A link and what an earlier process said of it.
#[derive(Clone, Debug)]
pub struct Link {
    /// The link.
    pub path: Path,
    /// The verdict that stands until the session is up.
    pub earlier: PathVerdict,
}

/// The links of one Forwarder.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// Links whose interface is up.
    pub links: Vec<Link>,
    /// Number that changes whenever an interface may have been made anew.
    pub epoch: u64,
}

impl Namespace {
    /// True when both have the same interfaces and links.
    pub(crate) fn is_same(&self, other: &Namespace) -> bool {
        let paths = |it: &Namespace| {
            it.links
                .iter()
                .map(|link| link.path.clone())
                .collect::<Vec<_>>()
        };
        self.epoch == other.epoch && paths(self) == paths(other)
    }
}
