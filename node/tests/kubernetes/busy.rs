//! An API server that has no time, or fails: it is not asked over and over. Of times only the least is
//! looked at: a busy machine makes all of them longer.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::eventually;
use node::objects::Source;
use node::objects::pods::{News, Told};
use tempfile::TempDir;

use crate::bed::{Bed, Follower, SOON, ensure_same_forwarders, shared};
use crate::status::report;
use crate::warden::{Answer, Asked, Warden};

/// A node whose way to the API server has a warden.
struct Watched {
    bed: &'static Bed,
    warden: Warden,
    here: Follower,
    _directory: TempDir,
}

fn watched(node: &str) -> Result<Watched> {
    let bed = shared()?;
    let warden = Warden::before(&bed.server.kubeconfig())?;
    let directory = TempDir::new()?;
    let here = Follower::new(node, &warden.kubeconfig(directory.path())?)?;
    Ok(Watched {
        bed,
        warden,
        here,
        _directory: directory,
    })
}

impl Watched {
    /// Waits until so much was asked for; the time from the first to the last of it.
    fn until_asked(&self, count: usize, which: impl Fn(&Asked) -> bool) -> Result<Duration> {
        eventually(&format!("{count} requests"), SOON, || {
            let asked = self.warden.asked(&which);
            ensure!(asked.len() >= count, "{}", asked.len());
            Ok(asked[count - 1].at - asked[0].at)
        })
    }
}

pub(crate) fn watches_that_fail_are_made_anew_with_pauses() -> Result<()> {
    const STATUS: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":503}"#;
    let mut it = watched("busy-1")?;
    it.bed.namespace("busy")?;
    let mut keys = Vec::new();
    let seconds = Duration::from_secs;
    #[rustfmt::skip]
    let cases = [
        ("a", Answer::Says(429, Some(3), "Too many requests, please try again later."), 3, seconds(6)),
        ("b", Answer::Says(503, Some(3), STATUS),                                       3, seconds(6)),
        ("c", Answer::Says(503, None,    ""),                                           6, seconds(3)),
        ("d", Answer::Says(500, None,    "etcdserver: no leader"),                      6, seconds(3)),
        // What is over at once is no failure, and as bad when it is asked for at once again.
        ("e", Answer::Says(200, None,    ""),                                           6, seconds(3)),
    ];
    for (name, answer, count, least) in cases {
        it.bed.forwarder("busy", "iot", name, "busy-1", &[])?;
        keys.push(format!("busy.iot.{name}"));
        let expected: Vec<&str> = keys.iter().map(String::as_str).collect();
        let before = it.here.until_forwarders(&expected)?;
        let is_watch = |asked: &Asked| asked.uri.contains("watch=true");
        it.warden
            .answer(move |asked| is_watch(asked).then_some(answer));
        for plural in ["nodes", "pods", "microservicetopologies"] {
            let took = it.until_asked(count, |asked| asked.is_watch_of(plural))?;
            ensure!(took >= least, "{answer:?}: {count} of {plural} in {took:?}");
        }
        ensure_same_forwarders(&it.here.source.load(), &before)?;
        it.warden.pass();
    }
    it.bed.forwarder("busy", "iot", "z", "busy-1", &[])?;
    it.here.until("the last one", |snapshot| {
        snapshot.forwarders.contains_key("busy.iot.z")
    })?;
    Ok(())
}

pub(crate) fn watches_that_are_never_answered_are_given_up_and_made_anew() -> Result<()> {
    let mut it = watched("busy-4")?;
    it.bed.namespace("silent")?;
    it.bed.forwarder("silent", "iot", "a", "busy-4", &[])?;
    let before = it.here.until_forwarders(&["silent.iot.a"])?;
    it.warden
        .answer(|asked| asked.uri.contains("watch=true").then_some(Answer::Never));
    for plural in ["nodes", "pods", "microservicetopologies"] {
        it.until_asked(2, |asked| asked.is_watch_of(plural))?;
    }
    ensure_same_forwarders(&it.here.source.load(), &before)?;
    ensure!(
        !it.here.source.health().unheard_for().is_zero(),
        "it is told"
    );
    it.warden.pass();
    it.bed.forwarder("silent", "iot", "b", "busy-4", &[])?;
    it.here
        .until_forwarders(&["silent.iot.a", "silent.iot.b"])?;
    Ok(())
}

pub(crate) fn no_list_is_of_a_state_that_may_be_old() -> Result<()> {
    const EXPIRED: &str = concat!(
        r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","#,
        r#""message":"too old resource version","reason":"Expired","code":410}}"#,
        "\n"
    );
    let mut it = watched("busy-5")?;
    it.bed.namespace("recent")?;
    it.bed.forwarder("recent", "iot", "a", "busy-5", &[])?;
    let before = it.here.until_forwarders(&["recent.iot.a"])?;
    let ensure_recent = || -> Result<()> {
        // Of this node, and of the topology.
        it.until_asked(2, |asked| asked.is_list_of("forwarders"))?;
        for plural in ["microservicetopologies", "nodes", "pods"] {
            it.until_asked(1, |asked| asked.is_list_of(plural))?;
        }
        let old = it.warden.asked(Asked::is_for_any_age);
        ensure!(old.is_empty(), "{old:?}");
        Ok(())
    };
    ensure_recent()?;
    let is_watch = |asked: &Asked| asked.uri.contains("watch=true");
    let expired = Answer::Says(200, None, EXPIRED);
    it.warden
        .answer(move |asked| is_watch(asked).then_some(expired));
    ensure_recent()?;
    ensure_same_forwarders(&it.here.source.load(), &before)
}

pub(crate) fn reports_that_fail_for_all_are_tried_for_one() -> Result<()> {
    let mut it = watched("busy-2")?;
    it.bed.namespace("reports")?;
    let names: Vec<String> = (10..40).map(|number| format!("f{number}")).collect();
    for name in &names {
        it.bed.forwarder("reports", "iot", name, "busy-2", &[])?;
    }
    let keys: Vec<String> = names.iter().map(|it| format!("reports.iot.{it}")).collect();
    let expected: Vec<&str> = keys.iter().map(String::as_str).collect();
    it.here.until_forwarders(&expected)?;
    // Four at a time: what is after twelve comes after two pauses.
    #[rustfmt::skip]
    let cases = [
        (1, Answer::Says(503, None,    ""),                   Duration::from_secs(2)),
        (2, Answer::Says(429, Some(3), "Too many requests."), Duration::from_secs(6)),
    ];
    for (up, answer, least) in cases {
        it.warden
            .answer(move |asked| asked.is_patch().then_some(answer));
        for key in &keys {
            it.here.source.report(key, &report(up))?;
        }
        let took = it.until_asked(13, Asked::is_patch)?;
        ensure!(took >= least, "{answer:?}: 13 in {took:?}");
        it.warden.pass();
        eventually("all are written", SOON, || {
            for key in &keys {
                ensure!(!it.here.source.report(key, &report(up))?, "{key}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

pub(crate) fn what_is_refused_for_one_namespace_is_told_in_others() -> Result<()> {
    const ANNOTATION: &str = "k8s.v1.cni.cncf.io/network-status";
    let it = watched("busy-3")?;
    let uid = |namespace: &str| -> Result<String> {
        let pod = it.bed.get(namespace, "pod", "one")?;
        Ok(pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    for namespace in ["denied", "granted"] {
        it.bed.namespace(namespace)?;
        it.bed.pod(namespace, "one", "busy-3")?;
    }
    let is_denied = |asked: &Asked| asked.method != "GET" && asked.uri.contains("/denied/");
    let policy = Answer::Says(403, None, "a policy of this namespace");
    it.warden
        .answer(move |asked| is_denied(asked).then_some(policy));
    for namespace in ["denied", "granted"] {
        let event = News::Event {
            is_warning: false,
            reason: "Attached",
            message: "to iot".to_owned(),
        };
        for news in [News::NetworkStatus("[]".to_owned()), event] {
            it.here.pods.tell(Told {
                namespace: namespace.to_owned(),
                name: "one".to_owned(),
                uid: uid(namespace)?,
                news,
            });
        }
        // Status and event, twice each: they are refused for good.
        if namespace == "denied" {
            it.until_asked(4, is_denied)?;
        }
    }
    let is_told = |namespace: &str| {
        eventually(namespace, SOON, || {
            let pod = it.bed.get(namespace, "pod", "one")?;
            ensure!(pod["metadata"]["annotations"][ANNOTATION] == "[]", "{pod}");
            let words = ["-n", namespace, "get", "events.events.k8s.io"];
            let events = it.bed.server.kubectl(&words)?.ok()?;
            ensure!(events.contains("Attached"), "{events}");
            Ok(())
        })
    };
    is_told("granted")?;
    let denied = it.bed.get("denied", "pod", "one")?;
    ensure!(denied["metadata"].get("annotations").is_none(), "{denied}");
    it.warden.pass();
    is_told("denied")
}
