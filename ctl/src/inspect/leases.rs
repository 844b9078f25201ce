//! The journal of leases, read beside the daemon that writes it.

use super::{paths::Paths, report};
use crate::failure::Failure;
use node::{book, journal, leases};
use std::{fs, io};

/// Every lease. The file is only read: a record that is being written this moment counts as damage at its end,
/// which is left out.
///
/// # Errors
/// [`Failure::Failed`] when there is a journal and it cannot be read.
pub(crate) fn leases(paths: &Paths) -> Result<report::Leases, Failure> {
    let path = paths.state_dir.join(book::FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Failure::Failed(format!("{}: {error}", path.display()))),
    };
    Ok(read(&bytes))
}

fn read(bytes: &[u8]) -> report::Leases {
    let recovered = journal::decode::<leases::Record>(bytes);
    let is_torn_end = |damage: &&journal::Damage| damage.at + damage.len >= bytes.len();
    let torn = recovered.damage.iter().filter(is_torn_end).count();
    report::Leases {
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
