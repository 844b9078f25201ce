//! Census of all objects of kernel and agents, so that a test can prove that nothing is left
//! behind.

use std::{collections::BTreeMap, fs, os::unix::fs::FileTypeExt, path::Path, path::PathBuf};

use crate::{
    Error,
    netlink::{
        AF_BRIDGE, AF_INET, AF_INET6, AF_UNSPEC, Batch, NLM_F_DUMP, RTM_GETADDR, RTM_GETLINK,
        RTM_GETNEIGH, RTM_GETNEXTHOP, RTM_GETROUTE, Socket, ifaddrmsg, ifinfomsg, ndmsg, nhmsg,
    },
    netns::{self, Netns},
};

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE`.
const GET_RULE: u16 = 10 << 8 | 7;
/// Number of attempts to count a namespace that changes meanwhile.
const TRIES: usize = 5;

/// Scope of a census.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Named namespaces to count in, by prefix; the empty prefix is all of them.
    pub netns_prefix: String,
    /// Count in the calling thread's namespace too.
    pub host: bool,
    /// Directories whose regular files and sockets are counted, with all below them: reservations, queues, state.
    pub directories: Vec<PathBuf>,
    /// Processes whose open files are counted.
    pub processes: Vec<u32>,
}

/// Counts by name: `netns`, `links`, `addresses`, `routes`, `nexthops`, `neighbours`, `fdb`, `nft-rules` over all namespaces
/// of the scope; `files:DIR` and `sockets:DIR` for each directory; `open-files:PID` for each process.
///
/// A directory or process that is not there counts zero. Neighbours are the permanent ones, and routes those that the kernel did
/// not make: others come and go by themselves.
///
/// # Errors
/// When a namespace cannot be read; one that goes while it is counted is left out.
pub fn census(scope: &Scope) -> Result<BTreeMap<String, u64>, Error> {
    let mut counts = BTreeMap::new();
    for name in [
        "netns",
        "links",
        "addresses",
        "routes",
        "nexthops",
        "neighbours",
        "fdb",
        "nft-rules",
    ] {
        counts.insert(name.to_owned(), 0);
    }
    for name in netns::list()?
        .iter()
        .filter(|name| name.starts_with(&scope.netns_prefix))
    {
        match Netns::open(name) {
            Ok(netns) => {
                add(&mut counts, "netns", 1);
                netns.run(|| namespace(&mut counts))??;
            }
            Err(Error::NoNamespace { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if scope.host {
        namespace(&mut counts)?;
    }
    for directory in &scope.directories {
        let (mut files, mut sockets) = (0, 0);
        walk(directory, &mut files, &mut sockets);
        counts.insert(format!("files:{}", directory.display()), files);
        counts.insert(format!("sockets:{}", directory.display()), sockets);
    }
    for process in &scope.processes {
        let open = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        counts.insert(format!("open-files:{process}"), open as u64);
    }
    Ok(counts)
}

/// Entries of `before` and `after` that differ, as `name: before -> after`; empty for equal ones.
pub fn difference(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let count = |counts: &BTreeMap<String, u64>, name| counts.get(name).copied().unwrap_or(0);
    names
        .into_iter()
        .map(|name| (name, count(before, name), count(after, name)))
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| format!("{name}: {before} -> {after}"))
        .collect()
}

fn add(counts: &mut BTreeMap<String, u64>, name: &str, more: u64) {
    *counts.entry(name.to_owned()).or_default() += more;
}

/// Counts in the calling thread's namespace.
fn namespace(counts: &mut BTreeMap<String, u64>) -> Result<(), Error> {
    let mut socket = Socket::open()?;
    let permanent = |payload: &[u8]| {
        payload
            .get(8..)
            .and_then(crate::netlink::read_u16)
            .is_some_and(|state| state & 0x80 != 0)
    };
    let all = |_: &[u8]| true;
    let ifinfo = ifinfomsg(AF_UNSPEC, 0, 0, 0);
    add(
        counts,
        "links",
        count(&mut socket, RTM_GETLINK, &ifinfo, all)?,
    );
    let ifaddr = ifaddrmsg(AF_UNSPEC, 0, 0, 0, 0);
    add(
        counts,
        "addresses",
        count(&mut socket, RTM_GETADDR, &ifaddr, all)?,
    );
    for family in [AF_INET, AF_INET6] {
        let mut header = [0; 12];
        header[0] = family;
        // RTM_F_CLONED: a cached exception. RTPROT_KERNEL: comes and goes with addresses and carriers.
        let lasting = |payload: &[u8]| {
            payload.get(9).is_some_and(|flags| flags & 2 == 0) && payload.get(5) != Some(&2)
        };
        add(
            counts,
            "routes",
            count(&mut socket, RTM_GETROUTE, &header, lasting)?,
        );
    }
    let nexthop = nhmsg(AF_UNSPEC, 0, 0);
    add(
        counts,
        "nexthops",
        count(&mut socket, RTM_GETNEXTHOP, &nexthop, all)?,
    );
    let neighbour = ndmsg(AF_UNSPEC, 0, 0, 0);
    add(
        counts,
        "neighbours",
        count(&mut socket, RTM_GETNEIGH, &neighbour, permanent)?,
    );
    let bridge = ndmsg(AF_BRIDGE, 0, 0, 0);
    add(
        counts,
        "fdb",
        count(&mut socket, RTM_GETNEIGH, &bridge, all)?,
    );
    let mut socket = Socket::open_protocol(libc::NETLINK_NETFILTER)?;
    // `struct nfgenmsg`: any family.
    match count(&mut socket, GET_RULE, &[0; 4], all) {
        Ok(rules) => add(counts, "nft-rules", rules),
        // A kernel without nftables has no rules.
        Err(Error::Refused { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Dumps one kind of object and counts those that `counts` is true for.
fn count(
    socket: &mut Socket,
    kind: u16,
    header: &[u8],
    counts: impl Fn(&[u8]) -> bool,
) -> Result<u64, Error> {
    let mut tries = 1;
    loop {
        let mut request = Batch::new();
        request.message(kind, NLM_F_DUMP, header);
        let mut number = 0;
        match socket.dump(&mut request, |_, payload| {
            number += u64::from(counts(payload))
        }) {
            Err(Error::Resync { .. }) if tries < TRIES => tries += 1,
            result => return result.map(|()| number),
        }
    }
}

fn walk(directory: &Path, files: &mut u64, sockets: &mut u64) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), files, sockets),
            Ok(kind) if kind.is_socket() => *sockets += 1,
            Ok(_) => *files += 1,
            Err(_) => {}
        }
    }
}
