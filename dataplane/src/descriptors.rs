//! The limit of open files of this process: sockets of peers, namespaces and netlink sockets count against it.

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
