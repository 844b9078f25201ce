//! Append-only journal of records that detects its own damage.
//!
//! One line a record: length and CRC-32 of the text in hexadecimal, then the text, which is JSON
//! and so has no newline. A record that fails its check is skipped up to the next newline, so
//! damage costs the affected records only; the damaged file is set aside for inspection, and the
//! readable records are written to a new one. Where the disk is full, the journal continues in the
//! damaged file.
//!
//! ```text
//! 00000021 5f3c8a10 {"boot":"6c0a..."}
//! ```
//!
//! A record is written to the page cache before the caller goes on, and synced to the disk by a
//! thread that serves all waiting writers. A killed daemon therefore loses no record. A power cut
//! may lose the last records, together with the network namespaces that they describe.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, atomic};

#[cfg(test)]
mod tests;

/// Length in bytes of a record's header: eight digits, a space, eight digits, a space.
const HEADER: usize = 18;

/// Range of a journal without a readable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Offset of the range in bytes.
    pub at: usize,
    /// Length in bytes.
    pub len: usize,
}

/// Decoded journal.
#[derive(Debug, PartialEq, Eq)]
pub struct Recovered<R> {
    /// Records that pass their check, in order.
    pub records: Vec<R>,
    /// Ranges that fail it, in order; empty for an intact journal.
    pub damage: Vec<Damage>,
}

/// Encoded record with header and newline.
pub fn encode(record: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_vec(record).expect("a record has only string keys");
    let mut line = format!("{:08x} {:08x} ", text.len(), crc32fast::hash(&text)).into_bytes();
    line.extend_from_slice(&text);
    line.push(b'\n');
    line
}

/// Decodes a journal. Pure; any bytes are accepted.
pub fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Recovered<R> {
    let mut recovered = Recovered {
        records: Vec::new(),
        damage: Vec::new(),
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some((record, len)) = decode_one(rest) {
            recovered.records.push(record);
            at += len;
            if bytes.get(at) != Some(&b'\n') {
                recovered.damage.push(Damage {
                    at,
                    len: usize::from(at < bytes.len()),
                });
            }
            at += 1;
        } else {
            let len = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(rest.len(), |end| end + 1);
            recovered.damage.push(Damage { at, len });
            at += len;
        }
    }
    recovered
}

/// Record at the start of `bytes`, and its length without the newline.
fn decode_one<R: DeserializeOwned>(bytes: &[u8]) -> Option<(R, usize)> {
    let header = std::str::from_utf8(bytes.get(..HEADER)?).ok()?;
    let (len, rest) = header.split_once(' ')?;
    let crc = rest.strip_suffix(' ')?;
    let end = HEADER.checked_add(usize::try_from(parse_hex(len)?).ok()?)?;
    let text = bytes.get(HEADER..end)?;
    if crc32fast::hash(text) != parse_hex(crc)? {
        return None;
    }
    Some((serde_json::from_slice(text).ok()?, end))
}

/// Eight lower-case hexadecimal digits and nothing else: a record has one encoding.
fn parse_hex(digits: &str) -> Option<u32> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() != 8 || !digits.bytes().all(lower) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// Journal that is open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    written: u64,
    /// True when the last line has no newline.
    is_torn: bool,
    sync: SyncSender<File>,
}

impl Journal {
    /// Opens the journal at `path`, or creates one, and reads it.
    ///
    /// A damaged file is copied to `<path>.damaged-<n>` and rewritten from its readable records,
    /// now or at the next open.
    ///
    /// # Errors
    /// When the file cannot be read or opened.
    pub fn open<R: Serialize + DeserializeOwned>(
        path: &Path,
    ) -> Result<(Journal, Recovered<R>), Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let recovered = decode(&bytes);
        let mut is_torn = false;
        if !recovered.damage.is_empty()
            && let Err(error) = mend(path, &bytes, &recovered.records)
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "damaged lease journal not rewritten"
            );
            is_torn = bytes.last() != Some(&b'\n');
        }
        let file = open_to_append(path)?;
        let written = file.metadata().map_err(Error::file("read", path))?.len();
        Ok((
            Journal {
                path: path.to_owned(),
                file,
                written,
                is_torn,
                sync: start_syncing(),
            },
            recovered,
        ))
    }

    /// Appends `record`; after the return it survives a kill of the daemon.
    ///
    /// # Errors
    /// The file holds nothing of the record then, so the call may be retried.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), Error> {
        let mut line = encode(record);
        if self.is_torn {
            line.insert(0, b'\n');
        }
        if let Err(error) = self.file.write_all(&line) {
            // A full disk left a partial line; the next record must not follow it.
            let _ = self.file.set_len(self.written);
            return Err(Error::file("write", &self.path)(error));
        }
        self.is_torn = false;
        self.written += line.len() as u64;
        if let Ok(file) = self.file.try_clone() {
            // A full queue means that a sync is pending already.
            let _ = self.sync.try_send(file);
        }
        Ok(())
    }

    /// Replaces the whole journal with `records`, atomically.
    ///
    /// # Errors
    /// The journal is unchanged then.
    pub fn compact<R: Serialize>(&mut self, records: &[R]) -> Result<(), Error> {
        atomic::write(&self.path, &encode_all(records))?;
        self.file = open_to_append(&self.path)?;
        self.is_torn = false;
        self.written = self
            .file
            .metadata()
            .map_err(Error::file("read", &self.path))?
            .len();
        Ok(())
    }

    /// True while appended records go into the file of that name: somebody may remove it.
    pub fn is_there(&self) -> bool {
        let named = fs::metadata(&self.path).and_then(|named| Ok((named, self.file.metadata()?)));
        named.is_ok_and(|(named, open)| (named.dev(), named.ino()) == (open.dev(), open.ino()))
    }

    /// Size of the file in bytes.
    pub fn len(&self) -> u64 {
        self.written
    }

    /// True when the file is empty.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }
}

fn encode_all<R: Serialize>(records: &[R]) -> Vec<u8> {
    records.iter().flat_map(encode).collect()
}

fn open_to_append(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::file("open", path))
}

/// Copies a damaged journal beside the file, and rewrites it.
fn mend<R: Serialize>(path: &Path, bytes: &[u8], records: &[R]) -> Result<(), Error> {
    // The number of copies is bounded: a hundred of them tell no more than ninety-nine.
    let Some(aside) = place_aside(path) else {
        return atomic::write(path, &encode_all(records));
    };
    tracing::warn!(path = %path.display(), aside = %aside.display(), "journal damaged, copy set aside");
    let mended = fs::write(&aside, bytes)
        .map_err(Error::file("write", &aside))
        .and_then(|()| atomic::write(path, &encode_all(records)));
    if mended.is_err() {
        // The original still exists; on a full disk the copy only takes room.
        let _ = fs::remove_file(&aside);
    }
    mended
}

/// First free name for a copy of a damaged journal.
fn place_aside(path: &Path) -> Option<PathBuf> {
    let places = (1..100).map(|number| {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".damaged-{number}"));
        PathBuf::from(aside)
    });
    places.into_iter().find(|aside| !aside.exists())
}

/// Starts the thread that syncs appended records to the disk; it ends with the journal.
fn start_syncing() -> SyncSender<File> {
    let (sender, receiver): (_, Receiver<File>) = sync_channel(1);
    let sync = move || {
        for file in receiver {
            if let Err(error) = file.sync_data() {
                tracing::warn!(%error, "failed to sync the journal");
            }
        }
    };
    let started = std::thread::Builder::new()
        .name("journal-sync".into())
        .spawn(sync);
    if let Err(error) = started {
        tracing::warn!(%error, "failed to start syncing the journal");
    }
    sender
}
