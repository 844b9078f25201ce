//! Hotplug reconciler: plans and executes attachments of this node's running pods, one round at a
//! time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni::known::Known;
use cni::node_protocol::Key;
use crds::attach::Pod;

use super::cache::Keeper;
use super::network_status::merge;
use super::plan::{Step, plan};
use super::plugin::{Attach, Call};
use super::processes;
use crate::attach::admission::{AttachRequest, Catalog};
use crate::attach::ipam::own_interface;
use crate::attach::key::PodNetns;
use crate::attach::leases::{Lease, Phase, Share};
use crate::attach::pod_links::PodWiring;
use crate::attach::service::{AttachService, PendingPods};
use crate::objects::pods::{News, NodePod, Pods, Told, is_called, runtime_uid};
use crds::TopologyKey;

mod adoption;
mod lasting;
#[cfg(test)]
mod tests;

use adoption::Strays;
use lasting::{GRACE, Lasting, is_due};

/// First retry pause; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest retry pause.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Paths on this node.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/proc` of the host.
    pub host_proc: PathBuf,
    /// Directory of named network namespaces.
    pub netns: PathBuf,
    /// State directory, with the cache that the plugin reads while the daemon is away.
    pub state_dir: PathBuf,
}

/// Reconciler with its state between rounds.
pub struct Reconciler<W> {
    service: Arc<AttachService<W>>,
    pods: Arc<dyn Pods>,
    places: Places,
    plugin: Box<dyn Attach>,
    known: Keeper,
    /// Retries of failed attachments, by uid and topology.
    retries: HashMap<(String, TopologyKey), Retry>,
    /// Refused pods by uid: reason and time.
    refused: HashMap<String, (String, Instant)>,
    /// Attachments without their interface.
    lost: Lasting<(Key, TopologyKey)>,
    /// Addresses that the kernel has without a lease.
    stray: Lasting<(TopologyKey, IpAddr)>,
    /// Result of the last search for attachments without a lease.
    strays: Option<Strays>,
    /// Uids of pods whose attachments without a lease are kept.
    left: BTreeSet<String>,
    /// Time of the next search for attachments without a lease.
    look_again: Option<Instant>,
    /// Last written annotation by uid, and the annotation that it replaced.
    statuses: HashMap<String, (Option<String>, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    attempts: u32,
    at: Instant,
}

impl<W: PodWiring> Reconciler<W> {
    /// Reconciler in its initial state.
    pub fn new(
        service: Arc<AttachService<W>>,
        pods: Arc<dyn Pods>,
        places: Places,
        plugin: Box<dyn Attach>,
    ) -> Reconciler<W> {
        Reconciler {
            known: Keeper::open(&places.state_dir),
            service,
            pods,
            places,
            plugin,
            retries: HashMap::new(),
            refused: HashMap::new(),
            lost: Lasting::new(),
            stray: Lasting::new(),
            strays: None,
            left: BTreeSet::new(),
            look_again: None,
            statuses: HashMap::new(),
        }
    }

    /// Runs one round. Returns the time of the next one if nothing changes.
    pub fn turn(&mut self, now: Instant) -> Option<Instant> {
        let catalog = self.service.catalog()?;
        let here = self.pods.here();
        self.adopt_strays(&here, &catalog, now);
        self.lost.note(self.service.lost(), now);
        let steps = plan(&here, &self.service.leases(), &self.lost.due(now), &catalog);
        self.count(&steps);
        self.forget(&here, &steps);
        let mut attach = Vec::new();
        for step in steps {
            match step {
                Step::Leave { key, network, why } => {
                    tracing::info!(container = key.container_id, %network, why, "detaching pod");
                    if let Err(error) = self.service.leave(&key, &network, &why) {
                        warn(&error);
                    }
                }
                Step::Forget { key } => self.forget_lease(&key),
                Step::Refuse { pod, why } => self.refuse(&pod.pod, why, now),
                Step::Attach { pod, network } => attach.push((pod, network)),
                Step::Await { .. } => {}
            }
        }
        self.attach(attach, now);
        self.tell_statuses(&here);
        self.keep(&here, &catalog);
        self.next(now)
    }

    fn count(&self, steps: &[Step]) {
        let count =
            |is_meant: fn(&Step) -> bool| steps.iter().filter(|step| is_meant(step)).count();
        self.service.tally(PendingPods {
            waiting: count(|step| matches!(step, Step::Attach { .. } | Step::Await { .. })),
            refused: count(|step| matches!(step, Step::Refuse { .. })),
        });
    }

    /// Drops state of deleted pods and obsolete retries.
    fn forget(&mut self, here: &[Arc<NodePod>], steps: &[Step]) {
        let uids: BTreeSet<&str> = here.iter().map(|here| runtime_uid(&here.pod)).collect();
        let (mut wanted, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Attach { pod, network } | Step::Await { pod, network } => {
                    wanted.insert((runtime_uid(&pod.pod).to_owned(), network.clone()));
                }
                Step::Refuse { pod, .. } => drop(refused.insert(runtime_uid(&pod.pod))),
                Step::Leave { .. } | Step::Forget { .. } => {}
            }
        }
        self.retries.retain(|of, _| wanted.contains(of));
        self.refused.retain(|uid, _| refused.contains(uid.as_str()));
        let is_here = |uid: &str| here.iter().any(|here| here.pod.uid == uid);
        self.statuses.retain(|uid, _| is_here(uid));
        let is_wanted = |uid: &str| wanted.iter().any(|(wanted, _)| wanted == uid);
        let is_told =
            |uid: &str| refused.contains(uid) || is_wanted(uid) || self.left.contains(uid);
        self.service
            .retain_failures(|uid| !uids.contains(uid) || is_told(uid));
    }

    fn forget_lease(&self, key: &Key) {
        let leases = self.service.leases();
        let Some(lease) = leases.iter().find(|lease| lease.key == *key) else {
            return;
        };
        if self.service.is_absent(lease) {
            tracing::info!(
                container = key.container_id,
                "pod deleted, releasing its hotplug attachment"
            );
            if let Err(error) = self.service.release(key) {
                warn(&error);
            }
        }
    }

    fn refuse(&mut self, pod: &Pod, why: String, now: Instant) {
        let known = self.refused.entry(runtime_uid(pod).to_owned());
        let (told, since) = known.or_insert_with(|| (why.clone(), now));
        if *told != why {
            *told = why;
        }
        if is_due(*since, now) {
            self.service.tell_failure(pod, told);
        }
    }

    fn attach(&mut self, mut wanted: Vec<(Arc<NodePod>, TopologyKey)>, now: Instant) {
        wanted.retain(|(pod, network)| {
            let of = (runtime_uid(&pod.pod).to_owned(), network.clone());
            let retry = self.retries.get(&of);
            retry.is_none_or(|retry| retry.at <= now)
        });
        if wanted.is_empty() {
            return;
        }
        let pods: Vec<&Pod> = wanted.iter().map(|(pod, _)| &pod.pod).collect();
        let found = self.find(&pods).unwrap_or_default();
        for (pod, network) in wanted {
            let uid = runtime_uid(&pod.pod);
            let attached = match found.get(uid) {
                Some(found) => self.attach_one(&pod.pod, &network, found),
                // The pod starts or ends: the runtime is in charge.
                None => false,
            };
            let of = (uid.to_owned(), network);
            match attached {
                true => drop(self.retries.remove(&of)),
                false => self.postpone(of, now),
            }
        }
    }

    /// Network namespaces of these pods; a failure is logged.
    fn find(&self, wanted: &[&Pod]) -> io::Result<BTreeMap<String, PodNetns>> {
        let uids: BTreeSet<&str> = wanted.iter().map(|pod| runtime_uid(pod)).collect();
        let uids: Vec<&str> = uids.into_iter().collect();
        let found = processes::find(&self.places.host_proc, &self.places.netns, &uids);
        found.inspect_err(|error| {
            tracing::warn!(%error, "processes of the node not scanned");
        })
    }

    fn attach_one(&self, pod: &Pod, network: &TopologyKey, found: &PodNetns) -> bool {
        let networks = BTreeSet::from([network.clone()]);
        match self.service.adopt(pod, found, &networks) {
            // The next round plans with the adopted leases.
            Ok(adopted) if adopted.taken > 0 => return true,
            // The kept attachment blocks a new one.
            Ok(adopted) if adopted.left > 0 => return false,
            Ok(_) => {}
            Err(error) => {
                warn(&error);
                self.service.tell_failure(pod, &error.to_string());
                return false;
            }
        }
        let taken = self
            .service
            .leases()
            .into_iter()
            .filter(|lease| lease.netns_id == found.id);
        let taken = taken.flat_map(|lease| lease.shares);
        let taken = taken.map(|share| share.attachment.pod_interface).collect();
        let call = Call {
            pod,
            network,
            interface: &own_interface(network, &taken),
            netns: &found.path,
        };
        match self.plugin.attach(&call) {
            Ok(()) => {
                tracing::info!(pod = pod.name, namespace = pod.namespace, %network, "pod attached");
                true
            }
            Err(why) => {
                self.service.tell_failure(pod, &why);
                false
            }
        }
    }

    fn postpone(&mut self, of: (String, TopologyKey), now: Instant) {
        let retry = self.retries.entry(of).or_insert(Retry {
            attempts: 0,
            at: now,
        });
        let pause = FIRST_RETRY
            .saturating_mul(1 << retry.attempts.min(16))
            .min(LAST_RETRY);
        retry.attempts += 1;
        retry.at = now + pause;
    }

    /// Updates every pod's network-status annotation to its leases.
    fn tell_statuses(&mut self, here: &[Arc<NodePod>]) {
        let leases = self.service.leases();
        let mut shares: HashMap<&str, Vec<&Share>> = HashMap::new();
        let confirmed = leases
            .iter()
            .filter(|lease| lease.phase == Phase::Confirmed);
        for lease in confirmed.filter(|lease| !lease.is_past_boot) {
            shares.entry(&lease.uid).or_default().extend(&lease.shares);
        }
        for here in here
            .iter()
            .filter(|here| here.is_running && !here.is_leaving)
        {
            let pod = &here.pod;
            let shares = shares
                .get(runtime_uid(pod))
                .or_else(|| shares.get(&*pod.uid))
                .map(Vec::as_slice)
                .unwrap_or_default();
            let Some(value) = merge(here.network_status.as_deref(), shares) else {
                self.statuses.remove(&pod.uid);
                continue;
            };
            let told = (here.network_status.clone(), value.clone());
            if self.statuses.get(&pod.uid) == Some(&told) {
                continue;
            }
            self.statuses.insert(pod.uid.clone(), told);
            self.pods.tell(Told {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                news: News::NetworkStatus(value),
            });
        }
    }

    /// Updates the plugin's cache of pods that are not ours.
    fn keep(&mut self, here: &[Arc<NodePod>], catalog: &Catalog) {
        if !catalog.is_complete {
            return;
        }
        let leases = self.service.leases();
        let is_leased = |pod: &Pod| leases.iter().any(|lease| is_of(lease, pod));
        let taken = here
            .iter()
            .filter(|here| catalog.takes_from(&here.pod.namespace));
        let taken = taken.map(|here| &here.pod).filter(|pod| !is_leased(pod));
        let taken: Vec<&Pod> = taken.collect();
        let mut wanted: BTreeSet<usize> = BTreeSet::new();
        for assigned in catalog.assign(&taken).into_values() {
            wanted.extend(assigned.instances.iter().map(|instance| instance.pod));
            wanted.extend(assigned.unattached.iter().map(|unattached| unattached.pod));
        }
        let is_nobodys = |(position, pod): &(usize, &&Pod)| {
            !wanted.contains(position)
                && catalog
                    .absent(&AttachRequest::from((**pod).clone()))
                    .is_none()
        };
        let not_ours = taken.iter().enumerate().filter(is_nobodys);
        self.known.keep(Known {
            namespaces: catalog.namespaces(),
            not_ours: not_ours
                .map(|(_, pod)| runtime_uid(pod).to_owned())
                .collect(),
        });
    }

    /// Time of the next due work without a change.
    fn next(&self, now: Instant) -> Option<Instant> {
        let retries = self.retries.values().map(|retry| retry.at);
        let refused = self.refused.values().map(|(_, since)| *since + GRACE);
        let due = retries.chain(refused.filter(|at| *at > now));
        let due = due.chain(self.lost.next(now)).chain(self.stray.next(now));
        due.chain(self.look_again).min()
    }
}

fn is_of(lease: &Lease, pod: &Pod) -> bool {
    match lease.uid.as_str() {
        "" => lease.pod == format!("{}/{}", pod.namespace, pod.name),
        uid => is_called(pod, uid),
    }
}

fn warn(error: &crate::Error) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "hotplug step failed, retried"
    );
}
