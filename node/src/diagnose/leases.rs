//! Read-only view of the lease journal, beside the daemon that writes it.

use super::{Error, paths::Paths};
use crate::attach::leases::Lease;
use crate::attach::{lease_store, leases};
use crds::diagnosis::report::Leases;
use std::{fs, io};
use store::journal;

/// All leases. A record that is being written counts as damage at the end of the file, which is
/// left out.
///
/// # Errors
/// [`Error::Journal`] when the journal exists and is unreadable.
pub(crate) fn leases(paths: &Paths) -> Result<Leases<Lease>, Error> {
    let path = paths.state_dir.join(lease_store::FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(Error::Journal { path, source }),
    };
    Ok(read(&bytes))
}

fn read(bytes: &[u8]) -> Leases<Lease> {
    let recovered = journal::decode::<leases::Record>(bytes);
    let is_torn_end = |damage: &&journal::Damage| damage.at + damage.len >= bytes.len();
    let torn = recovered.damage.iter().filter(is_torn_end).count();
    Leases {
        leases: leases::Leases::replay(&recovered.records)
            .iter()
            .cloned()
            .collect(),
        damaged: recovered.damage.len() - torn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leases::Record;

    #[test]
    fn a_record_that_is_being_written_is_no_damage() {
        let boot = journal::encode(&Record::Boot { id: "b".to_owned() });
        let torn = [&boot[..], &boot[..9]].concat();
        assert_eq!(read(&torn).damaged, 0);
        let broken = [b"garbage\n", &boot[..]].concat();
        assert_eq!(read(&broken).damaged, 1);
        assert!(read(b"").leases.is_empty());
    }
}
