//! Verbs of `beemesh lab`.

pub(crate) mod burn;
pub(crate) mod cuts;
pub(crate) mod exec;
pub(crate) mod faults;
pub(crate) mod flap;
pub(crate) mod health;
pub(crate) mod life;
pub(crate) mod samples;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod verify;
