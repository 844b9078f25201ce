//! Rules that take two requests to show.

use std::time::Duration;

use anyhow::Result;
use e2e::{ensure, eventually};

use crate::server::Server;

/// Until a changed definition is in force.
const PATIENCE: Duration = Duration::from_secs(60);

fn topology(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: beemesh.io/v1alpha1, kind: MicroServiceTopology, \
         metadata: {{name: {name}, namespace: default}}, spec: {spec}}}"
    )
}

fn taken(answer: Result<(), String>) -> Result<()> {
    answer.map_err(|refusal| anyhow::anyhow!("refused: {refusal}"))
}

fn refused(answer: Result<(), String>, words: &[&str]) -> Result<()> {
    let refusal = answer.err().unwrap_or_default();
    ensure(words.iter().all(|word| refusal.contains(word)), || {
        format!("expected a refusal with {words:?}, found {refusal:?}")
    })
}

pub(crate) fn what_is_given_from_cannot_change(server: &Server) -> Result<()> {
    let apply = |rest: &str| {
        let spec = format!("{{forwarders: [{{name: a}}, {{name: b}}]{rest}}}");
        server.apply("user", &topology("given", &spec))
    };
    let immutable = |field: &'static str| [field, "is immutable", "delete the topology"];
    taken(apply(
        ", addressing: {cidrs: [10.9.0.0/16], blockPrefixes: [24]}",
    )?)?;
    taken(apply(
        ", addressing: {cidrs: [10.9.0.0/16], blockPrefixes: [24]}, shape: Ring",
    )?)?;
    let cidrs = immutable("spec.addressing.cidrs");
    refused(
        apply(", addressing: {cidrs: [10.8.0.0/16], blockPrefixes: [24]}")?,
        &cidrs,
    )?;
    let more = ", addressing: {cidrs: [10.9.0.0/16, \"fd00:9::/48\"], blockPrefixes: [24, 64]}";
    refused(apply(more)?, &cidrs)?;
    refused(apply("")?, &cidrs)?;
    let blocks = immutable("spec.addressing.blockPrefixes");
    refused(
        apply(", addressing: {cidrs: [10.9.0.0/16], blockPrefixes: [25]}")?,
        &blocks,
    )?;
    refused(apply(", addressing: {cidrs: [10.9.0.0/16]}")?, &blocks)?;
    let range = |first: u32| {
        let spec = format!("{{first: {first}, namespace: default, topology: t, uid: u}}");
        let kind = "apiVersion: beemesh.io/v1alpha1, kind: VniRange";
        server.apply(
            "user",
            &format!("{{{kind}, metadata: {{name: vni-x}}, spec: {spec}}}"),
        )
    };
    taken(range(8_388_608)?)?;
    refused(range(8_388_672)?, &["is immutable"])
}

/// A rule that comes later must not stand in the way of other changes (ratcheting).
pub(crate) fn other_fields_may_change(server: &Server) -> Result<()> {
    let at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/forwarders/items";
    let path = format!("{at}/x-kubernetes-validations");
    let without = format!("[{{\"op\": \"remove\", \"path\": \"{path}\"}}]");
    let definition = "crd/microservicetopologies.beemesh.io";
    let patch = ["patch", definition, "--type=json", "-p", &without];
    let twofold = |name: &str, rest: &str| {
        let spec =
            format!("{{forwarders: [{{name: a, node: n1, nodeSelector: {{zone: b}}}}]{rest}}}");
        server.apply("user", &topology(name, &spec))
    };
    server.api.kubectl(&patch)?.ok()?;
    eventually("the rule is gone", PATIENCE, || taken(twofold("old", "")?))?;
    server.define()?;
    let words = [
        "spec.forwarders[0].nodeSelector",
        "expected either this or node",
    ];
    eventually("the rule is back", PATIENCE, || {
        refused(twofold("new", "")?, &words)
    })?;
    taken(twofold("old", ", shape: Ring")?)?;
    let delete = [
        "delete",
        "mst",
        "-n",
        "default",
        "--ignore-not-found",
        "old",
        "new",
    ];
    server.api.kubectl(&delete)?.ok().map(drop)
}

pub(crate) fn two_appliers_share_lists(server: &Server) -> Result<()> {
    let one = "{forwarders: [{name: a}, {name: b}], apps: [{name: web}], drain: {forwarders: [a]}}";
    let other = "{forwarders: [{name: c}], apps: [{name: db}], drain: {forwarders: [b]}}";
    taken(server.apply("one", &topology("shared", one))?)?;
    taken(server.apply("other", &topology("shared", other))?)?;
    let lists =
        "jsonpath={.spec.forwarders[*].name} {.spec.apps[*].name} {.spec.drain.forwarders[*]}";
    let get = ["get", "mst", "shared", "-n", "default", "-o", lists];
    let shared = server.api.kubectl(&get)?.ok()?;
    ensure(sorted(&shared) == "a a b b c db web", || {
        format!("found {shared:?}")
    })?;
    let conflict = "{forwarders: [{name: c, node: n9}, {name: a, node: n1}], shape: Ring}";
    taken(server.apply("other", &topology("shared", conflict))?)?;
    let shared = server.api.kubectl(&get)?.ok()?;
    ensure(sorted(&shared) == "a a b c web", || {
        format!("found {shared:?}")
    })
}

fn sorted(words: &str) -> String {
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

pub(crate) fn forwarders_are_selected_by_node(server: &Server) -> Result<()> {
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        let spec = format!("{{topology: t, name: {name}, node: {node}}}");
        let head = "apiVersion: beemesh.io/v1alpha1, kind: Forwarder";
        let metadata = format!("{{name: t.{name}, namespace: default}}");
        let object = format!("{{{head}, metadata: {metadata}, spec: {spec}}}");
        taken(server.apply("user", &object)?)?;
    }
    let get = ["get", "fwd", "-A", "--field-selector=spec.node=n1", "-o"];
    let names = "jsonpath={.items[*].spec.name}";
    let found = server.api.kubectl(&[&get[..], &[names]].concat())?.ok()?;
    ensure(found == "a c", || format!("found {found:?}"))
}

pub(crate) fn every_kind_is_explained(server: &Server) -> Result<()> {
    let explained = server
        .api
        .kubectl(&["explain", "mst.spec", "--recursive"])?
        .ok()?;
    for field in [
        "allowedNamespaces",
        "blockPrefixes",
        "podSelector",
        "weightBack",
        "drain",
    ] {
        ensure(explained.contains(field), || {
            format!("{field} is not in {explained}")
        })?;
    }
    let link = server
        .api
        .kubectl(&["explain", "mst.spec.links.weightBack"])?
        .ok()?;
    ensure(link.contains("Weight from `b` to `a`"), || link)?;
    for kind in ["fwd", "allocations", "vniranges"] {
        server
            .api
            .kubectl(&["explain", kind, "--recursive"])?
            .ok()?;
    }
    let shown = server.api.kubectl(&["get", "beemesh", "-A"])?;
    shown.ok().map(drop)
}
