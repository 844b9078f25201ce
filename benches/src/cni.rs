//! CNI ADD and DEL against the real daemon, beside Debian's `ptp` with `host-local`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::{
    harness::{
        bench::{Bench, Context},
        command,
        figure::{Better, Figure},
        netns::Netns,
        sample::{Samples, ms, paired},
    },
    lab::Lab,
};

const PEER: &str = "ptp + host-local";
const PEER_PLUGINS: &str = "/usr/lib/cni";
const WARM_UP: usize = 5;
const ROUNDS: usize = 60;
const AT_ONCE: usize = 110;
const ROUNDS_AT_ONCE: usize = 3;

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    vec![
        Bench::new(["cni-add", "cni-del"], one_by_one),
        Bench::new(["cni-add-110"], at_once),
    ]
}

/// Both plugins with their environment.
struct Plugins {
    /// The namespace that both plugins run in: what a node is to them.
    host: Netns,
    ours: Plugin,
    theirs: Plugin,
    _lab: Lab,
}

/// A plugin and its configuration.
struct Plugin {
    program: PathBuf,
    configuration: Vec<u8>,
}

impl Plugins {
    fn new(context: &Context) -> Result<Self> {
        let mut lab = Lab::new(context, topology())?;
        lab.up()?;
        let theirs = Plugin {
            program: Path::new(PEER_PLUGINS).join("ptp"),
            configuration: serde_json::to_vec(&peer_configuration(&context.work))?,
        };
        Ok(Self {
            host: Netns::new(context)?,
            ours: Plugin {
                program: context.program("beemesh-cni"),
                configuration: serde_json::to_vec(&configuration(&lab.conflist("pod")?)?)?,
            },
            theirs,
            _lab: lab,
        })
    }
}

/// One Forwarder, one App, IPv4 only: what `ptp` gives a pod.
fn topology() -> Value {
    json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "MicroServiceTopology",
        "metadata": {"name": "to be replaced"},
        "spec": {
            "addressing": {"cidrs": ["10.92.0.0/16"]},
            "forwarders": [{"name": "f1"}],
            "shape": "Custom",
            "apps": [{"name": "pod", "podSelector": {"matchLabels": {"app": "pod"}}, "forwarder": "f1"}]
        }
    })
}

fn peer_configuration(work: &Path) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "peer",
        "type": "ptp",
        "ipMasq": false,
        "mtu": 1500,
        "ipam": {
            "type": "host-local",
            "dataDir": work.join("host-local"),
            "ranges": [[{"subnet": "10.93.0.0/16"}]],
            "routes": [{"dst": "0.0.0.0/0"}]
        }
    })
}

/// Network configuration that a runtime derives from a list for its only plugin (CNI 1.1, section
/// 3).
fn configuration(conflist: &Value) -> Result<Value> {
    let plugins = conflist["plugins"]
        .as_array()
        .context("the conflist has no plugins")?;
    ensure!(
        plugins.len() == 1,
        "the conflist has {} plugins",
        plugins.len()
    );
    let mut configuration = plugins[0].clone();
    for key in ["cniVersion", "name"] {
        configuration[key] = conflist[key].clone();
    }
    Ok(configuration)
}

impl Plugin {
    /// One call, from the start of the process to its end.
    fn call(&self, verb: &str, pod: &Netns) -> Result<Duration> {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", pod.name())
            .env("CNI_NETNS", pod.path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", PEER_PLUGINS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut process = command.spawn()?;
        let mut stdin = process.stdin.take().context("stdin was asked for")?;
        stdin.write_all(&self.configuration)?;
        drop(stdin);
        let result = process.wait_with_output()?;
        let elapsed = start.elapsed();
        command::check(&command, &result).with_context(|| verb.to_owned())?;
        Ok(elapsed)
    }

    /// ADD for all pods at the same moment; time from that moment to the last one's end.
    fn add_all(&self, pods: &[Netns]) -> Result<Duration> {
        let gate = Barrier::new(pods.len() + 1);
        thread::scope(|scope| {
            let calls: Vec<_> = pods
                .iter()
                .map(|pod| {
                    let gate = &gate;
                    scope.spawn(move || {
                        gate.wait();
                        self.call("ADD", pod).map(|_| Instant::now())
                    })
                })
                .collect();
            gate.wait();
            let start = Instant::now();
            let ends = calls
                .into_iter()
                .map(|call| call.join().map_err(|_| anyhow!("a thread died"))?)
                .collect::<Result<Vec<_>>>()?;
            let last = ends.into_iter().max().context("there are no pods")?;
            Ok(last.duration_since(start))
        })
    }
}

fn pods(context: &Context, count: usize) -> Result<Vec<Netns>> {
    (0..count).map(|_| Netns::new(context)).collect()
}

fn one_by_one(context: &Context) -> Result<Vec<Figure>> {
    let plugins = Plugins::new(context)?;
    let (our_pods, their_pods) = (
        pods(context, WARM_UP + ROUNDS)?,
        pods(context, WARM_UP + ROUNDS)?,
    );
    let verb = |verb| {
        plugins.host.run(|| {
            paired(
                WARM_UP,
                ROUNDS,
                |round| plugins.ours.call(verb, &our_pods[round]),
                |round| plugins.theirs.call(verb, &their_pods[round]),
            )
        })
    };
    let (add, their_add) = verb("ADD")?;
    let (del, their_del) = verb("DEL")?;
    Ok(vec![
        figure("cni-add", &add, &their_add),
        figure("cni-del", &del, &their_del),
    ])
}

fn figure(name: &str, ours: &Samples, theirs: &Samples) -> Figure {
    Figure::alone(name, ms(ours.median()), "ms")
        .beside(PEER, ms(theirs.median()), Better::Lower)
        .note(format!(
            "one process from start to end, IPv4 only; median of {} pairs, p99 {:.1}, peer's p99 {:.1}",
            ours.count(),
            ms(ours.quantile(0.99)),
            ms(theirs.quantile(0.99))
        ))
}

fn at_once(context: &Context) -> Result<Vec<Figure>> {
    let plugins = Plugins::new(context)?;
    let round = |plugin: &Plugin| {
        let pods = pods(context, AT_ONCE)?;
        plugins.host.run(|| {
            let slowest = plugin.add_all(&pods)?;
            for pod in &pods {
                plugin.call("DEL", pod)?;
            }
            Ok(slowest)
        })
    };
    let (ours, theirs) = paired(
        0,
        ROUNDS_AT_ONCE,
        |_| round(&plugins.ours),
        |_| round(&plugins.theirs),
    )?;
    let figure = Figure::alone(&format!("cni-add-{AT_ONCE}"), ms(ours.median()), "ms")
        .beside(PEER, ms(theirs.median()), Better::Lower)
        .note(format!(
            "{AT_ONCE} processes started at once, until the last one ends; median of {ROUNDS_AT_ONCE} pairs, worst {:.0}",
            ms(ours.longest())
        ));
    Ok(vec![figure])
}
