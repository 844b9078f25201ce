//! Watches, one for each kind and namespace, for as long as the process lives.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ::telemetry::{Backoff, chain, jittered};
use crds::{TopologyObject, forwarder::TOPOLOGY_LABEL};
use futures::{Stream, StreamExt, future, pin_mut};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::{ApiResource, DynamicObject, DynamicResourceScope, ObjectMeta},
    runtime::watcher::{self, Event, InitialListStrategy, watcher},
};
use watches::{Revisions, watch_code};

use super::{
    Cache,
    cached::Cached,
    read::{self, NodeObject, PodObject},
    readiness::{KINDS, Kind, Source},
    sync::Listing,
};
use crate::{plan::Limits, telemetry::Metrics};

/// Time of one watch request: a connection that died unnoticed is noticed by then.
const WATCH_SECONDS: u32 = 120;
/// Page size of a list of objects as large as etcd takes, where lists are not streamed: a page is held decoded.
const PAGE: u32 = 50;
/// Time between two requests for the revision of the store.
const READING: Duration = Duration::from_secs(20);
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest pause: a recovered API server is watched again within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Namespaces that are watched (all when there are none), and what the administrator allows there.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Names of namespaces.
    pub namespaces: Vec<String>,
    /// Labels of the nodes that daemons run on, beside those of Linux.
    pub node_selector: BTreeMap<String, String>,
    /// Bounds that the administrator sets.
    pub limits: Limits,
}

impl Scope {
    pub(super) fn sources(&self) -> Vec<Source> {
        let of_kind = |kind: Kind| {
            let everywhere = !kind.is_namespaced() || self.namespaces.is_empty();
            let namespaces: Vec<Option<String>> = if everywhere {
                vec![None]
            } else {
                self.namespaces.iter().cloned().map(Some).collect()
            };
            namespaces
                .into_iter()
                .map(move |namespace| Source { kind, namespace })
        };
        KINDS.into_iter().flat_map(of_kind).collect()
    }
}

/// Keeps `cache` like what the API server has. Never returns; stop it by dropping it.
pub async fn run(cache: Cache, client: Client, metrics: Metrics, scope: Scope) {
    let revisions = Arc::<Revisions>::default();
    let watches = scope.sources().into_iter().map(|source| {
        let watcher = Watcher {
            cache: cache.clone(),
            metrics: metrics.clone(),
            source,
            revisions: Arc::clone(&revisions),
        };
        let client = client.clone();
        async move { watcher.run(client).await }
    });
    let api: Api<TopologyObject> = match scope.namespaces.first() {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let detector = revisions.detect(api, ListParams::default().limit(1), READING);
    future::join(future::join_all(watches), detector).await;
}

/// Keeps one watch up.
struct Watcher {
    cache: Cache,
    metrics: Metrics,
    source: Source,
    revisions: Arc<Revisions>,
}

impl Watcher {
    async fn run(&self, client: Client) {
        match self.source.kind {
            Kind::Topology => {
                let api = self.api(client, &ApiResource::erase::<crds::TopologyObject>(&()));
                let read = |object| Some(Cached::Topology(read::topology(object).into()));
                self.follow(|config| watcher(api.clone(), config), read)
                    .await;
            }
            Kind::Forwarder => {
                let api = self.api(client, &ApiResource::erase::<crds::ForwarderObject>(&()));
                let read = |object| Some(Cached::Forwarder(self.cache.decoded(object)));
                self.follow(|config| watcher(api.clone(), config), read)
                    .await;
            }
            Kind::Allocation => {
                let api = self.api(client, &ApiResource::erase::<crds::AllocationObject>(&()));
                let read = |object| Some(Cached::Allocation(read::allocation(object)));
                self.follow(|config| watcher(api.clone(), config), read)
                    .await;
            }
            Kind::VniRange => {
                let resource = ApiResource::erase::<crds::VniRangeObject>(&());
                let api: Api<DynamicObject> = Api::all_with(client, &resource);
                let read = |object| read::range(object).map(Cached::Range);
                self.follow(|config| watcher(api.clone(), config), read)
                    .await;
            }
            Kind::Node => {
                let api: Api<NodeObject> = Api::all_with(client, &ApiResource::erase::<Node>(&()));
                let read = |object| Some(Cached::Node(read::cached_node(object)));
                self.follow(|config| watcher(api.clone(), config), read)
                    .await;
            }
            Kind::Pod => {
                let api: Api<PodObject> = self.api(client, &ApiResource::erase::<Pod>(&()));
                let read = |object| read::pod(object).map(|pod| Cached::Pod(pod.into()));
                self.follow(|config| watcher(api.clone(), config), read)
                    .await;
            }
            Kind::Service => {
                let api: Api<Service> = self.typed(client);
                let read = |object| read::named(object).map(Cached::Service);
                self.follow(
                    |config| watcher(api.clone(), config.labels(TOPOLOGY_LABEL)),
                    read,
                )
                .await;
            }
            Kind::EndpointSlice => {
                let api: Api<EndpointSlice> = self.typed(client);
                let read = |object| read::named(object).map(Cached::EndpointSlice);
                self.follow(
                    |config| watcher(api.clone(), config.labels(TOPOLOGY_LABEL)),
                    read,
                )
                .await;
            }
        }
    }

    fn typed<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.source.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    fn api<K>(&self, client: Client, resource: &ApiResource) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        match &self.source.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        }
    }

    /// Watches for ever. An error that the stream cannot recover from starts a new watch.
    async fn follow<K, S>(
        &self,
        watch: impl Fn(watcher::Config) -> S,
        read: impl Fn(K) -> Option<Cached>,
    ) where
        K: Resource,
        S: Stream<Item = watcher::Result<Event<K>>>,
    {
        let mut strategy = InitialListStrategy::StreamingList;
        let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        loop {
            let config = watcher::Config {
                timeout: Some(WATCH_SECONDS),
                initial_list_strategy: strategy.clone(),
                page_size: match self.source.kind {
                    Kind::Topology | Kind::Forwarder | Kind::Allocation => Some(PAGE),
                    _ => watcher::Config::default().page_size,
                },
                ..watcher::Config::default()
            };
            let events = watch(config);
            pin_mut!(events);
            let mut listing = None;
            let mut restored = self.revisions.restored();
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    // A watch from a version that is yet to come says nothing: it begins with a list.
                    _ = restored.changed() => None,
                };
                let Some(event) = event else { break };
                let error = match event {
                    Ok(event) => {
                        self.take(event, &mut listing, &read);
                        continue;
                    }
                    Err(error) => error,
                };
                let code = watch_code(&error);
                let is_missing = code == Some(404);
                self.revisions.failed();
                self.cache.failed(&self.source, is_missing, chain(&error));
                self.metrics.watch_restarted(self.source.kind.object());
                let delay = jittered(backoff.failed_at(Instant::now()));
                tracing::debug!(kind = %self.source.kind, error = %chain(&error), ?delay, "watch failed");
                tokio::time::sleep(delay).await;
                if listing.is_some() && refuses_streaming(code) {
                    strategy = InitialListStrategy::ListWatch;
                    break;
                }
                if is_missing {
                    break;
                }
            }
        }
    }

    fn take<K: Resource>(
        &self,
        event: Event<K>,
        listing: &mut Option<Listing>,
        read: impl Fn(K) -> Option<Cached>,
    ) {
        if let Event::InitApply(object) | Event::Apply(object) = &event {
            self.revisions.note(object.meta());
        }
        match event {
            Event::Init => *listing = Some(self.cache.begin(&self.source)),
            Event::InitApply(object) => {
                let metadata = metadata(&object);
                let held = read(object);
                self.cache
                    .put(&self.source, &metadata, held, listing.as_mut());
            }
            Event::InitDone => {
                if let Some(listing) = listing.take() {
                    self.cache.complete(&self.source, &listing);
                }
            }
            Event::Apply(object) => {
                let metadata = metadata(&object);
                self.cache.put(&self.source, &metadata, read(object), None);
            }
            Event::Delete(object) => {
                self.cache.put(&self.source, &metadata(&object), None, None);
            }
        }
    }
}

/// Identity and resourceVersion of an object.
fn metadata<K: Resource>(object: &K) -> ObjectMeta {
    ObjectMeta {
        namespace: object.meta().namespace.clone(),
        name: object.meta().name.clone(),
        resource_version: object.meta().resource_version.clone(),
        ..ObjectMeta::default()
    }
}

/// Servers before 1.32, and those on an old etcd, do not stream lists and say so in these ways.
fn refuses_streaming(code: Option<u16>) -> bool {
    matches!(code, Some(400 | 422 | 500))
}
