//! Watches of the API server, one for each table, for as long as the daemon runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope};
use kube::runtime::watcher::{self, Event, InitialListStrategy, ListSemantic, watcher};
use kube::{Api, Client, Resource};
use telemetry::jittered;
use tokio::task::JoinHandle;
use watches::watch_code;

use super::Shared;
use super::client::BEGINNING;
use super::health::{Backoff, chain};
use super::read::{self, WireNode, WirePod};
use super::store::{Feed, Listing, Read, Update};
use crds::TopologyKey;

/// Timeout of one watch request: a dead connection is noticed by then.
const WATCH_SECONDS: u32 = 120;
/// Time without an event after which a watch counts as working: one that cannot start fails sooner.
const QUIET: Duration = Duration::from_secs(BEGINNING.as_secs() + 5);
/// Page size of a list: a page is held in memory as a whole, decoded.
const PAGE: u32 = 100;
/// The same of Forwarders, which may be as large as etcd takes, and of several topologies at once.
const FORWARDERS: u32 = 20;
/// Timeout of one page: a connection that dies in the middle is noticed by then.
const LISTING: Duration = Duration::from_secs(WATCH_SECONDS as u64);
/// Time between two requests for the revision of the store; between half of it and all of it.
const READING: Duration = Duration::from_secs(120);

/// Synchronises every table with the API server. Never returns; dropping it ends the watches.
pub(super) async fn run(shared: Arc<Shared>, client: Client) {
    let mut restored = shared.revisions.restored();
    // One key of the store.
    let own = ListParams::default().fields(&format!("metadata.name={}", shared.node));
    let nodes = Api::<Node>::all(client.clone());
    let detector = shared.revisions.detect(nodes, own, jittered(READING));
    pin_mut!(detector);
    let mut watches = Watches::all(&shared, &client);
    loop {
        let networks = shared.store().networks();
        watches.keep(&networks, &shared);
        for network in networks {
            if !watches.networks.contains_key(&network) {
                watches.start(&shared, &client, Feed::Network(network));
            }
        }
        tokio::select! {
            () = shared.networks_changed.notified() => {}
            () = &mut detector => {}
            // A list is the truth, also when its versions are lower.
            _ = restored.changed() => watches = Watches::all(&shared, &client),
        }
    }
}

#[derive(Default)]
struct Watches {
    always: Vec<Task>,
    networks: BTreeMap<TopologyKey, Task>,
}

/// Task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watches {
    /// The watches of every node.
    fn all(shared: &Arc<Shared>, client: &Client) -> Watches {
        let mut watches = Watches::default();
        for feed in [Feed::Own, Feed::Topologies, Feed::Nodes, Feed::Pods] {
            watches.start(shared, client, feed);
        }
        watches
    }

    /// Ends the watches of other networks.
    fn keep(&mut self, networks: &BTreeSet<TopologyKey>, shared: &Shared) {
        let others = self.networks.extract_if(.., |it, _| !networks.contains(it));
        for (network, task) in others {
            // The task ends before its failure is forgotten.
            drop(task);
            shared.health.forget(&Feed::Network(network).to_string());
        }
    }

    fn start(&mut self, shared: &Arc<Shared>, client: &Client, feed: Feed) {
        let watch = Watch {
            shared: Arc::clone(shared),
            what: feed.to_string(),
            feed: feed.clone(),
        };
        let task = Task(tokio::spawn(watch.run(client.clone())));
        match feed {
            Feed::Network(network) => drop(self.networks.insert(network, task)),
            _ => self.always.push(task),
        }
    }
}

/// Watch of one table.
struct Watch {
    shared: Arc<Shared>,
    feed: Feed,
    what: String,
}

impl Watch {
    async fn run(self, client: Client) {
        let node = self.shared.node.clone();
        let forwarders = ApiResource::erase::<crds::ForwarderObject>(&());
        match &self.feed {
            Feed::Own => {
                let api = all::<DynamicObject>(client, &forwarders);
                let selector = Some(format!("spec.node={node}"));
                self.follow(api, selector, |object| read::own(&object))
                    .await;
            }
            Feed::Network(TopologyKey {
                namespace,
                topology,
            }) => {
                let api = Api::<DynamicObject>::namespaced_with(client, namespace, &forwarders);
                let selector = Some(format!("spec.topology={topology}"));
                let read = |object| match read::forwarder(object, &node) {
                    Read::Item(item) => Read::Item(item.sharing(&mut self.shared.cache.values())),
                    other => other,
                };
                self.follow(api, selector, read).await;
            }
            Feed::Topologies => {
                let resource = ApiResource::erase::<crds::TopologyObject>(&());
                let api = all::<DynamicObject>(client, &resource);
                self.follow(api, None, read::topology).await;
            }
            Feed::Nodes => {
                let api = all::<WireNode>(client, &ApiResource::erase::<Node>(&()));
                self.follow(api, None, read::node).await;
            }
            Feed::Pods => {
                let api = all::<WirePod>(client, &ApiResource::erase::<Pod>(&()));
                let selector = Some(format!("spec.nodeName={node}"));
                self.follow(api, selector, read::pod).await;
            }
        }
    }

    /// Watches for ever. An error that the stream cannot recover from starts a new watch.
    async fn follow<K>(&self, api: Api<K>, selector: Option<String>, read: impl Fn(K) -> Read)
    where
        K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    {
        let config = watcher::Config {
            field_selector: selector,
            timeout: Some(WATCH_SECONDS),
            page_size: match self.feed {
                Feed::Network(_) => Some(FORWARDERS),
                _ => Some(PAGE),
            },
            // An object missing from a list is gone. A streamed list may be outdated.
            initial_list_strategy: InitialListStrategy::ListWatch,
            list_semantic: ListSemantic::MostRecent,
            ..watcher::Config::default()
        };
        let mut backoff = Backoff::default();
        loop {
            let events = watcher(api.clone(), config.clone());
            self.take_all(events, &read, &mut backoff).await;
        }
    }

    /// Handles events until the watch has to be started again.
    async fn take_all<K: Resource>(
        &self,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        read: &impl Fn(K) -> Read,
        backoff: &mut Backoff,
    ) {
        pin_mut!(events);
        let mut listing = None;
        loop {
            let patience = if listing.is_some() { LISTING } else { QUIET };
            let (code, error) = match tokio::time::timeout(patience, events.next()).await {
                // No event, and no failure.
                Err(_) if listing.is_none() => {
                    self.shared.health.succeeded(&self.what);
                    continue;
                }
                Err(_) => {
                    let error = "a list does not end";
                    self.shared.health.unheard(&self.what, None, error);
                    return;
                }
                Ok(Some(Ok(event))) => {
                    self.take(event, &mut listing, read);
                    continue;
                }
                Ok(Some(Err(error))) => (watch_code(&error), chain(&error)),
                Ok(None) => return,
            };
            // An expired resource version (410) is how a new list begins.
            if code != Some(410) {
                self.shared.revisions.failed();
                self.shared.health.unheard(&self.what, code, &error);
            }
            tokio::time::sleep(backoff.next() + self.shared.pace.alone()).await;
            if code == Some(404) {
                return;
            }
        }
    }

    fn take<K: Resource>(
        &self,
        event: Event<K>,
        listing: &mut Option<Listing>,
        read: &impl Fn(K) -> Read,
    ) {
        let (shared, feed) = (&self.shared, &self.feed);
        if let Event::InitApply(object) | Event::Apply(object) = &event {
            shared.revisions.note(object.meta());
        }
        match event {
            Event::Init => *listing = Some(Listing::new()),
            Event::InitApply(object) => {
                let key = self.key(&object);
                if let Some(listing) = listing {
                    listing.insert(key, read(object));
                }
            }
            Event::InitDone => {
                if let Some(listing) = listing.take() {
                    shared.take(feed, Update::Whole(listing));
                }
                shared.health.succeeded(&self.what);
            }
            Event::Apply(object) => {
                let key = self.key(&object);
                shared.take(feed, Update::One(key, read(object)));
                shared.health.succeeded(&self.what);
            }
            Event::Delete(object) => {
                let key = self.key(&object);
                shared.take(feed, Update::One(key, Read::Nothing));
                shared.health.succeeded(&self.what);
            }
        }
    }

    /// Key of an object. Pods are identified by uid: a new pod may have the name of an earlier one.
    fn key<K: Resource>(&self, object: &K) -> String {
        match &self.feed {
            Feed::Pods => object.meta().uid.clone().unwrap_or_default(),
            _ => read::key(object.meta()),
        }
    }
}

fn all<K>(client: Client, resource: &ApiResource) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    Api::all_with(client, resource)
}
