//! An API server that does not know this node any more, or does not let it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::eventually;
use node::objects::pods::Lookup;
use serde_json::{Value, json};

use crate::bed::{Bed, Follower, SOON, ensure_same_forwarders, shared};
use crate::daemon::{PRIMARY, declared, missing};
use crate::relay::Relay;

/// A token of a service account that is made anew: what was issued before is worth nothing.
fn token(bed: &Bed, namespace: &str) -> Result<String> {
    let run = |words: &[&str]| bed.server.kubectl(&[&["-n", namespace], words].concat());
    run(&["delete", "serviceaccount", "node", "--ignore-not-found"])?.ok()?;
    run(&["create", "serviceaccount", "node"])?.ok()?;
    Ok(run(&["create", "token", "node"])?.ok()?.trim().to_owned())
}

/// Lets the account of a namespace do what `rules` say.
fn let_do(bed: &Bed, namespace: &str, rules: &Value) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    bed.apply(&json!({
        "apiVersion": version, "kind": "ClusterRole",
        "metadata": {"name": namespace}, "rules": rules,
    }))?;
    bed.apply(&json!({
        "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": namespace},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": namespace},
        "subjects": [{"kind": "ServiceAccount", "name": "node", "namespace": namespace}],
    }))
}

fn relay(bed: &Bed) -> Result<Relay> {
    let url = bed.server.url();
    Relay::to(url.rsplit(':').next().context("a port")?.parse()?)
}

/// A kubeconfig of whoever has the token in a file, by way of a relay.
fn kubeconfig(bed: &Bed, relay: &Relay, token: &Path) -> Result<PathBuf> {
    let cluster = json!({
        "server": format!("https://127.0.0.1:{}", relay.port),
        "certificate-authority": bed.server.ca(),
    });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": {"tokenFile": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    });
    let path = token.with_extension("kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

pub(crate) fn a_token_that_expires_is_read_anew_and_nothing_goes_meanwhile() -> Result<()> {
    let bed = shared()?;
    bed.namespace("expired")?;
    let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let_do(bed, "expired", &all)?;
    bed.forwarder("expired", "iot", "a", "expired-1", &[])?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("token");
    let old = token(bed, "expired")?;
    fs::write(&file, &old)?;
    let relay = relay(bed)?;
    let mut here = Follower::new("expired-1", &kubeconfig(bed, &relay, &file)?)?;
    let before = here.until_forwarders(&["expired.iot.a"])?;

    relay.cut();
    let new = token(bed, "expired")?;
    let with_old = bed.server.kubeconfig_for_token(&old)?;
    eventually("the old one is refused", SOON, || {
        let ran = bed.server.kubectl_as(&with_old, &["get", "nodes"], "")?;
        ensure!(ran.stderr.contains("Unauthorized"), "{ran:?}");
        Ok(())
    })?;
    bed.forwarder("expired", "iot", "b", "expired-1", &[])?;
    relay.mend();
    let refusals = || -> Result<usize> {
        let audit = bed.server.audit()?;
        let is_ours = |event: &&e2e::AuditEvent| {
            event.code == 401 && event.user_agent.starts_with("beemesh-node/")
        };
        Ok(audit.iter().filter(is_ours).count())
    };
    eventually("every watch is refused, again and again", SOON, || {
        let refusals = refusals()?;
        ensure!(refusals >= 15, "{refusals}");
        Ok(())
    })?;
    ensure_same_forwarders(&node::objects::Source::load(&mut here.source), &before)?;
    let found = here.pods.find("expired", "unheard-of", None);
    ensure!(found == Lookup::Unknown, "{found:?}");
    ensure!(!here.source.health().unheard_for().is_zero(), "it is told");

    // As the kubelet does it. The client reads it within a minute.
    fs::write(file.with_extension("new"), new)?;
    fs::rename(file.with_extension("new"), &file)?;
    eventually("the new one is used", 2 * SOON, || {
        let snapshot = node::objects::Source::load(&mut here.source);
        let keys: Vec<_> = snapshot.forwarders.keys().collect();
        ensure!(snapshot.is_complete, "it stays complete");
        ensure!(keys == ["expired.iot.a", "expired.iot.b"], "{keys:?}");
        Ok(())
    })?;
    eventually("nothing fails any more", SOON, || {
        ensure!(here.source.health().unheard_for().is_zero(), "not yet");
        Ok(())
    })
}

/// RBAC rules of the daemon, with these verbs on pods and on status.
fn rules(pods: &[&str], status: &[&str]) -> Value {
    let seen = ["get", "list", "watch"];
    json!([
        {"apiGroups": ["beemesh.io"], "resources": ["forwarders", "microservicetopologies"], "verbs": seen},
        {"apiGroups": ["beemesh.io"], "resources": ["forwarders/status"], "verbs": status},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": pods},
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ])
}

pub(crate) fn what_is_refused_is_said_once_and_heals_when_it_is_granted() -> Result<()> {
    ensure!(missing().is_none(), "it runs as root");
    let mut daemon = declared("refused-1")?;
    let (bed, name) = (daemon.bed, daemon.name);
    let seen = ["get", "list", "watch"];
    let_do(bed, name, &rules(&seen, &["patch"]))?;
    let file = daemon.at("token");
    fs::write(&file, token(bed, name)?)?;
    let relay = relay(bed)?;
    daemon.kubeconfig = kubeconfig(bed, &relay, &file)?;
    daemon.begin()?;
    let links = |expected: &str| -> Result<()> {
        daemon.waits(expected, || {
            let object = bed.get(name, "fwd", "iot.a")?;
            Ok(object["status"]["linksUp"] == expected)
        })
    };
    links("1/1")?;

    // Nothing is refused to it before that holds for whatever it asks.
    relay.cut();
    let_do(bed, name, &rules(&["get", "list"], &["get"]))?;
    let account = format!("system:serviceaccount:{name}:node");
    eventually("it is refused to whoever asks", SOON, || {
        for (verb, what) in [("watch", "pods"), ("patch", "forwarders.beemesh.io/status")] {
            let words = ["auth", "can-i", verb, what, "-A", "--as", &account];
            let answer = bed.server.kubectl(&words)?.stdout;
            ensure!(answer.trim() == "no", "{verb} {what}: {answer}");
        }
        Ok(())
    })?;
    relay.mend();
    bed.forwarder(name, "iot", "a", name, &["b", "c"])?;
    eventually("it asks again and again", SOON, || {
        let audit = bed.server.audit()?;
        let count = |verb: &str, resource: &str| {
            let is_so = |event: &&e2e::AuditEvent| {
                event.user == account
                    && event.code == 403
                    && event.verb == verb
                    && event.resource == resource
            };
            audit.iter().filter(is_so).count()
        };
        let counts = (count("watch", "pods"), count("patch", "forwarders"));
        ensure!(counts.0 >= 3 && counts.1 >= 3, "{counts:?}");
        Ok(())
    })?;
    let log = daemon.log();
    for refusal in [
        r#"cannot watch resource \"pods\""#,
        r#"cannot patch resource \"forwarders/status\""#,
    ] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(refusal)).collect();
        ensure!(
            lines.len() == 1 && lines[0].contains(" WARN "),
            "{refusal}: {log}"
        );
        // In words, once, and not as the library's own structures.
        ensure!(
            lines[0].matches(refusal).count() == 1,
            "{refusal}: {}",
            lines[0]
        );
    }
    let ready = daemon.probe("/readyz");
    ensure!(ready == "ok", "{ready}");
    ensure!(daemon.namespaces().len() == 2, "{:?}", daemon.namespaces());

    let_do(bed, name, &rules(&seen, &["patch"]))?;
    links("1/2")?;
    for healed in ["watch of pods", "report of a forwarder"] {
        daemon.waits(healed, || {
            let log = daemon.log();
            let is_so = |line: &str| line.contains("succeeds again") && line.contains(healed);
            Ok(log.lines().any(is_so))
        })?;
    }
    Ok(())
}

pub(crate) fn an_event_that_is_refused_does_not_keep_the_startup_taint() -> Result<()> {
    let mut daemon = declared("refused-2")?;
    let (bed, name) = (daemon.bed, daemon.name);
    let mut rules = rules(&["get", "list", "watch"], &["patch"]);
    let all = rules.as_array_mut().context("rules")?;
    all.retain(|rule| rule["apiGroups"][0] != "events.k8s.io");
    let_do(bed, name, &rules)?;
    let file = daemon.at("token");
    fs::write(&file, token(bed, name)?)?;
    let relay = relay(bed)?;
    daemon.kubeconfig = kubeconfig(bed, &relay, &file)?;
    let theirs = daemon.at("net.d/00-another.conflist");
    fs::write(&theirs, PRIMARY)?;
    daemon.start()?;
    let account = format!("system:serviceaccount:{name}:node");
    eventually("the event is refused", 2 * SOON, || {
        let audit = bed.server.audit()?;
        let is_so = |event: &e2e::AuditEvent| {
            event.user == account && event.code == 403 && event.resource == "events"
        };
        ensure!(audit.iter().any(is_so), "{}", daemon.log());
        Ok(())
    })?;
    ensure!(daemon.is_tainted()?, "{}", daemon.log());
    fs::remove_file(theirs)?;
    daemon.waits("the taint goes", || Ok(!daemon.is_tainted()?))
}
