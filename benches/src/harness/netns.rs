//! Network namespaces of our own, gone again when the guard goes.
//!
//! A signal or a panic (the release profile aborts) runs no guard: `benches/run` deletes in the end
//! whatever begins with the name of its run.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Result;

use crate::harness::{bench::Context, command::ip};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A name that nothing else on this machine has: the last part of the run's directory, and a number.
pub(crate) fn unique_name(context: &Context) -> String {
    let run = context.work.file_name().unwrap_or_default();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", run.to_string_lossy())
}

/// A named network namespace.
#[derive(Debug)]
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    /// Makes an empty one with `lo` up.
    ///
    /// # Errors
    /// Failure of `ip`, with its message.
    pub(crate) fn new(context: &Context) -> Result<Self> {
        let netns = Self::reserve(context);
        ip(["netns", "add", &netns.name])?;
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Only a name: for a namespace that someone else makes, deleted by this guard all the same.
    pub(crate) fn reserve(context: &Context) -> Self {
        Self {
            name: unique_name(context),
        }
    }

    /// The name that `ip netns` takes.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds it.
    pub(crate) fn path(&self) -> PathBuf {
        dataplane::netns::path(&self.name)
    }

    /// Runs `ip -n <this> ...`, the arguments given in one line.
    ///
    /// # Errors
    /// Failure of `ip`, with its message.
    pub(crate) fn ip(&self, arguments: &str) -> Result<String> {
        ip(["-n", &self.name]
            .into_iter()
            .chain(arguments.split_whitespace()))
    }

    /// Runs `work` on a thread inside the namespace; its child processes are inside too.
    ///
    /// # Errors
    /// When the namespace cannot be entered, and those of `work`.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        within(&self.name, work)
    }
}

/// Runs `work` on a thread inside the named namespace.
///
/// # Errors
/// When the namespace cannot be entered, and those of `work`.
pub(crate) fn within<T: Send>(netns: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    dataplane::netns::Netns::open(netns)?.run(work)?
}

impl Drop for Netns {
    fn drop(&mut self) {
        if self.path().exists()
            && let Err(error) = ip(["netns", "delete", &self.name])
        {
            eprintln!("warning: {error:#}");
        }
    }
}
