//! Memory that topologies take and ask for: see `crds::size::Claim`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crds::{
    MicroServiceTopology, Node,
    size::{self, Claim, taken},
};
use kube::ResourceExt;

use super::{
    super::{Entry, Key, cached::CachedForwarder},
    State,
};
use crate::plan::{Facts, Unfit, is_for_want_of_room};

/// Bytes of a declaration in memory for each byte of its JSON: it is held as JSON values and decoded.
const DECODED: usize = 4;

/// Claims of all topologies.
#[derive(Default)]
pub(in crate::observe) struct Claims {
    /// Memory of the Forwarders of each topology.
    held: HashMap<Key, usize>,
    /// The rest of each claim, computed when it is needed.
    asked: Mutex<HashMap<Key, Asked>>,
    /// Topologies that are rejected for want of room, and may be accepted when others take less.
    pub(in crate::observe) waiting: BTreeSet<Key>,
}

#[derive(Clone, Copy)]
struct Asked {
    claim: Claim,
    depends_on_nodes: bool,
}

impl Claims {
    /// Forgets a declaration that is another one now, or gone.
    pub(in crate::observe) fn forget(&mut self, topology: &Key) {
        self.asked().remove(topology);
    }

    /// Forgets what follows from nodes.
    pub(in crate::observe) fn forget_nodes(&mut self) {
        self.asked().retain(|_, asked| !asked.depends_on_nodes);
    }

    /// Counts a Forwarder in the place of another. True when it takes less than that.
    pub(in crate::observe) fn count(
        &mut self,
        old: Option<&CachedForwarder>,
        new: Option<&CachedForwarder>,
    ) -> bool {
        let memory = |it: Option<&CachedForwarder>| it.map_or(0, |it| size::memory(&it.spec));
        if let Some(new) = new {
            *self.held.entry(new.topology.clone()).or_default() += memory(Some(new));
        }
        if let Some(old) = old
            && let Some(held) = self.held.get_mut(&old.topology)
        {
            *held = held.saturating_sub(memory(Some(old)));
            if *held == 0 {
                self.held.remove(&old.topology);
            }
        }
        memory(new) < memory(old)
    }

    /// Notes whether a plan was rejected for want of room.
    pub(in crate::observe) fn note(&mut self, key: &Key, facts: &Facts) {
        if is_for_want_of_room(facts) {
            self.waiting.insert(key.clone());
        } else {
            self.waiting.remove(key);
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Key, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Claim of `topology`, and memory that is taken by others, as `crds::size::taken` has it.
    pub(super) fn claims(&self, key: &Key, topology: &MicroServiceTopology) -> (Claim, usize) {
        let entry = self.topologies.get(key);
        let own = match entry.and_then(|entry| entry.topology.as_deref()) {
            Some(applied) if std::ptr::eq(applied, topology) => self.known_claim(key, topology),
            _ => self.claim(key, topology),
        };
        if self.limits.memory == 0 {
            return (own, 0);
        }
        let is_other = |entry: &&Entry| entry.key != *key;
        let entries = self.topologies.values().map(AsRef::as_ref);
        let mut entries: Vec<&Entry> = entries
            .filter(is_other)
            .chain(entry.map(AsRef::as_ref))
            .collect();
        entries.sort_by_cached_key(|entry| (entry.object.creation_timestamp(), &entry.key));
        let position = entries.iter().position(|entry| entry.key == *key);
        let claim = |entry: &&Entry| match &entry.topology {
            Some(_) if entry.key == *key => own,
            Some(topology) => self.possible_claim(entry, topology),
            None => Claim::default(),
        };
        let mut claims: Vec<Claim> = entries.iter().map(claim).collect();
        // What is not there yet would be the youngest.
        let position = position.unwrap_or_else(|| {
            claims.push(own);
            claims.len() - 1
        });
        (own, taken(self.limits.memory, &claims, position))
    }

    /// The claim of another topology, which asks for nothing while its declaration is rejected.
    fn possible_claim(&self, entry: &Entry, topology: &MicroServiceTopology) -> Claim {
        let claim = self.known_claim(&entry.key, topology);
        let is_possible = entry.problems.is_empty() || self.claims.waiting.contains(&entry.key);
        Claim {
            asked: claim.asked * usize::from(is_possible && !entry.is_going),
            ..claim
        }
    }

    fn known_claim(&self, key: &Key, topology: &MicroServiceTopology) -> Claim {
        let known = self.claims.asked().get(key).map(|asked| asked.claim);
        let claim = known.unwrap_or_else(|| {
            let claim = self.claim(key, topology);
            let depends_on_nodes = topology.spec.forwarder_per_node.is_some();
            let asked = Asked {
                claim,
                depends_on_nodes,
            };
            self.claims.asked().insert(key.clone(), asked);
            claim
        });
        Claim {
            held: self.claims.held.get(key).copied().unwrap_or(0),
            ..claim
        }
    }

    fn claim(&self, key: &Key, topology: &MicroServiceTopology) -> Claim {
        let (nodes, unfit) = self.nodes();
        let has_daemon = |node: &&Node| unfit.get(&node.name) != Some(&Unfit::NoDaemon);
        let nodes: Vec<Node> = match topology.spec.forwarder_per_node {
            Some(_) => nodes.iter().filter(has_daemon).cloned().collect(),
            None => Vec::new(),
        };
        Claim {
            declared: DECODED * size::declared(topology),
            held: self.claims.held.get(key).copied().unwrap_or(0),
            asked: crds::expand::memory(topology, &nodes),
        }
    }
}
