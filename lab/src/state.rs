//! State of labs on disk: directories, journal, record, and the names that are derived.

pub(crate) mod directory;
pub(crate) mod names;
pub(crate) mod paths;
pub(crate) mod record;
