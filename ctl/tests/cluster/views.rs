//! Views of a topology in a cluster.

use crate::world::{beemesh, has, namespace, root, shared};
use anyhow::Result;

pub(crate) fn without_an_operator_status_says_so_and_wait_times_out() -> Result<()> {
    let server = shared()?;
    namespace(server, "alone")?;
    let file = root().join("examples/worked.yaml").display().to_string();
    server
        .kubectl(&["apply", "-n", "alone", "-f", &file])?
        .ok()?;
    let said = beemesh(server, "status worked -n alone")?.code(0)?;
    has(
        &said.stdout(),
        &["! the operator has not reconciled this topology"],
    )?;
    let said = beemesh(server, "status -n alone -o json")?
        .code(0)?
        .json()?;
    assert_eq!(said["topologies"][0]["ready"], "Unknown", "{said}");
    let said = beemesh(server, "status worked -n alone --wait --timeout 1s")?.code(4)?;
    said.tells(&["topology alone/worked is not Ready after 1s: the operator has not reconciled it"])
}

pub(crate) fn a_topology_that_nobody_computed_is_drawn_as_declared() -> Result<()> {
    let server = shared()?;
    namespace(server, "declared")?;
    let file = root().join("examples/worked.yaml").display().to_string();
    server
        .kubectl(&["apply", "-n", "declared", "-f", &file])?
        .ok()?;
    for verb in ["routes", "graph"] {
        let there = beemesh(server, &format!("{verb} worked -n declared -o json"))?.code(0)?;
        there.tells(&["note: generation 1 of declared/worked is not computed yet"])?;
        let here = beemesh(server, &format!("{verb} -f {file} -o json"))?.code(0)?;
        assert_eq!(there.json()?, here.json()?, "{verb}");
    }
    Ok(())
}
