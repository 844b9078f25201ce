//! Read-only view of the object cache for another process.

use std::fs;
use std::io;
use std::path::Path;

use crds::Forwarder;

use store::sealed::unseal;

use super::{INDEX, Index, MARK, VERSION, record};

/// Forwarder in a file of the cache; `None` for a file of another format.
///
/// # Errors
/// Wrong checksum, or an undecodable object.
pub(crate) fn forwarder(bytes: &[u8]) -> Option<Result<Forwarder, String>> {
    let is_sealed = bytes.get(8) == Some(&b'\n') && bytes[..8].iter().all(u8::is_ascii_hexdigit);
    is_sealed.then(|| {
        let (json, _) = unseal(bytes).ok_or("the checksum is wrong")?;
        record::forwarder(json).ok_or_else(|| "expected a cached Forwarder".to_owned())
    })
}

/// Reason why objects may be missing; `None` for a complete cache, and for a directory of plain
/// objects.
pub(crate) fn incomplete(cache: &Path) -> Option<String> {
    let path = cache.join(INDEX);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("{}: {error}", path.display())),
    };
    if cache.join(MARK).exists() {
        return Some("the objects are changing this moment".to_owned());
    }
    let parsed = unseal(&bytes).map(|(json, _)| serde_json::from_slice::<Index>(json));
    match parsed {
        Some(Ok(index)) if index.version != VERSION => {
            let version = index.version;
            Some(format!(
                "{}: version {version}, expected {VERSION}",
                path.display()
            ))
        }
        Some(Ok(index)) if index.tables.iter().all(|table| table.is_whole) => None,
        Some(Ok(_)) => Some("the daemon has not seen all objects yet".to_owned()),
        Some(Err(error)) => Some(format!("{}: {error}", path.display())),
        None => Some(format!("{}: the checksum is wrong", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IndexedTable, record};
    use super::*;
    use crate::objects::kubernetes::store::Feed;

    #[test]
    fn a_forwarder_counts_with_its_checksum_alone() {
        let spec = crds::ForwarderSpec {
            topology: "t".to_owned(),
            name: "a".to_owned(),
            ..Default::default()
        };
        let kept = record::sealed(&Forwarder::new("t.a", spec));
        let read = forwarder(&kept).unwrap().unwrap();
        assert_eq!(read.metadata.name, "t.a");
        let mut damaged = kept.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(forwarder(&damaged).unwrap().is_err());
        assert_eq!(forwarder(b"kind: Forwarder"), None, "a plain object");
    }

    #[test]
    fn a_cache_that_changes_or_misses_objects_is_incomplete() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(incomplete(cache.path()), None, "plain objects");
        let write = |is_whole, version| {
            let index = Index {
                version,
                node: "n1".to_owned(),
                tables: vec![IndexedTable {
                    feed: Feed::Own,
                    is_whole,
                    files: Default::default(),
                    own: Default::default(),
                }],
            };
            let json = serde_json::to_vec(&index).unwrap();
            fs::write(cache.path().join(INDEX), store::sealed::seal(&json).0).unwrap();
        };
        write(true, VERSION);
        assert_eq!(incomplete(cache.path()), None);
        fs::write(cache.path().join(MARK), "").unwrap();
        assert!(incomplete(cache.path()).is_some());
        fs::remove_file(cache.path().join(MARK)).unwrap();
        write(false, VERSION);
        assert!(incomplete(cache.path()).is_some());
        write(true, VERSION + 1);
        assert!(incomplete(cache.path()).is_some());
        fs::write(cache.path().join(INDEX), "0a1b2c3d\n{}").unwrap();
        assert!(incomplete(cache.path()).is_some(), "a wrong checksum");
    }
}
