//! An allocation in parts that etcd can hold. Pure.
//!
//! ```text
//! head  t              revision, released, shards: [t.7-0-.., t.5-1-..]   <- the only object that is replaced
//! shard t.7-0-HASH     blocks, vnis, retired of a hash of names           <- written once, then only deleted
//! ```
//! A change writes new shards first and then the head, under the head's resourceVersion: an allocation changes
//! as a whole or not at all. A shard's name holds the revision that it was written for, so that a shard of the
//! head's revision or an earlier one that the head does not name is named by no later head: it can be deleted.

use std::collections::BTreeMap;

use topology::hash;

use super::AllocationSpec;

/// Size of a shard in bytes of JSON that [`split`] aims at; a shard holds half to an eighth of it on average.
///
/// etcd takes 1.5 MiB a request: room for names that hash unevenly, and for `managedFields`.
pub const TARGET: usize = 256 << 10;

/// A part of an allocation, stored in an Allocation object of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// `metadata.name`: `TOPOLOGY.REVISION-NUMBER-HASH`. Names of topologies have no dot.
    pub name: String,
    /// Blocks, VNIs and retired VNIs; `revision` is the one that it was written for.
    pub spec: AllocationSpec,
}

/// The head and the shards in which `whole` is stored; no shards while it fits into the head.
///
/// `topology` and `uid` are its name and its uid: shards of another topology of this name have other names.
/// `before` are the shards of the head that is replaced, by number. One that stays as it is keeps its name.
/// `target` is [`TARGET`] but in tests.
pub fn split(
    (topology, uid): (&str, &str),
    whole: &AllocationSpec,
    before: &[Shard],
    target: usize,
) -> (AllocationSpec, Vec<Shard>) {
    let count = count(size(whole), before.len(), target);
    let mut head = whole.clone();
    head.shards.clear();
    if count == 0 {
        return (head, Vec::new());
    }
    let mut parts = vec![AllocationSpec::default(); count];
    let number = |name: &str| (hash::texts(&[name]) % count as u64) as usize;
    for (uid, grant) in std::mem::take(&mut head.blocks) {
        parts[number(&grant.forwarder)].blocks.insert(uid, grant);
    }
    for (id, vni) in std::mem::take(&mut head.vnis) {
        parts[number(&id)].vnis.insert(id, vni);
    }
    for (id, retired) in std::mem::take(&mut head.retired) {
        parts[number(&id)].retired.insert(id, retired);
    }
    let before = if before.len() == count { before } else { &[] };
    let shards: Vec<Shard> = (0..)
        .zip(parts)
        .map(|(number, part)| {
            let prefix = format!("{topology}.{}-{number}", whole.revision);
            shard(&prefix, uid, whole.revision, part, before.get(number))
        })
        .collect();
    head.shards = shards.iter().map(|shard| shard.name.clone()).collect();
    (head, shards)
}

fn shard(
    prefix: &str,
    uid: &str,
    revision: u64,
    mut part: AllocationSpec,
    before: Option<&Shard>,
) -> Shard {
    if let Some(before) = before {
        part.revision = before.spec.revision;
        part.unknown.clone_from(&before.spec.unknown);
        if part == before.spec {
            return before.clone();
        }
    }
    part.revision = revision;
    let content = serde_json::to_string(&part).expect("an allocation is JSON");
    Shard {
        name: format!("{prefix}-{:016x}", hash::texts(&[uid, &content])),
        spec: part,
    }
}

/// The allocation that `head` and its shards stand for. `shard` finds one by its name.
///
/// # Errors
/// The name of the first shard that is not there.
pub fn assemble<'a>(
    head: &AllocationSpec,
    shard: impl Fn(&str) -> Option<&'a AllocationSpec>,
) -> Result<AllocationSpec, String> {
    let mut whole = head.clone();
    for name in std::mem::take(&mut whole.shards) {
        let part = shard(&name).ok_or(name)?;
        whole.blocks.extend(clone(&part.blocks));
        whole.vnis.extend(clone(&part.vnis));
        whole.retired.extend(clone(&part.retired));
    }
    Ok(whole)
}

fn clone<V: Clone>(part: &BTreeMap<String, V>) -> impl Iterator<Item = (String, V)> {
    part.iter().map(|(key, value)| (key.clone(), value.clone()))
}

/// Number of shards of an allocation of `size` bytes that has `before` of them. The number stays
/// while they are neither too full nor too empty, so that a change of one Forwarder rewrites one
/// shard.
fn count(size: usize, before: usize, target: usize) -> usize {
    let fits_head = if before == 0 { target } else { target / 2 };
    if size <= fits_head {
        return 0;
    }
    let is_kept = before > 0 && size <= before * target && size >= before * target / 8;
    if is_kept {
        before
    } else {
        (2 * size).div_ceil(target).next_power_of_two()
    }
}

/// Bytes of an allocation as JSON, rather too many than too few.
pub fn size(whole: &AllocationSpec) -> usize {
    // A uid, quotes and names of fields; a network of either family.
    let grant = |name: &str, blocks: usize| 90 + name.len() + 48 * blocks;
    let blocks = whole.blocks.values().chain(&whole.released);
    let blocks: usize = blocks.map(|it| grant(&it.forwarder, it.blocks.len())).sum();
    let vnis: usize = whole.vnis.keys().map(|id| id.len() + 14).sum();
    let retired: usize = whole.retired.keys().map(|id| id.len() + 60).sum();
    blocks + vnis + retired
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::{BlockGrant, RetiredVni};

    fn large(forwarders: u32) -> AllocationSpec {
        let mut whole = AllocationSpec {
            revision: 7,
            ..AllocationSpec::default()
        };
        for number in 0..forwarders {
            let [.., a, b] = number.to_be_bytes();
            let block = format!("10.{a}.{b}.0/28").parse().expect("a network");
            let grant = BlockGrant {
                forwarder: format!("f{number}"),
                blocks: vec![block],
                ..BlockGrant::default()
            };
            let uid = format!("00000000-0000-4000-8000-{number:012}");
            whole.blocks.insert(uid, grant);
            let link = |other: u32| format!("f{number}/f{other}");
            whole.vnis.insert(link(number + 1), number);
            let retired = RetiredVni {
                vni: number,
                revision: 3,
                ..RetiredVni::default()
            };
            whole.retired.insert(link(number + 2), retired);
        }
        whole
    }

    fn joined(head: &AllocationSpec, shards: &[Shard]) -> Result<AllocationSpec, String> {
        let find = |name: &str| {
            let found = shards.iter().find(|shard| shard.name == name);
            found.map(|shard| &shard.spec)
        };
        assemble(head, find)
    }

    #[test]
    fn a_small_allocation_is_one_object() {
        let whole = large(3);
        assert_eq!(split(("t", "u"), &whole, &[], TARGET), (whole, Vec::new()));
    }

    #[test]
    fn parts_make_the_whole_and_each_is_small() {
        for forwarders in [100, 1_000, 10_000] {
            let whole = large(forwarders);
            let (head, shards) = split(("t", "u"), &whole, &[], 10_000);
            assert!(shards.len() > 1);
            for spec in shards.iter().map(|shard| &shard.spec).chain([&head]) {
                let bytes = serde_json::to_vec(spec).expect("JSON").len();
                assert!(bytes < 60 * shards.len() + 12_000, "{bytes} bytes");
            }
            assert_eq!(joined(&head, &shards), Ok(whole));
            assert_eq!(
                joined(&head, &shards[1..]),
                Err(shards[0].name.clone()),
                "one that is missing is named"
            );
        }
    }

    #[test]
    fn a_change_of_one_link_writes_one_shard() {
        let mut whole = large(1_000);
        let (_, before) = split(("t", "u"), &whole, &[], 10_000);
        (whole.revision, whole.vnis) = (8, {
            let mut vnis = whole.vnis.clone();
            vnis.remove("f1/f2");
            vnis
        });
        let (head, after) = split(("t", "u"), &whole, &before, 10_000);
        let written = after.iter().filter(|shard| !before.contains(shard));
        let written: Vec<&str> = written.map(|shard| shard.name.as_str()).collect();
        assert_eq!(written.len(), 1);
        assert!(written[0].starts_with("t.8-"), "{written:?}");
        assert_eq!(joined(&head, &after), Ok(whole));
    }

    #[test]
    fn sizes_are_not_underestimated() {
        let whole = large(2_000);
        let bytes = serde_json::to_vec(&whole).expect("JSON").len();
        assert!(size(&whole) >= bytes, "{} < {bytes}", size(&whole));
        assert!(size(&whole) < 2 * bytes, "{} for {bytes}", size(&whole));
    }

    #[test]
    fn fields_of_newer_versions_survive() {
        let text = r#"{"revision": 3, "later": [1], "blocks": {"u": {"forwarder": "a", "blocks": [], "more": 1}},
            "retired": {"a/b": {"vni": 9, "revision": 2, "why": "x"}}}"#;
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let spec: AllocationSpec = serde_json::from_value(value.clone()).expect("an allocation");
        assert_eq!(serde_json::to_value(&spec).expect("JSON"), value);
        let (head, shards) = split(("t", "u"), &spec, &[], 10);
        let whole = joined(&head, &shards).expect("all are there");
        assert_eq!(serde_json::to_value(&whole).expect("JSON"), value);
    }
}
