//! Changes from one topology to another, as data.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use topology::{
    LinkIndex, Topology,
    plan::{Difference, Entry, Plan},
};

use super::Route;

/// Added, removed and changed Forwarders, links, Apps and routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// Epoch of the topology as it is.
    pub old_epoch: String,
    /// Epoch of the topology as it would be.
    pub new_epoch: String,
    /// Forwarders, by name.
    pub forwarders: Changes,
    /// Links, by id; a changed one has other weights.
    pub links: Changes,
    /// Apps, by name.
    pub apps: Changes,
    /// Changed routes, by Forwarder, then destination.
    pub routes: BTreeMap<String, BTreeMap<String, Change>>,
}

/// Names that are added, removed or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// Added names.
    pub added: Vec<String>,
    /// Removed names.
    pub removed: Vec<String>,
    /// Names with other weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// Change of a route: without `before` it is new, without `after` it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Current route.
    pub before: Option<Route>,
    /// Planned route.
    pub after: Option<Route>,
}

impl PlanReport {
    /// Changes without routes, which [`PlanReport::extend`] adds.
    pub fn new(old: &Topology, new: &Topology) -> PlanReport {
        PlanReport {
            old_epoch: old.epoch().to_string(),
            new_epoch: new.epoch().to_string(),
            forwarders: changes(&forwarders(old), &forwarders(new)),
            links: changes(&links(old), &links(new)),
            apps: changes(&apps(old), &apps(new)),
            routes: BTreeMap::new(),
        }
    }

    /// Adds the routes of some Forwarders, so that not all tables must be in memory at once.
    pub fn extend(&mut self, plan: Plan) {
        let routes = plan.forwarders.into_iter();
        self.routes
            .extend(routes.map(|(from, difference)| (from, by_name(difference))));
    }
}

fn forwarders(topology: &Topology) -> BTreeMap<String, ()> {
    let names = topology.forwarders().iter();
    names.map(|name| (name.clone(), ())).collect()
}

fn apps(topology: &Topology) -> BTreeMap<String, ()> {
    let apps = topology.apps().iter();
    apps.map(|app| (app.name.clone(), ())).collect()
}

fn links(topology: &Topology) -> BTreeMap<String, (u32, u32)> {
    let links = topology.links().iter().zip(0..);
    links
        .map(|(link, index)| {
            let weights = (link.weight, link.weight_back);
            (topology.link_id(LinkIndex(index)), weights)
        })
        .collect()
}

fn changes<V: PartialEq>(old: &BTreeMap<String, V>, new: &BTreeMap<String, V>) -> Changes {
    let only = |here: &BTreeMap<String, V>, there: &BTreeMap<String, V>| {
        here.keys()
            .filter(|name| !there.contains_key(*name))
            .cloned()
            .collect()
    };
    let differs = |(name, value): &(&String, &V)| old.get(*name).is_some_and(|old| old != *value);
    Changes {
        added: only(new, old),
        removed: only(old, new),
        changed: new
            .iter()
            .filter(differs)
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

fn by_name(difference: Difference) -> BTreeMap<String, Change> {
    let change = |before: Option<Entry>, after: Option<Entry>| Change {
        before: before.map(Route::from),
        after: after.map(Route::from),
    };
    let added = difference.added.into_iter();
    let added = added.map(|(to, after)| (to, change(None, Some(after))));
    let removed = difference.removed.into_iter();
    let removed = removed.map(|(to, before)| (to, change(Some(before), None)));
    let changed = difference.changed.into_iter();
    let changed = changed.map(|(to, (before, after))| (to, change(Some(before), Some(after))));
    added.chain(removed).chain(changed).collect()
}
