//! Taking back into the book what is wired and in no lease, as after the state directory was lost.
//!
//! What is wired as it would be wired today stays as it is, addresses included. All else is taken
//! apart, and the pod attached anew where it belongs. Either is one step: a daemon that is killed
//! finds the one state or the other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use cni::agent::{Attachment, Key};
use crds::attach::Pod;
use dataplane::ALIAS_PREFIX;
use dataplane::attachment::Pair;

use super::{Desk, now};
use crate::assemble::restore;
use crate::catalog::{Place, netns_path, network_of};
use crate::error::Error;
use crate::leases::{Lease, Leases, Network, Phase, Record, Share};
use crate::live;
use crate::live::processes::Found;
use crate::pods::runtime_uid;
use crate::wires::Wires;

impl<W: Wires> Desk<W> {
    /// Addresses that the kernel has and no lease.
    pub fn strays(&self) -> BTreeSet<(Network, IpAddr)> {
        self.state().book.leases().strays().cloned().collect()
    }

    /// Makes leases of what a pod has of these topologies in the namespace `found` and in no lease.
    /// Returns how many.
    ///
    /// # Errors
    /// [`Error`]: what was not looked at is as it was.
    pub fn adopt(
        &self,
        pod: &Pod,
        found: &Found,
        networks: &BTreeSet<Network>,
    ) -> Result<usize, Error> {
        let Some(catalog) = self.catalog() else {
            return Ok(0);
        };
        let is_meant =
            |place: &&Place| place.is_ready && networks.contains(&network_of(&place.forwarder));
        let mut count = 0;
        for place in catalog.places().iter().filter(is_meant) {
            let forwarder = netns_path(&place.netns);
            for pair in self.wires.pairs(&found.path, Path::new(&forwarder))? {
                count += usize::from(self.adopt_one(pod, found, place, &pair)?);
            }
        }
        Ok(count)
    }

    fn adopt_one(
        &self,
        pod: &Pod,
        found: &Found,
        place: &Place,
        pair: &Pair,
    ) -> Result<bool, Error> {
        let key = live::key(runtime_uid(pod), &pair.pod_interface);
        let _turn = self.wait_for(&key);
        let Some(attachment) = restore(place, pair) else {
            return Ok(false);
        };
        let blocks = &place.forwarder.spec.blocks;
        let is_whole = !attachment.app.is_empty()
            && attachment.addresses.len() == blocks.len()
            && self.wires.is_whole(&found.path, pair, &attachment)?;
        let network = network_of(&place.forwarder);
        // Nobody claims meanwhile, so nothing that is cut is anybody's.
        let mut state = self.state();
        let leases = state.book.leases();
        if leases.get(&key).is_some() || is_leased(leases, &attachment) {
            return Ok(false);
        }
        let mut addresses = attachment.addresses.iter();
        if !is_whole || addresses.any(|address| leases.is_used(&network, address.ip())) {
            tracing::warn!(
                pod = pod.name,
                interface = pair.pod_interface,
                "is in no lease: taken apart"
            );
            return self.wires.cut(&attachment).map(|()| false);
        }
        tracing::warn!(
            pod = pod.name,
            interface = pair.pod_interface,
            "is in no lease: taken back"
        );
        let share = Share {
            namespace: network.namespace,
            attachment,
        };
        let lease = lease(key, pod, found, is_asked_for(pair), share);
        state.book.record(Record::Claimed(lease))?;
        drop(state);
        self.changed();
        Ok(true)
    }
}

fn lease(key: Key, pod: &Pod, found: &Found, is_asked_for: bool, share: Share) -> Lease {
    Lease {
        key,
        phase: Phase::Confirmed,
        netns: found.path.display().to_string(),
        netns_id: found.id,
        plugin: None,
        since: now(),
        pod: format!("{}/{}", pod.namespace, pod.name),
        uid: runtime_uid(pod).to_owned(),
        is_asked_for,
        shares: vec![share],
        is_past_boot: false,
    }
}

fn is_leased(leases: &Leases, attachment: &Attachment) -> bool {
    let end = |of: &Attachment| (of.forwarder_netns.clone(), of.forwarder_interface.clone());
    let mut shares = leases.iter().flat_map(|lease| &lease.shares);
    shares.any(|share| end(&share.attachment) == end(attachment))
}

/// Whether a network configuration of its own made it: then that named the interface, and not we.
fn is_asked_for(pair: &Pair) -> bool {
    let owner = pair.pod_alias.strip_prefix(ALIAS_PREFIX);
    let named = owner.and_then(|owner| owner.rsplit_once('/'));
    named.is_some_and(|(network, interface)| {
        network != live::NETWORK && interface == pair.pod_interface
    })
}
