//! Waiting until every probe is attached.

use super::{
    objects::LABEL,
    stage::{Probes, Stage},
};
use console::failure::Failure;
use crds::ForwarderObject;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

impl Stage<'_> {
    /// Waits until every probe runs and its Forwarder reports it attached.
    pub(super) fn attached(&self) -> Result<Probes, Failure> {
        let mut missing = Vec::new();
        let attached = self.cluster.block_on(async {
            let attached = self.watch(&mut missing);
            tokio::time::timeout(self.left(), attached).await
        });
        match attached {
            Ok(attached) => attached,
            Err(_) => Err(Failure::TimedOut(format!(
                "probes are not attached in time: {}",
                missing.join("; ")
            ))),
        }
    }

    async fn watch(&self, missing: &mut Vec<String>) -> Result<Probes, Failure> {
        let namespace = &self.test.namespace;
        let (pods, forwarders): (Api<Pod>, Api<ForwarderObject>) =
            (self.cluster.api(namespace), self.cluster.api(namespace));
        let labels = watcher::Config::default().labels(&format!("{LABEL}={}", self.test.topology));
        let ours =
            watcher::Config::default().fields(&format!("spec.topology={}", self.test.topology));
        let of_pods = watcher(pods, labels)
            .default_backoff()
            .touched_objects()
            .map(|it| it.map(|pod| Seen::Pod(Box::new(pod))));
        let of_forwarders = watcher(forwarders, ours)
            .default_backoff()
            .touched_objects()
            .map(|it| it.map(|forwarder| Seen::Forwarder(Box::new(forwarder))));
        let mut seen = pin!(futures::stream::select(of_pods, of_forwarders));
        let (mut phases, mut probes) = (BTreeMap::new(), BTreeMap::new());
        while let Some(event) = seen.next().await {
            match event {
                Ok(Seen::Pod(pod)) => note_pod(&mut phases, &pod),
                Ok(Seen::Forwarder(forwarder)) => {
                    note_forwarder(&mut probes, namespace, &forwarder)
                }
                // A server that is away for a moment is waited for as well.
                Err(error) => *missing = vec![error.to_string()],
            }
            *missing = self.missing(&phases, &probes);
            if missing.is_empty() {
                return Ok(probes.into_values().flatten().collect());
            }
        }
        Err(Failure::Failed("the watch of the probes ended".to_owned()))
    }

    fn missing(
        &self,
        phases: &BTreeMap<String, String>,
        probes: &BTreeMap<String, Probes>,
    ) -> Vec<String> {
        let attached: BTreeSet<&String> = probes.values().flat_map(BTreeMap::keys).collect();
        let of = |node: &String| {
            let name = self.test.name(node);
            match phases.get(&name).map(String::as_str) {
                Some("Running") if attached.contains(&name) => None,
                Some("Running") => Some(format!("{name} on {node} is not attached")),
                Some(state) => Some(format!("{name} on {node}: {state}")),
                None => Some(format!("{name} on {node} does not exist")),
            }
        };
        self.test.nodes.iter().filter_map(of).collect()
    }
}

enum Seen {
    Pod(Box<Pod>),
    Forwarder(Box<ForwarderObject>),
}

/// Records the phase of a pod, with the reason why it does not run.
fn note_pod(phases: &mut BTreeMap<String, String>, pod: &Pod) {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.iter().flatten();
    let mut waiting = containers.filter_map(|it| it.state.as_ref()?.waiting.clone()?.reason);
    let phase = status.phase.clone().unwrap_or_default();
    let state = match waiting.next() {
        Some(reason) => format!("{phase}, {reason}"),
        None => phase,
    };
    phases.insert(pod.metadata.name.clone().unwrap_or_default(), state);
}

fn note_forwarder(
    probes: &mut BTreeMap<String, Probes>,
    namespace: &str,
    forwarder: &ForwarderObject,
) {
    let attachments = forwarder
        .status
        .iter()
        .flat_map(|status| &status.attachments);
    let of = |it: &crds::forwarder::AttachmentStatus| {
        let name = it.pod.strip_prefix(namespace)?.strip_prefix('/')?;
        Some((
            name.to_owned(),
            it.addresses.iter().map(ipnetwork::IpNetwork::ip).collect(),
        ))
    };
    probes.insert(
        forwarder.spec.name.clone(),
        attachments.filter_map(of).collect(),
    );
}
