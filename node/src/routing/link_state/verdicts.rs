//! Verdicts of the liveness protocol on own link ends: they lower what is observed of the interfaces.

use std::collections::BTreeMap;

use linkstate::{PathVerdict, Report};

use super::{EndKey, LinkStates};

/// Verdicts other than alive: by Forwarder, by link.
#[derive(Debug, Default)]
pub(super) struct Verdicts(BTreeMap<String, BTreeMap<String, PathVerdict>>);

impl Verdicts {
    /// Starts with the verdicts that an earlier daemon process reported.
    pub(super) fn continue_from(&mut self, report: &Report) {
        for (link, end) in &report.ends {
            self.set(&report.forwarder, link, end.verdict());
        }
    }

    pub(super) fn of(&self, forwarder: &str, link: &str) -> PathVerdict {
        let links = self.0.get(forwarder);
        let verdict = links.and_then(|links| links.get(link));
        verdict.copied().unwrap_or_default()
    }

    fn set(&mut self, forwarder: &str, link: &str, verdict: PathVerdict) {
        if verdict.is_alive() {
            self.retain(forwarder, |known| known != link);
        } else {
            let links = self.0.entry(forwarder.to_owned()).or_default();
            links.insert(link.to_owned(), verdict);
        }
    }

    /// Forgets the verdicts on links of a Forwarder that `stands` is false for.
    pub(super) fn retain(&mut self, forwarder: &str, stands: impl Fn(&str) -> bool) {
        if let Some(links) = self.0.get_mut(forwarder) {
            links.retain(|link, _| stands(link));
            if links.is_empty() {
                self.0.remove(forwarder);
            }
        }
    }
}

/// Ends whose verdict changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// All of them.
    pub changed: Vec<EndKey>,
    /// Ends that were alive before.
    pub doubted: Vec<EndKey>,
}

impl LinkStates {
    /// Verdict that stands on an own end, also of an earlier daemon process, and while its interface is down.
    pub fn verdict(&self, forwarder: &str, link: &str) -> PathVerdict {
        self.lock().verdicts.of(forwarder, link)
    }

    /// Takes the verdicts of the liveness protocol on own ends, given in event number `event` at `now` (ms, monotonic), and publishes
    /// the ends that they change. An observation of an interface from before the event does not raise its end.
    pub fn judge(&self, verdicts: &[(EndKey, PathVerdict)], event: u64, now: u64) -> Judged {
        let mut inner = self.lock();
        let mut judged = Judged::default();
        let mut by_forwarder: BTreeMap<&str, Vec<(&str, PathVerdict)>> = BTreeMap::new();
        for (key, verdict) in verdicts {
            let (forwarder, link) = (key.0.as_str(), key.1.as_str());
            let before = inner.verdicts.of(forwarder, link);
            if before == *verdict {
                continue;
            }
            inner.verdicts.set(forwarder, link, *verdict);
            inner.fallen.insert(key.clone(), event);
            judged.changed.push(key.clone());
            judged
                .doubted
                .extend(before.is_alive().then(|| key.clone()));
            let links = by_forwarder.entry(forwarder).or_default();
            links.push((link, *verdict));
        }
        for (forwarder, links) in by_forwarder {
            let Some(before) = inner.lsdb.get(&self.node, forwarder).cloned() else {
                continue;
            };
            let mut ends = before.ends.clone();
            for (link, verdict) in links {
                if let Some(end) = ends.get_mut(link) {
                    *end = end.judged(verdict, now);
                }
            }
            if ends != before.ends {
                // The number of links is unchanged, so no limit is exceeded.
                let _ = inner.replace_own(&self.node, forwarder, ends);
            }
        }
        self.announce(inner);
        judged
    }
}
