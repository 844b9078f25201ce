//! Object files that the daemons read: YAML, each replaced atomically.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::state::directory::is_object;
use console::failure::Failure;
use store::atomic;

/// Writes an object, unless it is there as it is.
///
/// # Errors
/// [`Failure::Failed`] with what the file system says.
pub(crate) fn write<T: serde::Serialize>(
    directory: &Path,
    name: &str,
    object: &T,
) -> Result<(), Failure> {
    let yaml = console::output::to_yaml(object)?;
    let path = directory.join(format!("{name}.yaml"));
    // An unchanged file is not written, so it raises no event.
    if fs::read(&path).is_ok_and(|there| there == yaml.as_bytes()) {
        return Ok(());
    }
    atomic::publish(&path, yaml.as_bytes()).map_err(|error| broken(&error.source))
}

/// Removes all objects but those of these names.
///
/// # Errors
/// As [`write()`].
pub(crate) fn remove_others(directory: &Path, keep: &BTreeSet<String>) -> Result<(), Failure> {
    let entries = fs::read_dir(directory).map_err(|error| broken(&error))?;
    for path in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_object(path))
    {
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if !keep.contains(name) {
            remove(directory, name)?;
        }
    }
    Ok(())
}

/// Removes an object; absent is as good.
///
/// # Errors
/// As [`write()`].
pub(crate) fn remove(directory: &Path, name: &str) -> Result<(), Failure> {
    match fs::remove_file(directory.join(format!("{name}.yaml"))) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(broken(&error)),
        _ => Ok(()),
    }
}

/// The file system refused something about the lab's own files.
pub(crate) fn broken(error: &std::io::Error) -> Failure {
    Failure::Failed(format!("the lab's directory: {error}"))
}
