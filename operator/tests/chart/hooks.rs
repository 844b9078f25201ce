//! Hooks of helm: its tests, and the Job before the uninstallation.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::helm::{self, Values};

/// A topology at which the operator does not look is never ready.
pub(crate) fn pods_are_wired_only_where_the_operator_looks() -> Result<()> {
    let alone: &[&str] = &["Pod"];
    let wiring: &[&str] = &["Pod", "Pod", "Role", "RoleBinding", "ServiceAccount"];
    #[rustfmt::skip]
    let cases = [
        // watchNamespaces              objects of `helm test`
        (r#"[]"#,                       wiring),
        (r#"["plant"]"#,                alone),
        (r#"["plant","cloud"]"#,        alone),
        (r#"["plant","beemesh-system"]"#, wiring),
    ];
    for (watched, expected) in cases {
        let set = format!("--set-json=operator.watchNamespaces={watched}");
        let objects = helm::objects(&helm::template("beemesh", &[set])?)?;
        let tests = objects
            .iter()
            .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test");
        let mut kinds: Vec<&str> = tests.filter_map(|test| test["kind"].as_str()).collect();
        kinds.sort_unstable();
        ensure!(kinds == expected, "{watched}: {kinds:?}");
    }
    Ok(())
}

/// The emptiest node is one that is down: its pods are elsewhere by now.
pub(crate) fn the_uninstallation_runs_on_no_node_that_is_down() -> Result<()> {
    let cordoned = "node.kubernetes.io/unschedulable";
    #[rustfmt::skip]
    let cases = [
        // taint                                    default  everything
        ("node.kubernetes.io/unreachable",          false,   false),
        (cordoned,                                  false,   false),
        ("node.kubernetes.io/not-ready",            true,    true),
        ("node.kubernetes.io/network-unavailable",  true,    true),
        ("node-role.kubernetes.io/control-plane",   true,    true),
        ("beemesh.io/not-ready",                    false,   true),
    ];
    let jobs = [Values::Default, Values::Everything].map(|values| helm::objects_of("Job", values));
    let [default, everything] = jobs;
    let (default, everything) = (default?, everything?);
    for (taint, by_default, with_everything) in cases {
        for (jobs, expected) in [(&default, by_default), (&everything, with_everything)] {
            let job = jobs.first().context("no Job")?;
            let tolerations = &job["spec"]["template"]["spec"]["tolerations"];
            ensure!(
                tolerates(tolerations, taint) == expected,
                "{taint}: {tolerations}"
            );
        }
    }
    Ok(())
}

/// True when one of the tolerations is for `taint`, whatever its effect; without a key it is for
/// every taint.
fn tolerates(tolerations: &Value, taint: &str) -> bool {
    let tolerations = tolerations.as_array().into_iter().flatten();
    let mut keys = tolerations.map(|toleration| toleration["key"].as_str());
    keys.any(|key| key.is_none_or(|key| key == taint))
}
