//! Memory of the node daemon.

use std::{
    fs,
    io::ErrorKind,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::harness::{
    bench::{Bench, Context},
    figure::Figure,
    netns::{Netns, unique_name},
};

/// Time that a fresh daemon gets to be done with starting.
const SETTLE: Duration = Duration::from_secs(2);

/// The benches of this subject. `node-memory-4000` comes with the lab that it needs.
pub(crate) fn benches() -> Vec<Bench> {
    vec![Bench::new(["node-memory-idle"], idle)]
}

/// Resident memory of a process.
pub(crate) struct Memory {
    /// Now, in MB (10^6 bytes).
    pub(crate) now_mb: f64,
    /// The most it ever was.
    pub(crate) highest_mb: f64,
}

/// The memory of the node daemon of a lab.
///
/// # Errors
/// When there is not exactly one.
pub(crate) fn of_node(beemesh: &Path, topology: &str) -> Result<Memory> {
    match processes_of_lab(beemesh, topology)?.as_slice() {
        [process] => read(process),
        found => bail!("{} node daemons of {topology}, wanted one", found.len()),
    }
}

/// The node daemons of a lab, below `/proc`: processes of this program whose arguments name the topology.
///
/// # Errors
/// When `/proc` or the program cannot be read.
pub(crate) fn processes_of_lab(beemesh: &Path, topology: &str) -> Result<Vec<PathBuf>> {
    let program = fs::canonicalize(beemesh)?;
    let is_ours = |process: &Path| {
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        arguments.split('\0').nth(1) == Some("node")
            && arguments.contains(topology)
            && fs::read_link(process.join("exe")).is_ok_and(|path| path == program)
    };
    let processes = fs::read_dir("/proc")?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    Ok(processes.filter(|process| is_ours(process)).collect())
}

fn read(process: &Path) -> Result<Memory> {
    let status = fs::read_to_string(process.join("status"))?;
    let megabytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kibibytes
            .map(|kibibytes| kibibytes * 1024.0 / 1e6)
            .context("no such line in status")
    };
    Ok(Memory {
        now_mb: megabytes("VmRSS:")?,
        highest_mb: megabytes("VmHWM:")?,
    })
}

/// A daemon without a single Forwarder, in a host of its own.
fn idle(context: &Context) -> Result<Vec<Figure>> {
    let host = Netns::new(context)?;
    let files = context.work.join(unique_name(context));
    let socket = files.join("cni.sock");
    for kind in ["objects/forwarders", "objects/nodes"] {
        fs::create_dir_all(files.join(kind))?;
    }
    let mut command = Command::new(context.program("beemesh"));
    command
        .args(["node", "--name", "idle", "--directory"])
        .arg(files.join("objects"));
    command
        .arg("--socket")
        .arg(&socket)
        .arg("--state-dir")
        .arg(files.join("state"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut daemon = Daemon(host.run(|| Ok(command.spawn()?))?);
    daemon.wait_for(&socket)?;
    sleep(SETTLE);
    let memory = read(Path::new(&format!("/proc/{}", daemon.0.id())))?;
    let figure = Figure::alone("node-memory-idle", memory.now_mb, "MB").note(format!(
        "RSS of a node daemon without Forwarders, {SETTLE:?} after it answers; highest ever {:.1}",
        memory.highest_mb
    ));
    Ok(vec![figure])
}

/// A daemon, ended when the guard goes.
struct Daemon(Child);

impl Daemon {
    fn wait_for(&mut self, socket: &Path) -> Result<()> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(socket) {
                Ok(_) => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("the daemon ended: {status}");
            }
            ensure!(
                start.elapsed() < Duration::from_secs(10),
                "the daemon does not answer"
            );
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
