//! Findings of the last plan of each topology, kept beside the observed objects.

use std::{collections::BTreeMap, sync::Arc};

use super::{Key, cached::CachedForwarder, state::State};
use crate::plan::{Computed, Plan};

impl State {
    /// Keeps what `plan` found of the topology with this uid. Returns the Forwarders that are to be published.
    pub(super) fn record(
        &mut self,
        key: &Key,
        uid: &str,
        plan: &Plan,
        computed: Option<Arc<Computed>>,
    ) -> Vec<Key> {
        let Some(entry) = self
            .topologies
            .get_mut(key)
            .filter(|entry| entry.uid == uid)
        else {
            return Vec::new();
        };
        let entry = Arc::make_mut(entry);
        entry.problems = plan.problems.clone();
        self.claims.note(key, &plan.facts);
        // A rejected declaration removes nothing of the accepted one.
        if computed.is_some() {
            entry.computed = computed;
        }
        let wanted: BTreeMap<Key, _> = plan
            .publish
            .iter()
            .map(|publish| (Key::new(&key.namespace, &publish.object), publish.clone()))
            .collect();
        let objects = wanted.keys().cloned().collect();
        if wanted.is_empty() {
            self.wanted.remove(key);
        } else {
            self.wanted.insert(key.clone(), wanted);
        }
        objects
    }

    /// Computed table to publish for a Forwarder; `None` when it is published already.
    pub(super) fn to_publish(
        &self,
        key: &Key,
    ) -> Option<(Arc<CachedForwarder>, crds::forwarder::Computed)> {
        let held = self.forwarder(key)?;
        let wanted = self.wanted.get(&held.topology)?.get(key)?;
        let published = held.status.computed.as_ref().map(|it| &it.digest);
        let is_due =
            held.uid == wanted.uid && !held.is_going && published != Some(&wanted.computed.digest);
        is_due.then(|| (Arc::clone(held), wanted.computed.clone()))
    }
}
