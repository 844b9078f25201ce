//! Forwarders whose namespace a lab on the same host has: left alone until the lab is down.

use std::collections::BTreeSet;

use crate::routing::Engine;
use crate::routing::pace::retry::Work;

impl Engine {
    /// Fails the structure of those Forwarders. A namespace that exists under the name of an own one would be programmed else.
    pub(super) fn leave_to_labs(&mut self, objects: &BTreeSet<String>) {
        self.parts.owned.look_at_labs();
        for object in objects {
            let Some(local) = self.locals.get_mut(object) else {
                continue;
            };
            let netns = &local.netns;
            if let Some(lab) = self.parts.owned.lab_of(netns)
                && !local.retries.rests(Work::Structure)
            {
                let problem = format!(
                    "network namespace {netns} is of the lab {lab} on this host: left alone until `beemesh lab down`"
                );
                local.failed(Work::Structure, problem);
            }
        }
    }
}
