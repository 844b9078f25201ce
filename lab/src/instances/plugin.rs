//! Runs the real `beemesh-cni` as a container runtime does: environment, configuration on stdin,
//! result or error on stdout (CNI 1.1.0, section 2).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

use console::failure::Failure;
use probe::namespace;

/// The interface that an instance gets.
pub(crate) const INTERFACE: &str = "eth0";

/// Error code of CNI: try again later.
const TRY_AGAIN: u32 = 11;

/// The plugin's program: beside this one, else `$BEEMESH_CNI`, else in `$PATH`.
///
/// # Errors
/// [`Failure::Failed`] with all searched places.
pub(crate) fn find() -> Result<PathBuf, Failure> {
    const NAME: &str = "beemesh-cni";
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(NAME)));
    let named = std::env::var_os("BEEMESH_CNI").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join(NAME));
    let mut candidates = beside.iter().cloned().chain(named).chain(in_path);
    candidates
        .find(|candidate| is_program(candidate))
        .ok_or_else(|| {
            let beside = beside.as_deref().unwrap_or(Path::new(NAME)).display();
            Failure::Failed(format!(
                "beemesh-cni, the CNI plugin, is not there: expected {beside}, or the file that \
             BEEMESH_CNI names, or a directory of PATH that holds it"
            ))
        })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// One attachment, as the runtime names it.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    /// The program.
    pub(crate) program: &'a Path,
    /// Namespace of the host on which the runtime would run.
    pub(crate) host: &'a str,
    /// Namespace of the container.
    pub(crate) netns: &'a str,
    /// `CNI_CONTAINERID`.
    pub(crate) container: &'a str,
    /// Kubernetes namespace and name of the pod that the container represents.
    pub(crate) pod: (&'a str, &'a str),
    /// The plugin's configuration.
    pub(crate) config: &'a Value,
}

/// Error of the plugin (CNI 1.1.0, section 5), or the reason why it printed none.
#[derive(Debug, Deserialize)]
struct Refusal {
    #[serde(default)]
    code: u32,
    #[serde(rename = "msg", default)]
    message: String,
    #[serde(default)]
    details: String,
}

#[derive(Deserialize)]
struct Added {
    #[serde(default)]
    ips: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    address: IpNetwork,
}

/// Result of ADD.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attached {
    /// The addresses that the container got.
    pub(crate) addresses: Vec<IpNetwork>,
    /// The whole result, the `prevResult` of CHECK.
    pub(crate) result: Value,
}

/// ADD, repeated while the plugin answers "try again later".
///
///
/// # Errors
/// [`Failure::Failed`] with the plugin's message, [`Failure::TimedOut`] after `limit`.
pub(crate) fn add(call: &Call<'_>, limit: Duration) -> Result<Attached, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        match run(call, "ADD") {
            Ok(output) => {
                let wrong = |error: serde_json::Error| {
                    Failure::Failed(format!("beemesh-cni gave no result of CNI: {error}"))
                };
                let result: Value = serde_json::from_slice(&output).map_err(wrong)?;
                let added = Added::deserialize(&result).map_err(wrong)?;
                return Ok(Attached {
                    addresses: added.ips.into_iter().map(|ip| ip.address).collect(),
                    result,
                });
            }
            Err(refusal) if refusal.code == TRY_AGAIN => {
                if Instant::now() >= deadline {
                    return Err(Failure::TimedOut(refusal.explain(call)));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(refusal) => return Err(Failure::Failed(refusal.explain(call))),
        }
    }
}

/// CHECK against the result of ADD: interface, addresses, routes and neighbours of both ends.
/// Repeated for up to `limit` while the daemon does not answer.
///
/// # Errors
/// Message of the plugin: every difference, or the reason why nothing could be compared.
pub(crate) fn check(call: &Call<'_>, result: &Value, limit: Duration) -> Result<(), String> {
    let mut config = call.config.clone();
    config["prevResult"] = result.clone();
    let call = Call {
        config: &config,
        ..call.clone()
    };
    let deadline = Instant::now() + limit;
    loop {
        match run(&call, "CHECK") {
            Ok(_) => return Ok(()),
            // A daemon that was just started does not know the attachment yet.
            Err(refusal) if refusal.code == TRY_AGAIN && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(refusal) if refusal.details.is_empty() => return Err(refusal.message),
            Err(refusal) => return Err(format!("{}: {}", refusal.message, refusal.details)),
        }
    }
}

/// DEL; an absent attachment counts as detached.
///
/// # Errors
/// [`Failure::Failed`] with the plugin's message.
pub(crate) fn del(call: &Call<'_>) -> Result<(), Failure> {
    run(call, "DEL")
        .map(drop)
        .map_err(|refusal| Failure::Failed(refusal.explain(call)))
}

fn run(call: &Call<'_>, verb: &str) -> Result<Vec<u8>, Refusal> {
    let (namespace, pod) = call.pod;
    let mut command = Command::new(call.program);
    command
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", call.container)
        .env("CNI_NETNS", namespace::path(call.netns))
        .env("CNI_IFNAME", INTERFACE)
        .env("CNI_PATH", call.program.parent().unwrap_or(Path::new("/")))
        .env(
            "CNI_ARGS",
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={pod}"),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Inside the host, so that `down` finds it if this process dies first.
    let output = namespace::within(call.host, || command.spawn()).and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that fails early closes it; its error carries the reason.
            let _ = stdin.write_all(call.config.to_string().as_bytes());
        }
        child.wait_with_output()
    });
    let output = output.map_err(|error| Refusal::without_code(error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        let words = String::from_utf8_lossy(&output.stderr);
        Refusal::without_code(format!("{}: {}", output.status, words.trim()))
    }))
}

impl Refusal {
    fn without_code(message: String) -> Refusal {
        Refusal {
            code: 0,
            message,
            details: String::new(),
        }
    }

    fn explain(&self, call: &Call<'_>) -> String {
        let details = if self.details.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.details)
        };
        format!("{}: beemesh-cni: {}{details}", call.container, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugins_own_words_are_told() {
        let json =
            br#"{"cniVersion":"1.1.0","code":102,"msg":"no address","details":"10.80.0.0/30"}"#;
        let refusal: Refusal = serde_json::from_slice(json).unwrap();
        let call = Call {
            program: Path::new("/x"),
            host: "h",
            netns: "n",
            container: "lab.a.t.s-0",
            pod: ("a", "s-0"),
            config: &Value::Null,
        };
        assert_eq!(
            refusal.explain(&call),
            "lab.a.t.s-0: beemesh-cni: no address (10.80.0.0/30)"
        );
    }
}
