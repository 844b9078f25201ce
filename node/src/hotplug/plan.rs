//! Plan of attachments and detachments of running pods. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cni::node_protocol::Key;
use crds::attach::{Pod, TOPOLOGIES};

use crate::attach::admission::{AttachRequest, Catalog};
use crate::attach::key::is_hotplug;
use crate::attach::leases::{Lease, Phase, Share};
use crate::objects::pods::{NodePod, runtime_uid};
use crds::TopologyKey;

#[cfg(test)]
mod tests;

/// Step of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Attach a pod to a topology.
    Attach {
        /// Pod.
        pod: Arc<NodePod>,
        /// Topology.
        network: TopologyKey,
    },
    /// Wait for the pod's Forwarder to be created.
    Await {
        /// Pod.
        pod: Arc<NodePod>,
        /// Topology.
        network: TopologyKey,
    },
    /// Detach a pod from a topology.
    Leave {
        /// Lease that has the attachment.
        key: Key,
        /// Topology.
        network: TopologyKey,
        /// Reason.
        why: String,
    },
    /// Release a hotplug attachment, if the pod was deleted for certain.
    Forget {
        /// Key of the lease.
        key: Key,
    },
    /// Report why a pod cannot be attached.
    Refuse {
        /// Pod.
        pod: Arc<NodePod>,
        /// Reason.
        why: String,
    },
}

/// Assignment of a pod in one topology: App and Forwarder, or the reason why there is none.
type Wish = Result<(String, String), String>;

/// Steps that bring the pods `here` to the attachments that `catalog` assigns. `lost` holds the
/// leases whose interface is missing.
///
/// # Guarantees
/// Nothing is detached while the desired state is incomplete, or because a topology is unreadable.
/// A lease in transition is left alone. After all steps, the next plan is empty.
pub fn plan(
    here: &[Arc<NodePod>],
    leases: &[Lease],
    lost: &BTreeSet<(Key, TopologyKey)>,
    catalog: &Catalog,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let running: Vec<&Arc<NodePod>> = here.iter().filter(|here| takes_part(here)).collect();
    let mut wishes = wishes(&running, catalog);
    let (by_pod, forgotten) = sort(leases, here);
    for (pod, wishes) in running.iter().zip(&mut wishes) {
        let held = by_pod.get(runtime_uid(&pod.pod));
        let held = held.map(Vec::as_slice).unwrap_or_default();
        let held = Held { leases: held, lost };
        one(pod, wishes, &held, catalog, &mut steps);
    }
    let ended = here.iter().filter(|here| !here.is_running);
    for lease in ended
        .filter_map(|pod| by_pod.get(runtime_uid(&pod.pod)))
        .flatten()
    {
        // The runtime detaches its own attachments.
        if is_hotplug(&lease.key) {
            let leave = |share: &Share| leave(lease, share, "the pod has ended".to_owned());
            steps.extend(lease.shares.iter().map(leave));
        }
    }
    let key = |lease: &Lease| lease.key.clone();
    steps.extend(
        forgotten
            .into_iter()
            .map(|lease| Step::Forget { key: key(lease) }),
    );
    steps
}

pub(super) fn takes_part(here: &NodePod) -> bool {
    here.is_running && !here.is_host_network
}

fn wishes<'a>(
    running: &[&Arc<NodePod>],
    catalog: &'a Catalog,
) -> Vec<BTreeMap<&'a TopologyKey, Wish>> {
    let pods: Vec<&Pod> = running.iter().map(|here| &here.pod).collect();
    let mut wishes = vec![BTreeMap::new(); pods.len()];
    for (network, assigned) in catalog.assign(&pods) {
        for instance in assigned.instances {
            let wish = Ok((instance.app, instance.forwarder));
            wishes[instance.pod].insert(network, wish);
        }
        for unattached in assigned.unattached {
            wishes[unattached.pod].insert(network, Err(unattached.message));
        }
    }
    wishes
}

/// Leases by the uid of their pod, and hotplug leases of unknown pods.
fn sort<'a>(
    leases: &'a [Lease],
    here: &'a [Arc<NodePod>],
) -> (HashMap<&'a str, Vec<&'a Lease>>, Vec<&'a Lease>) {
    let pods = || here.iter().map(|here| &here.pod);
    let names = pods().map(|pod| {
        let name = format!("{}/{}", pod.namespace, pod.name);
        (name, runtime_uid(pod))
    });
    let uid_by_name: HashMap<String, &str> = names.collect();
    // Either uid may be recorded: older leases hold the API's.
    let both = |pod: &'a Pod| [&*pod.uid, runtime_uid(pod)].map(|uid| (uid, runtime_uid(pod)));
    let uids: HashMap<&str, &str> = pods().flat_map(both).collect();
    let mut by_pod: HashMap<&str, Vec<&Lease>> = HashMap::new();
    let mut forgotten = Vec::new();
    for lease in leases.iter().filter(|lease| !lease.is_past_boot) {
        let uid = match lease.uid.as_str() {
            // Recorded by a daemon version without the field.
            "" => uid_by_name.get(&lease.pod).copied(),
            uid => uids.get(uid).copied(),
        };
        match uid {
            Some(uid) => by_pod.entry(uid).or_default().push(lease),
            None if is_hotplug(&lease.key) && lease.phase == Phase::Confirmed => {
                forgotten.push(lease)
            }
            None => {}
        }
    }
    (by_pod, forgotten)
}

/// Attachments of a pod.
struct Held<'a> {
    leases: &'a [&'a Lease],
    lost: &'a BTreeSet<(Key, TopologyKey)>,
}

/// Adds the steps for one pod.
fn one(
    pod: &Arc<NodePod>,
    wishes: &BTreeMap<&TopologyKey, Wish>,
    held: &Held<'_>,
    catalog: &Catalog,
    steps: &mut Vec<Step>,
) {
    let is_lost = |lease: &Lease, network: &TopologyKey| {
        // The interface of a terminating pod may go first.
        !pod.is_leaving && held.lost.contains(&(lease.key.clone(), network.clone()))
    };
    let mut kept: BTreeSet<TopologyKey> = BTreeSet::new();
    // The runtime's leases come first: of two in one topology, the daemon's is detached.
    let (own, theirs): (Vec<&Lease>, Vec<&Lease>) = held
        .leases
        .iter()
        .copied()
        .partition(|lease| is_hotplug(&lease.key));
    for lease in theirs.into_iter().chain(own) {
        for share in &lease.shares {
            let network = share.network();
            let is_double = is_hotplug(&lease.key) && kept.contains(&network);
            let why = match is_double {
                true => Some("the runtime attached it as well".to_owned()),
                false if is_lost(lease, &network) => Some("its interface was deleted".to_owned()),
                false => why_not(pod, wishes, lease, share, catalog),
            };
            let why = why.filter(|_| lease.phase == Phase::Confirmed);
            steps.extend(why.map(|why| leave(lease, share, why)));
            // A detached share is planned again, and attached where it then belongs.
            kept.insert(network);
        }
    }
    if pod.is_leaving {
        return;
    }
    let mut refused = Vec::new();
    for (network, wish) in wishes {
        if kept.contains(*network) {
            continue;
        }
        let (pod, network) = (Arc::clone(pod), (*network).clone());
        match wish {
            Ok((_, forwarder)) if catalog.is_ready(&network, forwarder) => {
                steps.push(Step::Attach { pod, network });
            }
            Ok(_) => steps.push(Step::Await { pod, network }),
            Err(why) => refused.push(why.clone()),
        }
    }
    if catalog.is_complete {
        refused.extend(catalog.absent(&AttachRequest::from(pod.pod.clone())));
    }
    if !refused.is_empty() {
        let (pod, why) = (Arc::clone(pod), refused.join("; "));
        steps.push(Step::Refuse { pod, why });
    }
}

/// Reason to detach a share; `None` when it may stay.
fn why_not(
    pod: &NodePod,
    wishes: &BTreeMap<&TopologyKey, Wish>,
    lease: &Lease,
    share: &Share,
    catalog: &Catalog,
) -> Option<String> {
    let network = share.network();
    if !catalog.is_complete || catalog.is_rebuilt(&network) || pod.is_leaving {
        return None;
    }
    if !catalog.knows(&network) {
        return Some(format!("there is no topology {network} any more"));
    }
    let asked = lease
        .is_asked_for
        .then(|| asked_for(pod, &network, catalog));
    let wish = match &asked {
        Some(asked) => asked.as_ref(),
        None => wishes.get(&network),
    };
    let to = &share.attachment;
    match wish {
        None => Some("the pod is no instance of an App of it any more".to_owned()),
        Some(Ok((app, forwarder))) if *app == to.app && *forwarder == to.forwarder => None,
        Some(Ok((app, forwarder))) => Some(format!(
            "it is now an instance of App {app} on forwarder {forwarder}"
        )),
        Some(Err(why)) => Some(why.clone()),
    }
}

/// Assignment in a topology that a network configuration of the pod names.
fn asked_for(pod: &NodePod, network: &TopologyKey, catalog: &Catalog) -> Option<Wish> {
    let mut pod = pod.pod.clone();
    pod.annotations
        .insert(TOPOLOGIES.to_owned(), network.to_string());
    let mut assigned = catalog.assign_to(network, &[pod])?;
    if let Some(unattached) = assigned.unattached.pop() {
        return Some(Err(unattached.message));
    }
    let instance = assigned.instances.pop()?;
    Some(Ok((instance.app, instance.forwarder)))
}

fn leave(lease: &Lease, share: &Share, why: String) -> Step {
    Step::Leave {
        key: lease.key.clone(),
        network: share.network(),
        why,
    }
}
