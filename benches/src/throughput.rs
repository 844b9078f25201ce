//! Throughput of one TCP stream through three Forwarders, compared with the same path without
//! beemesh.

use std::{
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    harness::{
        bench::{Bench, Context},
        command,
        figure::{Better, Figure},
        netns::Netns,
    },
    lab::{Lab, Status},
};

/// Short runs, many turns: what disturbs the machine for some seconds disturbs both sides.
const ROUNDS: usize = 15;
const SECONDS: &str = "1";
/// Namespaces of the path: one end, three routers, the other end.
const HOPS: usize = 5;

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    vec![Bench::new(["throughput-3fd"], measure)]
}

fn measure(context: &Context) -> Result<Vec<Figure>> {
    let mut lab = Lab::new(context, topology())?;
    lab.up()?;
    let ours = Path::through(&lab.status()?)?;
    let mtu = ours.mtu()?;
    let by_hand = ByHand::new(context, mtu)?;
    let (mut our_rates, mut their_rates) = (vec![], vec![]);
    for round in 0..=ROUNDS {
        // In turn, and each first in every other round; the first round warms up.
        let mut rates = [0.0; 2];
        for side in [round % 2, 1 - round % 2] {
            rates[side] = [&ours, &by_hand.path][side].gigabits_per_second()?;
        }
        if round > 0 {
            our_rates.push(rates[0]);
            their_rates.push(rates[1]);
        }
    }
    let ratios: Vec<f64> = our_rates
        .iter()
        .zip(&their_rates)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    let figure = Figure::alone("throughput-3fd", median(our_rates), "Gbit/s")
        .beside("veth and static routes by hand", median(their_rates), Better::Higher)
        .note(format!(
            "iperf3, one TCP stream, {SECONDS} s, MTU {mtu} on both; medians of {ROUNDS} pairs; median ratio of a pair {:.3}",
            median(ratios)
        ));
    Ok(vec![figure])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Three Forwarders in a line, an App at either end.
fn topology() -> Value {
    json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "MicroServiceTopology",
        "metadata": {"name": "to be replaced"},
        "spec": {
            "addressing": {"cidrs": ["10.90.0.0/16"]},
            "forwarders": [{"name": "f1"}, {"name": "f2"}, {"name": "f3"}],
            "shape": "Line",
            "apps": [
                {"name": "left", "podSelector": {"matchLabels": {"app": "left"}}, "forwarder": "f1"},
                {"name": "right", "podSelector": {"matchLabels": {"app": "right"}}, "forwarder": "f3"}
            ]
        }
    })
}

/// Two ends and the address of the second.
struct Path {
    client: String,
    server: String,
    address: String,
}

impl Path {
    fn through(status: &Status) -> Result<Self> {
        let instance = |name: &str| {
            status
                .apps
                .get(name)
                .with_context(|| format!("no instance {name}"))
        };
        let (left, right) = (instance("left-0")?, instance("right-0")?);
        let address = right.addresses.first().context("right-0 has no address")?;
        Ok(Self {
            client: left.netns.clone(),
            server: right.netns.clone(),
            address: address.split('/').next().unwrap_or_default().to_owned(),
        })
    }

    /// MTU of the way out of the client.
    fn mtu(&self) -> Result<u32> {
        let links = command::ip(["-n", &self.client, "-j", "link", "show", "type", "veth"])?;
        let links: Value = serde_json::from_str(&links)?;
        let mtu = links[0]["mtu"].as_u64().context("the client has no veth")?;
        Ok(u32::try_from(mtu)?)
    }

    fn gigabits_per_second(&self) -> Result<f64> {
        let _server = Server::start(&self.server)?;
        let mut client = Command::new("ip");
        client.args(["netns", "exec", &self.client, "iperf3", "--json"]);
        client.args(["--time", SECONDS, "--client", &self.address]);
        let report: Value = serde_json::from_slice(&command::output(&mut client)?)?;
        let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
        Ok(rate.context("iperf3 says no rate")? / 1e9)
    }
}

/// A server of iperf3 for one client, ended when the guard goes.
struct Server(Child);

impl Server {
    fn start(netns: &str) -> Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", netns, "iperf3", "--server", "--one-off"]);
        let server = Self(command.stdout(Stdio::null()).spawn()?);
        let start = Instant::now();
        while !is_listening(netns)? {
            ensure!(
                start.elapsed() < Duration::from_secs(5),
                "iperf3 does not listen in {netns}"
            );
            sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

fn is_listening(netns: &str) -> Result<bool> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, "ss", "-Hltn", "sport", "=", ":5201"]);
    Ok(!command::output(&mut command)?.is_empty())
}

impl Drop for Server {
    fn drop(&mut self) {
        // After its one client it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same path of namespaces, veth links, addresses and static routes.
struct ByHand {
    path: Path,
    _namespaces: Vec<Netns>,
}

impl ByHand {
    fn new(context: &Context, mtu: u32) -> Result<Self> {
        let hops = (0..HOPS)
            .map(|_| Netns::new(context))
            .collect::<Result<Vec<_>>>()?;
        for (number, pair) in hops.windows(2).enumerate() {
            let [left, right] = pair else {
                unreachable!("windows of two")
            };
            left.ip(&format!(
                "link add right mtu {mtu} type veth peer name left mtu {mtu} netns {}",
                right.name()
            ))?;
            left.ip(&format!("address add 10.91.{number}.1/24 dev right"))?;
            left.ip("link set right up")?;
            right.ip(&format!("address add 10.91.{number}.2/24 dev left"))?;
            right.ip("link set left up")?;
        }
        for (number, hop) in hops.iter().enumerate() {
            hop.run(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
            // Each subnet that is not its own: towards the side where it lies.
            for subnet in 0..HOPS - 1 {
                if subnet + 1 < number {
                    hop.ip(&format!(
                        "route add 10.91.{subnet}.0/24 via 10.91.{}.1",
                        number - 1
                    ))?;
                } else if subnet > number {
                    hop.ip(&format!(
                        "route add 10.91.{subnet}.0/24 via 10.91.{number}.2"
                    ))?;
                }
            }
        }
        let path = Path {
            client: hops[0].name().to_owned(),
            server: hops[HOPS - 1].name().to_owned(),
            address: format!("10.91.{}.2", HOPS - 2),
        };
        Ok(Self {
            path,
            _namespaces: hops,
        })
    }
}
