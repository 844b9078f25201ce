//! Objects at the end of a history, and their consistency.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use e2e::{ensure, eventually};
use ipnetwork::IpNetwork;
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};
use crate::cluster::{Cluster, Kind, condition, name_of, owner_of, text, uid_of};

/// All objects of ours.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) topologies: Vec<Value>,
    pub(crate) forwarders: Vec<Value>,
    pub(crate) allocations: Vec<Value>,
    pub(crate) ranges: Vec<Value>,
}

/// Waits until there are exactly `names` topologies (any namespace), each done, and nothing is left over.
///
/// Topologies whose name starts with `bad` are done when they are not accepted.
pub(crate) fn settled(bed: &mut Bed, names: &BTreeSet<String>) -> Result<Snapshot> {
    let cluster = bed.cluster.clone();
    let settled = eventually(
        "everything is computed and nothing is left over",
        SOON,
        || {
            let snapshot = Snapshot::take(&cluster)?;
            snapshot.check_settled(names)?;
            Ok(snapshot)
        },
    );
    settled.map_err(|error| bed.explain(error))
}

/// Names as [`settled`] wants them.
pub(crate) fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

impl Snapshot {
    pub(crate) fn take(cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            topologies: cluster.list(Kind::Topology)?,
            forwarders: cluster.list(Kind::Forwarder)?,
            allocations: cluster.list(Kind::Allocation)?,
            ranges: cluster.list(Kind::VniRange)?,
        })
    }

    /// Forwarders that the topology with this uid owns.
    pub(crate) fn forwarders_of(&self, uid: &str) -> impl Iterator<Item = &Value> {
        self.forwarders
            .iter()
            .filter(move |forwarder| owner_of(forwarder) == uid)
    }

    fn check_settled(&self, names: &BTreeSet<String>) -> Result<()> {
        let found: BTreeSet<String> = self
            .topologies
            .iter()
            .map(|topology| name_of(topology).to_owned())
            .collect();
        ensure(found == *names, || {
            format!("topologies {found:?}, wanted {names:?}")
        })?;
        for topology in &self.topologies {
            self.check_topology(topology)?;
        }
        self.check_nothing_left()?;
        self.check_nothing_twice()
    }

    fn check_topology(&self, topology: &Value) -> Result<()> {
        let name = name_of(topology);
        let generation = &topology["metadata"]["generation"];
        let observed = &topology["status"]["observedGeneration"];
        ensure(generation == observed, || {
            format!("{name}: generation {generation}, observed {observed}")
        })?;
        let (accepted, ..) = condition(topology, "Accepted");
        if name.starts_with("bad") {
            return ensure(accepted == "False", || {
                format!("{name}: {}", topology["status"])
            });
        }
        let computed = condition(topology, "Computed");
        ensure(accepted == "True" && computed.0 == "True", || {
            format!("{name}: not computed: {}", topology["status"])
        })?;
        let forwarders: Vec<&Value> = self.forwarders_of(uid_of(topology)).collect();
        let total = topology
            .pointer("/status/forwarders/total")
            .and_then(Value::as_u64);
        ensure(total == Some(forwarders.len() as u64), || {
            format!("{name}: {} Forwarders, status {total:?}", forwarders.len())
        })?;
        for forwarder in forwarders {
            let is_filled = !blocks(forwarder)?.is_empty()
                && !text(forwarder, "/spec/node").is_empty()
                && !text(forwarder, "/status/computed/digest").is_empty();
            ensure(is_filled, || format!("not filled: {forwarder}"))?;
        }
        Ok(())
    }

    fn check_nothing_left(&self) -> Result<()> {
        let topologies: BTreeSet<&str> = self.topologies.iter().map(uid_of).collect();
        for object in self.forwarders.iter().chain(&self.allocations) {
            ensure(topologies.contains(owner_of(object)), || {
                format!("an orphan: {object}")
            })?;
        }
        for range in &self.ranges {
            let uid = text(range, "/spec/uid");
            ensure(topologies.contains(uid), || {
                format!("nobody's range: {range}")
            })?;
        }
        for allocation in &self.allocations {
            let forwarders: BTreeSet<&str> = self
                .forwarders_of(owner_of(allocation))
                .map(uid_of)
                .collect();
            let granted: BTreeSet<&str> = allocation
                .pointer("/spec/blocks")
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(|blocks| blocks.keys().map(String::as_str))
                .collect();
            ensure(granted == forwarders, || {
                format!(
                    "{}: granted to {granted:?}, there are {forwarders:?}",
                    name_of(allocation)
                )
            })?;
        }
        Ok(())
    }

    fn check_nothing_twice(&self) -> Result<()> {
        let mut given = Given::default();
        for forwarder in &self.forwarders {
            given.put(forwarder)?;
        }
        match given.conflict() {
            None => Ok(()),
            Some(conflict) => bail!("{conflict}"),
        }
    }

    /// Result of any history: without names and numbers that depend on uids or on order.
    pub(crate) fn normal(&self) -> BTreeMap<String, Value> {
        let mut normal = BTreeMap::new();
        for topology in &self.topologies {
            let mut status = topology["status"].clone();
            strip_status(&mut status);
            normal.insert(format!("topology {}", name_of(topology)), status);
        }
        for forwarder in &self.forwarders {
            let mut spec = forwarder["spec"].clone();
            strip_spec(&mut spec);
            normal.insert(format!("forwarder {}", name_of(forwarder)), spec);
        }
        normal
    }
}

/// Waits until everything is settled *and* as in `wanted`: nodes and pods have no generation that would tell whether
/// their last change was seen.
pub(crate) fn settled_as(
    bed: &mut Bed,
    names: &BTreeSet<String>,
    wanted: &BTreeMap<String, Value>,
) -> Result<Snapshot> {
    let cluster = bed.cluster.clone();
    let settled = eventually("everything is as wanted", SOON, || {
        let snapshot = Snapshot::take(&cluster)?;
        snapshot.check_settled(names)?;
        let found = snapshot.normal();
        for name in found.keys().chain(wanted.keys()) {
            let (found, wanted) = (found.get(name), wanted.get(name));
            ensure(found == wanted, || {
                format!("{name}: {found:?}, wanted {wanted:?}")
            })?;
        }
        Ok(snapshot)
    });
    settled.map_err(|error| bed.explain(error))
}

/// Blocks are replaced by their sizes, VNIs by whether there is one.
fn strip_spec(spec: &mut Value) {
    let sizes: Vec<Value> = spec["blocks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|block| json!(block.as_str().and_then(|block| block.split('/').nth(1))))
        .collect();
    spec["blocks"] = json!(sizes);
    for link in spec["links"].as_array_mut().into_iter().flatten() {
        if link.get("vni").is_some() {
            link["vni"] = json!(true);
        }
    }
}

/// Times and digests of addresses are left out, and how often a spec was changed.
fn strip_status(status: &mut Value) {
    let Some(fields) = status.as_object_mut() else {
        return;
    };
    // What came before is in the versions that were observed.
    let of_the_past = ["convergence", "observedGeneration", "observedVersions"];
    for field in ["digest", "epoch"].into_iter().chain(of_the_past) {
        fields.remove(field);
    }
    for condition in fields
        .get_mut("conditions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastTransitionTime");
            condition.remove("observedGeneration");
        }
    }
}

/// Blocks of a Forwarder object.
pub(crate) fn blocks(forwarder: &Value) -> Result<Vec<IpNetwork>> {
    let blocks = forwarder.pointer("/spec/blocks").and_then(Value::as_array);
    let blocks = blocks.into_iter().flatten().filter_map(Value::as_str);
    blocks.map(|block| Ok(block.parse()?)).collect()
}

/// Grants of existing Forwarders at one moment, and duplicates.
#[derive(Default)]
pub(crate) struct Given {
    /// By uid of the Forwarder: its topology's uid, its blocks, its VNIs by link id.
    holders: BTreeMap<String, Holder>,
}

struct Holder {
    name: String,
    topology: String,
    blocks: Vec<IpNetwork>,
    vnis: Vec<(u64, String)>,
}

impl Given {
    /// Takes note of a Forwarder as it is now; returns whether it is filled.
    pub(crate) fn put(&mut self, forwarder: &Value) -> Result<bool> {
        let blocks = blocks(forwarder)?;
        let links = forwarder.pointer("/spec/links").and_then(Value::as_array);
        let vnis = links
            .into_iter()
            .flatten()
            .filter_map(|link| Some((link["vni"].as_u64()?, text(link, "/id").to_owned())));
        let holder = Holder {
            name: name_of(forwarder).to_owned(),
            topology: owner_of(forwarder).to_owned(),
            vnis: vnis.collect(),
            blocks,
        };
        let is_filled = !holder.blocks.is_empty();
        self.holders.insert(uid_of(forwarder).to_owned(), holder);
        Ok(is_filled)
    }

    /// Takes note that a Forwarder is gone.
    pub(crate) fn remove(&mut self, forwarder: &Value) {
        self.holders.remove(uid_of(forwarder));
    }

    /// A sentence about something that two hold.
    pub(crate) fn conflict(&self) -> Option<String> {
        self.overlap().or_else(|| self.shared_vni())
    }

    fn overlap(&self) -> Option<String> {
        let mut by_topology: BTreeMap<&str, Vec<(IpNetwork, &str)>> = BTreeMap::new();
        for holder in self.holders.values() {
            let all = by_topology.entry(&holder.topology).or_default();
            all.extend(
                holder
                    .blocks
                    .iter()
                    .map(|&block| (block, holder.name.as_str())),
            );
        }
        for all in by_topology.values_mut() {
            // Sorted by address, an overlap is one of neighbours.
            all.sort_unstable();
            for pair in all.windows(2) {
                let [(a, first), (b, second)] = pair else {
                    continue;
                };
                if a.contains(b.network()) {
                    return Some(format!("{first} has {a}, {second} has {b}"));
                }
            }
        }
        None
    }

    /// The two ends of a link share one VNI; nobody else has it.
    fn shared_vni(&self) -> Option<String> {
        let mut links: BTreeMap<u64, (&str, &str)> = BTreeMap::new();
        for holder in self.holders.values() {
            for (vni, link) in &holder.vnis {
                let this = (holder.topology.as_str(), link.as_str());
                let first = *links.entry(*vni).or_insert(this);
                if first != this {
                    return Some(format!("VNI {vni} is of {first:?} and of {this:?}"));
                }
            }
        }
        None
    }
}
