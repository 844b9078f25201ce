//! `beemesh lab`: a topology on this machine, in network namespaces.

use crate::failure::Failure;

/// Arguments of `beemesh lab`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs one verb of the lab.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::Failed("the lab is not here yet".into()))
}
