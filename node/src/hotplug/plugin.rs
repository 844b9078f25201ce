//! Runs the CNI plugin for a running pod, as a runtime does for a starting one.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use crds::attach::Pod;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::attach::key::{self, NETWORK};
use crate::config::Config;
use crate::objects::pods::runtime_uid;
use crds::TopologyKey;

/// Name of the program.
const PROGRAM: &str = "beemesh-cni";
/// Time limit of the plugin, which itself waits 10 s for the daemon. No other pod of the node is
/// attached meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of one attachment.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Pod.
    pub pod: &'a Pod,
    /// Topology.
    pub network: &'a TopologyKey,
    /// Name of the new interface.
    pub interface: &'a str,
    /// Network namespace of the pod.
    pub netns: &'a Path,
}

/// Port to the plugin. Adapter: [`Plugin`].
pub trait Attach: Send {
    /// Attaches a pod to one topology.
    ///
    /// # Errors
    /// Message of the plugin.
    fn attach(&self, call: &Call<'_>) -> Result<(), String>;
}

/// Plugin binary.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Directories to search for it, in order.
    pub directories: Vec<PathBuf>,
    /// Socket of the daemon.
    pub socket: PathBuf,
    /// Directory of the plugin's DEL queue.
    pub state_dir: PathBuf,
}

impl Plugin {
    /// Plugin of the node; otherwise the one beside this program.
    pub fn of(config: &Config) -> Plugin {
        let beside = std::env::current_exe().ok();
        let beside = beside.as_deref().and_then(Path::parent).map(Path::to_owned);
        Plugin {
            directories: [config.cni_bin_dir.clone()]
                .into_iter()
                .chain(beside)
                .collect(),
            socket: config.socket.clone(),
            state_dir: config.state_dir.clone(),
        }
    }

    fn program(&self) -> Result<PathBuf, String> {
        let programs = self
            .directories
            .iter()
            .map(|directory| directory.join(PROGRAM));
        let found = programs.into_iter().find(|program| program.is_file());
        found.ok_or_else(|| {
            let places: Vec<_> = self
                .directories
                .iter()
                .map(|d| d.display().to_string())
                .collect();
            format!("there is no {PROGRAM} in {}", places.join(" or "))
        })
    }
}

impl Attach for Plugin {
    fn attach(&self, call: &Call<'_>) -> Result<(), String> {
        let program = self.program()?;
        let uid = runtime_uid(call.pod);
        let key = key::hotplug(uid, call.interface);
        let config = json!({
            "cniVersion": "1.1.0",
            "name": NETWORK,
            "type": PROGRAM,
            "topology": call.network.to_string(),
            "socket": self.socket,
            "stateDir": self.state_dir,
        });
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_UID={uid}",
            call.pod.namespace, call.pod.name
        );
        let mut command = Command::new(&program);
        command
            .env_clear()
            .env("CNI_COMMAND", "ADD")
            .env("CNI_CONTAINERID", &key.container_id)
            .env("CNI_IFNAME", &key.ifname)
            .env("CNI_NETNS", call.netns)
            .env("CNI_PATH", program.parent().unwrap_or(Path::new("/")))
            .env("CNI_ARGS", arguments);
        let output = run(command, &config.to_string(), PATIENCE)
            .map_err(|error| format!("failed to run {}: {error}", program.display()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(reason(&output.stdout)
                .unwrap_or_else(|| format!("{PROGRAM} failed: {}", output.status))),
        }
    }
}

/// Runs a program to its end. After `patience` it is killed, and not waited for: the kernel may
/// block its end.
fn run(mut command: Command, input: &str, patience: Duration) -> io::Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ran = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that fails early does not read its input; its error carries the reason.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    runtime.block_on(async {
        let ran = timeout(patience, ran).await;
        ran.unwrap_or_else(|_| Err(io::Error::other(format!("no end after {patience:?}"))))
    })
}

/// Error message from the plugin's output.
fn reason(stdout: &[u8]) -> Option<String> {
    let error: Value = serde_json::from_slice(stdout).ok()?;
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    let details = text("details").filter(|details| !details.is_empty());
    details.or_else(|| text("msg")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// True while the process exists and is no zombie.
    fn is_running(pid: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.is_empty() && !state.starts_with('Z')
    }

    #[test]
    fn a_program_is_told_and_heard() {
        let output = run(shell("cat; exit 3"), "a word", Duration::from_secs(60)).unwrap();
        assert_eq!(output.stdout, b"a word");
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("echo $$ >{}; exec sleep 600", file.display());
        let mut patience = Duration::from_millis(50);
        // Until it has written its process id.
        let pid = loop {
            let error = run(shell(&script), "", patience).unwrap_err();
            assert!(error.to_string().contains("no end"), "{error}");
            let said = fs::read_to_string(&file).unwrap_or_default();
            if let Some(pid) = said.strip_suffix('\n') {
                break pid.to_owned();
            }
            patience *= 2;
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while is_running(&pid) {
            assert!(Instant::now() < deadline, "{pid} is still there");
            thread::sleep(Duration::from_millis(2));
        }
    }
}
