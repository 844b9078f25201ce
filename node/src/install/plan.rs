//! What is to be written and removed. Pure.

use std::ffi::OsStr;

use serde_json::Value;

use super::Mode;
use super::conflist::{self, FILE, Files, Primary, SET_ASIDE};

/// What was found in the runtime's directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The configurations, ours among them.
    pub files: Files,
    /// The plugin's program is there as it should be.
    pub is_binary_current: bool,
}

/// What there should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// How the plugin gets to the runtime.
    pub mode: Mode,
    /// The daemon can answer the plugin.
    pub is_ready: bool,
    /// Our plugin as a list has it.
    pub entry: Value,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Write the plugin's program.
    pub writes_binary: bool,
    /// What becomes of our list.
    pub conflist: Conflist,
    /// How things stand once that is done.
    pub report: Report,
}

/// What becomes of our list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflist {
    /// It stays, or stays away.
    Keep,
    /// It is to hold this.
    Write(Vec<u8>),
    /// It goes.
    Remove,
}

/// How the installation stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What keeps the runtime from calling the plugin; none when it does.
    pub missing: Option<String>,
    /// What takes the runtime away from our list although it is there.
    pub displaced: Option<String>,
    /// What is wrong with the primary while our list stays as it was.
    pub primary: Option<String>,
}

/// Decides. Nothing is written that is there already.
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
        // Half written, perhaps: what was made of it before is better than nothing.
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
    // Cilium lets others be with `cni.exclusive: false`.
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
