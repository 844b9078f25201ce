//! Bounds, formats, defaults and how lists are merged: those that lint and serde have.

use serde_json::json;

use super::tree::Tree;
use crate::{
    duration::MAX_CHARACTERS,
    expand::{FIRST_VNI, LAST_VNI},
    forwarder::{MAX_ATTACHMENTS, MAX_MESSAGE, MAX_REASON},
    lint::{
        LEAST_MTU, MAX_APPS, MAX_ENTRIES, MAX_FORWARDERS, MAX_LINKS, MAX_MULTIPLIER, MAX_PATHS,
        MAX_REQUIREMENTS, MOST_MTU,
    },
    topology::AUTO,
};

/// Longest of [`NAME`] and of label values.
const NAME_MAX: usize = 63;
/// Names of Forwarders and Apps, as [`crate::names::is_name`].
const NAME: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// As [`crate::names::is_dns_subdomain`], at most 253 characters.
const SUBDOMAIN: &str =
    r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";
/// As [`crate::names::is_dns_label`], or `*`.
const NAMESPACE: &str = r"^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$";
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
const LABEL_KEY: &str =
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// As [`crate::duration::parse`].
const DURATION: &str = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$";
const LINK: &str = r"^[-A-Za-z0-9_.]+/[-A-Za-z0-9_.]+(#[0-9]{1,9})?$";

pub(super) fn topology(tree: &mut Tree<'_>) {
    addressing(tree);
    forwarders(tree);
    links(tree);
    apps(tree);
    tree.set(
        "spec.routing.maxPaths",
        json!({"minimum": 1, "maximum": MAX_PATHS}),
    );
    tree.set(
        "spec.liveness.interval",
        json!({"pattern": DURATION, "maxLength": MAX_CHARACTERS}),
    );
    tree.set(
        "spec.liveness.multiplier",
        json!({"minimum": 1, "maximum": MAX_MULTIPLIER}),
    );
    set_of(tree, "spec.allowedNamespaces", NAMESPACE, NAME_MAX);
    set_of(tree, "spec.drain.forwarders", NAME, NAME_MAX);
    set_of(tree, "spec.drain.links", LINK, 2 * NAME_MAX + 11);
    condition(tree);
}

fn addressing(tree: &mut Tree<'_>) {
    let cidrs = json!({"minItems": 1, "maxItems": 2, "x-kubernetes-list-type": "atomic"});
    tree.set("spec.addressing.cidrs", cidrs);
    cidr_entries(tree, "spec.addressing.cidrs[]");
    let blocks = json!({"maxItems": 2, "x-kubernetes-list-type": "atomic"});
    tree.set("spec.addressing.blockPrefixes", blocks);
    tree.set("spec.addressing.blockPrefixes[]", json!({"maximum": 124}));
}

fn forwarders(tree: &mut Tree<'_>) {
    tree.set("spec.forwarders", json!({"maxItems": MAX_FORWARDERS}));
    tree.list_map("spec.forwarders", "name");
    name(tree, "spec.forwarders[].name");
    let node = json!({"pattern": SUBDOMAIN, "minLength": 1, "maxLength": 253});
    tree.set("spec.forwarders[].node", node);
    for path in [
        "spec.forwarders[].nodeSelector",
        "spec.forwarderPerNode.nodeSelector",
    ] {
        labels(tree, path);
    }
}

fn links(tree: &mut Tree<'_>) {
    // Parallel links are allowed, so that no field of a link is a key.
    let links = json!({"maxItems": MAX_LINKS, "x-kubernetes-list-type": "atomic"});
    tree.set("spec.links", links);
    name(tree, "spec.links[].a");
    name(tree, "spec.links[].b");
    for field in ["weight", "weightBack"] {
        weight(tree, &format!("spec.links[].{field}"));
    }
    let mtu = json!({"minimum": LEAST_MTU[0], "maximum": MOST_MTU});
    tree.set("spec.links[].mtu", mtu);
}

fn apps(tree: &mut Tree<'_>) {
    tree.set("spec.apps", json!({"maxItems": MAX_APPS}));
    tree.list_map("spec.apps", "name");
    name(tree, "spec.apps[].name");
    name(tree, "spec.apps[].forwarder");
    tree.set("spec.apps[].forwarder", json!({"default": AUTO}));
    weight(tree, "spec.apps[].weight");
    tree.set("spec.apps[].weight", json!({"default": 1}));
    name(tree, "spec.apps[].external.forwarder");
    let cidrs = json!({"minItems": 1, "maxItems": MAX_ENTRIES, "x-kubernetes-list-type": "atomic"});
    tree.set("spec.apps[].external.cidrs", cidrs);
    cidr_entries(tree, "spec.apps[].external.cidrs[]");
    selector(tree, "spec.apps[].podSelector");
}

fn selector(tree: &mut Tree<'_>, path: &str) {
    labels(tree, &format!("{path}.matchLabels"));
    let expressions = format!("{path}.matchExpressions");
    tree.set(
        &expressions,
        json!({"maxItems": MAX_REQUIREMENTS, "x-kubernetes-list-type": "atomic"}),
    );
    let key = json!({"pattern": LABEL_KEY, "minLength": 1, "maxLength": 317});
    tree.set(&format!("{expressions}[].key"), key);
    let values = json!({"maxItems": MAX_ENTRIES, "x-kubernetes-list-type": "atomic"});
    tree.set(&format!("{expressions}[].values"), values);
    let value = json!({"pattern": LABEL_VALUE, "maxLength": NAME_MAX});
    tree.set(&format!("{expressions}[].values[]"), value);
}

pub(super) fn forwarder(tree: &mut Tree<'_>) {
    // One writer: additions of others are overwritten by the next write.
    for path in ["spec.links", "spec.apps"] {
        tree.set(path, json!({"x-kubernetes-list-type": "atomic"}));
    }
    for path in [
        "spec.cidrs",
        "spec.blocks",
        "spec.external",
        "spec.apps[].external",
    ] {
        tree.set(path, json!({"x-kubernetes-list-type": "atomic"}));
        tree.set(&format!("{path}[]"), json!({"format": "cidr"}));
    }
    weight(tree, "spec.links[].weight");
    weight(tree, "spec.links[].weightBack");
    vni(tree, "spec.links[].vni");
    tree.list_map("status.linkStates", "id");
    tree.list_map("status.attachments", "key");
    reports(tree);
    tree.rule(
        "spec.topology",
        "",
        "self == oldSelf",
        super::rules::IMMUTABLE_NAME,
    );
    tree.rule(
        "spec.name",
        "",
        "self == oldSelf",
        super::rules::IMMUTABLE_NAME,
    );
    condition(tree);
}

/// A node that was broken into may report anything, but no more than this.
fn reports(tree: &mut Tree<'_>) {
    let text = |tree: &mut Tree<'_>, path: &str, longest: usize| {
        tree.set(path, json!({"maxLength": longest}));
    };
    for field in ["epoch", "digest", "linksUp", "netns"] {
        text(tree, &format!("status.{field}"), NAME_MAX);
    }
    tree.set("status.linkStates", json!({"maxItems": MAX_LINKS}));
    text(tree, "status.linkStates[].id", 2 * NAME_MAX + 11);
    text(tree, "status.linkStates[].reason", MAX_REASON);
    for direction in ["receive", "transmit"] {
        for (field, longest) in [("reason", 32), ("by", NAME_MAX), ("since", 32)] {
            let path = format!("status.linkStates[].{direction}.{field}");
            text(tree, &path, longest);
        }
    }
    tree.set("status.attachments", json!({"maxItems": MAX_ATTACHMENTS}));
    text(tree, "status.attachments[].app", NAME_MAX);
    text(tree, "status.attachments[].key", 512);
    // A namespace, a slash, a name.
    text(tree, "status.attachments[].pod", NAME_MAX + 1 + 253);
    let addresses = "status.attachments[].addresses";
    tree.set(addresses, json!({"maxItems": 16}));
    text(tree, &format!("{addresses}[]"), 43);
}

pub(super) fn allocation(tree: &mut Tree<'_>) {
    // One writer, and an object of limited size: the keys need not stand in `managedFields` as well.
    for path in ["spec.blocks", "spec.vnis", "spec.retired"] {
        tree.set(path, json!({"x-kubernetes-map-type": "atomic"}));
    }
    tree.set(
        "spec.blocks{}.blocks",
        json!({"x-kubernetes-list-type": "atomic"}),
    );
    tree.set("spec.blocks{}.blocks[]", json!({"format": "cidr"}));
    vni(tree, "spec.vnis{}");
}

pub(super) fn vni_range(tree: &mut Tree<'_>) {
    vni(tree, "spec.first");
    tree.rule("spec", "", "self == oldSelf", super::rules::IMMUTABLE_CLAIM);
}

fn condition(tree: &mut Tree<'_>) {
    tree.list_map("status.conditions", "type");
    tree.set("status.conditions", json!({"maxItems": 32}));
    for (field, longest) in [("type", 316), ("reason", 1_024), ("message", MAX_MESSAGE)] {
        let path = format!("status.conditions[].{field}");
        tree.set(&path, json!({"maxLength": longest}));
    }
    let status = json!({"enum": ["True", "False", "Unknown"]});
    tree.set("status.conditions[].status", status);
    tree.set(
        "status.conditions[].lastTransitionTime",
        json!({"format": "date-time"}),
    );
}

fn name(tree: &mut Tree<'_>, path: &str) {
    let words = json!({"pattern": NAME, "minLength": 1, "maxLength": NAME_MAX});
    tree.set(path, words);
}

fn weight(tree: &mut Tree<'_>, path: &str) {
    tree.set(path, json!({"minimum": 1, "maximum": u32::MAX}));
}

fn vni(tree: &mut Tree<'_>, path: &str) {
    tree.set(path, json!({"minimum": FIRST_VNI, "maximum": LAST_VNI}));
}

fn labels(tree: &mut Tree<'_>, path: &str) {
    tree.set(path, json!({"maxProperties": MAX_ENTRIES}));
    let value = json!({"pattern": LABEL_VALUE, "maxLength": NAME_MAX});
    tree.set(&format!("{path}{{}}"), value);
}

fn cidr_entries(tree: &mut Tree<'_>, path: &str) {
    // The longest IPv6 address with a prefix length.
    tree.set(path, json!({"format": "cidr", "maxLength": 43}));
}

/// A list in which every value is there once: appliers share it value by value.
fn set_of(tree: &mut Tree<'_>, path: &str, pattern: &str, longest: usize) {
    tree.set(
        path,
        json!({"maxItems": MAX_ENTRIES, "x-kubernetes-list-type": "set"}),
    );
    let entry = json!({"pattern": pattern, "minLength": 1, "maxLength": longest});
    tree.set(&format!("{path}[]"), entry);
}
