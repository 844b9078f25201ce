//! A daemon of a node that is ready takes its taint off, and leaves the node clean when it is asked.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::eventually;
use serde_json::{Value, json};

use crate::bed::SOON;
use crate::daemon::{Daemon, PRIMARY, SYSTEM, made};

impl Daemon<'_> {
    fn annotations(&self) -> Result<Value> {
        let mut pod = self.bed.get(SYSTEM, "pod", self.name)?;
        Ok(pod["metadata"]["annotations"].take())
    }

    fn ask(&self) -> Result<()> {
        let annotations = json!({node::install::uninstall::ANNOTATION: "requested", node::install::uninstall::CENSUS: null});
        let patch = json!({"metadata": {"annotations": annotations}});
        self.bed
            .merge(SYSTEM, &format!("pod/{}", self.name), None, &patch)
    }

    fn waits_for_proof(&self) -> Result<()> {
        self.waits("it is done", || {
            Ok(self.annotations()?[node::install::uninstall::ANNOTATION]
                == node::install::uninstall::DONE)
        })?;
        let annotations = self.annotations()?;
        let census = annotations[node::install::uninstall::CENSUS]
            .as_str()
            .context("a census")?;
        let census: Value = serde_json::from_str(census)?;
        let census = census.as_object().context("an object")?;
        ensure!(
            census.len() > 4 && census.values().all(|left| left == 0),
            "{census:?}"
        );
        ensure!(self.namespaces().is_empty(), "{:?}", self.namespaces());
        let mut left = Vec::new();
        files(self.directory.path(), &mut left)?;
        left.sort();
        ensure!(left == ["10-ptp.conflist", "log", "plugin"], "{left:?}");
        ensure!(fs::read_to_string(self.at("net.d/10-ptp.conflist"))? == PRIMARY);
        ensure!(self.probe("/livez").ends_with("ok"), "it lives");
        ensure!(
            self.probe("/readyz").contains("[-]uninstall failed"),
            "it is not ready"
        );
        Ok(())
    }
}

fn files(directory: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files(&entry.path(), found)?,
            false => found.push(entry.file_name().to_string_lossy().into_owned()),
        }
    }
    Ok(())
}

pub(crate) fn a_ready_node_loses_its_startup_taint_alone() -> Result<()> {
    let daemon = made("leaving-1")?;
    daemon.waits("the taint goes", || Ok(!daemon.is_tainted()?))?;
    let node = daemon.bed.get("default", "node", daemon.name)?;
    ensure!(node["spec"]["taints"][0]["key"] == "theirs", "{node}");
    let id = daemon.process.as_ref().context("it runs")?.id();
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok())
    };
    let kept = node::host::capabilities::KEPT
        .iter()
        .fold(0, |all, (capability, _)| all | capability.bitmask());
    ensure!(
        set("CapEff:") == Some(kept) && set("CapPrm:") == Some(kept),
        "{status}"
    );
    ensure!(
        set("CapInh:") == Some(0) && set("CapAmb:") == Some(0),
        "{status}"
    );
    Ok(())
}

pub(crate) fn a_node_that_is_asked_is_clean_and_proves_it_again() -> Result<()> {
    let mut daemon = made("leaving-2")?;
    for _ in 0..2 {
        daemon.ask()?;
        daemon.waits_for_proof()?;
    }
    // Another process of the same pod brings nothing back.
    daemon.kill()?;
    daemon.start()?;
    let mut back = Vec::new();
    eventually("it leaves again", SOON, || {
        back.extend(daemon.namespaces());
        let answer = daemon.probe("/readyz");
        ensure!(answer.contains("[-]uninstall failed"), "{}", daemon.log());
        Ok(())
    })?;
    ensure!(back.is_empty(), "{back:?}\n{}", daemon.log());
    daemon.ask()?;
    daemon.waits_for_proof()
}

pub(crate) fn a_daemon_killed_while_it_cleans_goes_on() -> Result<()> {
    let mut daemon = made("leaving-3")?;
    daemon.ask()?;
    daemon.waits("it has begun", || {
        Ok(!daemon.at("net.d/00-beemesh.conflist").exists())
    })?;
    daemon.kill()?;
    // It may have been done already: then that was told by the one that is gone.
    daemon.ask()?;
    daemon.start()?;
    daemon.waits_for_proof()
}
