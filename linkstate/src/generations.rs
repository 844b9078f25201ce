//! Own reports by generation: a peer receives the changes since its generation, independent of the number of reports.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use crate::lsdb::MAX_WITHDRAWN;

/// Generation of the last change of each own report. Each change takes the next generation.
#[derive(Clone, Debug, Default)]
pub struct Generations {
    last: u64,
    by_forwarder: BTreeMap<String, u64>,
    by_generation: BTreeMap<u64, String>,
    /// Generations of withdrawals, at most [`MAX_WITHDRAWN`].
    withdrawn: BTreeSet<u64>,
}

impl Generations {
    /// The last generation.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Starts a generation in which no report changed.
    pub fn advance(&mut self) {
        self.last += 1;
    }

    /// Records the change of a report.
    pub fn touch(&mut self, forwarder: &str) {
        self.last += 1;
        if let Some(before) = self.by_forwarder.insert(forwarder.to_owned(), self.last) {
            self.by_generation.remove(&before);
            self.withdrawn.remove(&before);
        }
        self.by_generation.insert(self.last, forwarder.to_owned());
    }

    /// Records the withdrawal of a report. Of too many, the oldest are forgotten.
    pub fn withdraw(&mut self, forwarder: &str) {
        self.touch(forwarder);
        self.withdrawn.insert(self.last);
        if self.withdrawn.len() > MAX_WITHDRAWN {
            let oldest = self.withdrawn.pop_first();
            let forgotten = oldest.and_then(|it| self.by_generation.remove(&it));
            forgotten.and_then(|name| self.by_forwarder.remove(&name));
        }
    }

    /// Forwarders whose report changed after a generation, oldest first.
    pub fn after(&self, generation: u64) -> impl Iterator<Item = &String> {
        let later = self.by_generation.range(generation.saturating_add(1)..);
        later.map(|(_, forwarder)| forwarder)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn the_last_change_of_each_report_counts_and_withdrawals_are_bounded() {
        let mut generations = Generations::default();
        for name in ["a", "b", "a"] {
            generations.touch(name);
        }
        generations.withdraw("b");
        generations.advance();
        let after = |all: &Generations, last| all.after(last).cloned().collect::<Vec<_>>();
        assert_eq!(generations.last(), 5);
        assert_eq!(after(&generations, 0), ["a", "b"]);
        assert_eq!(after(&generations, 3), ["b"]);
        for number in 0..MAX_WITHDRAWN {
            generations.withdraw(&std::format!("c{number}"));
        }
        let all = after(&generations, 0);
        assert_eq!(
            (all.len(), &*all[0], &*all[1]),
            (MAX_WITHDRAWN + 1, "a", "c0")
        );
        assert_eq!(generations.by_forwarder.len(), all.len());
        generations.touch("c0");
        generations.withdraw("d");
        assert_eq!(generations.withdrawn.len(), MAX_WITHDRAWN);
    }
}
