//! Into the cache and out of it into the queues of the controllers.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crds::{ForwarderObject, TopologyObject};
use futures::{Stream, stream};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    core::{DynamicObject, ObjectMeta, PartialObjectMeta, PartialObjectMetaExt},
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};

use watches::Queue;

use super::{
    Cache, Entry, Inner, Key,
    cached::{Cached, CachedForwarder},
    orphans::Orphan,
    read,
    readiness::{KINDS, Kind, Source},
    state::Concerned,
};
use crate::plan::{Computed, Plan};

/// Reduced object for the topology controller: name and namespace only.
pub type TopologyKey = PartialObjectMeta<TopologyObject>;
/// Reduced object for the Forwarder controller: name and namespace only.
pub type ForwarderKey = PartialObjectMeta<ForwarderObject>;

/// A change waits at least so long, so that others that come with it are dealt with at once.
const GATHER: Duration = Duration::from_millis(10);
/// The longest that a replica leaves a change to the others.
const STAGGER_MAX_MS: u64 = 250;
/// Time between two writes of `status.computed` of one topology.
const PACE: Duration = Duration::from_millis(20);
/// Time for which objects without an owner are left to the cluster's own garbage collector.
const SWEEP: Duration = Duration::from_secs(1);

/// Stores of existing objects, as kube's `applier` needs them.
#[derive(Default)]
pub struct Stores {
    topologies: Mutex<Writer<TopologyKey>>,
    forwarders: Mutex<Writer<ForwarderKey>>,
}

impl Stores {
    pub(super) fn topologies(&self) -> Store<TopologyKey> {
        lock(&self.topologies).as_reader()
    }

    pub(super) fn forwarders(&self) -> Store<ForwarderKey> {
        lock(&self.forwarders).as_reader()
    }

    /// Controllers wait for this one.
    fn fill(&self, topologies: &[Key], forwarders: &[Key]) {
        fill(&self.topologies, topologies);
        fill(&self.forwarders, forwarders);
    }

    fn note(&self, kind: Kind, key: &Key, is_there: bool) {
        match kind {
            Kind::Topology => note(&self.topologies, key, is_there),
            Kind::Forwarder => note(&self.forwarders, key, is_there),
            Kind::Allocation | Kind::VniRange | Kind::Node | Kind::Pod => {}
            Kind::Service | Kind::EndpointSlice => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity<K>(key: &Key) -> PartialObjectMeta<K> {
    let metadata = ObjectMeta {
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        ..ObjectMeta::default()
    };
    metadata.into_response_partial()
}

fn fill<K>(writer: &Mutex<Writer<PartialObjectMeta<K>>>, keys: &[Key])
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let mut writer = lock(writer);
    writer.apply_watcher_event(&Event::Init);
    for key in keys {
        writer.apply_watcher_event(&Event::InitApply(identity(key)));
    }
    writer.apply_watcher_event(&Event::InitDone);
}

fn note<K>(writer: &Mutex<Writer<PartialObjectMeta<K>>>, key: &Key, is_there: bool)
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let event = if is_there {
        Event::Apply
    } else {
        Event::Delete
    };
    lock(writer).apply_watcher_event(&event(identity(key)));
}

/// List of one watch while it is being received.
#[derive(Default)]
pub(super) struct Listing {
    seen: HashSet<Key>,
    /// The newest change of any kind when it began.
    began: u64,
}

impl Cache {
    /// A list begins.
    pub(super) fn begin(&self, source: &Source) -> Listing {
        let mut state = self.state_mut();
        let began = state.newest();
        state.relist(source);
        Listing {
            began,
            ..Listing::default()
        }
    }

    /// Stores an event of a watch; within a list, `listing` collects the objects.
    pub(super) fn put(
        &self,
        source: &Source,
        metadata: &ObjectMeta,
        held: Option<Cached>,
        listing: Option<&mut Listing>,
    ) {
        let (key, version) = (read::key(metadata), read::version(metadata));
        let concerned = {
            let mut state = self.state_mut();
            state.readiness.heard(source);
            match held {
                Some(held) => state.put(&key, held, version),
                None => state.remove(source.kind, &key, version),
            }
        };
        if let Some(listing) = listing {
            listing.seen.insert(key.clone());
        }
        self.follow(source.kind, &key, concerned);
    }

    /// Completes a list: objects that it does not name are removed.
    pub(super) fn complete(&self, source: &Source, listing: &Listing) {
        let held = self.state().keys(source.kind, source.namespace.as_deref());
        for key in held.iter().filter(|key| !listing.seen.contains(key)) {
            let concerned = self.state_mut().forget(source.kind, key);
            self.follow(source.kind, key, concerned);
        }
        let mut state = self.state_mut();
        state.readiness.heard(source);
        state.listed_since(source.kind, listing.began);
        if state.readiness.listed(source) {
            // All lists began together, before anything could be written from one of them.
            let newest = state.newest();
            KINDS
                .iter()
                .for_each(|kind| state.listed_since(*kind, newest));
            let topologies = state.keys(Kind::Topology, None);
            let forwarders = state.keys(Kind::Forwarder, None);
            self.inner.stores.fill(&topologies, &forwarders);
            self.inner.is_complete.send_replace(true);
            self.inner.sweep.push((), SWEEP);
        }
    }

    /// Waits until everything has been listed once.
    pub async fn until_complete(&self) {
        // Stores of kube wake only one of those that wait for them: the controllers.
        let mut is_complete = self.inner.is_complete.subscribe();
        // The sender lives as long as the cache.
        let _ = is_complete.wait_for(|is_complete| *is_complete).await;
    }

    /// A watch failed and is tried again.
    pub(super) fn failed(&self, source: &Source, is_missing: bool, error: String) {
        let mut state = self.state_mut();
        state.readiness.failed(source, is_missing, error);
    }

    /// Takes the answer to a write of a topology's status.
    pub fn learn_topology(&self, object: DynamicObject) {
        let metadata = object.metadata.clone();
        let held = Cached::Topology(Arc::new(read::topology(object)));
        self.learn(&metadata, held);
    }

    /// Takes the answer to a write, or a reading, of a Forwarder, and returns it.
    pub fn learn_forwarder(&self, object: DynamicObject) -> Arc<CachedForwarder> {
        let metadata = object.metadata.clone();
        let held = self.decoded(object);
        self.learn(&metadata, Cached::Forwarder(Arc::clone(&held)));
        held
    }

    /// A decoded Forwarder, without a copy of what others have too.
    pub(super) fn decoded(&self, object: DynamicObject) -> Arc<CachedForwarder> {
        let mut held = read::forwarder(object);
        self.state_mut().share(&mut held);
        Arc::new(held)
    }

    /// Takes the answer to a write of an Allocation.
    pub fn learn_allocation(&self, object: DynamicObject) {
        let metadata = object.metadata.clone();
        self.learn(&metadata, Cached::Allocation(read::allocation(object)));
    }

    /// Takes the answer to a write, or a reading, of a VniRange.
    pub fn learn_range(&self, object: DynamicObject) {
        let metadata = object.metadata.clone();
        if let Some(range) = read::range(object) {
            self.learn(&metadata, Cached::Range(range));
        }
    }

    /// Takes the answer to a write, or a reading, of a Service.
    pub fn learn_service(&self, object: Service) {
        let metadata = object.metadata.clone();
        if let Some(object) = read::named(object) {
            self.learn(&metadata, Cached::Service(object));
        }
    }

    /// Takes the answer to a write of an EndpointSlice.
    pub fn learn_slice(&self, object: EndpointSlice) {
        let metadata = object.metadata.clone();
        if let Some(object) = read::named(object) {
            self.learn(&metadata, Cached::EndpointSlice(object));
        }
    }

    fn learn(&self, metadata: &ObjectMeta, held: Cached) {
        let (key, version) = (read::key(metadata), read::version(metadata));
        let kind = held.kind();
        let mut concerned = self.state_mut().learn(&key, held, version);
        // Whoever wrote it goes on with it at once.
        concerned.topologies.clear();
        if matches!(kind, Kind::Service | Kind::EndpointSlice) {
            concerned.names.clear();
        }
        self.follow(kind, &key, concerned);
    }

    /// Takes the end of the object with this uid, which we deleted.
    pub fn unlearn(&self, kind: Kind, key: &Key, uid: &str) {
        let concerned = self.state_mut().unlearn(kind, key, uid);
        if let Some(mut concerned) = concerned {
            // Whoever deleted it goes on at once.
            concerned.topologies.clear();
            self.follow(kind, key, concerned);
        }
    }

    /// Stores the findings of a plan of the topology with this uid, and queues its tables for publication.
    pub fn record(&self, key: &Key, uid: &str, plan: &Plan, computed: Option<Arc<Computed>>) {
        let to_publish = self.state_mut().record(key, uid, plan, computed);
        for (position, object) in to_publish.into_iter().enumerate() {
            let turn = u32::try_from(position).unwrap_or(u32::MAX);
            self.inner
                .forwarders
                .push(object, PACE.saturating_mul(turn));
        }
    }

    /// One topology.
    pub fn entry(&self, key: &Key) -> Option<Arc<Entry>> {
        self.state().topology(key).cloned()
    }

    /// Computed table to publish for a Forwarder, and the object that it was compared with; `None`
    /// when it is published already.
    pub fn to_publish(
        &self,
        key: &Key,
    ) -> Option<(Arc<CachedForwarder>, crds::forwarder::Computed)> {
        self.state().to_publish(key)
    }

    /// Objects whose topology is not there any more.
    pub fn orphans(&self) -> Vec<Orphan> {
        self.state().orphans()
    }

    /// Looks at a topology again after `delay`.
    pub fn requeue(&self, key: &Key, delay: Duration) {
        self.inner.topologies.push(key.clone(), delay);
    }

    /// Topologies to reconcile.
    pub fn due_topologies(&self) -> impl Stream<Item = ObjectRef<TopologyKey>> + Send + use<> {
        self.due(|inner| &inner.topologies)
    }

    /// Forwarders to reconcile.
    pub fn due_forwarders(&self) -> impl Stream<Item = ObjectRef<ForwarderKey>> + Send + use<> {
        self.due(|inner| &inner.forwarders)
    }

    /// Topologies whose names are to be reconciled.
    pub fn due_names(&self) -> impl Stream<Item = ObjectRef<TopologyKey>> + Send + use<> {
        self.due(|inner| &inner.names)
    }

    /// Topologies whose NetworkAttachmentDefinition is to be reconciled.
    pub fn due_definitions(&self) -> impl Stream<Item = ObjectRef<TopologyKey>> + Send + use<> {
        self.due(|inner| &inner.definitions)
    }

    fn due<K>(
        &self,
        queue: fn(&Inner) -> &Queue<Key>,
    ) -> impl Stream<Item = ObjectRef<PartialObjectMeta<K>>> + Send + use<K>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        stream::unfold(Arc::clone(&self.inner), move |inner| async move {
            let key = queue(&inner).next().await;
            let object = ObjectRef::new(&key.name).within(&key.namespace);
            Some((object, inner))
        })
    }

    /// Waits until something may have lost its owner.
    pub async fn next_sweep(&self) {
        self.inner.sweep.next().await;
    }

    /// Sweeps again after `delay`.
    pub fn requeue_sweep(&self, delay: Duration) {
        self.inner.sweep.push((), delay);
    }

    /// Store of topologies for kube's `applier`; empty until everything is listed.
    pub fn topology_store(&self) -> Store<TopologyKey> {
        self.inner.stores.topologies()
    }

    /// Store of Forwarders for kube's `applier`; empty until everything is listed.
    pub fn forwarder_store(&self) -> Store<ForwarderKey> {
        self.inner.stores.forwarders()
    }

    fn follow(&self, kind: Kind, key: &Key, concerned: Concerned) {
        let is_there = match kind {
            Kind::Topology => self.state().topology(key).is_some(),
            Kind::Forwarder => self.state().forwarder(key).is_some(),
            Kind::Allocation | Kind::VniRange | Kind::Node | Kind::Pod => true,
            Kind::Service | Kind::EndpointSlice => true,
        };
        self.inner.stores.note(kind, key, is_there);
        let waiting = concerned
            .has_room
            .then(|| self.state().claims.waiting.clone());
        for topology in concerned
            .topologies
            .into_iter()
            .chain(waiting.into_iter().flatten())
        {
            let delay = GATHER + self.stagger(&topology);
            self.inner.topologies.push(topology, delay);
        }
        for forwarder in concerned.forwarders {
            let delay = GATHER + self.stagger(&forwarder);
            self.inner.forwarders.push(forwarder, delay);
        }
        for topology in concerned.names {
            let delay = GATHER + self.stagger(&topology);
            self.inner.names.push(topology, delay);
        }
        for topology in concerned.definitions {
            let delay = GATHER + self.stagger(&topology);
            self.inner.definitions.push(topology, delay);
        }
        if concerned.sweep {
            self.inner.sweep.push((), SWEEP);
        }
    }

    /// Delay with which this replica handles a change of `key`, so that others may be first.
    fn stagger(&self, key: &Key) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.inner.replica, key).hash(&mut hasher);
        Duration::from_millis(hasher.finish() % STAGGER_MAX_MS)
    }
}
