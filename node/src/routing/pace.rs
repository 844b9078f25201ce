//! Pace of the engine's work: when what may run again. Pure.

pub(super) mod gather;
pub(super) mod resync;
pub(super) mod retry;
