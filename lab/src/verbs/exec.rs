//! `exec` and `ping` from inside a running lab.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use serde::Serialize;

use crate::args::{ExecArgs, PingArgs};
use crate::running::{Running, common};
use console::failure::{Exit, Failure};
use console::output::Format;
use probe::endpoint::{Endpoint, Family};
use probe::ping::{Ping, Reply, Report, ping as send};
use probe::{milliseconds, namespace};

/// Replaces this process by the command, inside the namespace of an App instance or a Forwarder:
/// signals, terminal and exit code are its own.
///
/// # Errors
/// [`Failure::NotFound`]; [`Failure::Failed`] when the namespace cannot be joined. A command that
/// cannot be executed ends the process with 127 (absent) or 126, as shells do.
pub(crate) fn exec(args: &ExecArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let endpoint = running.endpoint(&args.name)?;
    let failed = |error: std::io::Error| {
        Failure::Failed(format!("failed to enter {}: {error}", endpoint.netns))
    };
    let file = namespace::open(&endpoint.netns).map_err(failed)?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| failed(error.into()))?;
    // Programs look for interfaces in /sys too. Without the right to mount they see the host's.
    let _ = show_own_interfaces();
    let (program, arguments) = args
        .command
        .split_first()
        .expect("clap asks for one at least");
    let error = Command::new(program).args(arguments).exec();
    let is_missing = error.kind() == std::io::ErrorKind::NotFound;
    console::terminal::say(&format!("error: {}: {error}", program.display()));
    std::process::exit(if is_missing { 127 } else { 126 })
}

/// Mounts a /sys of this network namespace in a mount namespace, as `ip netns exec` does.
fn show_own_interfaces() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let no = None::<&OsStr>;
    mount(no, "/", no, MsFlags::MS_REC | MsFlags::MS_SLAVE, no)?;
    umount2("/sys", MntFlags::MNT_DETACH)?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), no)
}

/// JSON of `ping`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pinged {
    from: String,
    to: String,
    family: Family,
    source: IpAddr,
    destination: IpAddr,
    sent: u64,
    received: u64,
    lost: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// Pings, and prints the losses.
///
/// # Errors
/// [`Failure::NotFound`]; exit code 1 after a loss.
pub(crate) fn ping(args: &PingArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let from = running.endpoint(&args.from)?;
    let to = match args.to.parse::<IpAddr>() {
        Ok(address) => anonymous(address),
        Err(_) => running.endpoint(&args.to)?,
    };
    let (family, source, destination) = common(&from, &to, args.family.families())?;
    let is_table = matches!(args.output.format, Format::Table);
    if is_table {
        console::output::print(&format!(
            "{} ({source}) -> {} ({destination})",
            from.name, to.name
        ))?;
    }
    let asked = Ping {
        from: from.netns.clone(),
        source,
        to: destination,
        count: args.count,
        interval: args.interval,
        timeout: args.timeout,
    };
    // A line for each reply would hide the summary of a thousand.
    let shows_each = is_table && args.interval >= Duration::from_millis(50);
    let report = send(&asked, |reply| {
        if shows_each {
            // The summary fails when stdout does.
            let _ = console::output::print(&line(reply));
        }
    });
    let report = report
        .map_err(|error| Failure::Failed(format!("failed to ping from {}: {error}", from.name)))?;
    let pinged = pinged(&from, &to, family, (source, destination), &report);
    args.output.print(&pinged, summary)?;
    if report.received == 0 {
        let topology = crate::convergence::computed::declared(&running.forwarders)?;
        if let Some(why) = console::ttl::explain(&topology, &from.forwarder, &to.forwarder) {
            console::note(&why);
        }
    }
    if report.lost() > 0 {
        Err(Failure::Told(Exit::Failed))
    } else {
        Ok(())
    }
}

fn anonymous(address: IpAddr) -> Endpoint {
    Endpoint {
        name: address.to_string(),
        netns: String::new(),
        forwarder: String::new(),
        addresses: vec![address],
        is_instance: false,
    }
}

fn pinged(
    from: &Endpoint,
    to: &Endpoint,
    family: Family,
    (source, destination): (IpAddr, IpAddr),
    report: &Report,
) -> Pinged {
    let times = report.min_mean_max();
    Pinged {
        from: from.name.clone(),
        to: to.name.clone(),
        family,
        source,
        destination,
        sent: report.sent,
        received: report.received,
        lost: report.lost(),
        min_ms: times.map(|times| milliseconds(times.0)),
        mean_ms: times.map(|times| milliseconds(times.1)),
        max_ms: times.map(|times| milliseconds(times.2)),
        refused: report.refused.clone(),
    }
}

fn line(reply: Reply) -> String {
    format!(
        "  {:>4}  {:.3} ms",
        reply.sequence,
        milliseconds(reply.round_trip)
    )
}

fn summary(pinged: &Pinged) -> String {
    let mut text = format!(
        "{} sent, {} received, {} lost",
        pinged.sent, pinged.received, pinged.lost
    );
    if let (Some(min), Some(mean), Some(max)) = (pinged.min_ms, pinged.mean_ms, pinged.max_ms) {
        text += &format!("; round trip {min:.3}/{mean:.3}/{max:.3} ms (min/mean/max)");
    }
    if let Some(refused) = &pinged.refused {
        text += &format!("; {refused}");
    }
    text
}
