//! Samples of `verify`: flows for each hop, sent again while a link is cut.

use std::collections::BTreeMap;
use std::time::Duration;

use probe::endpoint::{Endpoint, Family};
use probe::flow_report::{Edge, FlowPath};
/// Flow with a known path.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
    pub(crate) family: Family,
    pub(crate) ports: (u16, u16),
}

/// Flows for each hop that any flow took.
pub(crate) type Samples = BTreeMap<Edge, Vec<Sample>>;

/// Largest number of flows that are kept for one hop.
pub(crate) const SAMPLES_MAX: usize = 8;

/// Adds flows of one pair for hops with too few.
pub(crate) fn keep_samples(
    samples: &mut Samples,
    from: &Endpoint,
    to: &Endpoint,
    family: Family,
    seen: &[FlowPath],
) {
    for flow in seen.iter().filter(|flow| flow.reached) {
        for edge in flow.edges() {
            let kept = samples.entry(edge).or_default();
            if kept.len() < SAMPLES_MAX {
                let (from, to) = (from.clone(), to.clone());
                kept.push(Sample {
                    from,
                    to,
                    family,
                    ports: flow.ports,
                });
            }
        }
    }
}

/// Whole milliseconds, rounded up: a loss is never reported as zero.
pub(crate) fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
