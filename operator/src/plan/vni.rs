//! VNIs that a topology may give, and ranges that it should claim.

use std::collections::BTreeSet;

use crds::{
    AllocationSpec,
    allocation::VNIS_OF_RANGE,
    expand::{FIRST_VNI, LAST_VNI},
};

use super::{consistency, observed::Observed};

/// Number of ranges.
const RANGES: u32 = (LAST_VNI - FIRST_VNI + 1) / VNIS_OF_RANGE;
/// Number of additional candidates: other topologies claim at the same time.
const SPARE: usize = 16;

/// The first VNI of the range that `vni` is of.
pub(super) fn first_of(vni: u32) -> u32 {
    vni - vni % VNIS_OF_RANGE
}

/// True when another topology has claimed the range of `vni`.
pub(super) fn is_foreign(observed: &Observed, vni: u32) -> bool {
    let range = first_of(vni);
    observed.ranges.binary_search(&range).is_err()
        && observed.foreign_ranges.binary_search(&range).is_ok()
}

/// VNIs of the claimed ranges that are not taken: first those above all that are, since a node that is
/// away may still have one in its kernel that was given back.
pub(super) fn free(observed: &Observed, taken: &BTreeSet<u32>) -> Vec<u32> {
    let ranges = observed.ranges.iter();
    let all = ranges.flat_map(|first| *first..first.saturating_add(VNIS_OF_RANGE));
    let free = all.filter(|vni| !taken.contains(vni));
    let highest = taken.last().copied().unwrap_or(0);
    let (below, mut above): (Vec<u32>, Vec<u32>) = free.partition(|vni| *vni < highest);
    above.extend(below);
    above
}

/// Ranges to claim, and their number: those of granted VNIs without a claim
/// (it was deleted), then as many as `missing` links need.
pub(super) fn claims(
    observed: &Observed,
    next: &AllocationSpec,
    missing: usize,
) -> (Vec<u32>, usize) {
    let used = next
        .vnis
        .values()
        .chain(next.retired.values().map(|r| &r.vni));
    let used: BTreeSet<u32> = used.map(|vni| first_of(*vni)).collect();
    let is_known = |first: &u32| {
        observed.ranges.binary_search(first).is_ok()
            || observed.foreign_ranges.binary_search(first).is_ok()
    };
    let mut claim: Vec<u32> = used
        .into_iter()
        .filter(|first| !is_known(first) && consistency::is_possible(*first))
        .collect();
    let needed = missing.div_ceil(VNIS_OF_RANGE as usize);
    let count = claim.len() + needed;
    if needed > 0 {
        let start = start(&observed.uid);
        let candidates =
            (0..RANGES).map(|step| FIRST_VNI + (start + step) % RANGES * VNIS_OF_RANGE);
        let free: Vec<u32> = candidates
            .filter(|first| !is_known(first) && !claim.contains(first))
            .take(needed + SPARE)
            .collect();
        claim.extend(free);
    }
    (claim, count)
}

/// First candidate of a topology: spread by its uid, so that topologies seldom collide.
fn start(uid: &str) -> u32 {
    let hash = blake3::hash(uid.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d]) % RANGES
}
