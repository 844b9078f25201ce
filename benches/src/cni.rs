//! Skeleton.
use crate::bench::Bench;
/// The benches of this subject.
pub fn benches() -> Vec<Bench> {
    vec![]
}
