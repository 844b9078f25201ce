//! Memory of a replica that holds large topologies, in bytes of the whole process.

use std::{fs, sync::Arc};

use crds::forwarder::TOPOLOGY_LABEL;
use kube::core::DynamicObject;
use operator::{
    observe::{Cache, Key, Scope},
    plan::{Plan, plan},
};
use serde_json::{Value, json};

const NAMESPACE: &str = "wide";
/// `limits.memory` of the chart.
const CHART: u64 = 512 << 20;

/// A declaration of 0.3 MB: 4,096 namespaces with names of 63 characters, and 230 Forwarders.
fn declaration(topology: &str) -> Value {
    let forwarder = |number| json!({"name": format!("f{number}"), "node": "n1"});
    let namespace = |number| format!("team-{number:04}-{}", "x".repeat(53));
    json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "MicroServiceTopology",
        "metadata": metadata(topology, &format!("uid-{topology}")),
        "spec": {
            "forwarders": (0..230).map(forwarder).collect::<Vec<Value>>(),
            "shape": "Line",
            "allowedNamespaces": (0..4_096).map(namespace).collect::<Vec<String>>(),
        },
    })
}

fn metadata(name: &str, uid: &str) -> Value {
    json!({"name": name, "namespace": NAMESPACE, "uid": uid, "resourceVersion": "1", "generation": 1})
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("it has a kind and metadata")
}

/// An object of the topology, as the API server returns it.
fn owned(topology: &str, kind: &str, name: &str, spec: Value) -> DynamicObject {
    let mut metadata = metadata(name, &format!("uid-{name}"));
    metadata["labels"] = json!({TOPOLOGY_LABEL: topology});
    metadata["ownerReferences"] = json!([{"apiVersion": "beemesh.io/v1alpha1", "kind": "MicroServiceTopology",
        "name": topology, "uid": format!("uid-{topology}"), "controller": true}]);
    object(
        json!({"apiVersion": "beemesh.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}),
    )
}

/// Answers of the API server to the writes of a plan. False when there are none.
fn carry_out(cache: &Cache, topology: &str, plan: &Plan) -> bool {
    for name in &plan.create {
        let spec = json!({"topology": topology, "name": name, "node": "n1"});
        let name = crds::names::object(topology, name);
        cache.learn_forwarder(owned(topology, "Forwarder", &name, spec));
    }
    if let Some(allocation) = plan.allocation.as_ref().filter(|_| plan.create.is_empty()) {
        let spec = json!(allocation);
        cache.learn_allocation(owned(topology, "Allocation", topology, spec));
    }
    for fill in &plan.fill {
        cache.learn_forwarder(owned(topology, "Forwarder", &fill.object, json!(fill.spec)));
    }
    !plan.is_settled()
}

/// A line such as `VmHWM: 1234 kB` of this process, in bytes.
fn of_process(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("there is one");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| {
        line.trim_matches([':', '\t', ' ', 'k', 'B'])
            .parse::<u64>()
            .ok()
    });
    kilobytes.expect("a number") << 10
}

#[test]
fn six_topologies_of_many_namespaces_fit_into_the_memory_of_the_chart() {
    let cache = Cache::new(&Scope::default(), "replica");
    for number in 0..6 {
        let topology = format!("t{number}");
        cache.learn_topology(object(declaration(&topology)));
        let key = Key::new(NAMESPACE, &topology);
        for round in 0.. {
            let observed = cache.observed(&key).expect("it is there");
            let mut plan = plan(&observed);
            assert_eq!(
                (&plan.problems[..], round < 5),
                (&[][..], true),
                "{:?}",
                plan.facts
            );
            let goes_on = carry_out(&cache, &topology, &plan);
            let computed = plan.computed.take().map(Arc::new);
            cache.record(&key, &observed.uid, &plan, computed);
            if !goes_on {
                break;
            }
        }
        assert_eq!(cache.forwarders(&key).len(), 230);
    }
    let (peak, held) = (of_process("VmHWM"), of_process("VmRSS"));
    println!("peak {} MiB, held {} MiB", peak >> 20, held >> 20);
    assert!(peak < CHART / 8, "{} MiB at most", peak >> 20);
    assert!(held < CHART / 8, "{} MiB in the end", held >> 20);
}
