//! One namespace of the detector's thread: its sockets, and the headers of its links' packets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bfd::Packet;

use crate::link::{Link, Path};
use crate::sockets::Sockets;
use crate::wire::{Headers, MOST};

/// A namespace with sockets.
pub(super) struct Channel {
    pub(super) netns: Arc<str>,
    pub(super) sockets: Sockets,
    /// By index of the interface.
    outgoing: BTreeMap<u32, Outgoing>,
}

/// Headers of a link's packets.
struct Outgoing {
    ends: (IpAddr, IpAddr),
    /// Link-layer address of the other end.
    peer_mac: [u8; 6],
    headers: Headers,
}

impl Channel {
    /// Without links.
    pub(super) fn new(netns: Arc<str>, sockets: Sockets) -> Channel {
        Channel {
            netns,
            sockets,
            outgoing: BTreeMap::new(),
        }
    }

    /// Replaces the links, by index of their interface. `ports` counts the source ports that were given.
    pub(super) fn follow(&mut self, links: &[(u32, Link)], ports: &mut u16) {
        let mut all = BTreeMap::new();
        for (interface, link) in links {
            let Path {
                own,
                peer,
                peer_mac,
                ..
            } = link.path;
            // A session keeps its source port (RFC 5881, section 4).
            let known = self.outgoing.remove(interface);
            let known = known.filter(|known| known.ends == (own, peer));
            let outgoing = known.unwrap_or_else(|| Outgoing {
                ends: (own, peer),
                peer_mac,
                headers: Headers::new(own, peer, next(ports)),
            });
            let outgoing = Outgoing {
                peer_mac,
                ..outgoing
            };
            all.insert(*interface, outgoing);
        }
        self.outgoing = all;
        let interfaces: Vec<u32> = self.outgoing.keys().copied().collect();
        if let Err(error) = self.sockets.accept_from(&interfaces) {
            let netns = &*self.netns;
            tracing::warn!(netns, %error, "packets of pods not kept from the liveness detector");
        }
    }

    /// Sends a packet over a link. False when the kernel did not take it: the interface is down, or its queue is full.
    pub(super) fn send(&self, interface: u32, packet: &Packet) -> bool {
        let Some(outgoing) = self.outgoing.get(&interface) else {
            return false;
        };
        let mut datagram = [0; MOST];
        let length = outgoing.headers.write(&bfd::encode(packet), &mut datagram);
        let datagram = &datagram[..length];
        let sent = self.sockets.send(interface, outgoing.peer_mac, datagram);
        sent.is_ok()
    }
}

/// The next source port.
fn next(ports: &mut u16) -> u16 {
    let range = bfd::SOURCE_PORTS;
    let port = range.start() + *ports % (range.end() - range.start() + 1);
    *ports = ports.wrapping_add(1);
    port
}
