//! Adoption of attachments without a lease: a wiped state directory leaves them, wanted or not.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crds::attach::Pod;

use super::super::plan::takes_part;
use super::{LAST_RETRY, Reconciler, warn};
use crate::attach::admission::Catalog;
use crate::attach::pod_links::PodWiring;
use crate::attach::service::may_cut;
use crate::objects::pods::{NodePod, runtime_uid};
use crds::TopologyKey;

/// Addresses without a lease, and the pods and topologies of the last search for their holders.
#[derive(PartialEq, Eq)]
pub(super) struct Strays {
    addresses: BTreeSet<(TopologyKey, IpAddr)>,
    /// Uids.
    pods: BTreeSet<String>,
    /// Topologies whose desired state was certain.
    certain: BTreeSet<TopologyKey>,
}

impl<W: PodWiring> Reconciler<W> {
    /// Searches all pods for attachments without a lease, once for each set of such addresses, and
    /// skips those that a DEL is about to remove.
    pub(super) fn adopt_strays(&mut self, here: &[Arc<NodePod>], catalog: &Catalog, now: Instant) {
        self.look_again = None;
        self.stray.note(self.service.strays(), now);
        let addresses = self.stray.due(now);
        if addresses.is_empty() {
            self.strays = None;
            self.left.clear();
            return;
        }
        let networks: BTreeSet<TopologyKey> = addresses.iter().map(|(of, _)| of.clone()).collect();
        let certain = networks.iter().filter(|of| may_cut(catalog, of));
        let seen = Strays {
            certain: certain.cloned().collect(),
            pods: here.iter().map(|here| here.pod.uid.clone()).collect(),
            addresses,
        };
        if self.strays.as_ref() == Some(&seen) {
            return;
        }
        let is_done = self.look_for_strays(here, &networks);
        self.strays = is_done.then_some(seen);
        self.look_again = (!is_done).then(|| now + LAST_RETRY);
    }

    /// False when not all pods could be observed.
    fn look_for_strays(&mut self, here: &[Arc<NodePod>], networks: &BTreeSet<TopologyKey>) -> bool {
        let is_ours = |here: &&Arc<NodePod>| takes_part(here) && !here.is_leaving;
        let pods: Vec<&Pod> = here.iter().filter(is_ours).map(|here| &here.pod).collect();
        let Ok(found) = self.find(&pods) else {
            return false;
        };
        self.left.clear();
        let mut is_done = true;
        for pod in pods {
            let uid = runtime_uid(pod);
            let adopted = found
                .get(uid)
                .map(|at| self.service.adopt(pod, at, networks));
            match adopted {
                Some(Ok(adopted)) if adopted.left > 0 => drop(self.left.insert(uid.to_owned())),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    warn(&error);
                    is_done = false;
                }
                // The pod starts or ends.
                None => is_done = false,
            }
        }
        is_done
    }
}
