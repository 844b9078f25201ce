//! Cached objects of the API server, as values: one watch for each kind, trimmed before it is
//! stored.
//!
//! ```text
//! watch (8 kinds) -> read (objects to values) -> State (indices) -> Observed of one topology
//!                                                  |
//!                                                  +-> queues: topologies and Forwarders to reconcile
//! ```
//! Answers to our own writes go the same way ([`Cache::learn_forwarder`] and its like), so that the next step of
//! a plan need not wait for the watch.

mod cached;
mod index;
mod interest;
mod names;
mod orphans;
mod publish;
mod read;
mod readiness;
mod state;
mod sync;
mod watching;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crds::{MicroServiceTopology, Problem, TopologyStatus, allocation::shards::Shard};
use kube::core::DynamicObject;
use tokio::{sync::watch, time::Instant};
use watches::Queue;

pub(crate) use self::read::{
    existing_allocation, existing_forwarder, name_of_range, node as read_node, shards_of,
    topology as read_topology,
};
use self::state::State;
pub use self::{
    cached::{CachedForwarder, CachedRange},
    orphans::Orphan,
    readiness::{KINDS, Kind, Readiness},
    sync::{ForwarderKey, Stores, TopologyKey},
    watching::{Scope, run},
};
use crate::plan::{Computed, Observed, Versions, names::NamesWorld};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kubernetes namespace.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// A key of these two.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A topology as it is stored, and what became of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its namespace and name.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// True while it is being deleted.
    pub is_going: bool,
    /// The object as the API server has it, without `managedFields` and `status`.
    pub object: Arc<DynamicObject>,
    /// The declaration, where it can be read.
    pub topology: Option<Arc<MicroServiceTopology>>,
    /// Fields of the declaration that this version does not have.
    pub ignored: Vec<String>,
    /// Problems that make the object undecodable, or rejected by the last plan.
    pub problems: Vec<Problem>,
    /// Computed topology; that of the last accepted declaration while this one is rejected.
    pub computed: Option<Arc<Computed>>,
    /// Current status.
    pub status: TopologyStatus,
    /// Time when this generation was first observed.
    pub seen: Instant,
}

/// Cache of all observed objects. Clones share it.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    state: RwLock<State>,
    stores: Stores,
    /// Topologies to reconcile.
    topologies: Queue<Key>,
    /// Forwarder objects whose `status.computed` is to be reconciled.
    forwarders: Queue<Key>,
    /// Topologies whose names are to be reconciled.
    names: Queue<Key>,
    /// Topologies whose NetworkAttachmentDefinition is to be reconciled.
    definitions: Queue<Key>,
    /// Signal that an object may have lost its owner.
    sweep: Queue<()>,
    /// True after everything has been listed once.
    is_complete: watch::Sender<bool>,
    /// Name of this replica: replicas do not all act at once.
    replica: String,
}

impl Cache {
    /// An empty cache of the replica of this name.
    pub fn new(scope: &Scope, replica: &str) -> Cache {
        let mut state = State::new(scope.sources());
        state.node_selector.clone_from(&scope.node_selector);
        state.limits = scope.limits;
        Cache {
            inner: Arc::new(Inner {
                state: RwLock::new(state),
                stores: Stores::default(),
                topologies: Queue::default(),
                forwarders: Queue::default(),
                names: Queue::default(),
                definitions: Queue::default(),
                sweep: Queue::default(),
                is_complete: watch::Sender::new(false),
                replica: replica.to_owned(),
            }),
        }
    }

    /// Every topology, sorted by namespace and name.
    pub fn topologies(&self) -> Vec<Arc<Entry>> {
        self.state().topologies().cloned().collect()
    }

    /// One topology.
    pub fn topology(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.state().topology(&Key::new(namespace, name)).cloned()
    }

    /// Numbers of cached objects, by kind.
    pub fn sizes(&self) -> Vec<(Kind, usize)> {
        let state = self.state();
        KINDS
            .into_iter()
            .map(|kind| (kind, state.size(kind)))
            .collect()
    }

    /// Numbers of queued objects, by kind.
    pub fn waiting(&self) -> [(Kind, usize); 2] {
        [
            (Kind::Topology, self.inner.topologies.len()),
            (Kind::Forwarder, self.inner.forwarders.len()),
        ]
    }

    /// The Forwarder objects of a topology, sorted by object name.
    pub fn forwarders(&self, topology: &Key) -> Vec<Arc<CachedForwarder>> {
        self.state().forwarders(topology).cloned().collect()
    }

    /// All that the names of a topology are made from; `None` when it is gone or going.
    pub fn names(&self, topology: &Key) -> Option<NamesWorld> {
        self.state().names(topology)
    }

    /// Readiness of each kind, in the order of [`KINDS`]: for `/readyz?verbose`.
    pub fn readiness(&self) -> Vec<Readiness> {
        self.state().readiness.report()
    }

    /// True when every kind has been listed and can be watched.
    pub fn is_synced(&self) -> bool {
        self.readiness().iter().all(|kind| kind.is_ready)
    }

    /// All that concerns one topology, for a plan; `None` when it is gone or cannot be read.
    pub fn observed(&self, key: &Key) -> Option<Observed> {
        self.state().observed(key)
    }

    /// The same with `topology` in the place of what is applied there, if anything is.
    pub fn proposed(&self, key: &Key, topology: &Arc<MicroServiceTopology>) -> Observed {
        self.state().proposed(key, topology)
    }

    /// True when an allocation object, head or shard, is cached.
    pub(crate) fn has_allocation(&self, key: &Key) -> bool {
        self.state().allocations.contains_key(key)
    }

    /// A shard of the allocation of the topology with this uid.
    pub(crate) fn shard(&self, topology: &Key, name: &str, uid: &str) -> Option<Shard> {
        self.state().shard(topology, name, uid)
    }

    /// Newest versions that the watches have delivered.
    pub fn heard(&self) -> Versions {
        self.state().heard()
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        // A panic while it was held leaves whole values behind: each is replaced at once.
        self.inner
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.inner
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
