//! Running the plugin for a pod that runs already, as a runtime does for one that starts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crds::attach::Pod;
use serde_json::{Value, json};

use super::{NETWORK, key};
use crate::config::Config;
use crate::leases::Network;
use crate::pods::runtime_uid;

/// The program's name.
const PROGRAM: &str = "beemesh-cni";

/// One attachment that the plugin is to make.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The topology.
    pub network: &'a Network,
    /// What the interface is to be called.
    pub interface: &'a str,
    /// The pod's network namespace.
    pub netns: &'a Path,
}

/// The port to whoever wires a pod. Adapter: [`Plugin`].
pub trait Attach: Send {
    /// Attaches a pod to one topology.
    ///
    /// # Errors
    /// Why not, in words.
    fn attach(&self, call: &Call<'_>) -> Result<(), String>;
}

/// The real plugin.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The directories that may hold it, best first.
    pub directories: Vec<PathBuf>,
    /// Where the daemon listens.
    pub socket: PathBuf,
    /// Where the plugin keeps what it could not tell.
    pub state_dir: PathBuf,
}

impl Plugin {
    /// The one of the node, else the one beside this program.
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
        let key = key(uid, call.interface);
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
        let mut child = Command::new(&program)
            .env_clear()
            .env("CNI_COMMAND", "ADD")
            .env("CNI_CONTAINERID", &key.container_id)
            .env("CNI_IFNAME", &key.ifname)
            .env("CNI_NETNS", call.netns)
            .env("CNI_PATH", program.parent().unwrap_or(Path::new("/")))
            .env("CNI_ARGS", arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("failed to run {}: {error}", program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that fails early does not read it; its error says why.
            let _ = stdin.write_all(config.to_string().as_bytes());
        }
        let output = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(reason(&output.stdout)
                .unwrap_or_else(|| format!("{PROGRAM} failed: {}", output.status))),
        }
    }
}

/// Why the plugin failed, in its own words.
fn reason(stdout: &[u8]) -> Option<String> {
    let error: Value = serde_json::from_slice(stdout).ok()?;
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    let details = text("details").filter(|details| !details.is_empty());
    details.or_else(|| text("msg")).map(str::to_owned)
}
