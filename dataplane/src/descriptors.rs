//! The limit of open files of this process: sockets of peers, namespaces and netlink sockets count against it.

use std::fs;

use nix::errno::Errno;

use crate::Error;

/// Raises the limit of open files to the highest that the process may have, as the Go runtime does by itself. Returns the limit.
///
/// # Errors
/// [`Error::System`] when the kernel refuses; the limit is then as it was.
pub fn raise_limit() -> Result<u64, Error> {
    let failed = |error: Errno| Error::system("raise the limit of", "open files", error);
    let mut limit = limit().map_err(failed)?;
    limit.rlim_cur = limit.rlim_max;
    set(limit).map_err(failed)?;
    Ok(limit.rlim_cur)
}

/// Descriptors that all but connections of peers may take: namespaces, plugins, netlink sockets, files, the API server.
const KEPT: u64 = 512;

/// Number of descriptors that connections of peers may take. They grow with the cluster; what pods need is kept.
pub fn for_peers() -> u64 {
    limit().map_or(0, |limit| peers_share(limit.rlim_cur))
}

/// Number of descriptors that the liveness detector may take, of those of [`for_peers`]: two for each Forwarder.
pub fn for_liveness() -> u64 {
    for_peers() / 4
}

fn peers_share(limit: u64) -> u64 {
    limit - KEPT.min(limit / 2)
}

/// Sentence on the use of descriptors; none while a tenth of them is left.
pub fn shortage() -> Option<String> {
    let limit = limit().ok()?.rlim_cur;
    match fs::read_dir("/proc/self/fd") {
        Ok(open) => {
            let open = open.count() as u64;
            let is_short = open > limit - limit / 10;
            is_short.then(|| format!("{open} of {limit} open files are in use"))
        }
        Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            Some(format!("all {limit} open files are in use"))
        }
        Err(_) => None,
    }
}

fn limit() -> nix::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a value of the right type that lives longer than the call.
    Errno::result(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(limit)
}

fn set(limit: libc::rlimit) -> nix::Result<()> {
    // SAFETY: as above.
    Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_leave_enough_for_pods() {
        #[rustfmt::skip]
        let cases = [(256, 128), (1_024, 512), (524_288, 523_776), (0, 0)];
        for (limit, peers) in cases {
            assert_eq!(peers_share(limit), peers, "{limit}");
        }
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = limit().unwrap().rlim_max;
        let soft = libc::rlimit {
            rlim_cur: hard - 1,
            rlim_max: hard,
        };
        set(soft).unwrap();
        assert_eq!(raise_limit().unwrap(), hard);
        assert_eq!(limit().unwrap().rlim_cur, hard);
    }
}
