//! Status reports of this node's Forwarders, and the admission catalog of the attachment service.

use std::sync::Arc;
use std::time::Instant;

use crds::forwarder::{LinkHealth, LinkState, MAX_MESSAGE};
use crds::status::LinkCount;
use crds::text::printable;
use crds::{Condition, ForwarderStatus};
use k8s_openapi::jiff::Timestamp;

use super::pace::retry::Work;
use super::{Engine, Local, STATUS_INTERVAL};
use crate::attach::admission::{Catalog, LocalForwarder};
use crate::error::enumerate;
use crate::routing::desired::attachment_mtu;
use ::telemetry::chain;

mod links;

impl Engine {
    /// Reports changed status, at most once in [`STATUS_INTERVAL`].
    pub(super) fn report(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self
            .locals
            .values()
            .filter(|local| local.may_report())
            .map(|local| local.object().to_owned())
            .collect();
        if due.is_empty() || now < self.status_after {
            return;
        }
        self.status_after = now + STATUS_INTERVAL;
        for object in due {
            let before = self.parts.source.reported(&object);
            let Some(local) = self.locals.get(&object) else {
                continue;
            };
            let status = self.status(local, before.as_ref());
            let reported = self.parts.source.report(&object, &status);
            let Some(local) = self.locals.get_mut(&object) else {
                continue;
            };
            match reported {
                Ok(_) => {
                    local.retries.succeeded(Work::Status);
                    local.is_status_due = false;
                    local.links = status.links;
                }
                Err(error) => local.failed(Work::Status, chain(&error)),
            }
        }
    }

    fn status(&self, local: &Local, before: Option<&ForwarderStatus>) -> ForwarderStatus {
        let mesh = self.meshes.get(&local.network);
        let links = links::link_states(local, mesh, before);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let of = |health| count(links.iter().filter(|link| link.health() == health).count());
        let (up, total) = (of(LinkHealth::Up), count(links.len()));
        let suspect = of(LinkHealth::Suspect);
        ForwarderStatus {
            computed: None,
            links: LinkCount { up, total, suspect },
            links_up: format!("{up}/{total}"),
            epoch: local.epoch.clone(),
            digest: local.digest.clone(),
            netns: local.netns.clone(),
            attachments: local.attached.clone(),
            conditions: vec![
                ready(local, before),
                attached(local, before),
                links_alive(&links, before),
            ],
            link_states: links,
        }
    }

    /// Updates the heartbeat; after the first complete desired state the plugin is served by it.
    pub(super) fn report_heartbeat(&self) {
        let links = |local: &Local| local.forwarder.spec.links.len() as u64;
        let links = self.locals.values().map(links).sum();
        let sum = |of: fn(&LinkCount) -> u32| {
            let locals = self.locals.values();
            locals.map(|local| u64::from(of(&local.links))).sum()
        };
        let (links_up, links_suspect) = (sum(|links| links.up), sum(|links| links.suspect));
        self.parts.heartbeat.count(|counts| {
            counts.forwarders = self.locals.len() as u64;
            counts.links = links;
            counts.links_up = links_up;
            counts.links_suspect = links_suspect;
        });
        self.parts
            .heartbeat
            .set_ready(self.may_delete && !self.is_catalog_due);
    }

    /// Publishes the admission catalog to the attachment service.
    pub(super) fn publish_catalog(&mut self) {
        if !self.is_catalog_due {
            return;
        }
        self.is_catalog_due = false;
        let places = self.locals.values().filter_map(|local| {
            let mesh = self.meshes.get(&local.network)?;
            Some(LocalForwarder {
                forwarder: Arc::clone(&local.forwarder),
                netns: local.netns.clone(),
                mtu: attachment_mtu(mesh, &self.parts.site),
                is_ready: local.is_made,
            })
        });
        let places = places.collect();
        let all = self
            .snapshot
            .forwarders
            .values()
            .map(|forwarder| &**forwarder);
        let topologies = self.snapshot.topologies.values();
        let node = &self.parts.site.node;
        let catalog = Catalog::new(node, all, topologies, places, self.may_delete);
        self.parts.service.open(Arc::new(catalog));
    }
}

fn ready(local: &Local, before: Option<&ForwarderStatus>) -> Condition {
    let problem = local.retries.problem();
    let (status, reason, message) = match &problem {
        Some(problem) => ("False", "NotConverged", problem.as_str()),
        None if local.programmed.is_some() => ("True", "Programmed", ""),
        None => ("False", "Progressing", ""),
    };
    condition("Ready", status, reason, message, before)
}

/// Condition `Attached`: true when every pod with a lease has its interface.
fn attached(local: &Local, before: Option<&ForwarderStatus>) -> Condition {
    let lost: Vec<&str> = local.lost.iter().map(|key| &*key.container_id).collect();
    match lost.as_slice() {
        [] => condition("Attached", "True", "Wired", "", before),
        lost => {
            let message = format!(
                "lost their interface, to be attached again: {}",
                enumerate(lost)
            );
            condition("Attached", "False", "InterfaceLost", &message, before)
        }
    }
}

/// Condition `LinksAlive`: false while packets do not pass on a link whose interfaces are up.
fn links_alive(links: &[LinkState], before: Option<&ForwarderStatus>) -> Condition {
    let suspect = links.iter();
    let suspect = suspect.filter(|link| link.health() == LinkHealth::Suspect);
    let suspect: Vec<String> = suspect
        .map(|link| format!("{}: {}", link.id, link.reason))
        .collect();
    let suspect: Vec<&str> = suspect.iter().map(String::as_str).collect();
    match suspect.as_slice() {
        [] => condition("LinksAlive", "True", "Alive", "", before),
        suspect => {
            let message = format!("used only without another way: {}", enumerate(suspect));
            condition("LinksAlive", "False", "LinkSuspect", &message, before)
        }
    }
}

/// Condition that keeps its transition time while its status stays.
fn condition(
    name: &str,
    status: &str,
    reason: &str,
    message: &str,
    before: Option<&ForwarderStatus>,
) -> Condition {
    let same = before.and_then(|before| {
        before
            .conditions
            .iter()
            .find(|known| known.r#type == name && known.status == status)
    });
    let since = same.and_then(|known| known.last_transition_time.clone());
    Condition {
        r#type: name.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: printable(message, MAX_MESSAGE),
        observed_generation: None,
        last_transition_time: Some(since.unwrap_or_else(|| now().to_string())),
    }
}

/// Time to the second.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_to_the_second() {
        let text = now().to_string();
        assert_eq!((text.len(), &text[19..]), (20, "Z"), "{text}");
    }
}
