//! A diamond of four routers, s - a - t and s - b - t, with a host at s and one at t.

use std::{any::Any, net::Ipv4Addr};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{fault::End, traffic::Path};
use crate::harness::command::ip;

/// The links, from the sender's side to the receiver's.
pub(crate) const LINKS: [[&str; 2]; 4] = [["s", "a"], ["s", "b"], ["a", "t"], ["b", "t"]];

/// Kind of the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All routers on one node, joined by veth pairs.
    Veth,
    /// Each router on a node of its own, joined by VXLAN.
    Vxlan,
}

/// Place of the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// s - a: the router that chooses the way notices the failure itself.
    Near,
    /// a - t: it has to be told.
    Far,
}

/// A running diamond; all of it goes with the value.
pub(crate) struct Diamond {
    /// Name of the implementation.
    pub(crate) name: &'static str,
    /// From the host at s to the host at t.
    pub(crate) path: Path,
    /// Namespaces of s and t, each with the address of the host at the other.
    pub(crate) ends: [(String, Ipv4Addr); 2],
    /// s - a.
    pub(crate) near: [End; 2],
    /// a - t.
    pub(crate) far: [End; 2],
    /// Guards of processes and namespaces.
    pub(crate) _parts: Box<dyn Any>,
}

impl Diamond {
    /// The link at a position.
    pub(crate) fn link(&self, position: Position) -> &[End; 2] {
        match position {
            Position::Near => &self.near,
            Position::Far => &self.far,
        }
    }

    /// True when s and t have a group of two next hops towards one another.
    ///
    /// # Errors
    /// Failure of `ip`, with its message.
    pub(crate) fn has_both_paths(&self) -> Result<bool> {
        for (netns, host) in &self.ends {
            let routes = show(&format!("-n {netns} -j route show match {host}"))?;
            let group = routes.iter().find_map(|route| route["nhid"].as_u64());
            let Some(group) = group else { return Ok(false) };
            let shown = show(&format!("-n {netns} -j nexthop show id {group}"));
            // Another group may have taken its place meanwhile.
            let is_pair = shown.is_ok_and(|it| it[0]["group"].as_array().map_or(0, Vec::len) == 2);
            if !is_pair {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Number of packets that the link has carried towards the receiver.
    ///
    /// # Errors
    /// Failure of `ip`, with its message.
    pub(crate) fn carried(&self, position: Position) -> Result<u64> {
        let [_, End { netns, interface }] = self.link(position);
        let shown = show(&format!("-n {netns} -j -s link show {interface}"))?;
        let packets = shown[0]["stats64"]["rx"]["packets"].as_u64();
        packets.context("the interface has no counter")
    }
}

fn show(arguments: &str) -> Result<Vec<Value>> {
    let text = ip(arguments.split_whitespace())?;
    serde_json::from_str(&text).with_context(|| format!("ip {arguments}"))
}
