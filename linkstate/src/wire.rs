//! Encoding of one report: JSON, so that a newer version may add fields.

use alloc::string::String;
use alloc::vec::Vec;

use crate::lsdb::MAX_LINKS;
use crate::report::Report;

/// Largest encoded report in bytes; one on 8,000 links with long names fits.
pub const MAX_BYTES: usize = 1 << 20;
/// Longest key of a Forwarder in bytes: a namespace, a dot, an object's name.
pub const MAX_KEY: usize = 63 + 1 + 253;
/// Longest id of a link in bytes: two names of Forwarders, a slash, an ordinal.
const MAX_LINK_ID: usize = 2 * 253 + 1 + 11;

/// The cause for which bytes are no report.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not of the format.
    #[error("a report is not readable")]
    Unreadable(#[from] serde_json::Error),
    /// Larger than [`MAX_BYTES`].
    #[error("a report has {bytes} bytes, at most {MAX_BYTES} are accepted")]
    Oversize {
        /// Its size.
        bytes: usize,
    },
    /// A field that holds no name.
    #[error("{field}: not a name: {value:?}")]
    Name {
        /// The field.
        field: &'static str,
        /// Received value, truncated to the longest valid name.
        value: String,
    },
    /// More links than one Forwarder may have.
    #[error("ends: {count} links of one Forwarder, at most {MAX_LINKS} are accepted")]
    Links {
        /// Their number.
        count: usize,
    },
}

impl Report {
    /// Checks the bounds of a report that came from elsewhere.
    ///
    /// # Errors
    /// The first bound that it exceeds.
    pub fn check(&self) -> Result<(), DecodeError> {
        let named = |field, value: &str, is_name: bool| match is_name {
            true => Ok(()),
            false => Err(DecodeError::Name {
                field,
                value: value.chars().take(MAX_KEY).collect(),
            }),
        };
        named("forwarder", &self.forwarder, is_key(&self.forwarder))?;
        named("origin", &self.origin, is_key(&self.origin))?;
        if self.ends.len() > MAX_LINKS {
            let count = self.ends.len();
            return Err(DecodeError::Links { count });
        }
        let long = self.ends.keys().find(|id| id.len() > MAX_LINK_ID);
        long.map_or(Ok(()), |id| named("ends", id, false))
    }
}

/// The bytes of a report.
pub fn encode(report: &Report) -> Vec<u8> {
    // Text, numbers and maps with keys of text: nothing of it can fail.
    serde_json::to_vec(report).unwrap_or_default()
}

/// The report that `bytes` are.
///
/// # Errors
/// [`DecodeError`]: the bytes are no report, or exceed a bound.
pub fn decode(bytes: &[u8]) -> Result<Report, DecodeError> {
    if bytes.len() > MAX_BYTES {
        let bytes = bytes.len();
        return Err(DecodeError::Oversize { bytes });
    }
    let report: Report = serde_json::from_slice(bytes)?;
    report.check()?;
    Ok(report)
}

/// True when a text may be the key of a Forwarder or the name of a node. Keys become names of
/// files.
pub fn is_key(text: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('.')
}
