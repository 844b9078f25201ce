//! The operator on a real API server with a thousand nodes that kwok pretends.

mod cluster;
mod inventory;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use e2e::{Process, Requests, eventually};

use crate::harness::{
    bench::{Bench, Context},
    figure::Figure,
};
use cluster::Cluster;
use inventory::Inventory;

/// Kinds of ours that the operator writes, and events.
const WRITTEN: [&str; 5] = [
    "allocations",
    "events",
    "forwarders",
    "microservicetopologies",
    "vniranges",
];

/// Duration of the idle phase, in which none of our objects changes.
const IDLE: Duration = Duration::from_secs(60);

/// Duration of the churn of nodes and pods; `BEEMESH_BENCH_CHURN` in seconds replaces it.
const CHURN: Duration = Duration::from_secs(90);

/// Most that anything here may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// The benches of this subject: one cluster yields them all.
pub(crate) fn benches() -> Vec<Bench> {
    let names = [
        "operator-settle-5000",
        "operator-writes-5000",
        "operator-reads-5000",
        "operator-memory-start",
        "operator-memory-5000",
        "operator-memory-churned",
        "operator-cpu-idle",
        "operator-writes-idle",
        "operator-node-lost",
        "operator-node-lost-writes",
    ];
    vec![Bench::new(names, measure)]
}

fn measure(context: &Context) -> Result<Vec<Figure>> {
    if let Some(missing) = e2e::needs(&["etcd", "kube-apiserver", "kubectl", "kwok"]) {
        anyhow::bail!(missing);
    }
    let cluster = Cluster::start()?;
    let replicas = [
        cluster.operator(context, "replica-a")?,
        cluster.operator(context, "replica-b")?,
    ];
    let mut figures = vec![memory("operator-memory-start", &replicas)?.note(format!(
        "larger RSS of two replicas that know {} nodes and {} pods, no topology",
        cluster::NODES,
        cluster::PODS
    ))];
    figures.extend(settle(&cluster, &replicas)?);
    figures.extend(idle(&cluster, &replicas)?);
    figures.extend(lose_node(&cluster)?);
    figures.push(churn(&cluster, &replicas)?);
    Ok(figures)
}

/// Declares all topologies at once and waits until each is computed.
fn settle(cluster: &Cluster, replicas: &[Process]) -> Result<Vec<Figure>> {
    let before = cluster.server.metrics()?;
    let started = Instant::now();
    cluster.declare()?;
    let declared = started.elapsed();
    cluster.wait_computed(PATIENCE)?;
    let settled = started.elapsed();
    let requests = cluster.server.metrics()?.since(&before);
    let inventory = Inventory::take(&cluster.server)?;
    let processors: f64 = seconds(replicas)?.iter().sum();
    let settle = Figure::alone("operator-settle-5000", settled.as_secs_f64(), "s").note(format!(
        "{} topologies, {} Forwarders: first declared to last Computed=True; declaring took {:.0} s of it; \
         processor time of both replicas {processors:.0} s",
        inventory.topologies(),
        inventory.forwarders(),
        declared.as_secs_f64(),
    ));
    let writes = writes(&requests);
    let note = format!(
        "{:.1} for each Forwarder; refused as somebody was quicker {}; {}",
        writes as f64 / inventory.forwarders() as f64,
        requests.count(|request| request.code == 409 && is_ours(&request.resource)),
        by_verb(&requests)
    );
    let writes = Figure::alone("operator-writes-5000", writes as f64, "requests").note(note);
    let reads = requests.count(|request| {
        ["GET", "LIST"].contains(&request.verb.as_str()) && is_ours(&request.resource)
    });
    let reads = Figure::alone("operator-reads-5000", reads as f64, "requests")
        .note("GET and LIST of our kinds meanwhile, the bench's own too");
    let memory = memory("operator-memory-5000", replicas)?
        .note("larger RSS of two replicas once all is computed");
    Ok(vec![settle, writes, reads, memory])
}

/// Cost of a minute in which only nodes renew their leases.
fn idle(cluster: &Cluster, replicas: &[Process]) -> Result<Vec<Figure>> {
    eventually("the writes of the last change are over", PATIENCE, || {
        let before = cluster.server.metrics()?;
        sleep(Duration::from_secs(2));
        let more = writes(&cluster.server.metrics()?.since(&before));
        e2e::ensure(more == 0, || format!("{more} writes in 2 s"))
    })?;
    let (before, then) = (cluster.server.metrics()?, seconds(replicas)?);
    sleep(IDLE);
    let used = seconds(replicas)?.into_iter().zip(then);
    let used = used.map(|(now, then)| now - then).fold(0.0, f64::max);
    let requests = cluster.server.metrics()?.since(&before);
    let cpu = Figure::alone("operator-cpu-idle", used, "s/min")
        .note("processor time of the busier replica in a minute without a change of ours");
    let writes = Figure::alone("operator-writes-idle", writes(&requests) as f64, "requests")
        .note("writes of our kinds in that minute");
    Ok(vec![cpu, writes])
}

/// Deletes one node: which objects were written?
fn lose_node(cluster: &Cluster) -> Result<Vec<Figure>> {
    let lost = cluster::NODES / 2;
    let before = Inventory::take(&cluster.server)?;
    let requests = cluster.server.metrics()?;
    let carried = before.topologies_on(&format!("n{lost}"));
    let started = Instant::now();
    cluster.delete_node(lost)?;
    let after = eventually("each topology of the node says so", PATIENCE, || {
        let now = Inventory::take(&cluster.server)?;
        let unsaid = carried
            .iter()
            .filter(|topology| !now.says_node_gone(topology))
            .count();
        e2e::ensure(unsaid == 0, || format!("{unsaid} topologies do not say so"))?;
        Ok(now)
    })?;
    let said = started.elapsed();
    let writes = writes(&cluster.server.metrics()?.since(&requests));
    let (touched, others) = before.written(&after, &carried);
    anyhow::ensure!(
        others == 0,
        "{others} objects of other topologies were written"
    );
    let lost = Figure::alone("operator-node-lost", said.as_secs_f64(), "s").note(format!(
        "node deleted to the last of its {} topologies saying NodeGone or not Accepted",
        carried.len()
    ));
    let writes =
        Figure::alone("operator-node-lost-writes", writes as f64, "requests").note(format!(
            "{touched} objects of its {} topologies changed, none of the other {}",
            carried.len(),
            before.topologies() - carried.len()
        ));
    Ok(vec![lost, writes])
}

/// Nodes and pods come and go for a while.
fn churn(cluster: &Cluster, replicas: &[Process]) -> Result<Figure> {
    let length = match std::env::var("BEEMESH_BENCH_CHURN") {
        Ok(text) => Duration::from_secs(text.parse().context("BEEMESH_BENCH_CHURN: seconds")?),
        Err(_) => CHURN,
    };
    let (started, mut changes, mut round) = (Instant::now(), 0, 0);
    while started.elapsed() < length {
        changes += cluster.churn(round)?;
        round += 1;
    }
    let figure = memory("operator-memory-churned", replicas)?;
    Ok(figure.note(format!(
        "the same after {changes} pods and nodes were deleted and made again in {:.0} s",
        started.elapsed().as_secs_f64()
    )))
}

fn is_ours(resource: &str) -> bool {
    WRITTEN.contains(&resource)
}

/// Writes of our kinds but for those that only users make.
fn writes(requests: &Requests) -> u64 {
    requests.writes(is_ours) - declared(requests)
}

/// The bench's own: nobody else creates topologies.
fn declared(requests: &Requests) -> u64 {
    requests.count(|request| request.resource == "microservicetopologies" && request.verb == "POST")
}

fn by_verb(requests: &Requests) -> String {
    let verbs = ["POST", "PUT", "PATCH", "APPLY", "DELETE"].map(|verb| {
        let count = requests.count(|request| request.verb == verb && is_ours(&request.resource));
        let own = if verb == "POST" {
            declared(requests)
        } else {
            0
        };
        format!("{verb} {}", count - own)
    });
    verbs.join(", ")
}

fn memory(name: &str, replicas: &[Process]) -> Result<Figure> {
    let mut most = 0;
    for replica in replicas {
        most = most.max(replica.resident_bytes()?);
    }
    Ok(Figure::alone(name, most as f64 / 1e6, "MB"))
}

fn seconds(replicas: &[Process]) -> Result<Vec<f64>> {
    replicas.iter().map(Process::cpu_seconds).collect()
}
