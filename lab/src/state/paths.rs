//! Directory of the labs' state, and its protection from other users.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, geteuid};

use console::failure::Failure;

/// The directory of all labs of root.
pub(crate) use node::host::labs::DIRECTORY as PRIVILEGED;

/// The directory of all labs of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// One directory for each lab below it.
    pub(crate) base: PathBuf,
    /// False for a user who needs a user namespace.
    pub(crate) is_privileged: bool,
}

impl Place {
    /// `/run/beemesh/lab` for root, otherwise below `$XDG_RUNTIME_DIR` or `/tmp`.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the directory exists and another user could have written in it.
    ///
    /// # Assumptions
    /// Called before the process joins a user namespace, in which every user is root.
    pub(crate) fn of_this_user() -> Result<Place, Failure> {
        let user = geteuid();
        if user.is_root() && is_capable() {
            return Ok(Place {
                base: PathBuf::from(PRIVILEGED),
                is_privileged: true,
            });
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let place = Place {
            base: base_of(user, runtime.as_deref()),
            is_privileged: false,
        };
        place
            .directories()
            .try_for_each(|directory| verify(directory, user))?;
        Ok(place)
    }

    /// Creates the directory, for this user alone.
    ///
    /// # Errors
    /// Errors of the file system; a directory in which another user could have written.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        for directory in self.directories() {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    let path = directory.display();
                    return Err(Failure::Failed(format!("failed to make {path}: {error}")));
                }
                _ => verify(directory, geteuid())?,
            }
        }
        Ok(())
    }

    /// Own directories in the path, the outer one first: `beemesh` or `beemesh-UID`, then `lab`.
    fn directories(&self) -> impl Iterator<Item = &Path> {
        self.base.parent().into_iter().chain([self.base.as_path()])
    }
}

/// Refuses a path that is not a directory of `user` writable by `user` alone: in `/tmp` another
/// user may have created it first, with files and links in it.
fn verify(path: &Path, user: Uid) -> Result<(), Failure> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found,
    };
    let wrong = match found {
        Err(error) => error.to_string(),
        Ok(found) if found.is_symlink() => "it is a symbolic link".to_owned(),
        Ok(found) if !found.is_dir() => "it is no directory".to_owned(),
        Ok(found) if found.uid() != user.as_raw() => format!("it is of user {}", found.uid()),
        Ok(found) if found.mode() & 0o022 != 0 => "others may write in it".to_owned(),
        Ok(_) => return Ok(()),
    };
    Err(Failure::Failed(format!(
        "{}: expected a directory of user {user} that nobody else may write, but {wrong}; remove it, or name a \
         directory of your own in XDG_RUNTIME_DIR",
        path.display()
    )))
}

fn base_of(user: Uid, runtime: Option<&Path>) -> PathBuf {
    match runtime {
        Some(runtime) if runtime.is_dir() => runtime.join("beemesh/lab"),
        _ => PathBuf::from(format!("/tmp/beemesh-{user}/lab")),
    }
}

/// True when this process may create network namespaces and mount their names.
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
    fn a_directory_that_another_user_may_have_made_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let base = tempfile::tempdir().unwrap();
        let own = base.path().join("own");
        DirBuilder::new().mode(0o700).create(&own).unwrap();
        let (open, link, file) = (
            base.path().join("open"),
            base.path().join("link"),
            base.path().join("file"),
        );
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        symlink(&own, &link).unwrap();
        fs::write(&file, "").unwrap();
        let user = geteuid();
        let other = Uid::from_raw(user.as_raw() + 1);
        let refusal = |path: &Path, user: Uid| match verify(path, user) {
            Ok(()) => "none".to_owned(),
            Err(failure) => failure.to_string(),
        };
        #[rustfmt::skip]
        let cases = [
            (&own,                      user,  "none"),
            (&base.path().join("none"), user,  "none"),
            (&own,                      other, "it is of user"),
            (&open,                     user,  "others may write in it"),
            (&link,                     user,  "it is a symbolic link"),
            (&file,                     user,  "it is no directory"),
        ];
        for (path, user, expected) in cases {
            let found = refusal(path, user);
            assert!(found.contains(expected), "{}: {found}", path.display());
        }
    }

    #[test]
    fn directories_are_made_for_their_user_alone() {
        let runtime = tempfile::tempdir().unwrap();
        let place = Place {
            base: base_of(geteuid(), Some(runtime.path())),
            is_privileged: false,
        };
        place.create().unwrap();
        place.create().unwrap();
        for directory in place.directories() {
            let mode = fs::metadata(directory).unwrap().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
        }
    }

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
