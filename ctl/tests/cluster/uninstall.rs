//! `beemesh uninstall` and daemons that answer by their pods.

use crate::{
    daemons,
    world::{beemesh, install, namespace},
};
use anyhow::{Result, anyhow, ensure};
use e2e::{ApiServer, eventually};
use std::{thread, time::Duration};

const ASKED: Duration = Duration::from_secs(60);
const NODES: [&str; 2] = ["n1", "n2"];

/// Waits for the question, and says that nothing is left.
pub(crate) fn answer(server: &ApiServer, node: &str) -> Result<()> {
    answer_with(server, node, r#"{"leases":0}"#)
}

/// Waits for the question, and answers with this census.
pub(crate) fn answer_with(server: &ApiServer, node: &str, census: &str) -> Result<()> {
    let get = ["get", "pod", node, "-n", "system", "-o", "json"];
    eventually(&format!("{node} is asked"), ASKED, || {
        let pod = server.kubectl(&get)?.json()?;
        let annotations = &pod["metadata"]["annotations"];
        let is_asked = annotations[node::install::uninstall::ANNOTATION]
            == node::install::uninstall::REQUESTED;
        e2e::ensure(is_asked, || annotations.to_string())
    })?;
    let said = |name, value| format!("{name}={value}");
    let words = [
        said(
            node::install::uninstall::ANNOTATION,
            node::install::uninstall::DONE,
        ),
        said(node::install::uninstall::CENSUS, census),
    ];
    let annotate = ["annotate", "--overwrite", "pod", node, "-n", "system"];
    let line = [&annotate[..], &[&words[0], &words[1]]].concat();
    server.kubectl(&line)?.ok().map(drop)
}

pub(crate) fn each_daemon_is_asked_and_its_answer_awaited() -> Result<()> {
    // Of its own: other tests count on a cluster without daemons.
    let server = ApiServer::start()?;
    install(&server)?;
    namespace(&server, "system")?;
    daemons::install(&server, "system", &NODES)?;
    let report = thread::scope(|scope| {
        let asks = scope.spawn(|| beemesh(&server, "uninstall --timeout 2m -o json"));
        let answers = NODES.iter().try_for_each(|node| answer(&server, node));
        let said = asks.join().map_err(|_| anyhow!("a thread panicked"))??;
        answers?;
        said.code(0)?.json()
    })?;
    for (node, found) in NODES
        .iter()
        .zip(report["nodes"].as_array().into_iter().flatten())
    {
        ensure!(
            found["node"] == *node && found["state"] == "clean",
            "{report}"
        );
    }
    ensure!(
        report["nodes"].as_array().map(Vec::len) == Some(NODES.len()),
        "{report}"
    );
    Ok(())
}
