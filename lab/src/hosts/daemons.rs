//! Node daemons: one real process in each host namespace.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::hosts::processes::Process;
use crate::state::directory::{Directory, Host};
use console::failure::Failure;
use probe::namespace;
use store::atomic;

/// Daemon of `node`, if it runs.
pub(crate) fn running(directory: &Directory, node: &str) -> Option<Process> {
    let bytes = fs::read(pid_file(directory, node)).ok()?;
    let process: Process = serde_json::from_slice(&bytes).ok()?;
    (process.is_alive() && !process.is_dying()).then_some(process)
}

/// Starts the daemon of `node` inside its host, unless it runs.
///
/// # Errors
/// [`Failure::Failed`] when it cannot be started.
pub(crate) fn start(directory: &Directory, node: &str, host: &Host) -> Result<(), Failure> {
    if running(directory, node).is_some() {
        return Ok(());
    }
    // A daemon whose `up` died before it wrote the process id: two would conflict.
    crate::hosts::processes::end_all(std::slice::from_ref(&host.netns), crate::STOP_LIMIT);
    spawn(directory, node, host)
        .map_err(|error| Failure::Failed(format!("failed to start the daemon of {node}: {error}")))
}

fn spawn(directory: &Directory, node: &str, host: &Host) -> io::Result<()> {
    let files = directory.node(node);
    fs::create_dir_all(&files)?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(files.join("log"))?;
    // Not by path: an upgrade may have replaced the program.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("beemesh")
        .arg("node")
        .args(["--name", node])
        .arg("--directory")
        .arg(directory.objects())
        .arg("--socket")
        .arg(directory.socket(node))
        .arg("--state-dir")
        .arg(files.join("state"))
        .arg("--run-dir")
        .arg(directory.run(node))
        .arg("--peer-key-file")
        .arg(directory.key())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log));
    in_new_session(&mut command);
    // A child starts in the namespace of the creating thread, so `down` finds it there even if this
    // process dies before the id is written.
    let child = namespace::within(&host.netns, || command.spawn())?;
    let process = Process::of(child.id().cast_signed());
    let process = process.ok_or_else(|| io::Error::other("it ended at once"))?;
    let bytes = serde_json::to_vec(&process)?;
    atomic::publish(&pid_file(directory, node), &bytes).map_err(|error| error.source)
}

/// Detaches the child from the terminal, so that neither ^C nor its end reaches it.
fn in_new_session(command: &mut Command) {
    // SAFETY: `setsid` is async-signal-safe, which is all that is asked between fork and exec.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
}

/// Last lines of the daemon's log, for an error message.
pub(crate) fn last_words(directory: &Directory, node: &str) -> String {
    const LINES: usize = 5;
    let path = directory.node(node).join("log");
    let text = tail(&path, 4096).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn tail(path: &Path, bytes: u64) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut last = Vec::new();
    file.read_to_end(&mut last)?;
    Ok(String::from_utf8_lossy(&last).into_owned())
}

fn pid_file(directory: &Directory, node: &str) -> PathBuf {
    directory.node(node).join("pid")
}
