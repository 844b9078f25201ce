//! Two namespaces with a veth between them, and FRR's bfdd in the far one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dataplane::netns;
use e2e::{Process, eventually};
use serde_json::Value;
use tempfile::TempDir;

const ZEBRA: &str = "/usr/lib/frr/zebra";
const BFDD: &str = "/usr/lib/frr/bfdd";
const PREFIX: &str = "bmt-bfd-";
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The sentence that says what is missing for these tests.
pub(crate) fn missing() -> Option<&'static str> {
    let is_privileged = nix::unistd::geteuid().is_root() && netns::Netns::current().is_ok();
    let is_installed = |path: &str| Path::new(path).is_file();
    if !is_privileged {
        return Some("needs root");
    }
    if ![ZEBRA, BFDD, "/usr/bin/vtysh"]
        .into_iter()
        .all(is_installed)
    {
        return Some("needs bfdd of FRR: the package frr, whose service need not run");
    }
    let nft = Command::new("nft").arg("--version").output();
    nft.is_err().then_some("needs nft: the package nftables")
}

/// The address family of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// Addresses of our end and of FRR's.
    pub(crate) const fn addresses(self) -> [IpAddr; 2] {
        match self {
            Self::V4 => [
                IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
                IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
            ],
            Self::V6 => [
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
            ],
        }
    }
}

/// Names of the two namespaces, which go with the value.
struct Namespaces {
    near: String,
    far: String,
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            let _ = netns::delete(name);
        }
    }
}

/// A veth from our namespace to that of FRR. All of it goes with the value: processes first.
pub(crate) struct Bed {
    bfdd: Process,
    _zebra: Process,
    namespaces: Namespaces,
    folder: TempDir,
    family: Family,
}

impl Bed {
    pub(crate) fn new(family: Family) -> Result<Self> {
        sweep();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("{PREFIX}{}-{number}-{end}", std::process::id());
        let namespaces = Namespaces {
            near: name("near"),
            far: name("far"),
        };
        let (near, far) = (&namespaces.near, &namespaces.far);
        for name in [near, far] {
            netns::create(name)?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        ip(&format!(
            "-n {near} link add v0 type veth peer name v0 netns {far}"
        ))?;
        for (name, number) in [(near, 1), (far, 2)] {
            ip(&format!("-n {name} link set v0 up"))?;
            ip(&format!("-n {name} addr add 192.0.2.{number}/30 dev v0"))?;
            ip(&format!(
                "-n {name} addr add 2001:db8::{number}/64 dev v0 nodad"
            ))?;
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        // The daemons run as the user frr.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
        std::fs::write(folder.path().join("empty.conf"), "")?;
        let zebra = daemon(ZEBRA, "zebra", far, folder.path())?;
        eventually("zebra listens", Duration::from_secs(20), || {
            let is_there = folder.path().join("zserv.api").exists();
            ensure!(is_there, "no socket");
            Ok(())
        })?;
        let bfdd = daemon(BFDD, "bfdd", far, folder.path())?;
        let bed = Self {
            bfdd,
            _zebra: zebra,
            namespaces,
            folder,
            family,
        };
        bed.wait_for_frr()?;
        Ok(bed)
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    pub(crate) fn near(&self) -> &str {
        &self.namespaces.near
    }

    pub(crate) fn far(&self) -> &str {
        &self.namespaces.far
    }

    fn wait_for_frr(&self) -> Result<()> {
        eventually("bfdd answers", Duration::from_secs(20), || {
            self.vtysh(&["show bfd peers json"])?;
            let interfaces = self.vtysh(&["show interface brief"])?;
            ensure!(interfaces.contains("v0"), "no v0 in {interfaces}");
            Ok(())
        })
    }

    /// Kills bfdd (SIGKILL) and starts it again, without any peer.
    pub(crate) fn restart_frr(&mut self) -> Result<()> {
        self.bfdd.restart()?;
        self.wait_for_frr()
    }

    /// Stops bfdd (SIGSTOP).
    pub(crate) fn freeze(&self) -> Result<()> {
        self.bfdd.pause()
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.bfdd.resume()
    }

    /// Commands of FRR's shell; its output.
    pub(crate) fn vtysh(&self, commands: &[&str]) -> Result<String> {
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(self.folder.path());
        for command in commands {
            vtysh.args(["-c", command]);
        }
        ran(vtysh)
    }

    /// Commands of FRR below our session's `peer`.
    pub(crate) fn frr(&self, commands: &[&str]) -> Result<()> {
        let [near, far] = self.family.addresses();
        let peer = format!("peer {near} local-address {far} interface v0");
        let all = [&["configure", "bfd", &peer], commands].concat();
        let output = self.vtysh(&all)?;
        ensure!(!output.contains('%'), "{all:?}: {output}");
        Ok(())
    }

    /// FRR's end with these intervals in milliseconds.
    pub(crate) fn frr_peer(&self, tx: u32, rx: u32, multiplier: u8) -> Result<()> {
        self.frr(&[
            &format!("transmit-interval {tx}"),
            &format!("receive-interval {rx}"),
            &format!("detect-multiplier {multiplier}"),
            "no shutdown",
        ])
    }

    /// FRR's view of the session.
    pub(crate) fn peer(&self) -> Result<BTreeMap<String, Value>> {
        self.only_one("show bfd peers json")
    }

    /// How often FRR's session went down.
    pub(crate) fn downs(&self) -> Result<u64> {
        let counters = self.only_one("show bfd peers counters json")?;
        counters["session-down"].as_u64().context("not a number")
    }

    fn only_one(&self, command: &str) -> Result<BTreeMap<String, Value>> {
        let output = self.vtysh(&[command])?;
        let mut peers: Vec<BTreeMap<String, Value>> =
            serde_json::from_str(&output).context(output)?;
        ensure!(peers.len() == 1, "{} peers", peers.len());
        peers.pop().context("no peer")
    }

    /// Waits until FRR's view has these values.
    pub(crate) fn wait_for_peer(&self, what: &str, expected: &[(&str, Value)]) -> Result<()> {
        eventually(what, Duration::from_secs(20), || {
            let peer = self.peer()?;
            for (key, value) in expected {
                let found = peer.get(*key);
                ensure!(found == Some(value), "{key} is {found:?}: {peer:?}");
            }
            Ok(())
        })
    }

    /// Drops all that arrives in a namespace over the link, without any sign of it.
    pub(crate) fn cut(&self, netns: &str) -> Result<()> {
        let rules = "table netdev cut { chain ingress_of_link { type filter hook ingress device v0 priority 0; policy drop; }; }";
        ran(nft(netns, rules)).map(drop)
    }

    /// Ends a cut.
    pub(crate) fn heal(&self, netns: &str) -> Result<()> {
        ran(nft(netns, "delete table netdev cut")).map(drop)
    }
}

fn nft(netns: &str, rules: &str) -> Command {
    let mut nft = Command::new("ip");
    nft.args(["netns", "exec", netns, "nft", rules]);
    nft
}

fn daemon(program: &str, name: &str, netns: &str, folder: &Path) -> Result<Process> {
    let path = |file: &str| folder.join(file).display().to_string();
    let (config, pid, zserv) = (
        path("empty.conf"),
        path(&format!("{name}.pid")),
        path("zserv.api"),
    );
    let (vty, control) = (folder.display().to_string(), path("bfdd.sock"));
    let mut arguments = vec![
        "netns",
        "exec",
        netns,
        program,
        "-f",
        &config,
        "-i",
        &pid,
        "-z",
        &zserv,
        "--vty_socket",
        &vty,
        "-P",
        "0",
    ];
    if name == "bfdd" {
        arguments.extend(["--bfdctl", &control]);
    }
    Process::start("ip", name, &arguments, Path::new("/dev/null"), folder)
}

fn ip(arguments: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(arguments.split(' '));
    ran(ip).map(drop)
}

fn ran(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!(
            "{command:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }
    Ok(text(&output.stdout))
}

/// Deletes namespaces of test processes that were killed.
fn sweep() {
    for name in netns::list().unwrap_or_default() {
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = netns::delete(&name);
        }
    }
}
