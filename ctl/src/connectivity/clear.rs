//! Removing what a test has made, at its end and on ^C.

use super::objects::{LABEL, Test};
use crate::cluster::{Cluster, Connection, refused::Asked, stored::Stored};
use console::failure::{Exit, Failure};
use console::note;
use crds::ForwarderObject;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams},
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeSet, fmt::Debug, pin::pin, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// Longest time for everything to be gone.
const CLEARING: Duration = Duration::from_secs(90);

pub(super) fn clear(cluster: &Cluster, test: &Test, owns_namespace: bool) -> Result<(), Failure> {
    let labelled = ListParams::default().labels(&format!("{LABEL}={}", test.topology));
    remove::<Pod>(cluster, test, &labelled)?;
    remove::<Stored>(cluster, test, &labelled)?;
    cluster.block_on(async {
        let gone = async {
            gone::<Pod>(cluster, &test.namespace, &labelled).await;
            gone::<ForwarderObject>(cluster, &test.namespace, &of_topology(test)).await;
        };
        let late =
            "probes or Forwarders of the test still exist; `beemesh check` lists the leftovers";
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
pub(super) fn clear_on_signal(
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
