//! Plans, objects and status as stories show them.

use std::collections::BTreeMap;

use crds::{TopologyStatus, forwarder::WireType};
use operator::plan::{Observed, Plan};
use serde_json::{Value, json};

pub(super) fn show(observed: &Observed, plan: &Plan) -> Value {
    let by_object: BTreeMap<&str, &str> = observed
        .forwarders
        .iter()
        .map(|f| (f.object.as_str(), f.spec.name.as_str()))
        .collect();
    let name = |object: &String| {
        by_object
            .get(object.as_str())
            .map_or(object.clone(), ToString::to_string)
    };
    let mut shown = serde_json::Map::new();
    let mut add = |key: &str, value: Value| {
        if value != json!([]) && value != json!(0) && value != Value::Null {
            shown.insert(key.to_owned(), value);
        }
    };
    add(
        "problems",
        json!(
            plan.problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        ),
    );
    add("create", json!(plan.create));
    add("claim", json!(plan.claim_count));
    add(
        "allocation",
        json!(plan.allocation.is_some().then_some("changes")),
    );
    add(
        "fill",
        json!(
            plan.fill
                .iter()
                .map(|fill| name(&fill.object))
                .collect::<Vec<_>>()
        ),
    );
    add("lookAtNodes", json!(plan.doubtful_nodes));
    add(
        "delete",
        json!(
            plan.delete
                .iter()
                .map(|delete| name(&delete.object))
                .collect::<Vec<_>>()
        ),
    );
    add(
        "deleteAllocation",
        json!(plan.delete_allocation.as_ref().map(|delete| &delete.object)),
    );
    Value::Object(shown)
}

/// VNIs are shown from the first one of the lowest range on.
pub(super) fn objects(observed: &Observed) -> Value {
    let base = observed.ranges.first().copied().unwrap_or_default();
    let forwarders = observed.forwarders.iter().map(|forwarder| {
        let spec = &forwarder.spec;
        let links = spec.links.iter().map(|link| match (link.r#type, link.vni) {
            (WireType::Vxlan, Some(vni)) => format!("{} vni {}", link.id, vni - base),
            (wire, _) => format!("{} {wire:?}", link.id),
        });
        let edges = spec
            .apps
            .iter()
            .filter(|app| app.attached)
            .map(|app| app.name.clone());
        let blocks: Vec<String> = spec.blocks.iter().map(ToString::to_string).collect();
        let mut shown = vec![format!("node {}", spec.node)];
        shown.extend(blocks);
        shown.extend(links);
        shown.extend(edges.map(|app| format!("app {app}")));
        if forwarder.is_going {
            shown.push("on its way out".to_owned());
        }
        if !forwarder.is_owned {
            shown.push("of a former topology".to_owned());
        }
        (spec.name.clone(), json!(shown.join(", ")))
    });
    let forwarders: serde_json::Map<String, Value> = forwarders.collect();
    let allocation = observed
        .allocation
        .as_ref()
        .and_then(|allocation| allocation.spec.as_ref());
    let allocation = allocation.map(|allocation| {
        json!({
            "revision": allocation.revision,
            "granted": allocation.blocks.values().map(|grant| &grant.forwarder).collect::<Vec<_>>(),
            "vnis": allocation.vnis.iter().map(|(id, vni)| format!("{id} {}", vni - base)).collect::<Vec<_>>(),
            "retired": allocation.retired.keys().collect::<Vec<_>>(),
            "released": allocation.released.iter().map(|grant| &grant.forwarder).collect::<Vec<_>>(),
        })
    });
    json!({"forwarders": forwarders, "allocation": allocation})
}

pub(super) fn summary(status: &TopologyStatus) -> Value {
    let conditions = status.conditions.iter().map(|condition| {
        let since = condition
            .last_transition_time
            .as_deref()
            .unwrap_or_default();
        let second = &since[since.len() - 3..since.len() - 1];
        let mut said = format!("{} since {second}: {}", condition.status, condition.reason);
        if !condition.message.is_empty() {
            said = format!("{said}: {}", condition.message);
        }
        (condition.r#type.clone(), json!(said))
    });
    let conditions: serde_json::Map<String, Value> = conditions.collect();
    json!({
        "observedGeneration": status.observed_generation,
        "forwarders": format!("{}/{}", status.forwarders.programmed, status.forwarders.total),
        "linksUp": status.links_up,
        "pods": status.pods,
        "convergence": status.convergence,
        "epoch": status.epoch,
        "conditions": conditions,
    })
}
