//! An API server in memory: uids, resourceVersions, conflicts, unique names, and every past state for caches
//! that lag behind.

use std::{collections::BTreeMap, rc::Rc};

use crds::{
    AllocationSpec, ForwarderSpec, MicroServiceTopology, Node,
    allocation::{VniRangeSpec, shards::Shard},
    names,
};
use operator::plan::{Basis, Delete, Fill, Limits, Pod, Versions};

/// An object, as far as all kinds are alike.
#[derive(Clone, Debug)]
pub(crate) struct Object<S> {
    pub(crate) uid: String,
    pub(crate) version: u64,
    /// uid of the topology that owns it; its own for a topology.
    pub(crate) owner: String,
    pub(crate) is_going: bool,
    pub(crate) spec: S,
    /// `metadata.generation`, or the revision annotation of a Forwarder.
    pub(crate) number: u64,
    /// The annotation of the plan that it was written from.
    pub(crate) basis: Basis,
}

pub(crate) type Kind<S> = Rc<BTreeMap<String, Object<S>>>;

/// All objects at one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) topologies: Kind<MicroServiceTopology>,
    pub(crate) forwarders: Kind<ForwarderSpec>,
    pub(crate) allocations: Kind<AllocationSpec>,
    pub(crate) ranges: Kind<VniRangeSpec>,
    pub(crate) nodes: Kind<Node>,
    pub(crate) pods: Kind<Pod>,
    /// Revisions in which a node and a pod changed last.
    pub(crate) last: Versions,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    AlreadyExists,
    Conflict,
    NotFound,
}

/// The server: the present state and all that were.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) history: Vec<State>,
    uids: u64,
    /// Calls that changed something.
    pub(crate) writes: u64,
    /// Size from which allocations are written in shards.
    pub(crate) shard_bytes: usize,
}

/// Up to which revision a replica has seen each kind: topologies, Forwarders, allocations, ranges, nodes,
/// pods.
pub(crate) type Seen = [usize; 6];

impl Server {
    pub(crate) fn new() -> Server {
        let history = vec![State::default()];
        Server {
            history,
            uids: 0,
            writes: 0,
            shard_bytes: Limits::default().shard_bytes,
        }
    }

    /// One that has always been in this state.
    pub(crate) fn of(state: State) -> Server {
        let history = vec![state];
        Server {
            history,
            uids: 0,
            writes: 0,
            shard_bytes: Limits::default().shard_bytes,
        }
    }

    pub(crate) fn now(&self) -> &State {
        self.history.last().expect("there is a first state")
    }

    /// The revision that a watch would have told everything of.
    pub(crate) fn revision(&self) -> usize {
        self.history.len() - 1
    }

    fn commit(&mut self, change: impl FnOnce(&mut State, u64)) {
        let mut state = self.now().clone();
        change(&mut state, self.history.len() as u64);
        self.history.push(state);
        self.writes += 1;
    }

    fn object<S>(&mut self, owner: &str, spec: S) -> Object<S> {
        self.uids += 1;
        Object {
            // Not in the order of creation, as real ones.
            uid: format!(
                "{:04x}-{}",
                self.uids.wrapping_mul(40_503) % 65_521,
                self.uids
            ),
            version: self.history.len() as u64,
            owner: owner.to_owned(),
            is_going: false,
            spec,
            number: 1,
            basis: Basis::default(),
        }
    }

    /// Creates a topology, or replaces its spec.
    pub(crate) fn apply_topology(&mut self, topology: MicroServiceTopology) {
        let name = topology.metadata.name.clone();
        if let Some(known) = self.now().topologies.get(&name) {
            if known.spec == topology {
                return;
            }
            return self.commit(|state, version| {
                let topologies = Rc::make_mut(&mut state.topologies);
                let known = topologies.get_mut(&name).expect("seen above");
                (known.spec, known.version, known.number) = (topology, version, known.number + 1);
            });
        }
        let mut object = self.object("", topology);
        object.owner.clone_from(&object.uid);
        self.commit(|state, _| drop(Rc::make_mut(&mut state.topologies).insert(name, object)));
    }

    pub(crate) fn delete_topology(&mut self, name: &str) {
        if self.now().topologies.contains_key(name) {
            self.commit(|state, _| drop(Rc::make_mut(&mut state.topologies).remove(name)));
        }
    }

    /// Adds or relabels a node, or removes it.
    pub(crate) fn set_node(&mut self, name: &str, node: Option<Node>) {
        if self.now().nodes.get(name).map(|object| &object.spec) == node.as_ref() {
            return;
        }
        let object = node.map(|node| self.object("", node));
        self.commit(|state, version| {
            let nodes = Rc::make_mut(&mut state.nodes);
            match object {
                Some(object) => drop(nodes.insert(name.to_owned(), object)),
                None => drop(nodes.remove(name)),
            }
            state.last.nodes = version;
        });
    }

    /// Adds or moves a pod, or removes it.
    pub(crate) fn set_pod(&mut self, name: &str, pod: Option<Pod>) {
        if self.now().pods.get(name).map(|object| &object.spec) == pod.as_ref() {
            return;
        }
        let object = pod.map(|pod| self.object("", pod));
        self.commit(|state, version| {
            let pods = Rc::make_mut(&mut state.pods);
            match object {
                Some(object) => drop(pods.insert(name.to_owned(), object)),
                None => drop(pods.remove(name)),
            }
            state.last.pods = version;
        });
    }

    pub(crate) fn create_forwarder(
        &mut self,
        topology: &str,
        owner: &str,
        forwarder: &str,
    ) -> Result<(), Refused> {
        let name = names::object(topology, forwarder);
        if self.now().forwarders.contains_key(&name) {
            return Err(Refused::AlreadyExists);
        }
        let bare = ForwarderSpec {
            topology: topology.to_owned(),
            name: forwarder.to_owned(),
            ..ForwarderSpec::default()
        };
        let object = Object {
            number: 0,
            ..self.object(owner, bare)
        };
        self.commit(|state, _| drop(Rc::make_mut(&mut state.forwarders).insert(name, object)));
        Ok(())
    }

    pub(crate) fn fill_forwarder(&mut self, fill: &Fill) -> Result<(), Refused> {
        let known = self
            .now()
            .forwarders
            .get(&fill.object)
            .ok_or(Refused::NotFound)?;
        if known.uid != fill.uid || known.version.to_string() != fill.resource_version {
            return Err(Refused::Conflict);
        }
        let (new, old) = (fill.basis, known.basis);
        assert!(
            new.generation >= old.generation && new.versions.covers(old.versions),
            "{}: a plan from {new} overwrites one from {old}",
            fill.object
        );
        self.commit(|state, version| {
            let forwarders = Rc::make_mut(&mut state.forwarders);
            let known = forwarders.get_mut(&fill.object).expect("seen above");
            (known.spec, known.number, known.version) = (fill.spec.clone(), fill.revision, version);
            known.basis = fill.basis;
        });
        Ok(())
    }

    /// Someone writes another revision onto a Forwarder.
    pub(crate) fn annotate(&mut self, object: &str, revision: u64) {
        self.commit(|state, version| {
            let forwarders = Rc::make_mut(&mut state.forwarders);
            let known = forwarders.get_mut(object).expect("it is there");
            (known.number, known.version) = (revision, version);
        });
    }

    /// Someone edits the allocation.
    pub(crate) fn edit_allocation(
        &mut self,
        topology: &str,
        edit: impl FnOnce(&mut AllocationSpec),
    ) {
        self.commit(|state, version| {
            let allocations = Rc::make_mut(&mut state.allocations);
            let known = allocations.get_mut(topology).expect("it is there");
            edit(&mut known.spec);
            known.version = version;
        });
    }

    /// Deletes a Forwarder; with `lingers` it only begins to go, as with someone's finalizer.
    pub(crate) fn delete_forwarder(
        &mut self,
        delete: &Delete,
        lingers: bool,
    ) -> Result<(), Refused> {
        let known = self
            .now()
            .forwarders
            .get(&delete.object)
            .ok_or(Refused::NotFound)?;
        if known.uid != delete.uid {
            return Err(Refused::Conflict);
        }
        self.commit(|state, version| {
            let forwarders = Rc::make_mut(&mut state.forwarders);
            if lingers {
                let known = forwarders.get_mut(&delete.object).expect("seen above");
                (known.is_going, known.version) = (true, version);
            } else {
                forwarders.remove(&delete.object);
            }
        });
        Ok(())
    }

    /// Creates a shard; one that is there already has the same content.
    pub(crate) fn create_shard(&mut self, owner: &str, shard: &Shard) {
        if let Some(known) = self.now().allocations.get(&shard.name) {
            assert_eq!(known.spec, shard.spec, "{} is written once", shard.name);
            return;
        }
        let object = self.object(owner, shard.spec.clone());
        let name = shard.name.clone();
        self.commit(|state, _| drop(Rc::make_mut(&mut state.allocations).insert(name, object)));
    }

    /// Creates the head of an allocation, or replaces the one of this version.
    pub(crate) fn write_allocation(
        &mut self,
        topology: &str,
        owner: &str,
        version: Option<&str>,
        head: AllocationSpec,
        basis: Basis,
    ) -> Result<(), Refused> {
        let known = self.now().allocations.get(topology);
        let mut object = match (known, version) {
            (None, None) => self.object(owner, head),
            (Some(known), Some(version)) if known.version.to_string() == version => Object {
                spec: head,
                ..known.clone()
            },
            (None, Some(_)) => return Err(Refused::NotFound),
            (Some(_), None) => return Err(Refused::AlreadyExists),
            (Some(_), Some(_)) => return Err(Refused::Conflict),
        };
        object.basis = basis;
        self.commit(|state, version| {
            object.version = version;
            Rc::make_mut(&mut state.allocations).insert(topology.to_owned(), object);
        });
        Ok(())
    }

    pub(crate) fn delete_allocation(&mut self, delete: &Delete) -> Result<(), Refused> {
        let known = self
            .now()
            .allocations
            .get(&delete.object)
            .ok_or(Refused::NotFound)?;
        if known.uid != delete.uid {
            return Err(Refused::Conflict);
        }
        self.commit(|state, _| drop(Rc::make_mut(&mut state.allocations).remove(&delete.object)));
        Ok(())
    }

    pub(crate) fn claim(&mut self, range: VniRangeSpec) -> Result<(), Refused> {
        let name = range_name(range.first);
        if self.now().ranges.contains_key(&name) {
            return Err(Refused::AlreadyExists);
        }
        let object = self.object(&range.uid.clone(), range);
        self.commit(|state, _| drop(Rc::make_mut(&mut state.ranges).insert(name, object)));
        Ok(())
    }

    pub(crate) fn delete_range(&mut self, delete: &Delete) -> Result<(), Refused> {
        let known = self
            .now()
            .ranges
            .get(&delete.object)
            .ok_or(Refused::NotFound)?;
        if known.uid != delete.uid {
            return Err(Refused::Conflict);
        }
        self.commit(|state, _| drop(Rc::make_mut(&mut state.ranges).remove(&delete.object)));
        Ok(())
    }

    /// Runs one step of Kubernetes' garbage collector, and ends lingering deletions.
    pub(crate) fn collect(&mut self) -> bool {
        let state = self.now();
        let is_alive = |owner: &String| state.topologies.values().any(|t| t.uid == *owner);
        let lost = state
            .forwarders
            .iter()
            .find(|(_, f)| f.is_going || !is_alive(&f.owner));
        let lost = lost.map(|(name, f)| Delete {
            object: name.clone(),
            uid: f.uid.clone(),
        });
        if let Some(delete) = lost {
            return self.delete_forwarder(&delete, false).is_ok();
        }
        let lost = state.allocations.iter().find(|(_, a)| !is_alive(&a.owner));
        let lost = lost.map(|(name, a)| Delete {
            object: name.clone(),
            uid: a.uid.clone(),
        });
        lost.is_some_and(|delete| self.delete_allocation(&delete).is_ok())
    }
}

/// Name of a range.
pub(crate) fn range_name(first: u32) -> String {
    format!("vni-{first}")
}
