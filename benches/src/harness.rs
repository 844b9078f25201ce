//! The harness of all benches: command line, list of benches, samples, figures, report, and the
//! namespaces and commands that benches need.

pub(crate) mod arguments;
pub(crate) mod bench;
pub(crate) mod command;
pub(crate) mod figure;
pub(crate) mod netns;
pub(crate) mod report;
pub(crate) mod sample;
