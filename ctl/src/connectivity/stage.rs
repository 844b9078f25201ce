//! Making what a test needs, waiting for it, and removing it, whatever happens.

use super::objects::{LABEL, Test};
use crate::{
    cluster::{Cluster, Connection, refused::Asked, stored::Stored, wait::Wanted},
    failure::{Exit, Failure},
    note,
};
use crds::ForwarderObject;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, PatchParams},
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    net::IpAddr,
    pin::pin,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

/// Field manager of what a test makes.
const MANAGER: &str = "beemesh-connectivity";
/// Longest time for everything to be gone.
const CLEARING: Duration = Duration::from_secs(90);

/// A test in a cluster.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) test: &'a Test,
    /// Whether the namespace was made here, and goes too.
    owns_namespace: bool,
    until: Instant,
}

/// Addresses of each probe in the topology, by the name of its pod.
pub(super) type Probes = BTreeMap<String, Vec<IpAddr>>;

impl<'a> Stage<'a> {
    /// Looks whether the namespace is there, and removes everything on ^C from now on.
    ///
    /// # Errors
    /// What the server refuses; a signal that cannot be listened for.
    pub(super) fn new(
        cluster: &'a Cluster,
        test: &'a Test,
        connection: Connection,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let namespaces: Api<Namespace> = Api::all(cluster.client());
        // Who may use one namespace alone may not look at it either: then it is there.
        let is_there = match cluster.get(&namespaces, &test.namespace) {
            Ok(found) => found.is_some(),
            Err(failure) if connection.namespace.is_none() => return Err(failure),
            Err(_) => true,
        };
        let stage = Self {
            cluster,
            test,
            owns_namespace: !is_there,
            until: Instant::now() + timeout,
        };
        clear_on_signal(connection, test.clone(), stage.owns_namespace)?;
        Ok(stage)
    }

    /// Makes all of it, and waits until every probe is attached.
    ///
    /// # Errors
    /// What the server refuses; [`Failure::TimedOut`] with what is missing.
    pub(super) fn build(&self) -> Result<Probes, Failure> {
        let test = self.test;
        if self.owns_namespace {
            let api: Api<Namespace> = Api::all(self.cluster.client());
            self.apply(&api, &test.namespace, &test.namespace())?;
        }
        self.declare(false)?;
        note(&format!(
            "{} probes in namespace {}",
            test.nodes.len(),
            test.namespace
        ));
        for node in &test.nodes {
            let api: Api<Pod> = self.cluster.api(&test.namespace);
            self.apply(&api, &test.name(node), &test.pod(node))?;
        }
        self.attached()
    }

    /// Declares the topology, with its link drained or not, and waits until all nodes have it so.
    ///
    /// # Errors
    /// As [`Stage::build`].
    pub(super) fn declare(&self, is_drained: bool) -> Result<(), Failure> {
        let test = self.test;
        let api: Api<Stored> = self.cluster.api(&test.namespace);
        let stored = self.apply(&api, &test.topology, &test.topology(is_drained))?;
        let wanted = Wanted {
            condition: "Ready",
            generation: stored.generation(),
            timeout: self.left(),
        };
        self.cluster
            .wait_in(&test.namespace, &test.topology, wanted)
            .map(drop)
    }

    fn left(&self) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        Duration::from_secs(left.as_secs().max(1))
    }

    fn apply<K>(&self, api: &Api<K>, name: &str, object: &Value) -> Result<K, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let parameters = PatchParams::apply(MANAGER).force();
        self.cluster.apply(api, name, (&parameters, object))
    }

    /// Waits until every probe runs and its Forwarder reports it attached.
    fn attached(&self) -> Result<Probes, Failure> {
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
                None => Some(format!("{name} on {node} is not there")),
            }
        };
        self.test.nodes.iter().filter_map(of).collect()
    }

    /// Removes all of it, and waits until it is gone.
    ///
    /// # Errors
    /// What the server refuses; [`Failure::TimedOut`] with what is left.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        clear(self.cluster, self.test, self.owns_namespace)
    }
}

enum Seen {
    Pod(Box<Pod>),
    Forwarder(Box<ForwarderObject>),
}

/// Why a pod does not run is as good as a phase.
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

fn clear(cluster: &Cluster, test: &Test, owns_namespace: bool) -> Result<(), Failure> {
    let labelled = ListParams::default().labels(&format!("{LABEL}={}", test.topology));
    remove::<Pod>(cluster, test, &labelled)?;
    remove::<Stored>(cluster, test, &labelled)?;
    cluster.block_on(async {
        let gone = async {
            gone::<Pod>(cluster, &test.namespace, &labelled).await;
            gone::<ForwarderObject>(cluster, &test.namespace, &of_topology(test)).await;
        };
        let late =
            "probes or Forwarders of the test are still there; `beemesh check` names what stays";
        let gone = tokio::time::timeout(CLEARING, gone).await;
        gone.map_err(|_| Failure::TimedOut(late.to_owned()))
    })?;
    if owns_namespace {
        let api: Api<Namespace> = Api::all(cluster.client());
        let asked = Asked::new::<Namespace>("delete", None);
        cluster
            .block_on(api.delete(&test.namespace, &DeleteParams::background()))
            .map(drop)
            .or_else(|error| absent(error).map_err(|error| cluster.refusal(&asked, &error)))?;
    }
    Ok(())
}

fn of_topology(test: &Test) -> ListParams {
    ListParams::default().labels(&format!(
        "{}={}",
        crds::forwarder::TOPOLOGY_LABEL,
        test.topology
    ))
}

fn remove<K>(cluster: &Cluster, test: &Test, labelled: &ListParams) -> Result<(), Failure>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = cluster.api(&test.namespace);
    let asked = Asked::new::<K>("delete", Some(&test.namespace));
    for object in cluster.list(&api, labelled)? {
        let name = object.meta().name.clone().unwrap_or_default();
        cluster
            .block_on(api.delete(&name, &DeleteParams::background()))
            .map(drop)
            .or_else(|error| absent(error).map_err(|error| cluster.refusal(&asked, &error)))?;
    }
    Ok(())
}

fn absent(error: kube::Error) -> Result<(), kube::Error> {
    match &error {
        kube::Error::Api(status) if status.code == 404 => Ok(()),
        _ => Err(error),
    }
}

/// Waits until none is left.
async fn gone<K>(cluster: &Cluster, namespace: &str, labelled: &ListParams)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let config = watcher::Config {
        label_selector: labelled.label_selector.clone(),
        ..watcher::Config::default()
    };
    let mut left: BTreeSet<String> = BTreeSet::new();
    let mut events = pin!(watcher(cluster.api::<K>(namespace), config).default_backoff());
    while let Some(event) = events.next().await {
        let name = |object: &K| object.meta().name.clone().unwrap_or_default();
        let is_told = match event {
            Ok(watcher::Event::Init) => {
                left.clear();
                false
            }
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                left.insert(name(&object));
                false
            }
            Ok(watcher::Event::Delete(object)) => {
                left.remove(&name(&object));
                true
            }
            Ok(watcher::Event::InitDone) => true,
            // A server that is away for a moment is waited for.
            Err(_) => false,
        };
        if is_told && left.is_empty() {
            return;
        }
    }
}

/// Removes all of it when the user has had enough: on a thread and by a connection of its own.
fn clear_on_signal(
    connection: Connection,
    test: Test,
    owns_namespace: bool,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).map_err(failed);
        (
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        )
    };
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        note("interrupted: removing what was made");
        let cleared = connection
            .open()
            .and_then(|cluster| clear(&cluster, &test, owns_namespace));
        if let Err(failure) = cleared {
            crate::report(&failure);
        }
        std::process::exit(Exit::Failed as i32);
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
        .map_err(failed)
}
