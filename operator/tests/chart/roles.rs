//! Rights: of the operator on the API server, and of its pods on their node.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::helm::{self, Values};

/// Group, resource, verbs: all that the operator may do.
#[rustfmt::skip]
const OPERATOR: [(&str, &str, &str); 14] = [
    ("beemesh.io",            "microservicetopologies",        "get list watch"),
    ("beemesh.io",            "microservicetopologies/status", "get patch"),
    ("beemesh.io",            "forwarders",                    "create delete get list patch watch"),
    ("beemesh.io",            "forwarders/status",             "patch"),
    ("beemesh.io",            "allocations",                   "create delete get list patch update watch"),
    ("beemesh.io",            "vniranges",                     "create delete get list watch"),
    ("",                      "nodes",                         "get list watch"),
    ("",                      "pods",                          "get list watch"),
    ("",                      "services",                      "create delete get list patch watch"),
    ("discovery.k8s.io",      "endpointslices",                "create delete get list patch watch"),
    ("k8s.cni.cncf.io",       "network-attachment-definitions", "create delete get list patch"),
    ("events.k8s.io",         "events",                        "create patch"),
    ("authentication.k8s.io", "tokenreviews",                  "create"),
    ("authorization.k8s.io",  "subjectaccessreviews",          "create"),
];

/// The same of a daemon; `node-admission.yaml` narrows the writes to its own node.
#[rustfmt::skip]
const NODE: [(&str, &str, &str); 7] = [
    ("beemesh.io",    "microservicetopologies", "get list watch"),
    ("beemesh.io",    "forwarders",             "get list watch"),
    ("beemesh.io",    "forwarders/status",      "patch"),
    ("",              "nodes",                  "get list watch"),
    ("",              "pods",                   "get list watch"),
    ("",              "pods/status",            "patch"),
    ("events.k8s.io", "events",                 "create patch"),
];

/// The right that a startup taint takes.
const TAINTS: (&str, &str, &str) = ("", "nodes", "patch");

/// The same of the hook that runs before the release goes, in its own namespace.
const UNINSTALL: [(&str, &str, &str); 2] = [
    ("", "pods", "get list patch watch"),
    ("apps", "daemonsets", "get list"),
];

/// The same of `helm test`, in its own namespace.
#[rustfmt::skip]
const CONNECTIVITY: [(&str, &str, &str); 5] = [
    ("beemesh.io", "microservicetopologies", "create delete get list patch watch"),
    ("beemesh.io", "forwarders",             "get list watch"),
    ("",           "pods",                   "create delete get list patch watch"),
    ("",           "pods/exec",              "create get"),
    ("apps",       "daemonsets",             "get list"),
];

/// Rights of the operator in its own namespace: create the mesh key Secret, and get it by name.
const KEY: [(&str, &str, &str); 2] = [("", "secrets", "create"), ("", "secrets", "get")];

pub(crate) fn the_operator_may_what_it_needs_and_nothing_else() -> Result<()> {
    let name = "beemesh-operator";
    compare("ClusterRole", name, Values::Default, &OPERATOR)?;
    compare("Role", name, Values::Default, &KEY)?;
    for role in helm::objects_of("Role", Values::Default)? {
        for rule in role["rules"].as_array().context("no rules")? {
            let is_of_key = words(&rule["resourceNames"]).eq(["beemesh-mesh-key"]);
            let reads_secrets = rule["resources"][0] == "secrets" && rule["verbs"][0] != "create";
            ensure!(is_of_key || !reads_secrets, "{rule}");
        }
    }
    for role in helm::objects_of("Role", Values::Everything)? {
        ensure!(
            role["metadata"]["name"] != name,
            "the key is the user's: {role}"
        );
    }
    Ok(())
}

pub(crate) fn a_daemon_may_what_it_needs_and_nothing_else() -> Result<()> {
    compare("ClusterRole", "beemesh-node", Values::Default, &NODE)?;
    let with_taint = [&NODE[..], &[TAINTS]].concat();
    compare(
        "ClusterRole",
        "beemesh-node",
        Values::Everything,
        &with_taint,
    )?;
    compare("Role", "beemesh-uninstall", Values::Default, &UNINSTALL)?;
    compare(
        "Role",
        "beemesh-connectivity",
        Values::Default,
        &CONNECTIVITY,
    )
}

/// Holds the rules of a role beside those that are `expected`.
fn compare(kind: &str, name: &str, values: Values, expected: &[(&str, &str, &str)]) -> Result<()> {
    let roles = helm::objects_of(kind, values)?;
    let role = roles.iter().find(|role| role["metadata"]["name"] == name);
    let role = role.with_context(|| format!("no {kind} {name}"))?;
    let mut actual = BTreeSet::new();
    for rule in role["rules"].as_array().context("no rules")? {
        ensure!(rule.get("nonResourceURLs").is_none(), "{rule}");
        let verbs: BTreeSet<&str> = words(&rule["verbs"]).collect();
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                let verbs: Vec<&str> = verbs.iter().copied().collect();
                actual.insert((group, resource, verbs.join(" ")));
            }
        }
    }
    let expected: BTreeSet<(&str, &str, String)> = expected
        .iter()
        .map(|&(group, resource, verbs)| (group, resource, verbs.to_owned()))
        .collect();
    let differing: Vec<_> = actual.symmetric_difference(&expected).collect();
    ensure!(differing.is_empty(), "{name}: {differing:?}");
    Ok(())
}

pub(crate) fn no_rule_has_a_star() -> Result<()> {
    for values in Values::ALL {
        for kind in ["ClusterRole", "Role"] {
            for role in helm::objects_of(kind, values)? {
                ensure!(!role["rules"].to_string().contains('*'), "{role}");
            }
        }
    }
    Ok(())
}

/// All pods but the daemon's meet the restricted Pod Security Standard, with a read-only root file
/// system.
pub(crate) fn pods_have_no_privilege() -> Result<()> {
    let mut count = 0;
    for kind in ["Deployment", "Job", "Pod"] {
        for object in helm::objects_of(kind, Values::Default)? {
            count += 1;
            let template = object["spec"].get("template").unwrap_or(&object);
            restricted(&template["spec"]).with_context(|| kind.to_owned())?;
            // Where a node's network is broken is where it must be cleaned.
            let is_hook = kind == "Job";
            ensure!(
                template["spec"].get("hostNetwork").is_some() == is_hook,
                "{kind}: hostNetwork"
            );
        }
    }
    ensure!(count == 4, "{count} pods");
    Ok(())
}

fn restricted(spec: &Value) -> Result<()> {
    let pod = &spec["securityContext"];
    ensure!(pod["runAsNonRoot"] == true, "{pod}");
    ensure!(pod["runAsUser"].as_u64() > Some(0), "{pod}");
    ensure!(pod["seccompProfile"]["type"] == "RuntimeDefault", "{pod}");
    for container in spec["containers"].as_array().context("no containers")? {
        let context = &container["securityContext"];
        ensure!(context["allowPrivilegeEscalation"] == false, "{context}");
        ensure!(context["readOnlyRootFilesystem"] == true, "{context}");
        ensure!(context["capabilities"]["drop"][0] == "ALL", "{context}");
        ensure!(
            container["resources"]["requests"]["memory"].is_string(),
            "{container}"
        );
    }
    for shared in ["hostPID", "hostIPC"] {
        ensure!(spec.get(shared).is_none(), "{shared}");
    }
    Ok(())
}

/// Privileged for the one mount that propagates to the node, and otherwise as small as can be.
pub(crate) fn the_daemon_has_the_privilege_that_its_mounts_take_and_no_other() -> Result<()> {
    let daemon = &helm::objects_of("DaemonSet", Values::Default)?[0];
    let spec = &daemon["spec"]["template"]["spec"];
    ensure!(spec["hostNetwork"] == true, "{spec}");
    for shared in ["hostPID", "hostIPC"] {
        ensure!(spec.get(shared).is_none(), "{shared}");
    }
    let container = &spec["containers"][0];
    let context = &container["securityContext"];
    ensure!(context["privileged"] == true, "{context}");
    ensure!(context["readOnlyRootFilesystem"] == true, "{context}");
    let mounts = container["volumeMounts"].as_array().context("no mounts")?;
    let propagating: Vec<&Value> = mounts
        .iter()
        .filter(|mount| mount["mountPropagation"] == "Bidirectional")
        .map(|mount| &mount["mountPath"])
        .collect();
    ensure!(propagating == ["/run/netns"], "{propagating:?}");
    let proc = mounts.iter().find(|mount| mount["name"] == "proc");
    ensure!(
        proc.is_some_and(|mount| mount["readOnly"] == true),
        "{proc:?}"
    );
    Ok(())
}

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
