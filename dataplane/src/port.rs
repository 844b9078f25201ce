//! Ports of a routing engine to a kernel.
//!
//! Adapters: [`crate::LinuxKernel`], and [`MemoryKernel`] behind a mutex. Marks by which an adapter recognises its own objects (protocol numbers,
//! aliases, link groups) stay below the port.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    Error, MemoryKernel, Observed, Operation,
    kernel::{Applied, Kernel},
};

/// The forwarding information base: next hops, groups and routes of many namespaces. One value serves many threads.
pub trait Fib: Send + Sync {
    /// Interfaces, next hops and routes of a namespace; none when there is no such namespace.
    ///
    /// # Errors
    /// [`Error::Resync`] when it changed again and again meanwhile.
    fn observe_routing(&self, netns: &str) -> Result<Option<Observed>, Error>;

    /// Applies operations on next hops, groups and routes. Goes on after a failure.
    fn program(&self, netns: &str, operations: Vec<Operation>) -> Applied;

    /// Takes links out of all groups of a namespace: one atomic message for each group. A group without another member is left alone.
    ///
    /// # Errors
    /// When the namespace cannot be entered or read.
    fn evict(&self, netns: &str, links: &[&str]) -> Result<Applied, Error>;
}

/// Namespaces with their links, addresses, neighbours and forwarding entries. One value serves many threads.
pub trait Structure: Send + Sync {
    /// Part of a namespace that [`crate::diff::structure`] needs; `None` when it does not exist.
    ///
    /// # Errors
    /// [`Error::Resync`] when it kept changing.
    fn observe_structure(&self, netns: &str) -> Result<Option<Observed>, Error>;

    /// Applies the operations of many namespaces, kind by kind, as [`Kernel::apply`].
    fn make(&self, operations: Vec<(String, Vec<Operation>)>) -> Applied;
}

impl Fib for Mutex<MemoryKernel> {
    fn observe_routing(&self, netns: &str) -> Result<Option<Observed>, Error> {
        Kernel::observe_routing(&mut *lock(self), netns)
    }

    fn program(&self, netns: &str, operations: Vec<Operation>) -> Applied {
        Kernel::apply(&mut *lock(self), vec![(netns.to_owned(), operations)])
    }

    fn evict(&self, netns: &str, links: &[&str]) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        for link in links {
            applied.merge(Kernel::evict(&mut *lock(self), netns, link)?);
        }
        Ok(applied)
    }
}

impl Structure for Mutex<MemoryKernel> {
    fn observe_structure(&self, netns: &str) -> Result<Option<Observed>, Error> {
        Kernel::observe_structure(&mut *lock(self), netns)
    }

    fn make(&self, operations: Vec<(String, Vec<Operation>)>) -> Applied {
        Kernel::apply(&mut *lock(self), operations)
    }
}

fn lock(kernel: &Mutex<MemoryKernel>) -> MutexGuard<'_, MemoryKernel> {
    // Only tests share one; a panic in one of their threads fails them anyway.
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}
