//! Directories of the runtime: observation, and atomic writes. Foreign files are only read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::conflist::{self, FILE, Files, PLUGIN, SET_ASIDE};
use super::plan::{Conflist, Plan, Seen};
use crate::error::Error;
use store::atomic;

/// Largest configuration that is read, in bytes: ten times any real one.
const MAX_BYTES: u64 = 1 << 20;
/// File mode recommended for CNI configurations by the CIS Kubernetes Benchmark.
const CONFLIST_MODE: u32 = 0o600;
const PROGRAM_MODE: u32 = 0o755;

/// Directories of the runtime, and the source of the plugin binary.
#[derive(Clone, Debug)]
pub struct Places {
    /// Configuration directory of the runtime.
    pub conf_dir: PathBuf,
    /// Plugin directory of the runtime.
    pub bin_dir: PathBuf,
    /// Plugin binary of this version.
    pub program: PathBuf,
}

impl Places {
    /// Observes both directories.
    ///
    /// # Errors
    /// [`Error::File`] when the directory or the binary is unreadable.
    pub fn observe(&self) -> Result<Seen, Error> {
        Ok(Seen {
            files: self.files()?,
            is_binary_current: is_same(&self.program, &self.installed())
                .map_err(Error::file("read", &self.program))?,
        })
    }

    /// Configurations in the directory, ours included.
    ///
    /// # Errors
    /// [`Error::File`] when the directory is unreadable.
    pub fn files(&self) -> Result<Files, Error> {
        let failed = || Error::file("read", &self.conf_dir);
        let mut files = Files::new();
        for entry in fs::read_dir(&self.conf_dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name();
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_known = conflist::is_configuration(&name) || name == SET_ASIDE;
            if is_known && !is_directory {
                let content = read(&entry.path()).map_err(|error| error.to_string());
                files.insert(name, content);
            }
        }
        Ok(files)
    }

    /// Executes the plan, the conflist last; writes the conflist only when the binary is installed.
    ///
    /// # Errors
    /// [`Error::File`]: each file is complete, old or new.
    pub fn apply(&self, plan: &Plan) -> Result<(), Error> {
        if plan.conflist == Conflist::Remove {
            self.remove_conflist()?;
        }
        if plan.writes_binary {
            self.write_program()?;
        }
        if let Conflist::Write(bytes) = &plan.conflist {
            let path = self.conflist();
            atomic::place(&path, CONFLIST_MODE, |file| io::copy(&mut &bytes[..], file))?;
            tracing::info!(path = %path.display(), "wrote the CNI configuration");
        }
        Ok(())
    }

    /// Removes our conflist, and its copy by Cilium. An absent file counts as removed.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove_conflist(&self) -> Result<(), Error> {
        for name in [FILE, SET_ASIDE] {
            let path = self.conf_dir.join(name);
            if remove(&path)? {
                tracing::info!(path = %path.display(), "removed the CNI configuration");
            }
        }
        Ok(())
    }

    /// Removes the plugin binary. An absent file counts as removed.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove_program(&self) -> Result<(), Error> {
        let path = self.installed();
        if remove(&path)? {
            tracing::info!(path = %path.display(), "removed the plugin");
        }
        Ok(())
    }

    /// Creates the directories, and removes temporary files of killed writers.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn prepare(&self) -> Result<(), Error> {
        for directory in [&self.conf_dir, &self.bin_dir] {
            fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
        }
        self.sweep()
    }

    /// Removes temporary files of killed writers.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn sweep(&self) -> Result<(), Error> {
        atomic::sweep(&self.conflist())?;
        Ok(atomic::sweep(&self.installed())?)
    }

    /// Number of our files: conflist, binary, and temporary files of killed writers.
    pub fn count(&self) -> u64 {
        let ours = [
            self.conflist(),
            self.conf_dir.join(SET_ASIDE),
            self.installed(),
        ];
        let there = ours.iter().filter(|path| path.symlink_metadata().is_ok());
        let left = [self.conflist(), self.installed()];
        let left = left
            .iter()
            .map(|path| atomic::leftovers(path).map_or(0, |left| left.len()));
        (there.count() + left.sum::<usize>()) as u64
    }

    /// Path of our conflist.
    pub fn conflist(&self) -> PathBuf {
        self.conf_dir.join(FILE)
    }

    /// Path of the installed plugin binary.
    pub fn installed(&self) -> PathBuf {
        self.bin_dir.join(PLUGIN)
    }

    /// Replaces the binary by rename, also while the old one is executed.
    fn write_program(&self) -> Result<(), Error> {
        let mut program = File::open(&self.program).map_err(Error::file("read", &self.program))?;
        let path = self.installed();
        atomic::place(&path, PROGRAM_MODE, |file| io::copy(&mut program, file))?;
        tracing::info!(path = %path.display(), "wrote the plugin");
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would block until its other end is opened.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(io::Error::other(format!("more than {MAX_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("remove", path)(error)),
    }
}

/// True when `copy` is an executable file with the bytes of `original`.
fn is_same(original: &Path, copy: &Path) -> io::Result<bool> {
    let mut original = File::open(original)?;
    let Ok(metadata) = copy.symlink_metadata() else {
        return Ok(false);
    };
    let is_program = metadata.is_file() && metadata.mode() & 0o7777 == PROGRAM_MODE;
    if !is_program || metadata.len() != original.metadata()?.len() {
        return Ok(false);
    }
    // An unreadable copy is replaced.
    let Ok(mut copy) = File::open(copy) else {
        return Ok(false);
    };
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = original.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        if copy.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
    }
}
