//! The command line of the daemon, as `beemesh-node` and as `beemesh node`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use telemetry::LogFormat;

use super::{Config, DEFAULT_RESYNC, InstallCni, Origin};
use crate::flooding::DEFAULT_PORT;

/// Default listen address of health and metrics in a cluster.
const HTTP_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4790);

/// Arguments of the daemon of one node.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Name of this node, as in `spec.node` of its Forwarders
    #[arg(long, env = "NODE_NAME")]
    name: String,
    /// Serve the Forwarders of a cluster
    #[arg(long, conflicts_with = "directory")]
    pub(crate) kubernetes: bool,
    /// Serve the Forwarders of a directory of forwarders/, nodes/ and status/
    #[arg(long, required_unless_present = "kubernetes")]
    directory: Option<PathBuf>,
    /// Path of the kubeconfig [default: in-cluster configuration or environment]
    #[arg(long, conflicts_with = "directory")]
    kubeconfig: Option<PathBuf>,
    /// Unix socket for the CNI plugin
    #[arg(long, default_value = "/run/beemesh/cni.sock")]
    socket: PathBuf,
    /// Directory of the lease journal and of the DEL queue
    #[arg(long, default_value = "/var/lib/beemesh/cni")]
    state_dir: PathBuf,
    /// Directory of the last known objects of the cluster
    #[arg(long, default_value = "/var/lib/beemesh/objects")]
    cache_dir: PathBuf,
    /// Directory of state that does not survive a reboot
    #[arg(long, default_value = "/run/beemesh")]
    run_dir: PathBuf,
    /// UDP port of the VXLAN links
    #[arg(long, default_value_t = 4789)]
    vxlan_port: u16,
    /// TCP port of link-state flooding between nodes
    #[arg(long, default_value_t = DEFAULT_PORT)]
    peer_port: u16,
    /// File with the mesh key: 32 bytes or more; with several lines, the first is used and all are
    /// accepted
    #[arg(long)]
    peer_key_file: Option<PathBuf>,
    /// Listen address of health and metrics [default: 127.0.0.1:4790 in a cluster, else none]
    #[arg(long)]
    http_address: Option<SocketAddr>,
    /// Installation mode of the CNI plugin
    #[arg(long, value_enum, default_value_t)]
    install_cni: InstallCni,
    /// Directory of the node's CNI plugins
    #[arg(long, default_value = "/opt/cni/bin")]
    cni_bin_dir: PathBuf,
    /// Directory of the node's CNI configurations
    #[arg(long, default_value = "/etc/cni/net.d")]
    cni_conf_dir: PathBuf,
    /// /proc of the host
    #[arg(long, default_value = "/proc")]
    host_proc: PathBuf,
    /// Key of a taint to remove from the node once it is ready
    #[arg(long, value_name = "KEY")]
    startup_taint: Option<String>,
    /// File with the boot id [default: sys/kernel/random/boot_id below --host-proc]
    #[arg(long)]
    boot_id: Option<PathBuf>,
    /// Least seconds between two observations of the whole kernel state
    #[arg(long, default_value_t = DEFAULT_RESYNC.as_secs())]
    resync_seconds: u64,
    /// Seconds after which an unconfirmed claim may be collected: 10 or more, as a plugin takes that long
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..))]
    claim_timeout_seconds: u64,
    /// Format of log lines
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// Log filter in the syntax of RUST_LOG, which takes precedence
    #[arg(long, default_value = "info")]
    pub(crate) log_level: String,
}

impl From<Arguments> for Config {
    fn from(arguments: Arguments) -> Config {
        // Without a directory the origin is a cluster: the parser demands one of both.
        let (origin, http_address) = match arguments.directory {
            Some(directory) => (Origin::Directory(directory), None),
            None => {
                let kubeconfig = arguments.kubeconfig;
                (Origin::Kubernetes { kubeconfig }, Some(HTTP_ADDRESS))
            }
        };
        // The host's own boot id: a container has a /proc of its own.
        let boot_id = arguments.host_proc.join("sys/kernel/random/boot_id");
        Config {
            name: arguments.name,
            origin,
            socket: arguments.socket,
            state_dir: arguments.state_dir,
            cache_dir: arguments.cache_dir,
            run_dir: arguments.run_dir,
            vxlan_port: arguments.vxlan_port,
            peer_port: arguments.peer_port,
            peer_key_file: arguments.peer_key_file,
            http_address: arguments.http_address.or(http_address),
            install_cni: arguments.install_cni,
            cni_bin_dir: arguments.cni_bin_dir,
            cni_conf_dir: arguments.cni_conf_dir,
            host_proc: arguments.host_proc,
            startup_taint: arguments.startup_taint,
            boot_id: arguments.boot_id.unwrap_or(boot_id),
            resync: Duration::from_secs(arguments.resync_seconds),
            claim_timeout: Duration::from_secs(arguments.claim_timeout_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn origin(words: &str) -> Result<Origin, clap::error::ErrorKind> {
        let words = ["node", "--name=n1"]
            .into_iter()
            .chain(words.split_whitespace());
        let command = Command::try_parse_from(words).map_err(|error| error.kind())?;
        Ok(Config::from(command.arguments).origin)
    }

    #[test]
    fn forwarders_come_from_a_directory_or_from_a_cluster() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        let kubernetes = |kubeconfig: Option<&str>| Origin::Kubernetes {
            kubeconfig: kubeconfig.map(PathBuf::from),
        };
        #[rustfmt::skip]
        let cases = [
            ("",                             Err(MissingRequiredArgument)),
            ("--directory d",                Ok(Origin::Directory("d".into()))),
            ("--kubernetes",                 Ok(kubernetes(None))),
            ("--kubernetes --kubeconfig k",  Ok(kubernetes(Some("k")))),
            ("--kubernetes --directory d",   Err(ArgumentConflict)),
            ("--directory d --kubeconfig k", Err(ArgumentConflict)),
            ("--kubeconfig k",               Err(MissingRequiredArgument)),
        ];
        for (words, expected) in cases {
            assert_eq!(origin(words), expected, "{words}");
        }
    }

    #[test]
    fn no_claim_is_taken_from_a_plugin_that_may_still_be_at_work() {
        use clap::error::ErrorKind::ValueValidation;
        for (seconds, expected) in [("9", Err(ValueValidation)), ("10", Ok(()))] {
            let words = format!("--directory d --claim-timeout-seconds {seconds}");
            assert_eq!(origin(&words).map(drop), expected, "{seconds}");
        }
    }
}
