//! The file: tar in gzip, everything below one directory.

use super::scrub::scrub;
use console::terminal::escape;
use flate2::{Compression, write::GzEncoder};
use std::{
    fs::File,
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Names that are tried for the temporary file.
const ATTEMPTS: u32 = 100;

/// An archive that is being written. It appears under its name when it is whole.
pub(super) struct Archive {
    builder: tar::Builder<GzEncoder<BufWriter<File>>>,
    directory: String,
    seconds: u64,
    entries: usize,
    temporary: PathBuf,
    path: PathBuf,
}

impl Archive {
    /// Begins `path`, readable for its owner alone.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn create(path: &Path, directory: &str, seconds: u64) -> io::Result<Self> {
        let (temporary, file) = temporary(path)?;
        let encoder = GzEncoder::new(BufWriter::new(file), Compression::default());
        Ok(Self {
            builder: tar::Builder::new(encoder),
            directory: directory.to_owned(),
            seconds,
            entries: 0,
            temporary,
            path: path.to_owned(),
        })
    }

    /// Adds a file, without secrets and control characters: it may be read on a terminal.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        let text = escape(&scrub(text)).into_owned();
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.seconds);
        let path = format!("{}/{name}", self.directory);
        self.entries += 1;
        self.builder.append_data(&mut header, path, text.as_bytes())
    }

    /// Number of files.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Ends the file and gives it its name; says how long it is.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.builder.finish()?;
        let file = self.builder.get_mut();
        file.try_finish()?;
        io::Write::flush(file.get_mut())?;
        std::fs::rename(&self.temporary, &self.path)?;
        Ok(std::fs::metadata(&self.path)?.len())
    }
}

/// A new file beside `path`. One that is there, or a link, is not written through: the directory may be shared.
fn temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0;
    loop {
        let id = std::process::id();
        let temporary = path.with_file_name(format!(".{name}.{id}.{number}.tmp"));
        let mut options = File::options();
        match options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
        {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < ATTEMPTS => {
                number += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Half an archive is none; a whole one has its name already.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_link_in_the_way_is_not_written_through() {
        let directory = tempfile::tempdir().expect("a directory");
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "mine").expect("a file");
        let id = std::process::id();
        for name in [
            format!(".a.tar.gz.{id}.tmp"),
            format!(".a.tar.gz.{id}.0.tmp"),
        ] {
            symlink(&victim, directory.path().join(name)).expect("a link");
        }
        let path = directory.path().join("a.tar.gz");
        let mut archive = Archive::create(&path, "a", 0).expect("an archive");
        archive.add("x", "y").expect("an entry");
        archive.finish().expect("a file");
        assert_eq!(std::fs::read(&victim).expect("a file"), b"mine");
        let mode = std::fs::metadata(&path)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
