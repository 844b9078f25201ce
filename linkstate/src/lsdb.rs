//! The database: the newest report of each origin on each Forwarder.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::report::{Report, Sequence};

/// Most links that are kept of one origin, over all its Forwarders.
pub const MAX_LINKS: usize = 1 << 18;
/// Most Forwarders that are kept of one origin.
pub const MAX_FORWARDERS: usize = 1 << 14;

/// An origin reports more than is kept of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} {what} of one node")]
pub struct LimitExceeded {
    /// Links or Forwarders.
    pub what: &'static str,
    /// Largest number of kept entries.
    pub limit: usize,
}

/// Newest report or withdrawal of an origin on a Forwarder.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Report(Arc<Report>),
    Withdrawn(Sequence),
}

impl Entry {
    fn report(&self) -> Option<&Arc<Report>> {
        match self {
            Entry::Report(report) => Some(report),
            Entry::Withdrawn(_) => None,
        }
    }

    fn sequence(&self) -> Sequence {
        match self {
            Entry::Report(report) => report.sequence,
            Entry::Withdrawn(sequence) => *sequence,
        }
    }

    fn links(&self) -> usize {
        self.report().map_or(0, |report| report.ends.len())
    }

    /// True when this one replaces `other`. Reports of one sequence are equal unless an origin
    /// misbehaves; the order by content then makes the winner the same everywhere.
    fn is_newer_than(&self, other: &Entry) -> bool {
        let rank = |entry: &Entry| (entry.sequence(), entry.report().is_none());
        rank(self)
            .cmp(&rank(other))
            .then_with(|| self.report().cmp(&other.report()))
            .is_gt()
    }
}

/// A difference of two databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The origin.
    pub origin: String,
    /// The Forwarder.
    pub forwarder: String,
    /// The report before.
    pub before: Option<Arc<Report>>,
    /// The report after.
    pub after: Option<Arc<Report>>,
}

/// The link-state database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lsdb {
    origins: BTreeMap<String, BTreeMap<String, Entry>>,
}

impl Lsdb {
    /// Merges a report; true when it is newer than the known one. Order and number of calls do not matter.
    ///
    /// # Errors
    /// [`LimitExceeded`]; nothing is merged then.
    pub fn merge(&mut self, report: Arc<Report>) -> Result<bool, LimitExceeded> {
        let (origin, forwarder) = (report.origin.clone(), report.forwarder.clone());
        self.put(&origin, forwarder, Entry::Report(report))
    }

    /// Merges an origin's withdrawal of its report on a Forwarder; true when it is newer than the known entry.
    ///
    /// # Errors
    /// [`LimitExceeded`]; nothing is merged then.
    pub fn withdraw(
        &mut self,
        origin: &str,
        forwarder: &str,
        sequence: Sequence,
    ) -> Result<bool, LimitExceeded> {
        self.put(origin, forwarder.to_string(), Entry::Withdrawn(sequence))
    }

    fn put(
        &mut self,
        origin: &str,
        forwarder: String,
        entry: Entry,
    ) -> Result<bool, LimitExceeded> {
        let exceeded = |what, limit| Err(LimitExceeded { what, limit });
        let entries = self.origins.entry(origin.to_string()).or_default();
        let known = entries.get(&forwarder);
        if known.is_some_and(|known| !entry.is_newer_than(known)) {
            return Ok(false);
        }
        if known.is_none() && entries.len() >= MAX_FORWARDERS {
            return exceeded("Forwarders", MAX_FORWARDERS);
        }
        let before = known.map_or(0, Entry::links);
        if entry.links() > before {
            let others: usize = entries.values().map(Entry::links).sum();
            if others - before + entry.links() > MAX_LINKS {
                return exceeded("links", MAX_LINKS);
            }
        }
        entries.insert(forwarder, entry);
        Ok(true)
    }

    /// Takes everything of another database that is newer.
    ///
    /// # Errors
    /// The first [`LimitExceeded`]; what exceeds a limit is not taken, the rest is.
    pub fn merge_all(&mut self, other: &Lsdb) -> Result<(), LimitExceeded> {
        let mut result = Ok(());
        for (origin, entries) in &other.origins {
            for (forwarder, entry) in entries {
                let put = self.put(origin, forwarder.clone(), entry.clone());
                result = result.and(put.map(drop));
            }
        }
        result
    }

    /// The report of an origin on a Forwarder.
    pub fn get(&self, origin: &str, forwarder: &str) -> Option<&Arc<Report>> {
        self.origins.get(origin)?.get(forwarder)?.report()
    }

    /// The reports of an origin, by Forwarder.
    pub fn of_origin(&self, origin: &str) -> impl Iterator<Item = (&str, &Arc<Report>)> {
        let entries = self.origins.get(origin).into_iter().flatten();
        entries.filter_map(|(name, entry)| Some((name.as_str(), entry.report()?)))
    }

    /// All reports.
    pub fn reports(&self) -> impl Iterator<Item = &Arc<Report>> {
        let entries = self.origins.values().flat_map(BTreeMap::values);
        entries.filter_map(Entry::report)
    }

    /// Highest known sequence of an origin on a Forwarder, withdrawals included.
    pub fn sequence(&self, origin: &str, forwarder: &str) -> Sequence {
        let entry = self.origins.get(origin).and_then(|all| all.get(forwarder));
        entry.map(Entry::sequence).unwrap_or_default()
    }

    /// Highest known sequence of an origin, over all its Forwarders.
    pub fn highest(&self, origin: &str) -> Sequence {
        let entries = self.origins.get(origin).into_iter().flatten();
        let sequences = entries.map(|(_, entry)| entry.sequence());
        sequences.max().unwrap_or_default()
    }

    /// Forgets reports of an origin on Forwarders that `stands` is false for; returns these Forwarders.
    pub fn retain(&mut self, origin: &str, stands: impl Fn(&str) -> bool) -> Vec<String> {
        let Some(entries) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        let gone = entries.extract_if(.., |name, _| !stands(name));
        let had_report = gone.filter(|(_, entry)| entry.report().is_some());
        had_report.map(|(name, _)| name).collect()
    }

    /// Forgets origins that `stands` is false for; returns the Forwarders on which they reported.
    pub fn retain_origins(&mut self, stands: impl Fn(&str) -> bool) -> Vec<String> {
        let gone = self.origins.extract_if(.., |origin, _| !stands(origin));
        gone.flat_map(|(_, entries)| entries.into_keys()).collect()
    }

    /// Changes from this database to `after`, in order of origins and Forwarders.
    pub fn diff(&self, after: &Lsdb) -> Vec<Change> {
        let find = |lsdb: &Lsdb, key: &(&str, &str)| lsdb.get(key.0, key.1).cloned();
        let keys = |lsdb: &'_ Lsdb| -> Vec<(String, String)> {
            let reports = lsdb.reports();
            reports
                .map(|it| (it.origin.clone(), it.forwarder.clone()))
                .collect()
        };
        let mut all = keys(self);
        all.extend(keys(after));
        all.sort();
        all.dedup();
        let changes = all.into_iter().filter_map(|(origin, forwarder)| {
            let key = (origin.as_str(), forwarder.as_str());
            let (before, now) = (find(self, &key), find(after, &key));
            (before != now).then_some(Change {
                origin,
                forwarder,
                before,
                after: now,
            })
        });
        changes.collect()
    }
}

#[cfg(test)]
mod tests;
