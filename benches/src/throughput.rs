//! Throughput of one TCP stream through three Forwarders, compared with the same path without
//! beemesh.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

mod spread;
mod stream;

use spread::Spread;
use stream::{SLICE, Stream};

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
const ROUNDS: usize = 300;
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
    let mut streams = [ours.stream()?, by_hand.path.stream()?];
    let (mut rates, mut ratios) = ([vec![], vec![]], vec![]);
    let rounds = context.rounds(ROUNDS);
    for round in 0..=rounds {
        // In turn, and each first in every other round; the first round warms up.
        let mut now = [0.0; 2];
        for side in [round % 2, 1 - round % 2] {
            now[side] = streams[side].gigabits_per_second()?;
        }
        if round > 0 {
            rates
                .iter_mut()
                .zip(now)
                .for_each(|(all, rate)| all.push(rate));
            ratios.push(now[0] / now[1]);
        }
    }
    let [our_rate, their_rate] = rates.map(|rates| Spread::of(rates).median);
    let figure = Figure::alone("throughput-3fd", our_rate, "Gbit/s")
        .beside("veth and static routes by hand", their_rate, Better::Higher)
        .note(format!(
            "one TCP stream, {SLICE:?} in turn, MTU {mtu} on both; medians of {rounds} pairs; ratio of a pair: {}",
            Spread::of(ratios)
        ));
    Ok(vec![figure])
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

    fn stream(&self) -> Result<Stream> {
        Stream::open(&self.client, &self.server, self.address.parse()?)
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
