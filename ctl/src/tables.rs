//! Tables of many Forwarders: computed on all cores, handed on in order, never all in memory.

use crate::progress::Progress;
use rayon::prelude::*;
use topology::{ForwarderIndex, Graph, Spf, Table, Topology};

/// Tables in memory at once.
const CHUNK: usize = 256;

/// Calls `use_` with what `make` makes of the table of each root, in the order of `roots`.
///
/// # Errors
/// The first error of `use_`; nothing is computed after it.
pub(crate) fn for_each<T: Send, E>(
    topology: &Topology,
    roots: &[ForwarderIndex],
    max_paths: usize,
    make: impl Fn(&Table) -> T + Sync,
    mut use_: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let graph = Graph::new(topology);
    let mut progress = Progress::new("computing tables", roots.len());
    // The larger the topology, the fewer tables at once.
    let chunk = (CHUNK * 1000 / topology.forwarders().len().max(1)).clamp(8, CHUNK);
    for roots in roots.chunks(chunk) {
        let made: Vec<T> = roots
            .par_iter()
            .map_init(
                || None,
                |spf: &mut Option<Spf>, root| {
                    let spf = match spf {
                        Some(spf) => {
                            spf.recompute(&graph, *root);
                            spf
                        }
                        None => spf.insert(Spf::compute(&graph, *root)),
                    };
                    make(&Table::new(topology, &graph, spf, max_paths))
                },
            )
            .collect();
        for item in made {
            use_(item)?;
        }
        progress.advance(roots.len());
    }
    Ok(())
}

/// All Forwarders.
pub(crate) fn all_roots(topology: &Topology) -> Vec<ForwarderIndex> {
    (0..topology.forwarders().len() as u32)
        .map(ForwarderIndex)
        .collect()
}
