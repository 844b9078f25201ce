//! Command line of the operator; each option also as `BEEMESH_...` in the environment.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use telemetry::LogFormat;

use crate::{check::Check, observe::Scope, parse::seconds, plan::Limits};

/// Reconciles MicroServiceTopology objects: Forwarder objects, addresses, conditions.
#[derive(Clone, Debug, Parser)]
#[command(name = "beemesh-operator", version)]
pub struct Config {
    /// Name of this replica, for logs and events [default: the host's name].
    #[arg(long, env = "BEEMESH_NAME")]
    pub name: Option<String>,
    /// Watch only these namespaces, separated by commas [default: all].
    #[arg(long, env = "BEEMESH_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Create the Secret of this name, with the mesh key of the nodes' daemons, where it is missing
    /// [default: none].
    #[arg(long, env = "BEEMESH_MESH_KEY_SECRET")]
    pub mesh_key_secret: Option<String>,
    /// Namespace of that Secret [default: this pod's].
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Labels of the nodes that daemons run on, as KEY=VALUE separated by commas: Forwarders are placed there only [default: all Linux nodes].
    #[arg(long, env = "BEEMESH_NODE_SELECTOR", value_delimiter = ',', value_parser = label)]
    pub node_selector: Vec<(String, String)>,
    /// Largest number of Forwarders of one topology; 0 is no limit.
    #[arg(
        long,
        env = "BEEMESH_MAX_FORWARDERS_PER_TOPOLOGY",
        default_value = "10000"
    )]
    pub max_forwarders_per_topology: u32,
    /// Largest number of Forwarders on one node, of all topologies; 0 is no limit.
    #[arg(long, env = "BEEMESH_MAX_FORWARDERS_PER_NODE", default_value = "500")]
    pub max_forwarders_per_node: u32,
    /// Largest memory of the Forwarders of all topologies in MiB, estimated; 0 is no limit.
    #[arg(long, env = "BEEMESH_MAX_FORWARDER_MEMORY", default_value = "128")]
    pub max_forwarder_memory: u32,
    /// Listen address of /metrics, /livez, /readyz and /healthz.
    #[arg(long, env = "BEEMESH_LISTEN_METRICS", default_value = "0.0.0.0:8080")]
    pub listen_metrics: SocketAddr,
    /// Listen address of the REST API [default: 0.0.0.0:8443 with a certificate, 127.0.0.1:8081
    /// without].
    #[arg(long, env = "BEEMESH_LISTEN_API")]
    pub listen_api: Option<SocketAddr>,
    /// Certificate of the REST API, a PEM file.
    #[arg(long, env = "BEEMESH_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the REST API, a PEM file.
    #[arg(long, env = "BEEMESH_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve the REST API without a certificate on non-loopback addresses too: tokens are then sent
    /// in clear text.
    #[arg(long, env = "BEEMESH_INSECURE_API")]
    pub insecure_api: bool,
    /// Allow reads of the REST API without a token [default: true on loopback, false on other
    /// addresses].
    #[arg(
        long,
        env = "BEEMESH_ANONYMOUS_READ",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub anonymous_read: Option<bool>,
    /// Format of log lines.
    #[arg(long, env = "BEEMESH_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Log filter: a level, or directives such as `info,operator::apply=debug`.
    #[arg(long, env = "BEEMESH_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Path of a kubeconfig [default: KUBECONFIG, ~/.kube/config, or the pod's service account].
    #[arg(long, env = "BEEMESH_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Seconds between two reconciles of an unchanged topology.
    #[arg(long, env = "BEEMESH_RESYNC", default_value = "600", value_parser = seconds)]
    pub resync: Duration,
    /// Subcommand, instead of running the operator.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Subcommands, instead of running the operator.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check that an operator is ready, as `helm test` does.
    Check(Check),
}

impl Config {
    /// Name of this replica.
    pub fn replica(&self) -> String {
        let given = self.name.clone().filter(|name| !name.is_empty());
        given
            .or_else(host_name)
            .unwrap_or_else(|| "beemesh-operator".to_owned())
    }

    /// Watched namespaces, and limits of the objects created in them.
    pub fn scope(&self) -> Scope {
        Scope {
            namespaces: self.namespaces.clone(),
            node_selector: self.node_selector.iter().cloned().collect(),
            limits: Limits {
                forwarders_per_topology: self.max_forwarders_per_topology,
                forwarders_per_node: self.max_forwarders_per_node,
                memory: (self.max_forwarder_memory as usize) << 20,
                ..Limits::default()
            },
        }
    }

    /// Listen address of the REST API.
    pub fn api_address(&self) -> SocketAddr {
        let default = match self.tls_cert {
            Some(_) => SocketAddr::from(([0, 0, 0, 0], 8443)),
            None => SocketAddr::from(([127, 0, 0, 1], 8081)),
        };
        self.listen_api.unwrap_or(default)
    }

    /// True when reads of the REST API need no token.
    pub fn is_read_anonymous(&self) -> bool {
        let default = self.api_address().ip().is_loopback();
        self.anonymous_read.unwrap_or(default)
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// A label, such as `role=mesh`.
fn label(text: &str) -> Result<(String, String), String> {
    let label = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let label = label.ok_or("expected KEY=VALUE, such as role=mesh")?;
    Ok((label.0.to_owned(), label.1.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from([&["beemesh-operator"], arguments].concat())
    }

    #[test]
    fn the_api_is_open_to_the_network_only_with_a_certificate() {
        let plain = parse(&[]).expect("no option is required");
        assert_eq!(plain.api_address().to_string(), "127.0.0.1:8081");
        let secure = parse(&["--tls-cert", "c.pem", "--tls-key", "k.pem"]).expect("a pair");
        assert_eq!(secure.api_address().to_string(), "0.0.0.0:8443");
        assert!(
            parse(&["--tls-cert", "c.pem"]).is_err(),
            "a certificate needs its key"
        );
    }

    #[test]
    fn reads_need_a_token_wherever_the_network_reaches_the_api() {
        let is_anonymous =
            |arguments: &[&str]| parse(arguments).expect("sound").is_read_anonymous();
        assert!(is_anonymous(&[]));
        assert!(is_anonymous(&["--listen-api=[::1]:1"]));
        let pair = ["--tls-cert=c.pem", "--tls-key=k.pem"];
        assert!(!is_anonymous(&pair));
        assert!(is_anonymous(&[pair[0], pair[1], "--anonymous-read"]));
        assert!(!is_anonymous(&["--anonymous-read=false"]));
        assert!(!is_anonymous(&["--insecure-api", "--listen-api=0.0.0.0:1"]));
    }

    #[test]
    fn options_are_read() {
        let config = parse(&[
            "--name=a",
            "--namespaces=x,y",
            "--anonymous-read=false",
            "--resync=90s",
            "--mesh-key-secret=k",
            "--namespace=own",
            "--node-selector=role=mesh,zone=",
            "--max-forwarders-per-node=3",
            "--max-forwarder-memory=7",
        ]);
        let config = config.expect("all are right");
        assert_eq!(config.replica(), "a");
        assert_eq!(config.namespaces, ["x", "y"]);
        assert_eq!(config.anonymous_read, Some(false));
        assert_eq!(config.mesh_key_secret.as_deref(), Some("k"));
        assert_eq!(config.namespace.as_deref(), Some("own"));
        assert_eq!(config.resync, Duration::from_secs(90));
        let scope = config.scope();
        assert_eq!(scope.namespaces, ["x", "y"]);
        assert_eq!(scope.node_selector["role"], "mesh");
        assert_eq!(scope.node_selector["zone"], "");
        assert_eq!(scope.limits.forwarders_per_node, 3);
        assert_eq!(scope.limits.memory, 7 << 20);
        assert_eq!(scope.limits.forwarders_per_topology, 10_000);
        assert!(parse(&["--node-selector=role"]).is_err());
        assert!(parse(&["--resync=0"]).is_err());
    }
}
