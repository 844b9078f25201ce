//! The API server is away, or has forgotten what it told before.

use anyhow::{Context, Result, ensure};
use e2e::{ApiServer, eventually};
use node::objects::pods::Lookup;
use node::objects::{Snapshot, Source};
use serde_json::json;
use tempfile::TempDir;

use crate::bed::{Bed, Follower, SOON, ensure_same_forwarders, kubeconfig_at};
use crate::relay::Relay;

const BOTH: [&str; 2] = ["away.iot.a", "away.iot.b"];

/// Two Forwarders, a node, a pod.
fn furnished(options: e2e::Options) -> Result<Bed> {
    let bed = Bed::on(options)?;
    bed.namespace("away")?;
    bed.node("away-1", "192.0.2.1")?;
    bed.forwarder("away", "iot", "a", "away-1", &["b"])?;
    bed.forwarder("away", "iot", "b", "away-2", &["a"])?;
    bed.pod("away", "one", "away-1")?;
    Ok(bed)
}

pub(crate) fn nothing_goes_while_the_server_is_away() -> Result<()> {
    let bed = furnished(ApiServer::options())?;
    let mut here = Follower::new("away-1", &bed.server.kubeconfig())?;
    let before = here.until_forwarders(&BOTH)?;
    for _ in 0..2 {
        bed.server.kill_apiserver()?;
        // That nobody answers is noticed by whoever asks.
        let found = here.pods.find("away", "unheard-of", None);
        ensure!(found == Lookup::Unknown, "{found:?}");
        ensure_same(&here.source.load(), &before)?;
        bed.server.restart_apiserver()?;
        ensure_same(&here.source.load(), &before)?;
    }
    bed.forwarder("away", "iot", "c", "away-1", &[])?;
    let after = here.until_forwarders(&["away.iot.a", "away.iot.b", "away.iot.c"])?;
    ensure!(after.nodes == before.nodes, "{:?}", after.nodes);
    eventually("it answers again", SOON, || {
        let found = here.pods.find("away", "unheard-of", None);
        ensure!(found == Lookup::Absent, "{found:?}");
        Ok(())
    })
}

pub(crate) fn a_store_that_was_restored_is_listed_again() -> Result<()> {
    let bed = furnished(ApiServer::options())?;
    let mut here = Follower::new("away-1", &bed.server.kubeconfig())?;
    here.until_forwarders(&BOTH)?;
    bed.server.back_up()?;
    // So many that the restored store does not reach this revision while the test runs.
    let filler = |number: u32| {
        let metadata = json!({"name": format!("filler-{number}"), "namespace": "away"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).to_string()
    };
    let fillers: Vec<String> = (0..1_000).map(filler).collect();
    bed.server.kubectl_apply(&fillers.join("\n---\n"))?;
    bed.forwarder("away", "iot", "lost", "away-1", &[])?;
    bed.pod("away", "lost", "away-1")?;
    here.until_forwarders(&["away.iot.a", "away.iot.b", "away.iot.lost"])?;

    bed.server.restore()?;
    bed.forwarder("away", "iot", "new", "away-1", &[])?;
    bed.pod("away", "new", "away-1")?;
    here.until_forwarders(&["away.iot.a", "away.iot.b", "away.iot.new"])?;
    eventually("its pods are those of the backup", SOON, || {
        let pods = here.pods.here();
        let mut names: Vec<&str> = pods.iter().map(|pod| pod.pod.name.as_str()).collect();
        names.sort_unstable();
        ensure!(names == ["new", "one"], "{names:?}");
        Ok(())
    })
}

pub(crate) fn ensure_same(now: &Snapshot, before: &Snapshot) -> Result<()> {
    ensure_same_forwarders(now, before)?;
    ensure!(now.topologies == before.topologies, "{:?}", now.topologies);
    ensure!(now.nodes == before.nodes, "{:?}", now.nodes);
    Ok(())
}

pub(crate) fn it_starts_without_a_server() -> Result<()> {
    let bed = furnished(ApiServer::options())?;
    let kubeconfig = bed.server.kubeconfig();
    let mut first = Follower::new("away-1", &kubeconfig)?;
    let before = first.until_forwarders(&BOTH)?;
    let pods = first.pods.here();
    ensure!(pods.len() == 1, "{pods:?}");
    first.until_kept()?;
    let directory = first.stop();
    bed.server.kill_apiserver()?;

    let mut second = Follower::at("away-1", &kubeconfig, directory)?;
    ensure_same(&second.source.load(), &before)?;
    let pod = &pods[0].pod;
    let found = second.pods.find("away", "one", Some(&pod.uid));
    ensure!(found == Lookup::Found(pods[0].clone()), "{found:?}");
    let found = second.pods.find("away", "one", Some("another"));
    ensure!(found == Lookup::Unknown, "{found:?}");
    let directory = second.stop();

    // Another node's cache is no cache.
    let mut other = Follower::at("away-2", &kubeconfig, directory)?;
    let nothing = other.source.load();
    ensure!(
        !nothing.is_complete && nothing.forwarders.is_empty(),
        "{nothing:?}"
    );
    ensure!(other.pods.here().is_empty(), "pods of another node");
    drop(other);

    bed.server.restart_apiserver()?;
    let mut third = Follower::at("away-1", &kubeconfig, TempDir::new()?)?;
    third.until_forwarders(&BOTH)?;
    third.until_kept()?;
    let directory = third.stop();
    bed.delete("away", "fwd", "iot.b")?;
    let mut fourth = Follower::at("away-1", &kubeconfig, directory)?;
    fourth.until_forwarders(&BOTH[..1])?;
    Ok(())
}

pub(crate) fn it_starts_beside_a_server_that_is_frozen() -> Result<()> {
    let bed = furnished(ApiServer::options())?;
    let kubeconfig = bed.server.kubeconfig();
    let mut first = Follower::new("away-1", &kubeconfig)?;
    let before = first.until_forwarders(&BOTH)?;
    first.until_kept()?;
    bed.server.pause_apiserver()?;
    // What it asks over connections that it has is not answered, and it ends all the same.
    let found = first.pods.find("away", "unheard-of", None);
    ensure!(found == Lookup::Unknown, "{found:?}");
    let directory = first.stop();

    // The kernel still takes connections for the server.
    let mut second = Follower::at("away-1", &kubeconfig, directory)?;
    ensure_same(&second.source.load(), &before)?;
    let found = second.pods.find("away", "unheard-of", None);
    ensure!(found == Lookup::Unknown, "{found:?}");
    eventually("it is told", SOON, || {
        ensure!(!second.source.health().unheard_for().is_zero(), "not yet");
        Ok(())
    })?;
    ensure_same(&second.source.load(), &before)?;

    bed.server.resume_apiserver()?;
    bed.delete("away", "fwd", "iot.b")?;
    second.until_forwarders(&BOTH[..1])?;
    Ok(())
}

pub(crate) fn a_watch_that_expires_is_not_seen() -> Result<()> {
    let bed = furnished(ApiServer::options())?;
    let port = bed
        .server
        .url()
        .rsplit(':')
        .next()
        .context("a port")?
        .parse()?;
    let relay = Relay::to(port)?;
    let mut here = Follower::new("away-1", &kubeconfig_at(&bed.server, relay.port)?)?;
    here.until_forwarders(&BOTH)?;
    let version = bed.get("away", "fwd", "iot.b")?["metadata"]["resourceVersion"].clone();
    let version = version.as_str().context("a version")?.to_owned();

    relay.cut();
    bed.delete("away", "fwd", "iot.b")?;
    bed.forwarder("away", "iot", "c", "away-1", &[])?;
    // A server that has just started knows no events from before.
    bed.server.restart_apiserver()?;
    eventually("the version is too old", SOON, || {
        let path = format!(
            "/apis/beemesh.io/v1alpha1/forwarders?watch=1&timeoutSeconds=1&resourceVersion={version}"
        );
        let answer = bed
            .server
            .kubectl(&["get", &format!("--raw={path}")])?
            .ok()?;
        ensure!(answer.contains("too old resource version"), "{answer}");
        Ok(())
    })?;
    relay.mend();
    let seen = |snapshot: &Snapshot| snapshot.forwarders.keys().cloned().collect::<Vec<_>>();
    let after = ["away.iot.a", "away.iot.c"];
    eventually("the new state", SOON, || {
        let snapshot = here.source.load();
        let keys = seen(&snapshot);
        // Anything else is nothing that there ever was; that ends the test at once.
        assert!(
            snapshot.is_complete && (keys == BOTH || keys == after),
            "{keys:?}"
        );
        ensure!(keys == after, "not yet");
        Ok(())
    })
}
