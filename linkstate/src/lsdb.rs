//! The database: the newest report of each origin on each Forwarder.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::report::{Report, Sequence};

/// Most links that are kept of one origin, over all its Forwarders.
pub const MAX_LINKS: usize = 1 << 18;
/// Most Forwarders whose report is kept of one origin.
pub const MAX_FORWARDERS: usize = 1 << 14;
/// Most withdrawals that are kept of one origin: as many as one change of the desired state brings.
pub const MAX_WITHDRAWN: usize = MAX_FORWARDERS;

/// An origin reports more than is kept of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} {what} of one node")]
pub struct LimitExceeded {
    /// Links or Forwarders.
    pub what: &'static str,
    /// Largest number of kept entries.
    pub limit: usize,
}

/// Entries of one origin, each by Forwarder. No Forwarder has both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Origin {
    reports: BTreeMap<String, Arc<Report>>,
    withdrawn: BTreeMap<String, Sequence>,
}

impl Origin {
    fn sequence(&self, forwarder: &str) -> Sequence {
        let report = self.reports.get(forwarder).map(|report| report.sequence);
        let withdrawn = || self.withdrawn.get(forwarder).copied();
        report.or_else(withdrawn).unwrap_or_default()
    }

    fn highest(&self) -> Sequence {
        let reports = self.reports.values().map(|report| report.sequence);
        let sequences = reports.chain(self.withdrawn.values().copied());
        sequences.max().unwrap_or_default()
    }

    /// True when `report` replaces the known entry. Reports of one sequence are equal unless an origin misbehaves; the order by content
    /// then makes the winner the same everywhere.
    fn is_newer(&self, report: &Report) -> bool {
        let is_lower = self.withdrawn.get(&report.forwarder);
        is_lower.is_none_or(|known| report.sequence > *known)
            && self
                .reports
                .get(&report.forwarder)
                .is_none_or(|known| (report.sequence, report) > (known.sequence, &**known))
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
    origins: BTreeMap<String, Origin>,
}

impl Lsdb {
    /// Merges a report; true when it is newer than the known one. Order and number of calls do not matter.
    ///
    /// # Errors
    /// [`LimitExceeded`]; nothing is merged then.
    pub fn merge(&mut self, report: Arc<Report>) -> Result<bool, LimitExceeded> {
        let origin = self.origins.get(&report.origin);
        let is_newer = origin.is_none_or(|origin| origin.is_newer(&report));
        if is_newer {
            self.put(report)?;
        }
        Ok(is_newer)
    }

    /// Replaces the known entry by the report, whatever their sequences; true when they differ.
    ///
    /// # Errors
    /// [`LimitExceeded`]; nothing is replaced then.
    pub fn replace(&mut self, report: Arc<Report>) -> Result<bool, LimitExceeded> {
        let is_other = self.get(&report.origin, &report.forwarder) != Some(&report);
        if is_other {
            self.put(report)?;
        }
        Ok(is_other)
    }

    fn put(&mut self, report: Arc<Report>) -> Result<(), LimitExceeded> {
        let exceeded = |what, limit| Err(LimitExceeded { what, limit });
        let origin = self.origins.entry(report.origin.clone()).or_default();
        let known = origin.reports.get(&report.forwarder);
        if known.is_none() && origin.reports.len() >= MAX_FORWARDERS {
            return exceeded("Forwarders", MAX_FORWARDERS);
        }
        let before = known.map_or(0, |known| known.ends.len());
        if report.ends.len() > before {
            let all: usize = origin.reports.values().map(|it| it.ends.len()).sum();
            if all - before + report.ends.len() > MAX_LINKS {
                return exceeded("links", MAX_LINKS);
            }
        }
        origin.withdrawn.remove(&report.forwarder);
        origin.reports.insert(report.forwarder.clone(), report);
        Ok(())
    }

    /// Merges an origin's withdrawal of its report on a Forwarder; true when it is newer than the known entry.
    ///
    /// Of more than [`MAX_WITHDRAWN`] withdrawals, those with the lowest sequences are forgotten.
    pub fn withdraw(&mut self, origin: &str, forwarder: &str, sequence: Sequence) -> bool {
        let origin = self.origins.entry(origin.to_string()).or_default();
        let report = origin.reports.get(forwarder);
        let withdrawn = origin.withdrawn.get(forwarder);
        // Of one sequence, the withdrawal wins.
        if report.is_some_and(|known| known.sequence > sequence)
            || withdrawn.is_some_and(|known| *known >= sequence)
        {
            return false;
        }
        origin.reports.remove(forwarder);
        origin.withdrawn.insert(forwarder.to_string(), sequence);
        if origin.withdrawn.len() > MAX_WITHDRAWN {
            let all = origin.withdrawn.iter();
            let lowest = all.min_by_key(|(name, sequence)| (**sequence, *name));
            let lowest = lowest.map(|(name, _)| name.clone());
            lowest.and_then(|name| origin.withdrawn.remove(&name));
        }
        true
    }

    /// Forgets the entry of an origin on a Forwarder.
    pub fn forget(&mut self, origin: &str, forwarder: &str) {
        if let Some(origin) = self.origins.get_mut(origin) {
            origin.reports.remove(forwarder);
            origin.withdrawn.remove(forwarder);
        }
    }

    /// Takes everything of another database that is newer.
    ///
    /// # Errors
    /// The first [`LimitExceeded`]; what exceeds a limit is not taken, the rest is.
    pub fn merge_all(&mut self, other: &Lsdb) -> Result<(), LimitExceeded> {
        let mut result = Ok(());
        for (name, origin) in &other.origins {
            // First, as they make room.
            for (forwarder, sequence) in &origin.withdrawn {
                self.withdraw(name, forwarder, *sequence);
            }
            for report in origin.reports.values() {
                let merged = self.merge(Arc::clone(report));
                result = result.and(merged.map(drop));
            }
        }
        result
    }

    /// The report of an origin on a Forwarder.
    pub fn get(&self, origin: &str, forwarder: &str) -> Option<&Arc<Report>> {
        self.origins.get(origin)?.reports.get(forwarder)
    }

    /// The reports of an origin, by Forwarder.
    pub fn of_origin(&self, origin: &str) -> impl Iterator<Item = (&str, &Arc<Report>)> {
        let origin = self.origins.get(origin).into_iter();
        let reports = origin.flat_map(|origin| &origin.reports);
        reports.map(|(name, report)| (name.as_str(), report))
    }

    /// All reports.
    pub fn reports(&self) -> impl Iterator<Item = &Arc<Report>> {
        let origins = self.origins.values();
        origins.flat_map(|origin| origin.reports.values())
    }

    /// Highest known sequence of an origin on a Forwarder, withdrawals included.
    pub fn sequence(&self, origin: &str, forwarder: &str) -> Sequence {
        let origin = self.origins.get(origin);
        origin.map_or_else(Sequence::default, |all| all.sequence(forwarder))
    }

    /// Highest known sequence of an origin, over all its Forwarders.
    pub fn highest(&self, origin: &str) -> Sequence {
        let origin = self.origins.get(origin);
        origin.map_or_else(Sequence::default, Origin::highest)
    }

    /// Forgets entries of an origin on Forwarders that `stands` is false for; returns those that had a report.
    pub fn retain(&mut self, origin: &str, stands: impl Fn(&str) -> bool) -> Vec<String> {
        let Some(origin) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        origin.withdrawn.retain(|name, _| stands(name));
        let gone = origin.reports.extract_if(.., |name, _| !stands(name));
        gone.map(|(name, _)| name).collect()
    }

    /// Forgets origins that `stands` is false for; returns the Forwarders on which they reported.
    pub fn retain_origins(&mut self, stands: impl Fn(&str) -> bool) -> Vec<String> {
        let gone = self.origins.extract_if(.., |origin, _| !stands(origin));
        gone.flat_map(|(_, origin)| origin.reports.into_keys())
            .collect()
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
