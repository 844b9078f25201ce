//! What the controllers tell of themselves: a port, so that nothing here knows a metrics library.

use std::time::Duration;

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done, or nothing to do.
    Done,
    /// Someone else was quicker: looked at again.
    Conflict,
    /// Failed: tried again later.
    Failed,
}

impl Outcome {
    /// The value of a label.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Conflict => "conflict",
            Outcome::Failed => "failed",
        }
    }
}

/// Takes the figures. Every name is one of a few constants: fit for labels.
pub trait Meter: Send + Sync {
    /// One object was looked at; `controller` is `topology`, `forwarder` or `sweep`.
    fn reconciled(&self, controller: &'static str, outcome: Outcome, took: Duration);
    /// Tables of one topology were computed.
    fn computed(&self, forwarders: usize, took: Duration);
    /// One request that writes was answered; `kind` as in `forwarders`, `verb` as in RBAC.
    fn wrote(&self, kind: &'static str, verb: &'static str, outcome: Outcome, took: Duration);
    /// A watch told of something; `kind` is the plural name.
    fn heard(&self, kind: &'static str);
    /// A watch failed; `kind` is the plural name.
    fn watch_failed(&self, kind: &'static str);
}

/// Takes the figures and drops them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn reconciled(&self, _: &'static str, _: Outcome, _: Duration) {}
    fn computed(&self, _: usize, _: Duration) {}
    fn wrote(&self, _: &'static str, _: &'static str, _: Outcome, _: Duration) {}
    fn heard(&self, _: &'static str) {}
    fn watch_failed(&self, _: &'static str) {}
}
