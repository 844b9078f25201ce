//! Rights: of the operator on the API server, and of its pods on their node.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::helm::{self, Values};

/// Group, resource, verbs: all that the operator may do.
#[rustfmt::skip]
const OPERATOR: [(&str, &str, &str); 11] = [
    ("beemesh.io",            "microservicetopologies",        "get list watch"),
    ("beemesh.io",            "microservicetopologies/status", "get patch"),
    ("beemesh.io",            "forwarders",                    "create delete get list patch watch"),
    ("beemesh.io",            "forwarders/status",             "patch"),
    ("beemesh.io",            "allocations",                   "create delete get list patch update watch"),
    ("beemesh.io",            "vniranges",                     "create delete get list watch"),
    ("",                      "nodes",                         "get list watch"),
    ("",                      "pods",                          "get list watch"),
    ("events.k8s.io",         "events",                        "create patch"),
    ("authentication.k8s.io", "tokenreviews",                  "create"),
    ("authorization.k8s.io",  "subjectaccessreviews",          "create"),
];

pub(crate) fn the_operator_may_what_it_needs_and_nothing_else() -> Result<()> {
    let roles = helm::objects_of("ClusterRole", Values::Default)?;
    let role = roles
        .iter()
        .find(|role| role["metadata"]["name"] == "beemesh-operator")
        .context("no role of the operator")?;
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
    let expected: BTreeSet<(&str, &str, String)> = OPERATOR
        .iter()
        .map(|&(group, resource, verbs)| (group, resource, verbs.to_owned()))
        .collect();
    let differing: Vec<_> = actual.symmetric_difference(&expected).collect();
    ensure!(differing.is_empty(), "{differing:?}");
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

/// What the restricted Pod Security Standard asks for, and a root that is not writable.
pub(crate) fn pods_have_no_privilege() -> Result<()> {
    let deployments = helm::objects_of("Deployment", Values::Default)?;
    let pods = helm::objects_of("Pod", Values::Default)?;
    let specs = deployments
        .iter()
        .map(|deployment| &deployment["spec"]["template"]["spec"])
        .chain(pods.iter().map(|pod| &pod["spec"]));
    let mut count = 0;
    for spec in specs {
        count += 1;
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
        for shared in ["hostNetwork", "hostPID", "hostIPC"] {
            ensure!(spec.get(shared).is_none(), "{shared}");
        }
    }
    ensure!(count == 2, "{count} pods");
    Ok(())
}

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
