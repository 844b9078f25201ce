//! Convergence of a lab: tables and links that are expected, statuses that daemons report, and the wait for both.

pub(crate) mod computed;
pub(crate) mod wait;
pub(crate) mod watch;
