//! The adapter of the port [`Kernel`] to Linux.
//!
//! ```text
//! apply:  1 each namespace: make it, lo up, settings, delete links     (one worker thread, which enters each once)
//!         2 from the host's namespace: make links, both ends in place  (one batch for all)
//!         3 each namespace: the rest, packed into few sends
//!         4 delete namespaces
//! ```

mod apply;
mod encode;
mod observe;
mod remove;
mod settings;
pub mod underlay;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

pub(crate) use observe::link as read_link;

use crate::{
    Balance, Error, Observed, Operation,
    groups::{self, Set},
    kernel::{Applied, Kernel, again},
    netlink::{Batch, Socket},
    netns::{self, Netns},
    observed::SeenNexthop,
    port::{Fib, Structure},
};

/// True when this kernel has resilient groups. Empty until the kernel has answered.
static HAS_RESILIENT: OnceLock<bool> = OnceLock::new();
/// True when this kernel has IPv6. Empty until the kernel has answered.
static HAS_IPV6: OnceLock<bool> = OnceLock::new();

/// The kernel of this machine, seen from the "host" namespace in which the value was made: there the sockets of VXLAN
/// devices stay. Cheap to make: one for each thread.
#[derive(Debug)]
pub struct LinuxKernel {
    host: Netns,
}

impl LinuxKernel {
    /// The kernel, with the calling thread's namespace as host.
    ///
    /// # Errors
    /// [`Error::System`] when `/proc` is not there.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            host: Netns::current()?,
        })
    }

    /// Number of interfaces with our mark in all namespaces that have a number in the host's, whether they have a name or not: a
    /// namespace gets one when it is watched, and keeps it.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn count_interfaces(&self) -> Result<usize, Error> {
        let mut socket = Socket::open_in(&self.host)?;
        Ok(remove::numbered(&mut socket, |link| link.is_ours)?.len())
    }

    /// Deletes the interfaces of [`LinuxKernel::count_interfaces`].
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn delete_interfaces(&self) -> Result<u64, Error> {
        let mut socket = Socket::open_in(&self.host)?;
        let all = remove::numbered(&mut socket, |link| link.is_ours)?;
        remove::delete_numbered(&mut socket, &all)
    }

    /// True when this kernel has resilient nexthop groups (Linux 5.13); else hash-threshold groups take their place.
    ///
    /// # Errors
    /// When the kernel could not be asked just now.
    pub fn has_resilient_groups(&self) -> Result<bool, Error> {
        has_resilient()
    }
}

impl Kernel for LinuxKernel {
    fn namespaces(&mut self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut names = netns::list()?;
        names.retain(|name| name.starts_with(prefix));
        Ok(names)
    }

    fn observe(&mut self, netns: &str) -> Result<Option<Observed>, Error> {
        observe_by(netns, observe::everything)
    }

    fn observe_structure(&mut self, netns: &str) -> Result<Option<Observed>, Error> {
        observe_by(netns, observe::structure)
    }

    fn observe_routing(&mut self, netns: &str) -> Result<Option<Observed>, Error> {
        observe_by(netns, observe::routing)
    }

    fn apply(&mut self, operations: Vec<(String, Vec<Operation>)>) -> Applied {
        Structure::make(self, operations)
    }

    fn evict(&mut self, netns: &str, link: &str) -> Result<Applied, Error> {
        Fib::evict(self, netns, &[link])
    }
}

impl Fib for LinuxKernel {
    fn observe_routing(&self, netns: &str) -> Result<Option<Observed>, Error> {
        again(|| observe_by(netns, observe::routing))
    }

    fn program(&self, netns: &str, operations: Vec<Operation>) -> Applied {
        self.make(vec![(netns.to_owned(), operations)])
    }

    /// The calling thread visits the namespace: no thread is started, and no socket stays, which would keep a namespace alive that
    /// is being deleted.
    fn evict(&self, netns: &str, links: &[&str]) -> Result<Applied, Error> {
        Netns::open(netns)?.enter()?;
        let applied = evict(netns, links);
        // Where this fails the thread is of no use for what needs the host's namespace; the next eviction enters its own.
        self.host.enter()?;
        applied
    }
}

impl Structure for LinuxKernel {
    fn observe_structure(&self, netns: &str) -> Result<Option<Observed>, Error> {
        again(|| observe_by(netns, observe::structure))
    }

    fn make(&self, operations: Vec<(String, Vec<Operation>)>) -> Applied {
        let mut applied = Applied::default();
        let result = netns::on_worker(|| apply::run(&self.host, &operations, &mut applied));
        if let Err(source) = result {
            applied.fail("", "all operations", source);
        }
        applied
    }
}

fn observe_by(
    netns: &str,
    observe: fn(&mut Socket) -> Result<Observed, Error>,
) -> Result<Option<Observed>, Error> {
    let netns = match Netns::open(netns) {
        Err(Error::NoNamespace { .. }) => return Ok(None),
        netns => netns?,
    };
    let observed = netns.run(|| observe(&mut Socket::open()?))??;
    Ok(Some(Observed {
        lacks_resilient: !has_resilient()?,
        lacks_ipv6: !has_ipv6()?,
        ..observed
    }))
}

/// Runs in the namespace: a socket, a dump and one send, whatever the number of routes.
fn evict(netns: &str, links: &[&str]) -> Result<Applied, Error> {
    let mut applied = Applied::default();
    // With a link its nexthop went.
    let indexed = links
        .iter()
        .filter_map(|&link| Some((nix::net::if_::if_nametoindex(link).ok()?, link)));
    let names: BTreeMap<u32, &str> = indexed.collect();
    if names.is_empty() {
        return Ok(applied);
    }
    let mut socket = Socket::open()?;
    let nexthops = observe::nexthops(&mut socket, &names)?;
    // Those on other links have no name here.
    let is_member = |nexthop: &SeenNexthop| matches!(nexthop, SeenNexthop::Single { is_ours: true, link, .. } if links.contains(&link.as_str()));
    let members: BTreeSet<u32> = nexthops
        .iter()
        .filter(|(_, nexthop)| is_member(nexthop))
        .map(|(&id, _)| id)
        .collect();
    let mut batch = Batch::new();
    let mut edited = Vec::new();
    let mut balances = BTreeMap::new();
    let mut groups: BTreeMap<u32, Set> = BTreeMap::new();
    for (&id, nexthop) in &nexthops {
        if let SeenNexthop::Group {
            members,
            balance,
            is_ours: true,
        } = nexthop
        {
            groups.insert(id, members.clone());
            balances.insert(id, *balance);
        }
    }
    for (id, left) in groups::evict_all(&groups, &members) {
        encode::edit_group(&mut batch, id, &left, balances[&id]);
        edited.push(id);
    }
    for source in socket.run(&mut batch)? {
        let object = format!("nexthop group {}", edited[source.index]);
        let source = Error::Refused {
            object: format!("{object} in {netns}"),
            source,
        };
        applied.fail(netns, object, source);
    }
    applied.writes = socket.sent();
    Ok(applied)
}

/// Keeps an answer of the kernel, and nothing but an answer: a failure to ask is tried again by the next caller.
fn answered(
    kept: &OnceLock<bool>,
    ask: impl FnOnce() -> Result<bool, Error>,
) -> Result<bool, Error> {
    match kept.get() {
        Some(answer) => Ok(*answer),
        None => {
            let answer = ask()?;
            Ok(*kept.get_or_init(|| answer))
        }
    }
}

fn has_resilient() -> Result<bool, Error> {
    answered(&HAS_RESILIENT, || netns::on_worker(probe_resilient)?)
}

/// Asks the kernel, in a namespace of no name that goes with its thread.
fn probe_resilient() -> Result<bool, Error> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(|error| Error::system("create network namespace", "for a probe", error))?;
    let mut batch = Batch::new();
    encode::blackhole(&mut batch, 1);
    encode::group(&mut batch, 2, &BTreeSet::from([1]), Balance::RESILIENT);
    let refused = Socket::open()?.run(&mut batch)?.into_iter().next();
    match refused {
        None => Ok(true),
        // What kernels before 5.13 say of the type of group.
        Some(source) if matches!(source.errno, libc::EINVAL | libc::EOPNOTSUPP) => Ok(false),
        Some(source) => Err(Error::Refused {
            object: "resilient nexthop group for a probe".to_owned(),
            source,
        }),
    }
}

/// A kernel with `ipv6.disable=1`, or built without IPv6, has no sockets of it.
fn has_ipv6() -> Result<bool, Error> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    answered(&HAS_IPV6, || {
        let opened = socket(
            AddressFamily::Inet6,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        );
        match opened {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAFNOSUPPORT) => Ok(false),
            Err(error) => Err(Error::system("open", "IPv6 socket", error)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_failed_is_asked_again_and_an_answer_is_kept() {
        let kept = OnceLock::new();
        let failed = || Err(Error::Malformed { reason: "nothing" });
        assert!(answered(&kept, failed).is_err());
        assert!(answered(&kept, || Ok(true)).unwrap());
        assert!(answered(&kept, failed).unwrap());
    }
}
