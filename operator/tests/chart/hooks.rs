//! What helm runs by itself: its tests, and the Job before the release goes.

use anyhow::{Result, ensure};

use crate::helm;

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
