//! A link between two namespaces, with a detector at each end.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dataplane::netns;
use e2e::eventually;
use linkstate::{PathVerdict, Reason};
use liveness::{Detector, Link, Namespace, Path, Verdicts};

use crate::bed::Family;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PREFIX: &str = "bmt-live-";
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Reasons of both directions: receiving, sending.
pub(crate) type Reasons = [Option<Reason>; 2];
pub(crate) const ALIVE: Reasons = [None, None];

/// The verdicts of one detector, newest last.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<PathVerdict>>);

impl Log {
    fn all(&self) -> Vec<PathVerdict> {
        self.0.lock().expect("nobody panicked").clone()
    }

    /// The verdict that stands.
    pub(crate) fn reasons(&self) -> Reasons {
        let PathVerdict { receive, transmit } = self.all().last().copied().unwrap_or_default();
        [receive, transmit].map(|suspicion| suspicion.map(|it| it.reason))
    }

    /// Number of verdicts that called the link suspect.
    pub(crate) fn doubts(&self) -> usize {
        let all = self.all();
        all.iter().filter(|verdict| !verdict.is_alive()).count()
    }
}

impl Verdicts for Log {
    fn path_changed(&self, _: &str, _: &str, verdict: PathVerdict) {
        self.0.lock().expect("nobody panicked").push(verdict);
    }
}

/// One end, with its detector.
pub(crate) struct End {
    pub(crate) netns: String,
    pub(crate) log: Arc<Log>,
    pub(crate) detector: Detector,
    path: Path,
}

impl End {
    pub(crate) fn start(netns: &str, family: Family, is_first: bool) -> Result<End> {
        let [mut own, mut peer] = addresses(family);
        if !is_first {
            (own, peer) = (peer, own);
        }
        let log = Arc::new(Log::default());
        let end = End {
            netns: netns.to_owned(),
            detector: Detector::start(log.clone(), 100)?,
            log,
            path: Path {
                interface: "v0".to_owned(),
                peer_mac: mac(!is_first),
                own,
                peer,
                peer_node: "n2".to_owned(),
                interval: Duration::from_millis(50),
                multiplier: NonZeroU8::new(5).context("zero")?,
            },
        };
        end.watch(0);
        Ok(end)
    }

    /// Watches the link, made anew for the `epoch`th time.
    pub(crate) fn watch(&self, epoch: u64) {
        let link = Link {
            path: self.path.clone(),
            earlier: PathVerdict::ALIVE,
        };
        let links = vec![link];
        self.detector.set(&self.netns, Namespace { links, epoch });
    }

    pub(crate) fn wait_until_up(&self) -> Result<()> {
        eventually("the session is up", PATIENCE, || {
            let seen = self.detector.statistics().get();
            ensure!((seen.up, seen.down) == (1, 0), "{seen:?}");
            Ok(())
        })
    }

    pub(crate) fn wait_for(&self, expected: Reasons) -> Result<()> {
        eventually(&format!("{expected:?}"), PATIENCE, || {
            let reasons = self.log.reasons();
            ensure!(reasons == expected, "{reasons:?}");
            Ok(())
        })
    }
}

/// Two namespaces, which go with the value.
pub(crate) struct World {
    pub(crate) names: [String; 2],
    pub(crate) family: Family,
}

impl Drop for World {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = netns::delete(name);
        }
    }
}

fn addresses(family: Family) -> [IpAddr; 2] {
    let texts = match family {
        Family::V4 => ["10.99.1.1", "10.99.2.1"],
        Family::V6 => ["fd00:99:1::1", "fd00:99:2::1"],
    };
    texts.map(|text| text.parse().expect("an address"))
}

pub(crate) fn mac(is_first: bool) -> [u8; 6] {
    [2, 0, 0, 0, 9, u8::from(is_first)]
}

impl World {
    pub(crate) fn new(family: Family) -> Result<World> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("{PREFIX}{}-{number}-{end}", std::process::id());
        let world = World {
            names: [name("a"), name("b")],
            family,
        };
        world.make_namespace(0)?;
        world.make_namespace(1)?;
        world.make_link()?;
        Ok(world)
    }

    /// The namespace of an end, with its address.
    pub(crate) fn make_namespace(&self, end: usize) -> Result<()> {
        let (name, address) = (&self.names[end], self.address(end));
        netns::create(name)?;
        let length = if address.is_ipv4() { 32 } else { 128 };
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} addr add {address}/{length} dev lo"))
    }

    /// Links of an end's namespace, as `ip` lists them.
    pub(crate) fn links(&self, end: usize) -> Result<String> {
        let output = Command::new("ip")
            .args(["-n", &self.names[end], "-o", "link"])
            .output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The veth between both, as the engine makes it: without addresses.
    pub(crate) fn make_link(&self) -> Result<()> {
        let [a, b] = &self.names;
        ip(&format!(
            "-n {a} link add v0 type veth peer name v0 netns {b}"
        ))?;
        for (name, is_first) in [(a, true), (b, false)] {
            let [.., last] = mac(is_first);
            ip(&format!(
                "-n {name} link set v0 address 02:00:00:00:09:0{last} up"
            ))?;
        }
        Ok(())
    }

    pub(crate) fn both(&self) -> Result<[End; 2]> {
        let [a, b] = &self.names;
        let ends = [
            End::start(a, self.family, true)?,
            End::start(b, self.family, false)?,
        ];
        for end in &ends {
            end.wait_until_up()?;
        }
        Ok(ends)
    }

    /// Drops what arrives at an end.
    pub(crate) fn cut(&self, end: usize) -> Result<()> {
        let rules = "table netdev cut { chain ingress_of_link { type filter hook ingress device v0 priority 0; policy drop; }; }";
        self.nft(end, rules)
    }

    pub(crate) fn heal(&self, end: usize) -> Result<()> {
        self.nft(end, "delete table netdev cut")
    }

    fn nft(&self, end: usize, rules: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[end], "nft", rules]);
        run(command)
    }

    /// Address of an end.
    pub(crate) fn address(&self, end: usize) -> IpAddr {
        addresses(self.family)[end]
    }
}

pub(crate) fn ip(arguments: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments.split_whitespace());
    run(command)
}

fn run(mut command: Command) -> Result<()> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {text}");
    Ok(())
}
