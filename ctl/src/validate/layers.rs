//! The layers of one topology, each held against the one before.

use super::difference::{Difference, differences};
use crate::cluster::{
    expected::{Attached, Given},
    stored::{Stored, is_filled},
};
use crate::degraded;
use console::failure::Failure;
use crds::{Forwarder, ForwarderObject, Node, attach::Pod};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use topology::{Epoch, Topology, table::digest_of_all};

/// Comparison of two layers, and the differences.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    layer: &'static str,
    against: &'static str,
    /// `ok`, `differs`, or `unknown` where nothing could be compared.
    state: State,
    /// Number of compared objects.
    pub(super) checked: usize,
    /// Forwarders whose nodes have said nothing: they are not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_reported: Vec<String>,
    /// Objects that could not be compared, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<Unknown>,
    /// The part that was compared, where that is not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remark: Option<String>,
    pub(super) differences: Vec<Difference>,
}

/// Result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Differs,
    Unknown,
}

/// A Forwarder or pod of a node that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Unknown {
    object: String,
    node: String,
    why: String,
}

impl Layer {
    pub(super) fn new(layer: &'static str, against: &'static str, checked: usize) -> Self {
        Self {
            layer,
            against,
            state: State::Ok,
            checked,
            not_reported: Vec::new(),
            unknown: Vec::new(),
            remark: None,
            differences: Vec::new(),
        }
    }

    /// Differences and what could not be compared: the object, and a sentence.
    pub(super) fn problems(self) -> Vec<(String, String)> {
        let differing = self.differences.into_iter().map(|it| {
            let Difference {
                object,
                field,
                expected,
                found,
            } = it;
            (
                object,
                format!("{field}: expected {expected}, found {found}"),
            )
        });
        let unknown = self.unknown.into_iter().map(|it| {
            let Unknown { object, node, why } = it;
            (object, format!("node {node} cannot be asked: {why}"))
        });
        differing.chain(unknown).collect()
    }

    /// Records that these objects of a node could not be checked.
    pub(super) fn cannot_tell<'a>(
        &mut self,
        objects: impl IntoIterator<Item = &'a str>,
        node: &str,
        why: &str,
    ) {
        self.unknown
            .extend(objects.into_iter().map(|object| Unknown {
                object: object.to_owned(),
                node: node.to_owned(),
                why: why.to_owned(),
            }));
    }

    /// With what all of it came to.
    pub(super) fn settled(mut self) -> Self {
        self.state = match (
            self.differences.is_empty(),
            self.checked,
            self.unknown.is_empty(),
        ) {
            (false, ..) => State::Differs,
            (true, 0, false) => State::Unknown,
            (true, ..) => State::Ok,
        };
        self
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        let Self {
            layer,
            against,
            checked,
            ..
        } = self;
        let silent = match self.not_reported.len() {
            0 => String::new(),
            count => format!(", {count} not reported by their nodes"),
        };
        let remark = self
            .remark
            .iter()
            .map(|remark| format!(", {remark}"))
            .collect::<String>();
        let rest = format!("{silent}{remark}{}", self.unasked());
        match self.state {
            State::Ok => format!("ok       {layer} = {against}: {checked} compared{rest}"),
            State::Unknown => format!("unknown  {layer} = {against}: nothing compared{rest}"),
            State::Differs => {
                let count = self.differences.len();
                format!("DIFFERS  {layer} = {against}: {count} of it{rest}")
            }
        }
    }

    /// Nodes that could not be asked, with the reason.
    fn unasked(&self) -> String {
        let mut by_why: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for unknown in &self.unknown {
            by_why
                .entry(&unknown.why)
                .or_default()
                .insert(&unknown.node);
        }
        let told = by_why.into_iter().map(|(why, nodes)| {
            let nodes: Vec<&str> = nodes.into_iter().collect();
            format!("; cannot check {}: {why}", nodes.join(", "))
        });
        told.collect()
    }
}

/// All that is needed to hold them against each other.
pub(super) struct Layers<'a> {
    pub(super) topology: &'a Stored,
    pub(super) nodes: &'a [Node],
    pub(super) given: Given,
    /// Pods that may be instances; `None` where they may not be listed.
    pub(super) pods: Option<Vec<Pod>>,
    /// Forwarder objects with the topology's label that are not its own, or on their way out.
    pub(super) strange: Vec<ForwarderObject>,
}

impl Layers<'_> {
    /// From the declaration to what nodes report.
    pub(super) fn all(&self) -> Vec<Layer> {
        let mut layers = vec![self.declaration()];
        let forwarders: Vec<Forwarder> = self
            .given
            .forwarders
            .iter()
            .filter(|it| is_filled(it))
            .map(Forwarder::from)
            .collect();
        match crds::topology_of(&forwarders) {
            Ok(topology) => {
                layers.push(self.computed(&topology, &forwarders));
                layers.push(reported(&topology, &forwarders));
            }
            Err(error) => {
                let mut layer = Layer::new("forwarders", "computed", 0);
                let name = self.topology.full_name();
                let found = error.to_string();
                layer
                    .differences
                    .extend(Difference::of(&name, "", "one graph", &found));
                layers.push(layer);
            }
        }
        layers
    }

    /// Forwarder objects that follow from declaration and allocation = those that exist.
    fn declaration(&self) -> Layer {
        let mut layer = Layer::new("declaration", "forwarders", 0);
        let expected = match self.expected() {
            Ok(expected) => expected,
            Err(problems) => {
                let name = format!("mst/{}", self.topology.name());
                let lines = problems.iter().filter_map(|line| {
                    Difference::of(&name, "", "a declaration that can be expanded", line)
                });
                layer.differences.extend(lines);
                return layer;
            }
        };
        layer.checked = expected.len();
        let found: BTreeMap<&str, &ForwarderObject> = self
            .given
            .forwarders
            .iter()
            .map(|it| (it.spec.name.as_str(), it))
            .collect();
        for forwarder in &expected {
            let object = shown(&forwarder.metadata.name);
            match found.get(forwarder.spec.name.as_str()) {
                None => layer
                    .differences
                    .extend(Difference::of(&object, "", "an object", "")),
                Some(found) => {
                    let json = |spec| serde_json::to_value(spec).unwrap_or_default();
                    let (expected, found) = (json(&forwarder.spec), json(&found.spec));
                    layer
                        .differences
                        .extend(differences(&object, "spec", &expected, &found));
                }
            }
        }
        let wanted: BTreeSet<&str> = expected.iter().map(|it| it.spec.name.as_str()).collect();
        let surplus = self.given.forwarders.iter();
        let surplus = surplus.filter(|it| !wanted.contains(it.spec.name.as_str()));
        for object in surplus.chain(&self.strange) {
            let name = shown(object.metadata.name.as_deref().unwrap_or_default());
            layer
                .differences
                .extend(Difference::of(&name, "", "", "an object"));
        }
        layer
    }

    fn expected(&self) -> Result<Vec<Forwarder>, Vec<String>> {
        let told = |failure: Failure| failure.lines();
        let object = self.topology.declaration().map_err(told)?;
        let attached = self.pods.as_deref().map_or(Attached::AsIs, Attached::By);
        let expanded = self.given.expand(&object, self.nodes, attached);
        expanded.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// Tables computed here from the Forwarder objects = those that the operator has published.
    fn computed(&self, topology: &Topology, forwarders: &[Forwarder]) -> Layer {
        let mut layer = Layer::new("forwarders", "computed", forwarders.len());
        let digests = degraded::digests(topology, forwarders, &[]);
        for forwarder in forwarders {
            let object = shown(&forwarder.metadata.name);
            let found = forwarder.status.computed.clone().unwrap_or_default();
            let expected = &digests[&forwarder.spec.name];
            let field = "status.computed.digest";
            let difference = Difference::of(&object, field, expected, &found.digest);
            layer.differences.extend(difference);
        }
        let (object, status) = (
            format!("mst/{}", self.topology.name()),
            self.topology.status(),
        );
        let parse = |name: &String| digests.get(name)?.parse::<Epoch>().ok();
        let digests: Vec<Epoch> = topology.forwarders().iter().filter_map(parse).collect();
        let digest = digest_of_all(topology, &digests).to_string();
        layer.differences.extend(Difference::of(
            &object,
            "status.digest",
            &digest,
            &status.digest,
        ));
        let epoch = topology.epoch().to_string();
        layer.differences.extend(Difference::of(
            &object,
            "status.epoch",
            &epoch,
            &status.epoch,
        ));
        let (wanted, seen) = (self.topology.generation(), status.observed_generation);
        let seen = seen.map(|it| it.to_string()).unwrap_or_default();
        layer.differences.extend(Difference::of(
            &object,
            "status.observedGeneration",
            &wanted.to_string(),
            &seen,
        ));
        layer
    }
}

/// Tables computed with the links that nodes report = those that nodes report.
pub(super) fn reported(topology: &Topology, forwarders: &[Forwarder]) -> Layer {
    let is_silent = |forwarder: &&Forwarder| forwarder.status.epoch.is_empty();
    let (silent, told): (Vec<&Forwarder>, Vec<&Forwarder>) = forwarders.iter().partition(is_silent);
    let mut layer = Layer::new("computed", "reported", told.len());
    layer.not_reported = silent.iter().map(|it| it.spec.name.clone()).collect();
    if told.is_empty() {
        return layer;
    }
    let changes = degraded::impaired(topology, forwarders).changes(topology);
    let expected = degraded::digests(topology, forwarders, &changes);
    let difference = |forwarder: &Forwarder| {
        let object = shown(&forwarder.metadata.name);
        let (expected, found) = (&expected[&forwarder.spec.name], &forwarder.status.digest);
        Difference::of(&object, "status.digest", expected, found)
    };
    layer
        .differences
        .extend(told.into_iter().filter_map(difference));
    layer
}

fn shown(object: &str) -> String {
    format!("fwd/{object}")
}
