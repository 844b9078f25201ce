//! Taking away Forwarders that are no longer this node's. Only namespaces that this node made.

use dataplane::{Kernel, LinuxKernel, Operation};

use super::Engine;
use super::structure::chain;

impl Engine {
    /// Removes namespaces of ours that are not wanted, once the desired state is complete.
    pub(super) fn remove_unwanted(&mut self) {
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
            tracing::info!(forwarder = object, netns, "removed");
            if let Some(monitor) = &self.parts.monitor {
                monitor.forget(netns);
            }
            // On another node now, it is that node's to report.
            if !self.snapshot.forwarders.contains_key(object) {
                self.parts.link_states.withdraw(object);
                self.parts.source.forget(object);
            }
        }
        if let Err(error) = self.parts.owned.remove(&gone) {
            tracing::warn!(error = chain(&error), "list of namespaces");
        }
    }

    /// Deletes namespaces; returns those that are gone.
    fn delete(&mut self, netns: Vec<String>) -> Vec<String> {
        let delete = |netns: &String| (netns.clone(), vec![Operation::DeleteNamespace]);
        let applied = match LinuxKernel::new() {
            Ok(mut kernel) => kernel.apply(netns.iter().map(delete).collect()),
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to remove namespaces");
                self.is_removal_due = true;
                return Vec::new();
            }
        };
        self.round.writes += applied.writes;
        self.round.failures += applied.failures.len() as u64;
        for failure in &applied.failures {
            // Tried again with the next look at everything.
            let error = chain(&failure.source);
            tracing::warn!(netns = failure.netns, error, "failed to remove a namespace");
        }
        let has_failed = |netns: &String| applied.failures.iter().any(|f| f.netns == *netns);
        netns
            .into_iter()
            .filter(|netns| !has_failed(netns))
            .collect()
    }
}
