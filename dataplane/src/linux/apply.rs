//! Applying operations of many namespaces, kind by kind.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    os::fd::AsRawFd,
};

use super::{
    encode, observe, remove,
    settings::{Directories, ROOT},
};
use crate::{
    Error, Operation,
    diff::is_same,
    kernel::Applied,
    netlink::{Batch, Rejection, Socket},
    netns::{self, Netns},
    observed::SeenLink,
    state::{Link, LinkKind},
};

/// Open namespaces at one time while links are made, well below the usual limit of 1,024 files.
const OPEN_NAMESPACES: usize = 256;

/// Links that could not be made, by namespace and name.
type Refusals = BTreeMap<(String, String), Rejection>;

/// Applies everything. Runs on a worker thread, whose namespace changes.
pub(super) fn run(host: &Netns, all: &[(String, Vec<Operation>)], applied: &mut Applied) {
    let mut absent = BTreeSet::new();
    let creates = |(_, operations): &(_, Vec<_>)| operations.contains(&Operation::CreateNamespace);
    if all.iter().any(creates)
        && let Err(source) = netns::prepare_directory()
    {
        applied.fail("", netns::DIRECTORY, source);
    }
    for (netns, operations) in all {
        if let Err(source) = prepare(netns, operations, applied) {
            applied.fail(netns, "network namespace", source);
            absent.insert(netns.as_str());
        }
    }
    let mut refusals = Refusals::new();
    let made = create_links(host, all, &mut refusals, applied)
        .and_then(|()| replace_strays(host, all, &mut refusals, applied));
    if let Err(source) = made {
        applied.fail("", "links", source);
    }
    for (netns, operations) in all
        .iter()
        .filter(|(netns, _)| !absent.contains(netns.as_str()))
    {
        if let Err(source) = fill(netns, operations, &refusals, applied) {
            applied.fail(netns, "all operations", source);
        }
    }
    let gone = all
        .iter()
        .filter(|(_, operations)| operations.contains(&Operation::DeleteNamespace));
    let gone: Vec<&str> = gone.map(|(netns, _)| netns.as_str()).collect();
    remove::namespaces(&gone, applied);
}

/// Phase 1: the namespace, settings, deletion of links.
fn prepare(netns: &str, operations: &[Operation], applied: &mut Applied) -> Result<(), Error> {
    let is_early = |operation: &&Operation| {
        matches!(
            operation,
            Operation::CreateNamespace
                | Operation::WriteSetting { .. }
                | Operation::DeleteLink { .. }
        )
    };
    let early: Vec<&Operation> = operations.iter().filter(is_early).collect();
    if early.is_empty() {
        return Ok(());
    }
    match Netns::open(netns) {
        Err(Error::NoNamespace { .. }) if early.contains(&&Operation::CreateNamespace) => {
            netns::create_here(netns)?;
            applied.writes += 1;
        }
        netns => netns?.enter()?,
    }
    write_settings(netns, &early, applied);
    send(netns, &early, &Refusals::new(), applied)
}

/// Writes settings of the calling thread's namespace.
fn write_settings(netns: &str, operations: &[&Operation], applied: &mut Applied) {
    let settings = operations.iter().filter_map(|operation| match operation {
        Operation::WriteSetting { path, value } => Some((operation, path, value)),
        _ => None,
    });
    let mut settings = settings.peekable();
    if settings.peek().is_none() {
        return;
    }
    let directories = match Directories::open() {
        Ok(directories) => directories,
        Err(source) => return applied.fail(netns, "settings", Error::system("open", ROOT, source)),
    };
    for (operation, path, value) in settings {
        match directories.write(path, value) {
            Ok(()) => applied.writes += 1,
            // An older kernel that does not know it, one without its family, or the interface went.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                applied.fail(
                    netns,
                    operation,
                    Error::system("write", path.clone(), error),
                );
            }
        }
    }
}

/// Phase 2: all new links, each veth once although both its ends ask for it.
fn create_links(
    host: &Netns,
    all: &[(String, Vec<Operation>)],
    refusals: &mut Refusals,
    applied: &mut Applied,
) -> Result<(), Error> {
    host.enter()?;
    let mut maker = Maker::default();
    for (netns, operations) in all {
        for operation in operations {
            if let Operation::CreateLink { name, link } = operation {
                maker.add(netns, name, link, applied)?;
            }
        }
    }
    maker.flush(applied)?;
    refusals.append(&mut maker.refusals);
    Ok(())
}

/// Recreates links of which only the other end exists: its pair is in a namespace that lost its name and still exists,
/// because a process is in it or the kernel has not finished its deletion.
fn replace_strays(
    host: &Netns,
    all: &[(String, Vec<Operation>)],
    refusals: &mut Refusals,
    applied: &mut Applied,
) -> Result<(), Error> {
    let mut again = Vec::new();
    for (netns, operations) in all {
        for operation in operations {
            let Operation::CreateLink { name, link } = operation else {
                continue;
            };
            let end = (netns.clone(), name.clone());
            let is_taken = |refusal: &Rejection| refusal.errno == libc::EEXIST;
            if refusals.get(&end).is_some_and(is_taken)
                && delete_stray(host, netns, name, link, applied)?
            {
                refusals.remove(&end);
                again.push((netns.clone(), vec![operation.clone()]));
            }
        }
    }
    if again.is_empty() {
        return Ok(());
    }
    create_links(host, &again, refusals, applied)
}

/// Deletes the other end of a veth of which this end is not there, or a VXLAN device that lives on in a namespace without a
/// name. False where it is not for us to delete.
fn delete_stray(
    host: &Netns,
    netns: &str,
    name: &str,
    link: &Link,
    applied: &mut Applied,
) -> Result<bool, Error> {
    Netns::open(netns)?.enter()?;
    if observe::links(&mut Socket::open()?)?.contains_key(name) {
        return Ok(false);
    }
    let LinkKind::Veth {
        peer_netns,
        peer_name,
    } = &link.kind
    else {
        host.enter()?;
        let deleted = remove::stray_tunnels(&mut Socket::open()?, link)?;
        applied.writes += deleted;
        return Ok(deleted > 0);
    };
    Netns::open(peer_netns)?.enter()?;
    let peers = observe::links(&mut Socket::open()?)?;
    let is_stray =
        |peer: &SeenLink| peer.is_ours && peer.kind == "veth" && peer.mac == link.peer_mac;
    if !peers.get(peer_name).is_some_and(is_stray) {
        return Ok(false);
    }
    let name = peer_name.clone();
    let delete = Operation::DeleteLink { name };
    send(peer_netns, &[&delete], &Refusals::new(), applied)?;
    Ok(true)
}

/// Makes links in batches.
#[derive(Default)]
struct Maker {
    socket: Option<Socket>,
    batch: Batch,
    open: HashMap<String, Netns>,
    /// Both ends of each link in the batch.
    pending: Vec<Vec<(String, String)>>,
    /// Ends that are made or in the batch.
    made: BTreeSet<(String, String)>,
    refusals: Refusals,
}

impl Maker {
    fn add(
        &mut self,
        netns: &str,
        name: &str,
        link: &Link,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let mut ends = vec![(netns.to_owned(), name.to_owned())];
        if self.made.contains(&ends[0]) {
            return Ok(());
        }
        if self.open.len() + 2 > OPEN_NAMESPACES {
            self.flush(applied)?;
        }
        let opened = self.descriptor(netns).and_then(|own| match &link.kind {
            LinkKind::Veth {
                peer_netns,
                peer_name,
            } => {
                ends.push((peer_netns.clone(), peer_name.clone()));
                Ok((own, Some(self.descriptor(peer_netns)?)))
            }
            _ => Ok((own, None)),
        });
        match opened {
            Ok((own, peer)) => {
                encode::create_link(&mut self.batch, name, link, own, peer);
                self.made.extend(ends.iter().cloned());
                self.pending.push(ends);
            }
            // The missing link is reported once, here: `fill` finds it absent.
            Err(source) => {
                let errno = libc::ENOENT;
                let rejection = Rejection {
                    index: 0,
                    errno,
                    message: source.to_string(),
                };
                self.refusals.insert(ends.swap_remove(0), rejection);
            }
        }
        Ok(())
    }

    fn descriptor(&mut self, netns: &str) -> Result<i32, Error> {
        if let Some(open) = self.open.get(netns) {
            return Ok(open.as_raw_fd());
        }
        let opened = Netns::open(netns)?;
        let descriptor = opened.as_raw_fd();
        self.open.insert(netns.to_owned(), opened);
        Ok(descriptor)
    }

    fn flush(&mut self, applied: &mut Applied) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(Socket::open()?),
        };
        applied.writes += self.batch.len() as u64;
        let pending = std::mem::take(&mut self.pending);
        let rejections = socket.run(&mut self.batch);
        self.open.clear();
        for rejection in rejections? {
            for end in &pending[rejection.index] {
                self.refusals.insert(end.clone(), rejection.clone());
            }
        }
        Ok(())
    }
}

/// Phase 3: what comes after the links.
fn fill(
    netns: &str,
    operations: &[Operation],
    refusals: &Refusals,
    applied: &mut Applied,
) -> Result<(), Error> {
    let is_late = |operation: &&Operation| {
        !matches!(
            operation,
            Operation::CreateNamespace
                | Operation::WriteSetting { .. }
                | Operation::DeleteLink { .. }
                | Operation::DeleteNamespace
        )
    };
    let late: Vec<&Operation> = operations.iter().filter(is_late).collect();
    if late.is_empty() {
        return Ok(());
    }
    Netns::open(netns)?.enter()?;
    send(netns, &late, refusals, applied)
}

/// Sends operations in the calling thread's namespace, all in as few sends as can be.
fn send(
    netns: &str,
    operations: &[&Operation],
    refusals: &Refusals,
    applied: &mut Applied,
) -> Result<(), Error> {
    let mut socket = Socket::open()?;
    let needs_links = |operation: &&Operation| {
        !matches!(
            *operation,
            Operation::SetRoute { .. }
                | Operation::SetGroup { .. }
                | Operation::DeleteRoute(_)
                | Operation::DeleteNexthop(_)
                | Operation::SetUnreachable { .. }
                | Operation::AddRule(_)
                | Operation::CreateNamespace
                | Operation::WriteSetting { .. }
        )
    };
    let links = match operations.iter().any(needs_links) {
        true => observe::links(&mut socket)?,
        false => BTreeMap::new(),
    };
    let mut batch = Batch::new();
    let mut operation_by_message: Vec<&Operation> = Vec::with_capacity(operations.len());
    for &operation in operations {
        if let Err(source) = adopt(netns, operation, &links, refusals) {
            applied.fail(netns, operation, source);
        } else if let Err(name) = encode::operation(&mut batch, operation, &links) {
            let object = format!("{operation} in {netns}: no interface {name}");
            let source = Rejection {
                index: 0,
                errno: libc::ENODEV,
                message: String::new(),
            };
            applied.fail(netns, operation, Error::Refused { object, source });
        }
        operation_by_message.resize(batch.len(), operation);
    }
    let result = socket.run(&mut batch);
    applied.writes += socket.sent();
    for source in result? {
        let operation = operation_by_message[source.index];
        if !encode::is_done(operation, source.errno) {
            applied.fail(netns, operation, refused(netns, operation, source));
        }
    }
    Ok(())
}

/// A route that was added since the observation is foreign.
fn refused(netns: &str, operation: &Operation, source: Rejection) -> Error {
    let object = format!("{operation} in {netns}");
    match operation {
        Operation::SetRoute { replace: false, .. }
        | Operation::SetPodRoute { replace: false, .. }
        | Operation::SetUnreachable { replace: false, .. }
            if source.errno == libc::EEXIST =>
        {
            Error::Foreign { object }
        }
        _ => Error::Refused { object, source },
    }
}

/// Succeeds when the link exists now: created, or already there and equal.
fn adopt(
    netns: &str,
    operation: &Operation,
    links: &BTreeMap<String, SeenLink>,
    refusals: &Refusals,
) -> Result<(), Error> {
    let Operation::CreateLink { name, link } = operation else {
        return Ok(());
    };
    let Some(source) = refusals.get(&(netns.to_owned(), name.clone())) else {
        return Ok(());
    };
    let object = format!("{operation} in {netns}");
    match links.get(name) {
        Some(now) if now.is_ours && is_same(link, now) => Ok(()),
        Some(now) if !now.is_ours => Err(Error::Foreign { object }),
        _ => Err(Error::Refused {
            object,
            source: source.clone(),
        }),
    }
}
