//! A replica of the operator whose writes are answered at once, without an API server.

use std::sync::Arc;

use crds::forwarder::TOPOLOGY_LABEL;
use kube::core::DynamicObject;
use operator::{
    observe::{Cache, Key, Kind, Scope},
    plan::{Limits, Plan, plan},
};
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "wide";
/// A topology of so many Forwarders in a line.
pub(crate) fn line(topology: &str, forwarders: usize) -> Value {
    let forwarder = |number| json!({"name": format!("f{number}"), "node": "n1"});
    json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "MicroServiceTopology",
        "metadata": metadata(topology, &format!("uid-{topology}")),
        "spec": {
            "forwarders": (0..forwarders).map(forwarder).collect::<Vec<Value>>(),
            "shape": "Line",
        },
    })
}

fn metadata(name: &str, uid: &str) -> Value {
    json!({"name": name, "namespace": NAMESPACE, "uid": uid, "resourceVersion": "1", "generation": 1})
}

pub(crate) fn object(value: Value) -> DynamicObject {
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
    for delete in &plan.delete {
        let key = Key::new(NAMESPACE, &delete.object);
        cache.unlearn(Kind::Forwarder, &key, &delete.uid);
    }
    !plan.is_settled()
}

/// Judgement of one replica on a topology: why it is rejected, or an empty text.
pub(crate) fn settle(cache: &Cache, topology: &str) -> String {
    let key = Key::new(NAMESPACE, topology);
    for _ in 0..5 {
        let observed = cache.observed(&key).expect("it is there");
        let mut plan = plan(&observed);
        let goes_on = carry_out(cache, topology, &plan);
        let computed = plan.computed.take().map(Arc::new);
        cache.record(&key, &observed.uid, &plan, computed);
        if !goes_on {
            let problems = plan.problems.iter().map(|it| it.message.clone());
            return plan.facts.rejected + &problems.collect::<String>();
        }
    }
    panic!("{topology} does not settle");
}

/// A replica of an operator with so many MiB for all Forwarders.
pub(crate) fn cache(mebibytes: usize) -> Cache {
    let limits = Limits {
        memory: mebibytes << 20,
        ..Limits::default()
    };
    let scope = Scope {
        limits,
        ..Scope::default()
    };
    Cache::new(&scope, "replica")
}
