//! What is wired and in no lease: a wiped state directory leaves pods so, wanted or not.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crds::attach::Pod;

use super::super::plan::takes_part;
use super::{Rounds, warn};
use crate::leases::Network;
use crate::pods::{PodHere, runtime_uid};
use crate::wires::Wires;

/// Addresses without a lease, and the pods among which their holders were looked for.
#[derive(PartialEq, Eq)]
pub(super) struct Strays {
    addresses: BTreeSet<(Network, IpAddr)>,
    /// By uid.
    pods: BTreeSet<String>,
}

impl<W: Wires> Rounds<W> {
    /// Looks for what is wired and in no lease in all pods, once for all that stays so.
    pub(super) fn adopt_strays(&mut self, here: &[Arc<PodHere>]) {
        let addresses = self.desk.strays();
        if addresses.is_empty() {
            self.strays = None;
            return;
        }
        let networks = addresses
            .iter()
            .map(|(network, _)| network.clone())
            .collect();
        let pods = here.iter().map(|here| here.pod.uid.clone()).collect();
        let seen = Some(Strays { addresses, pods });
        if seen == self.strays {
            return;
        }
        let is_ours = |here: &&Arc<PodHere>| takes_part(here) && !here.is_leaving;
        let pods: Vec<&Pod> = here.iter().filter(is_ours).map(|here| &here.pod).collect();
        let found = self.find(&pods);
        let mut is_done = true;
        for pod in pods {
            if let Some(found) = found.get(runtime_uid(pod))
                && let Err(error) = self.desk.adopt(pod, found, &networks)
            {
                warn(&error);
                is_done = false;
            }
        }
        self.strays = seen.filter(|_| is_done);
    }
}
