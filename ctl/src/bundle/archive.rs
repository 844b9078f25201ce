//! The file: tar in gzip, everything below one directory.

use super::scrub::scrub;
use flate2::{Compression, write::GzEncoder};
use std::{
    fs::File,
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

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
    /// What the file system says.
    pub(super) fn create(path: &Path, directory: &str, seconds: u64) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
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

    /// Adds a file, without what looks like a secret.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        let text = scrub(text);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.seconds);
        let path = format!("{}/{name}", self.directory);
        self.entries += 1;
        self.builder.append_data(&mut header, path, text.as_bytes())
    }

    /// How many files there are.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Ends the file and gives it its name; says how long it is.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.builder.finish()?;
        let file = self.builder.get_mut();
        file.try_finish()?;
        io::Write::flush(file.get_mut())?;
        std::fs::rename(&self.temporary, &self.path)?;
        Ok(std::fs::metadata(&self.path)?.len())
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Half an archive is none; a whole one has its name already.
        let _ = std::fs::remove_file(&self.temporary);
    }
}
