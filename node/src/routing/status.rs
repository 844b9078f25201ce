//! Status reports of this node's Forwarders, and the admission catalog of the attachment service.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crds::forwarder::{LinkState, MAX_MESSAGE, MAX_REASON};
use crds::status::LinkCount;
use crds::text::printable;
use crds::{Condition, ForwarderStatus};

use super::retry::Work;
use super::{Engine, Local, STATUS_INTERVAL};
use crate::attach::admission::{Catalog, LocalForwarder};
use crate::error::enumerate;
use crate::routing::desired::attachment_mtu;
use ::telemetry::chain;

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
                    local.links_up = status.links.up;
                }
                Err(error) => local.failed(Work::Status, chain(&error)),
            }
        }
    }

    fn status(&self, local: &Local, before: Option<&ForwarderStatus>) -> ForwarderStatus {
        let links: Vec<LinkState> = local
            .forwarder
            .spec
            .links
            .iter()
            .map(|link| {
                let reason = self.why_down(local, &link.id);
                let up = reason.is_none();
                LinkState {
                    id: link.id.clone(),
                    up,
                    reason: reason.map_or_else(String::new, |it| printable(&it, MAX_REASON)),
                }
            })
            .collect();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (up, total) = (
            count(links.iter().filter(|link| link.up).count()),
            count(links.len()),
        );
        ForwarderStatus {
            computed: None,
            links: LinkCount { up, total },
            links_up: format!("{up}/{total}"),
            epoch: local.epoch.clone(),
            digest: local.digest.clone(),
            netns: local.netns.clone(),
            attachments: local.attached.clone(),
            conditions: vec![ready(local, before), attached(local, before)],
            link_states: links,
        }
    }

    /// Updates the heartbeat; after the first complete desired state the plugin is served by it.
    pub(super) fn report_heartbeat(&self) {
        let links = |local: &Local| local.forwarder.spec.links.len() as u64;
        let links = self.locals.values().map(links).sum();
        let up = |local: &Local| u64::from(local.links_up);
        let links_up = self.locals.values().map(up).sum();
        self.parts.heartbeat.count(|counts| {
            counts.forwarders = self.locals.len() as u64;
            counts.links = links;
            counts.links_up = links_up;
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
        last_transition_time: Some(since.unwrap_or_else(|| rfc3339(SystemTime::now()))),
    }
}

/// RFC 3339 timestamp in UTC, to the second.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years: every year then ends with February.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_in_the_rfc() {
        #[rustfmt::skip]
        let cases = [
            (0,             "1970-01-01T00:00:00Z"),
            (951_782_399,   "2000-02-28T23:59:59Z"),
            (951_782_400,   "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
