//! Commands to the detector's thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::link::Link;
use crate::sockets::Sockets;

/// A command to the thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Use these sockets, or those from before, for these links, by index of their interface.
    Bind {
        number: u32,
        netns: Arc<str>,
        sockets: Option<Sockets>,
        links: Vec<(u32, Link)>,
    },
    /// Forget a namespace.
    Release(u32),
    /// The daemon of a node stopped.
    PeerStopped(String),
    /// The daemon of a node is back.
    PeerBack(String),
    /// The kernel of a node does not answer.
    PeerLost(String),
    /// Tell all peers of the stop, and end.
    Stop,
}

/// Queue of commands, with a descriptor that wakes the thread.
#[derive(Debug)]
pub(crate) struct Inbox {
    commands: Mutex<Vec<Command>>,
    wake: EventFd,
}

impl Inbox {
    pub(crate) fn new() -> io::Result<Inbox> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Inbox {
            commands: Mutex::default(),
            wake: EventFd::from_flags(flags)?,
        })
    }

    /// Readable while commands wait.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(crate) fn send(&self, command: Command) {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(command);
        // It can only fail when it is full of wake-ups already.
        let _ = self.wake.write(1);
    }

    pub(crate) fn take(&self) -> Vec<Command> {
        let _ = self.wake.read();
        std::mem::take(&mut self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
