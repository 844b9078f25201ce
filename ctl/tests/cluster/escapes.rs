//! Control characters that nodes and pods wrote reach no terminal.

use crate::{
    daemons,
    operated::ring,
    world::{Said, beemesh, has, install, namespace, shared},
};
use anyhow::{Result, anyhow, ensure};
use e2e::ApiServer;
use serde_json::json;
use std::thread;

/// A sequence that sets the title of a terminal, one of C1, and a bidirectional override.
const SEQUENCES: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}";
/// As it is shown.
const SHOWN: &str = "\\u001b]0;owned\\u0007\\u009b31m\\u202e";

fn is_clean(said: &Said) -> Result<()> {
    for text in [said.stdout(), said.stderr()] {
        let is_control = |c: char| c.is_control() && !"\n\t".contains(c) || c == '\u{202e}';
        ensure!(!text.contains(is_control), "{text:?}");
    }
    Ok(())
}

pub(crate) fn what_others_wrote_does_not_act_on_the_terminal() -> Result<()> {
    reasons_of_topologies()?;
    answers_of_daemons()
}

/// Tables, JSON, YAML and errors of what a status says.
fn reasons_of_topologies() -> Result<()> {
    let server = shared()?;
    namespace(server, "escapes")?;
    let apply = ["apply", "-n", "escapes", "-f", "-"];
    server
        .kubectl_with_input(&apply, &ring("iot", &[("a", "n1"), ("b", "n1")]))?
        .ok()?;
    let status = json!({"status": {"observedGeneration": 1, "conditions": [{
        "type": "Ready", "status": "False", "reason": "NotReady", "message": format!("n1: {SEQUENCES}"),
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let patch = [
        "patch",
        "mst",
        "iot",
        "-n",
        "escapes",
        "--subresource=status",
        "--type=merge",
        "-p",
    ];
    server
        .kubectl(&[&patch[..], &[&status.to_string()]].concat())?
        .ok()?;
    for format in ["table", "json", "yaml"] {
        let said = beemesh(server, &format!("status iot -n escapes -o {format}"))?;
        is_clean(&said)?;
        if format != "yaml" {
            has(&said.stdout(), &[SHOWN])?;
        }
        if format == "json" {
            let text = said.json()?.to_string();
            has(&text, &["\u{9b}31m\u{202e}"])?;
        }
    }
    let late = beemesh(server, "status iot -n escapes --wait --timeout 1s")?.code(4)?;
    is_clean(&late)?;
    late.tells(&[SHOWN])
}

/// Kinds of a census, which a node names.
fn answers_of_daemons() -> Result<()> {
    let server = ApiServer::start()?;
    install(&server)?;
    namespace(&server, "system")?;
    daemons::install(&server, "system", &["n1"])?;
    let census = json!({SEQUENCES: 0}).to_string();
    let said = thread::scope(|scope| {
        let asks = scope.spawn(|| beemesh(&server, "uninstall --timeout 2m -o json"));
        let answered = crate::uninstall::answer_with(&server, "n1", &census);
        let said = asks.join().map_err(|_| anyhow!("a thread panicked"))?;
        answered.and(said)
    })?;
    is_clean(&said)?;
    has(&said.code(0)?.stdout(), &[SHOWN])
}
