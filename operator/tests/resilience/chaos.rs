//! Many hands, random deaths: the end is the same as with one calm replica.

use std::collections::BTreeMap;

use anyhow::Result;
use e2e::{ApiServer, ensure};
use serde_json::{Value, json};

use crate::bed::{Bed, node};
use crate::cluster::{Kind, NAMESPACE};
use crate::random::Random;
use crate::snapshot::{names, settled, settled_as};
use crate::watch::Watch;

const NODES: usize = 8;
const TOPOLOGIES: usize = 50;
const CHANGES: usize = 200;

/// Declarations of a user, and existing nodes.
#[derive(Default)]
struct Inputs {
    topologies: BTreeMap<String, Value>,
    zones: BTreeMap<usize, usize>,
    pods: BTreeMap<String, usize>,
}

pub(crate) fn three_replicas() -> Result<()> {
    let mut random = Random::seeded(7);
    let mut bed = Bed::start(ApiServer::options(), NODES)?;
    let watch = Watch::start(&bed.cluster);
    for _ in 0..3 {
        bed.replica(&[])?;
    }
    let mut inputs = Inputs::default();
    let mut dead: Vec<usize> = Vec::new();
    let mut kills = 0;
    for round in 0..TOPOLOGIES + CHANGES {
        if round < TOPOLOGIES {
            inputs.create(&mut random, &bed, round)?;
        } else {
            inputs.change(&mut random, &bed)?;
        }
        // In the midst of whatever they were about.
        if random.below(8) == 0 {
            for index in dead.drain(..) {
                bed.replicas[index].process.restart()?;
            }
            let spared = random.below(3);
            dead.extend((0..3).filter(|&index| index != spared));
            for &index in &dead {
                bed.replicas[index].process.kill()?;
                kills += 1;
            }
        }
    }
    for index in dead.drain(..) {
        bed.replicas[index].process.restart()?;
    }
    let calm = calm(&inputs)?;
    let wild = settled_as(&mut bed, &names(inputs.topologies.keys()), &calm)?;
    let fills = watch.verdict()?;
    let forwarders = wild.forwarders.len();
    eprintln!("{kills} kills, {fills} filled Forwarders seen, {forwarders} at the end");
    ensure(fills >= forwarders, || {
        "the watch saw too little".to_owned()
    })
}

/// Result of one replica for the same final inputs.
fn calm(inputs: &Inputs) -> Result<BTreeMap<String, Value>> {
    let mut bed = Bed::start(ApiServer::options(), 0)?;
    for number in 0..NODES {
        bed.cluster.create(Kind::Node, node(number))?;
        if let Some(zone) = inputs.zones.get(&number) {
            relabel(&bed, number, *zone)?;
        }
    }
    for (name, node) in &inputs.pods {
        put_pod(&bed, name, *node)?;
    }
    bed.replica(&[])?;
    for (name, spec) in &inputs.topologies {
        bed.apply(name, spec)?;
    }
    Ok(settled(&mut bed, &names(inputs.topologies.keys()))?.normal())
}

impl Inputs {
    fn create(&mut self, random: &mut Random, bed: &Bed, number: usize) -> Result<()> {
        let (name, spec) = (format!("t{number:02}"), spec(random));
        bed.apply(&name, &spec)?;
        self.topologies.insert(name, spec);
        Ok(())
    }

    fn change(&mut self, random: &mut Random, bed: &Bed) -> Result<()> {
        let number = random.below(TOPOLOGIES);
        let name = format!("t{number:02}");
        match random.below(10) {
            0..=2 => {
                bed.cluster.delete(Kind::Topology, NAMESPACE, &name)?;
                self.topologies.remove(&name);
                // Often the name comes back at once.
                if random.below(2) == 0 {
                    self.create(random, bed, number)?;
                }
            }
            3 => {
                let (number, zone) = (random.below(NODES), random.below(2));
                relabel(bed, number, zone)?;
                self.zones.insert(number, zone);
            }
            4 => {
                let (pod, node) = (format!("pod-{}", random.below(12)), random.below(NODES));
                bed.cluster.delete(Kind::Pod, NAMESPACE, &pod)?;
                put_pod(bed, &pod, node)?;
                self.pods.insert(pod, node);
            }
            _ => {
                let spec = spec(random);
                bed.apply(&name, &spec)?;
                self.topologies.insert(name, spec);
            }
        }
        Ok(())
    }
}

fn relabel(bed: &Bed, number: usize, zone: usize) -> Result<()> {
    let patch = json!({"metadata": {"labels": {"zone": format!("z{zone}")}}});
    bed.cluster
        .merge(Kind::Node, "", &format!("n{number}"), &patch)
}

/// A running pod of App `app-0` or `app-1`, on the node with this number.
pub(crate) fn put_pod(bed: &Bed, name: &str, node: usize) -> Result<()> {
    let app = format!("app-{}", name.len() % 2);
    bed.cluster.create(
        Kind::Pod,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": app}},
            "spec": {"nodeName": format!("n{node}"), "containers": [{"name": "c", "image": "none"}]},
        }),
    )?;
    bed.cluster
        .merge_status(Kind::Pod, NAMESPACE, name, &json!({"phase": "Running"}))
}

/// A topology whose Forwarders' nodes are determined by what it says, not by what was before.
fn spec(random: &mut Random) -> Value {
    let shapes = ["Mesh", "Ring", "Line", "Star", "Tree", "Custom"];
    let mut spec = json!({"shape": shapes[random.below(shapes.len())]});
    // Among Forwarders on one node a pod's uid decides: with Apps each has a node of its own.
    let has_apps = random.below(3) > 0;
    if has_apps {
        spec["apps"] = json!([
            {"name": "app-0", "podSelector": {"matchLabels": {"app": "app-0"}}},
            {"name": "app-1", "podSelector": {"matchLabels": {"app": "app-1"}}},
        ]);
    }
    if random.below(5) == 0 {
        let zone = format!("z{}", random.below(2));
        spec["forwarderPerNode"] = json!({"nodeSelector": {"zone": zone}});
        return spec;
    }
    // Names come and go: a Forwarder of the same name later is another object.
    let count = 2 + random.below(5);
    let first = random.below(4);
    let names: Vec<String> = (first..first + count)
        .map(|number| format!("f{number}"))
        .collect();
    let base = random.below(NODES);
    let forwarders = names.iter().enumerate().map(|(number, name)| {
        let any = random.below(NODES);
        let node = if has_apps {
            (base + number) % NODES
        } else {
            any
        };
        let node = format!("n{node}");
        if random.below(2) == 0 {
            json!({"name": name, "node": node})
        } else {
            json!({"name": name, "nodeSelector": {"kubernetes.io/hostname": node}})
        }
    });
    spec["forwarders"] = forwarders.collect();
    let weight = 1 + random.below(9);
    spec["links"] = json!([{"a": names[0], "b": names[1], "weight": weight}]);
    spec
}
