//! Samples of `verify`: flows for each hop, sent again while a link is cut.

use std::collections::BTreeMap;
use std::time::Duration;

use probe::endpoint::{Endpoint, Family};
use probe::flow_report::{Edge, FlowPath};
/// A flow whose path is known.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
    pub(crate) family: Family,
    pub(crate) ports: (u16, u16),
}

/// Some flows for each hop that any took.
pub(crate) type Samples = BTreeMap<Edge, Vec<Sample>>;

/// How many flows are kept for one hop.
pub(crate) const SAMPLES_MAX: usize = 8;

/// Adds flows of one pair for the hops that have too few.
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

/// Whole milliseconds, rounded up: a loss is never told as none.
pub(crate) fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
