//! Plan of writes and removals in the runtime's directories. Pure.

use std::ffi::OsStr;

use serde_json::Value;

use super::Mode;
use super::conflist::{self, FILE, Files, Primary, SET_ASIDE};

/// Observed state of the runtime's directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Configurations, ours included.
    pub files: Files,
    /// True when the installed binary is up to date.
    pub is_binary_current: bool,
}

/// Desired state of the installation.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Installation mode.
    pub mode: Mode,
    /// True when the daemon can answer the plugin.
    pub is_ready: bool,
    /// Our plugin's entry in a conflist.
    pub entry: Value,
}

/// Changes, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Write the plugin binary.
    pub writes_binary: bool,
    /// Change of our conflist.
    pub conflist: Conflist,
    /// Report after the changes.
    pub report: Report,
}

/// Change of our conflist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflist {
    /// Leave it, present or absent.
    Keep,
    /// Write this content.
    Write(Vec<u8>),
    /// Remove it.
    Remove,
}

/// State of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Reason why the runtime does not call the plugin; `None` when it does.
    pub missing: Option<String>,
    /// Reason why the runtime ignores our installed conflist.
    pub displaced: Option<String>,
    /// Problem of the primary configuration while our conflist stays unchanged.
    pub primary: Option<String>,
}

/// Plans the changes. Nothing is written that is up to date.
pub fn plan(seen: &Seen, wanted: &Wanted) -> Plan {
    let conflist = match wanted.mode {
        Mode::None => return Plan::nothing(),
        Mode::Binary => (removal(seen), Report::default()),
        Mode::Chained => chained(seen, wanted),
    };
    let (conflist, report) = conflist;
    Plan {
        writes_binary: !seen.is_binary_current,
        conflist,
        report,
    }
}

impl Plan {
    fn nothing() -> Plan {
        Plan {
            writes_binary: false,
            conflist: Conflist::Keep,
            report: Report::default(),
        }
    }
}

fn chained(seen: &Seen, wanted: &Wanted) -> (Conflist, Report) {
    let ours = seen.files.get(OsStr::new(FILE));
    let mut report = Report {
        displaced: displaced(seen),
        ..Report::default()
    };
    match conflist::choose(&seen.files) {
        Primary::Absent => {
            report.missing = Some("there is no other CNI configuration to chain behind".to_owned());
            (removal(seen), report)
        }
        Primary::Refused(file, why) => {
            report.missing = Some(format!("{file}: {why}"));
            (removal(seen), report)
        }
        // Perhaps partly written: the earlier conflist is better than none.
        Primary::Unusable(file, why) => {
            let problem = Some(format!("{file}: {why}"));
            match ours {
                Some(_) => report.primary = problem,
                None => report.missing = problem,
            }
            (Conflist::Keep, report)
        }
        Primary::Found(_, list) => {
            let composed = conflist::compose(&list, &wanted.entry);
            let is_equal = matches!(ours, Some(Ok(ours)) if *ours == composed);
            match (is_equal, wanted.is_ready) {
                (true, _) => (Conflist::Keep, report),
                (false, true) => (Conflist::Write(composed), report),
                (false, false) => {
                    if ours.is_none() {
                        report.missing = Some("the node is not ready yet".to_owned());
                    }
                    (Conflist::Keep, report)
                }
            }
        }
    }
}

fn displaced(seen: &Seen) -> Option<String> {
    let before = conflist::displacing(&seen.files);
    let before = before.map(|file| format!("{file} comes before {FILE}"));
    let is_there = |file: &str| seen.files.contains_key(OsStr::new(file));
    let set_aside = is_there(SET_ASIDE) && !is_there(FILE);
    // Cilium leaves other configurations in place with `cni.exclusive: false`.
    let set_aside = set_aside.then(|| format!("{FILE} was set aside as {SET_ASIDE}"));
    before.or(set_aside)
}

fn removal(seen: &Seen) -> Conflist {
    match seen.files.contains_key(OsStr::new(FILE)) {
        true => Conflist::Remove,
        false => Conflist::Keep,
    }
}

#[cfg(test)]
mod tests;
