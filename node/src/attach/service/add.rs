//! ADD: admits the pod, assigns its addresses and records the claim.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cni::node_protocol::{Claim, Reply, code};
use crds::attach::Pod;

use super::{Answer, AttachService, State, now};
use crate::attach::admission::{Admission, Assignment, AttachRequest, Catalog};
use crate::attach::ipam::assemble;
use crate::attach::key::is_hotplug;
use crate::attach::leases::{Lease, Phase, Record};
use crate::attach::pod_links::PodWiring;
use crate::error::Error;
use crate::objects::pods::{Lookup, NodePod, Pods, is_called, runtime_uid};
use crds::TopologyKey;

/// Largest number of plugin threads that wait for the API server.
const ASKING_AT_ONCE: usize = 4;

/// Identity of the pod in a claim.
enum Asker {
    /// Known pod or stand-in.
    Known(AttachRequest, Option<Arc<NodePod>>),
    /// Unknown pod in a namespace from which no topology takes pods.
    Nobody,
    /// Unknown pod that the claim waits for. Carries the reason.
    Awaited(String),
}

impl<W: PodWiring> AttachService<W> {
    pub(super) fn claim(
        &self,
        claim: &Claim,
        plugin: Option<i32>,
        is_first: bool,
    ) -> Result<Answer, Error> {
        let _turn = self.wait_for(&claim.key);
        let before = self.state().book.leases().get(&claim.key).cloned();
        match before {
            Some(lease)
                if lease.phase == Phase::Releasing
                    || !is_same(&lease, claim)
                    || self.unrecorded().contains(&claim.key) =>
            {
                self.free(&lease)?;
            }
            Some(lease) if lease.phase == Phase::Confirmed && self.is_wired(&lease)? => {
                let message = "the container has this interface already".to_owned();
                return Ok(refused(code::ALREADY_ATTACHED, message));
            }
            // The plugin retries because it did not receive the answer.
            Some(lease) => {
                let lease = Lease {
                    phase: Phase::Pending,
                    plugin,
                    since: now(),
                    ..lease
                };
                let attachments = lease.attachments();
                self.state().book.record(Record::Claimed(lease))?;
                return Ok(Answer::Now(Reply::Claimed(attachments)));
            }
            None => {}
        }
        self.claim_new(claim, plugin, is_first)
    }

    fn claim_new(
        &self,
        claim: &Claim,
        plugin: Option<i32>,
        is_first: bool,
    ) -> Result<Answer, Error> {
        let Some(catalog) = self.catalog() else {
            let reason = "the desired state was not read yet".to_owned();
            return Ok(Answer::Now(self.in_doubt(claim, reason)));
        };
        // Outside the lock: this may ask the API server.
        let (guest, pod) = match self.asker(claim, &catalog, is_first) {
            Asker::Known(guest, pod) => (guest, pod),
            Asker::Nobody => return Ok(Answer::Now(Reply::NotOurs)),
            Asker::Awaited(reason) => return Ok(Answer::Awaited(reason)),
        };
        let choices = match catalog.admit(&guest) {
            Admission::Ours(choices) => choices,
            Admission::NotOurs => return Ok(Answer::Now(Reply::NotOurs)),
            Admission::TryLater(reason) => return Ok(Answer::Now(Reply::TryLater { reason })),
            Admission::Unsure(reason) => return Ok(Answer::Now(self.in_doubt(claim, reason))),
            Admission::Refused(code, message) => return Ok(self.refuse(pod, code, message)),
        };
        let mut state = self.state();
        if is_hotplug(&claim.key) && is_held(&state, claim, &guest, &choices, &catalog) {
            let message = "the pod is in this topology already".to_owned();
            return Ok(refused(code::ALREADY_ATTACHED, message));
        }
        let shares = match assemble(claim, &choices, &catalog, state.book.leases_mut()) {
            Ok(shares) => shares,
            Err(message) => {
                drop(state);
                return Ok(self.refuse(pod, code::NO_ADDRESS, message));
            }
        };
        let name = claim
            .pod
            .as_ref()
            .map(|pod| format!("{}/{}", pod.namespace, pod.name));
        let lease = Lease {
            key: claim.key.clone(),
            phase: Phase::Pending,
            netns: claim.netns.clone(),
            netns_id: claim.netns_id,
            plugin,
            since: now(),
            pod: name.unwrap_or_default(),
            uid: runtime_uid(&guest.pod).to_owned(),
            is_asked_for: guest.is_asked_for,
            shares,
            is_past_boot: false,
        };
        let attachments = lease.attachments();
        state.book.record(Record::Claimed(lease))?;
        tracing::info!(container = claim.key.container_id, "lease claimed");
        Ok(Answer::Now(Reply::Claimed(attachments)))
    }

    fn refuse(&self, pod: Option<Arc<NodePod>>, code: u32, message: String) -> Answer {
        if let Some(pod) = pod {
            self.tell_failure(&pod.pod, &message);
        }
        refused(code, message)
    }

    fn asker(&self, claim: &Claim, catalog: &Catalog, is_first: bool) -> Asker {
        let known = |pod, here| {
            let only = claim.topology.as_deref().and_then(network);
            let is_asked_for = only.is_some() && !is_hotplug(&claim.key);
            let guest = AttachRequest {
                pod,
                only,
                is_asked_for,
            };
            Asker::Known(guest, here)
        };
        let (Some(pods), Some(asker)) = (&self.pods, &claim.pod) else {
            return known(stand_in(claim, catalog.node()), None);
        };
        if let Some(here) = find_here(&**pods, asker) {
            return known(here.pod.clone(), Some(here));
        }
        // This answer needs no API server, which may be unreachable.
        let is_nobody = catalog.is_complete && !catalog.takes_from(&asker.namespace);
        if is_nobody && claim.topology.is_none() {
            return Asker::Nobody;
        }
        let (namespace, name) = (&asker.namespace, &asker.name);
        let lookup = match is_first {
            true => self.find(&**pods, asker),
            // From then on the watch reports the pod.
            false => Lookup::Absent,
        };
        match lookup {
            Lookup::Found(here) => known(here.pod.clone(), Some(here)),
            Lookup::Unknown => Asker::Awaited(format!(
                "pod {namespace}/{name} is not known yet: the API server does not answer"
            )),
            // The runtime may know the pod before the watch reports it.
            Lookup::Absent => Asker::Awaited(format!("pod {namespace}/{name} is not known yet")),
        }
    }
}

impl<W: PodWiring> AttachService<W> {
    /// Looks up a pod, which may take seconds and a thread: only a few run at one time.
    fn find(&self, pods: &dyn Pods, asker: &cni::node_protocol::Pod) -> Lookup {
        let others = self.asking.fetch_add(1, Ordering::Relaxed);
        let lookup = match others < ASKING_AT_ONCE {
            true => pods.find(&asker.namespace, &asker.name, asker.uid.as_deref()),
            false => Lookup::Absent,
        };
        self.asking.fetch_sub(1, Ordering::Relaxed);
        lookup
    }
}

/// True when lease and claim have the same network namespace.
fn is_same(lease: &Lease, claim: &Claim) -> bool {
    lease.netns_id == claim.netns_id && !lease.is_past_boot
}

fn refused(code: u32, message: String) -> Answer {
    Answer::Now(Reply::Refused { code, message })
}

/// True when another lease has the pod in one of the assigned topologies.
fn is_held(
    state: &State,
    claim: &Claim,
    guest: &AttachRequest,
    choices: &[Assignment],
    catalog: &Catalog,
) -> bool {
    let networks = choices
        .iter()
        .map(|choice| catalog.places()[choice.place].forwarder.topology_key());
    let networks: Vec<TopologyKey> = networks.collect();
    let is_same_pod = |lease: &&Lease| {
        let uid = runtime_uid(&guest.pod);
        lease.netns_id == claim.netns_id || !lease.uid.is_empty() && lease.uid == uid
    };
    let leases = state.book.leases().iter().filter(is_same_pod);
    let mut held = leases
        .filter(|lease| lease.phase != Phase::Releasing && !lease.is_past_boot)
        .flat_map(|lease| &lease.shares);
    held.any(|share| networks.contains(&share.network()))
}

/// Pod among the known pods of this node.
fn find_here(pods: &dyn Pods, wanted: &cni::node_protocol::Pod) -> Option<Arc<NodePod>> {
    let is_meant = |here: &Arc<NodePod>| {
        let pod = &here.pod;
        let uid = wanted.uid.as_deref();
        let is_uid = uid.is_none_or(|uid| is_called(pod, uid));
        pod.namespace == wanted.namespace && pod.name == wanted.name && is_uid
    };
    pods.here().into_iter().find(is_meant)
}

/// Stand-in for an unknown pod, from the plugin's request.
fn stand_in(claim: &Claim, node: &str) -> Pod {
    let pod = claim.pod.clone().unwrap_or_default();
    Pod {
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid.unwrap_or_else(|| claim.key.container_id.clone()),
        node: node.to_owned(),
        labels: claim.labels.clone(),
        annotations: claim.annotations.clone(),
    }
}

fn network(topology: &str) -> Option<TopologyKey> {
    let (namespace, topology) = topology.split_once('/')?;
    Some(TopologyKey {
        namespace: namespace.to_owned(),
        topology: topology.to_owned(),
    })
}
