//! The diamond with routers of FRR, each with daemons of its own in a namespace of its own.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use e2e::{Process, eventually};
use serde_json::Value;

use super::{
    Liveness,
    diamond::{Diamond, Kind},
    traffic,
};
use crate::harness::{bench::Context, command, netns::unique_name};

mod config;
mod wires;

pub(crate) use config::Protocol;
use config::{HOSTS, Router};
use wires::Wires;

const DIRECTORY: &str = "/usr/lib/frr";
/// Longest time of a start: sessions are retried each second.
const LIMIT: Duration = Duration::from_secs(60);

/// Daemons before the namespaces that they are in.
struct Parts {
    _daemons: Vec<Process>,
    _wires: Wires,
}

/// Starts zebra, bfdd and a routing protocol in four namespaces, and waits for both paths.
///
/// # Errors
/// When FRR is not installed, or no such routes come about.
pub(crate) fn diamond(
    context: &Context,
    kind: Kind,
    protocol: Protocol,
    liveness: &Liveness,
) -> Result<Diamond> {
    let program = Path::new(DIRECTORY).join(protocol.daemon());
    ensure!(
        program.exists(),
        "no {}: install the package frr",
        program.display()
    );
    let wires = Wires::new(context, kind)?;
    // The daemons become the user frr, and work below this directory.
    fs::set_permissions(&context.work, Permissions::from_mode(0o711))?;
    let (mut daemons, mut folders) = (vec![], vec![]);
    for router in Router::all() {
        let folder = context.work.join(unique_name(context));
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
        let netns = wires.netns(router.name);
        let mut start = |name: &str, text: String| -> Result<()> {
            fs::write(folder.join(format!("{name}.conf")), text)?;
            daemons.push(daemon(name, netns, &folder)?);
            Ok(())
        };
        start("zebra", config::zebra())?;
        eventually("zebra listens", LIMIT, || {
            ensure!(folder.join("zserv.api").exists(), "no socket");
            Ok(())
        })?;
        start("bfdd", config::bfdd(liveness))?;
        start(protocol.daemon(), router.config(protocol))?;
        folders.push(folder);
    }
    let path = traffic::Path {
        from: wires.netns("left").to_owned(),
        sink: wires.netns("right").to_owned(),
        to: HOSTS[1],
    };
    let end = |router: &str, host: usize| (wires.netns(router).to_owned(), HOSTS[host]);
    let diamond = Diamond {
        name: protocol.name(),
        path,
        ends: [end("s", 1), end("t", 0)],
        near: wires.link("s", "a"),
        far: wires.link("a", "t"),
        _parts: Box::new(Parts {
            _daemons: daemons,
            _wires: wires,
        }),
    };
    eventually("two equal paths", LIMIT, || {
        ensure!(diamond.has_both_paths()?, "one next hop at most");
        Ok(())
    })?;
    eventually("sessions are up", LIMIT, || {
        folders
            .iter()
            .try_for_each(|folder| sessions_are_up(folder, liveness))
    })?;
    Ok(diamond)
}

/// Both neighbours of the router in this folder are watched at the wanted interval.
fn sessions_are_up(folder: &Path, liveness: &Liveness) -> Result<()> {
    let mut vtysh = Command::new("vtysh");
    vtysh
        .arg("--vty_socket")
        .arg(folder)
        .args(["-c", "show bfd peers json"]);
    let peers: Vec<Value> = serde_json::from_slice(&command::output(&mut vtysh)?)?;
    let is_up = |peer: &&Value| {
        let interval = peer["transmit-interval"].as_u64();
        peer["status"] == "up" && interval == Some(liveness.interval_ms.into())
    };
    let up = peers.iter().filter(is_up).count();
    ensure!(up == 2, "{up} sessions are up: {peers:?}");
    Ok(())
}

fn daemon(name: &str, netns: &str, folder: &Path) -> Result<Process> {
    let path = |file: PathBuf| file.display().to_string();
    let file = |name: &str| path(folder.join(name));
    let (config, pid) = (file(&format!("{name}.conf")), file(&format!("{name}.pid")));
    let (zebra, vty, control) = (
        file("zserv.api"),
        path(folder.to_owned()),
        file("bfdd.sock"),
    );
    let program = format!("{DIRECTORY}/{name}");
    #[rustfmt::skip]
    let mut arguments = vec![
        "netns", "exec", netns, &program, "-f", &config, "-i", &pid, "-z", &zebra,
        "--vty_socket", &vty, "-P", "0",
    ];
    if name == "bfdd" {
        arguments.extend(["--bfdctl", &control]);
    }
    Process::start("ip", name, &arguments, Path::new("/dev/null"), folder)
}
