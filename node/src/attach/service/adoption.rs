//! Adoption of attachments without a lease, as after the loss of the state directory.
//!
//! A complete attachment is kept, with its addresses. An incomplete one is removed once the desired
//! state is certain, and the pod is attached again where it belongs. Both get a lease first, so
//! that a killed daemon continues after its restart.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use cni::node_protocol::{Attachment, Key};
use crds::attach::Pod;
use dataplane::ALIAS_PREFIX;
use dataplane::attachment::Pair;
use ipnetwork::IpNetwork;

use super::{AttachService, now};
use crate::attach::admission::{Catalog, LocalForwarder, netns_path};
use crate::attach::ipam::restore;
use crate::attach::key::{self, PodNetns};
use crate::attach::leases::{Lease, Leases, Phase, Record, Share};
use crate::attach::pod_links::PodWiring;
use crate::error::Error;
use crate::objects::pods::runtime_uid;
use crds::TopologyKey;

/// Outcome of the adoption for one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Number of attachments that have a lease now.
    pub taken: usize,
    /// Number of attachments that stay without a lease.
    pub left: usize,
}

impl<W: PodWiring> AttachService<W> {
    /// Addresses that the kernel has without a lease.
    pub fn strays(&self) -> BTreeSet<(TopologyKey, IpAddr)> {
        self.state().book.leases().strays().cloned().collect()
    }

    /// Creates leases for the pod's attachments to these topologies in the namespace `found` that
    /// have none.
    ///
    /// # Guarantees
    /// Nothing is removed while the desired state is incomplete or a topology is unreadable, and
    /// never an attachment that only the pod's own start can create.
    ///
    /// # Errors
    /// [`Error`]: attachments that were not observed are unchanged.
    pub fn adopt(
        &self,
        pod: &Pod,
        found: &PodNetns,
        networks: &BTreeSet<TopologyKey>,
    ) -> Result<Adopted, Error> {
        let mut adopted = Adopted::default();
        let Some(catalog) = self.catalog() else {
            return Ok(adopted);
        };
        let is_meant = |place: &&LocalForwarder| {
            place.is_ready && networks.contains(&place.forwarder.topology_key())
        };
        for place in catalog.places().iter().filter(is_meant) {
            let may_cut = may_cut(&catalog, &place.forwarder.topology_key());
            let forwarder = netns_path(&place.netns);
            for pair in self.wires.pairs(&found.path, Path::new(&forwarder))? {
                match self.adopt_one(pod, found, place, &pair, may_cut)? {
                    Fate::Taken => adopted.taken += 1,
                    Fate::Left => adopted.left += 1,
                    Fate::Gone => {}
                }
            }
        }
        Ok(adopted)
    }

    fn adopt_one(
        &self,
        pod: &Pod,
        found: &PodNetns,
        place: &LocalForwarder,
        pair: &Pair,
        may_cut: bool,
    ) -> Result<Fate, Error> {
        let key = key::hotplug(runtime_uid(pod), &pair.pod_interface);
        let _turn = self.wait_for(&key);
        let Some(mut attachment) = restore(place, pair) else {
            return Ok(Fate::Gone);
        };
        let network = place.forwarder.topology_key();
        let is_intact = self.is_intact(found, place, pair, &attachment)?;
        // The lock excludes claims and releases from here on; a DEL may have removed it since it
        // was read.
        let mut state = self.state();
        let leases = state.book.leases();
        let is_held = leases.get(&key).is_some() || is_leased(leases, &attachment);
        if is_held || !self.wires.is_wired(&attachment)? {
            return Ok(Fate::Gone);
        }
        let is_free = |address: &IpNetwork| !leases.is_used(&network, address.ip());
        let is_whole = is_intact && attachment.addresses.iter().all(is_free);
        if !is_whole && (is_asked_for(pair) || !may_cut) {
            drop(state);
            return Ok(self.let_be(pod, pair));
        }
        // An address of another lease must not be freed with this one.
        attachment.addresses.retain(is_free);
        let namespace = network.namespace.clone();
        let mut lease = lease(
            key,
            pod,
            found,
            pair,
            Share {
                namespace,
                attachment,
            },
        );
        if !is_whole {
            lease.phase = Phase::Releasing;
        }
        state.book.record(Record::Claimed(lease.clone()))?;
        drop(state);
        self.follow(pair, &lease)
    }

    /// True when the attachment is complete; the owner of its addresses is not checked.
    fn is_intact(
        &self,
        found: &PodNetns,
        place: &LocalForwarder,
        pair: &Pair,
        attachment: &Attachment,
    ) -> Result<bool, Error> {
        Ok(!attachment.app.is_empty()
            && attachment.addresses.len() == place.forwarder.spec.blocks.len()
            && self.wires.is_whole(&found.path, pair, attachment)?)
    }

    fn let_be(&self, pod: &Pod, pair: &Pair) -> Fate {
        if is_asked_for(pair) {
            self.tell_failure(pod, &beyond(pair));
        }
        Fate::Left
    }

    /// Keeps or removes the attachment after its lease was recorded.
    fn follow(&self, pair: &Pair, lease: &Lease) -> Result<Fate, Error> {
        let (pod, interface) = (&lease.pod, &pair.pod_interface);
        if lease.phase == Phase::Releasing {
            tracing::warn!(pod, interface, "attachment without a lease removed");
            self.free(lease)?;
            return Ok(Fate::Gone);
        }
        tracing::warn!(pod, interface, "attachment without a lease adopted");
        self.changed();
        Ok(Fate::Taken)
    }
}

/// Fate of an attachment without a lease.
enum Fate {
    /// Adopted: it has a lease now.
    Taken,
    /// Kept unchanged, without a lease.
    Left,
    /// Absent, leased already, or not ours.
    Gone,
}

/// True when a topology's desired state is certain, so that attachments may be removed.
pub(crate) fn may_cut(catalog: &Catalog, network: &TopologyKey) -> bool {
    catalog.is_complete && !catalog.is_rebuilt(network)
}

fn beyond(pair: &Pair) -> String {
    format!(
        "{} has no lease and is incomplete: only a restart of the pod recreates it",
        pair.pod_interface
    )
}

fn lease(key: Key, pod: &Pod, found: &PodNetns, pair: &Pair, share: Share) -> Lease {
    Lease {
        key,
        phase: Phase::Confirmed,
        netns: found.path.display().to_string(),
        netns_id: found.id,
        plugin: None,
        since: now(),
        pod: format!("{}/{}", pod.namespace, pod.name),
        uid: runtime_uid(pod).to_owned(),
        is_asked_for: is_asked_for(pair),
        shares: vec![share],
        is_past_boot: false,
    }
}

fn is_leased(leases: &Leases, attachment: &Attachment) -> bool {
    let end = |of: &Attachment| (of.forwarder_netns.clone(), of.forwarder_interface.clone());
    let mut shares = leases.iter().flat_map(|lease| &lease.shares);
    shares.any(|share| end(&share.attachment) == end(attachment))
}

/// True when a network configuration named the interface, not the daemon.
fn is_asked_for(pair: &Pair) -> bool {
    let owner = pair.pod_alias.strip_prefix(ALIAS_PREFIX);
    // NETWORK/CONTAINER/INTERFACE.
    let ends = |owner: &'_ str| {
        Some((
            owner.split_once('/')?.0.to_owned(),
            owner.rsplit_once('/')?.1.to_owned(),
        ))
    };
    let named = owner.and_then(ends);
    named.is_some_and(|(network, interface)| {
        network != key::NETWORK && interface == pair.pod_interface
    })
}
