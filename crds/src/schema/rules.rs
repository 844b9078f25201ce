//! Rules in CEL: what fields say together. Each within the cost that the API server grants.

use super::tree::Tree;
use crate::{
    duration,
    lint::{INTERVAL, LEAST_MTU, LONGEST_BLOCK, RESERVED, message},
};

pub(super) const IMMUTABLE_NAME: &str = "is immutable: expected the name that it was created with";
pub(super) const IMMUTABLE_CLAIM: &str = "is immutable: a claim is made or deleted";
/// Addresses that pods have would be stranded.
const IMMUTABLE_ADDRESSING: &str =
    "is immutable, since addresses are given from it: delete the topology and create it again";

pub(super) fn topology(tree: &mut Tree<'_>) {
    let rule = "!self.metadata.name.contains('.') && size(self.metadata.name) <= 63";
    // A path below metadata is none to the API server.
    let message = format!("metadata.name: {}", message::DNS_LABEL);
    tree.rule("", "", rule, &message);
    let count = "(has(self.forwarders) ? size(self.forwarders) : 0)";
    let rule = format!("has(self.forwarderPerNode) || {count} > 0");
    tree.rule("spec", "forwarders", &rule, message::NO_FORWARDERS);
    let rule = format!("!(has(self.forwarderPerNode) && {count} > 0)");
    tree.rule("spec", "forwarderPerNode", &rule, message::BOTH_FORWARDERS);
    let least = LEAST_MTU[1];
    let rule = format!(
        "!has(self.links) || !self.addressing.cidrs.exists(c, c.contains(':')) || \
         self.links.all(l, !has(l.mtu) || l.mtu >= {least})"
    );
    let message = format!("expected an mtu of {least} or more where a CIDR is of IPv6");
    tree.rule("spec", "links", &rule, &message);
    addressing(tree);
    let path = "spec.forwarders[].name";
    tree.rule(path, "", "self != 'Auto'", message::NAMED_AUTO);
    let rule = "!(has(self.node) && has(self.nodeSelector) && size(self.nodeSelector) > 0)";
    tree.rule(
        "spec.forwarders[]",
        "nodeSelector",
        rule,
        message::NODE_AND_SELECTOR,
    );
    tree.rule("spec.links[]", "b", "self.a != self.b", message::SELF_LINK);
    let path = "spec.links[].type";
    tree.rule(path, "", "self != 'Encrypted'", message::ENCRYPTED);
    apps(tree);
    let [least, most] = INTERVAL.map(duration::format);
    let rule =
        format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')");
    let message = format!("expected {least} to {most}");
    tree.rule("spec.liveness.interval", "", &rule, &message);
}

fn addressing(tree: &mut Tree<'_>) {
    let path = "spec.addressing";
    let is_cidrs = "self.cidrs.all(c, isCIDR(c))";
    let rule = "self.cidrs == oldSelf.cidrs";
    tree.rule(path, "cidrs", rule, IMMUTABLE_ADDRESSING);
    let prefixes = "(has(X.blockPrefixes) ? X.blockPrefixes : [])";
    let [new, old] = ["self", "oldSelf"].map(|it| prefixes.replace('X', it));
    let rule = format!("{new} == {old}");
    tree.rule(path, "blockPrefixes", &rule, IMMUTABLE_ADDRESSING);
    let rule = format!("size({new}) == 0 || size({new}) == size(self.cidrs)");
    tree.rule(path, "blockPrefixes", &rule, message::BLOCK_COUNT);
    let [v4, v6] = LONGEST_BLOCK;
    let rule = format!(
        "!{is_cidrs} || [0, 1].all(i, i >= size({new}) || i >= size(self.cidrs) || \
         ({new}[i] >= cidr(self.cidrs[i]).prefixLength() && \
         {new}[i] <= (cidr(self.cidrs[i]).ip().family() == 4 ? {v4} : {v6})))"
    );
    let message = format!("expected the CIDR's own length to {v4} (IPv6: {v6})");
    tree.rule(path, "blockPrefixes", &rule, &message);
    let rule = "size(self) < 2 || !self.all(c, isCIDR(c)) || \
                cidr(self[0]).ip().family() != cidr(self[1]).ip().family()";
    tree.rule("spec.addressing.cidrs", "", rule, message::ONE_PER_FAMILY);
    cidr(tree, "spec.addressing.cidrs[]");
}

/// One CIDR of the topology's own.
fn cidr(tree: &mut Tree<'_>, path: &str) {
    tree.rule(path, "", "isCIDR(self)", message::CIDR);
    let rule = "!isCIDR(self) || cidr(self) == cidr(self).masked()";
    tree.rule(path, "", rule, message::HOST_BITS);
    let [v4, v6] = LONGEST_BLOCK;
    let rule = format!(
        "!isCIDR(self) || cidr(self).prefixLength() <= (cidr(self).ip().family() == 4 ? {v4} : {v6})"
    );
    let message = format!("is too small: expected /{v4} or larger (IPv6: /{v6})");
    tree.rule(path, "", &rule, &message);
    for (range, meaning) in RESERVED.iter().filter(|(range, _)| !range.contains("ffff")) {
        let rule = format!(
            "!isCIDR(self) || (!cidr('{range}').containsCIDR(self) && !cidr(self).containsCIDR('{range}'))"
        );
        let message = format!("overlaps {range}, {meaning}: expected another range");
        tree.rule(path, "", &rule, &message);
    }
}

fn apps(tree: &mut Tree<'_>) {
    let path = "spec.apps[]";
    let rule = "!(has(self.external) && has(self.podSelector))";
    tree.rule(path, "external", rule, message::SELECTOR_AND_EXTERNAL);
    let rule = "!has(self.external) || self.forwarder == 'Auto' || \
                self.forwarder == self.external.forwarder";
    tree.rule(path, "forwarder", rule, message::OTHER_FORWARDER);
    let path = "spec.apps[].podSelector.matchExpressions[]";
    let count = "(has(self.values) ? size(self.values) : 0)";
    let rule = format!("!(self.operator in ['In', 'NotIn']) || {count} > 0");
    tree.rule(path, "values", &rule, message::NO_VALUES);
    let rule = format!("self.operator in ['In', 'NotIn'] || {count} == 0");
    tree.rule(path, "values", &rule, message::SOME_VALUES);
}
