//! Where labs keep their state, and on whose behalf.

use std::path::{Path, PathBuf};

use nix::unistd::{Uid, geteuid};

/// The directory of all labs of root.
pub(crate) use node::diagnose::labs::DIRECTORY as PRIVILEGED;

/// The directory of all labs of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// One directory for each lab below it.
    pub(crate) base: PathBuf,
    /// False for who must make do with a user namespace.
    pub(crate) is_privileged: bool,
}

impl Place {
    /// `/run/beemesh/lab` for root, else below `$XDG_RUNTIME_DIR` or `/tmp`.
    ///
    /// # Assumptions
    /// Asked before the process joins a user namespace, in which everyone is root.
    pub(crate) fn of_this_user() -> Place {
        let user = geteuid();
        if user.is_root() && is_capable() {
            return Place {
                base: PathBuf::from(PRIVILEGED),
                is_privileged: true,
            };
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Place {
            base: base_of(user, runtime.as_deref()),
            is_privileged: false,
        }
    }
}

fn base_of(user: Uid, runtime: Option<&Path>) -> PathBuf {
    match runtime {
        Some(runtime) if runtime.is_dir() => runtime.join("beemesh/lab"),
        _ => PathBuf::from(format!("/tmp/beemesh-{user}/lab")),
    }
}

/// Whether this process may make network namespaces and mount their names.
fn is_capable() -> bool {
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_ADMIN: u64 = 1 << 21;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return true;
    };
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    effective.is_none_or(|mask| mask & NET_ADMIN != 0 && mask & SYS_ADMIN != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_runtime_directory_gets_one_in_tmp() {
        let user = Uid::from_raw(1234);
        assert_eq!(base_of(user, None), PathBuf::from("/tmp/beemesh-1234/lab"));
        let missing = Path::new("/no/such/directory");
        assert_eq!(
            base_of(user, Some(missing)),
            PathBuf::from("/tmp/beemesh-1234/lab")
        );
        assert_eq!(
            base_of(user, Some(Path::new("/tmp"))),
            PathBuf::from("/tmp/beemesh/lab")
        );
    }
}
