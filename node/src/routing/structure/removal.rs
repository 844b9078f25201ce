//! Removal of Forwarders that have left this node. Deletes only namespaces that this node created.

use dataplane::Operation;

use crate::routing::Engine;
use ::telemetry::chain;

impl Engine {
    /// Removes unwanted own namespaces once the desired state is complete.
    pub(in crate::routing) fn remove_unwanted(&mut self) {
        if !self.is_removal_due || !self.snapshot.is_complete {
            return;
        }
        self.is_removal_due = false;
        let wanted = self.wanted();
        let unwanted: Vec<(String, String)> = self
            .parts
            .owned
            .iter()
            .filter(|(netns, _)| !wanted.contains(netns.as_str()))
            .map(|(netns, object)| (netns.clone(), object.clone()))
            .collect();
        if unwanted.is_empty() {
            return;
        }
        let gone = self.delete(unwanted.iter().map(|(netns, _)| netns.clone()).collect());
        for (netns, object) in unwanted.iter().filter(|(netns, _)| gone.contains(netns)) {
            tracing::info!(
                forwarder = object,
                netns,
                "forwarder removed, namespace deleted"
            );
            if let Some(monitor) = &self.parts.monitor {
                monitor.forget(netns);
            }
            self.parts.link_states.withdraw(object);
            // The status of a Forwarder on another node is written by that node.
            if !self.snapshot.forwarders.contains_key(object) {
                self.parts.source.forget(object);
            }
        }
        if let Err(error) = self.parts.owned.remove(&gone) {
            tracing::warn!(error = chain(&error), "namespace registry not written");
        }
    }

    /// Deletes namespaces; returns the deleted ones.
    fn delete(&mut self, netns: Vec<String>) -> Vec<String> {
        let delete = |netns: &String| (netns.clone(), vec![Operation::DeleteNamespace]);
        let applied = self
            .parts
            .structure
            .make(netns.iter().map(delete).collect());
        self.round.writes += applied.writes;
        self.round.failures += applied.failures.len() as u64;
        for failure in &applied.failures {
            // Retried at the next resync.
            let error = chain(&failure.source);
            tracing::warn!(
                netns = failure.netns,
                error,
                "namespace not deleted, retried at the next resync"
            );
        }
        let has_failed = |netns: &String| applied.failures.iter().any(|f| f.netns == *netns);
        netns
            .into_iter()
            .filter(|netns| !has_failed(netns))
            .collect()
    }
}
