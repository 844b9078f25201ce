//! Where the daemon of a node keeps its files.

use std::path::PathBuf;

/// Directories of the daemon, under the names and with the defaults of its own options.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Paths {
    /// Directory of the lease journal and of the DEL queue
    #[arg(long, value_name = "DIR", default_value = "/var/lib/beemesh/cni")]
    pub(crate) state_dir: PathBuf,
    /// Directory of the last known objects
    #[arg(long, value_name = "DIR", default_value = "/var/lib/beemesh/objects")]
    pub(crate) cache_dir: PathBuf,
    /// Directory of this boot: link-states/
    #[arg(long, value_name = "DIR", default_value = "/run/beemesh")]
    pub(crate) run_dir: PathBuf,
    /// Unix socket of the daemon
    #[arg(long, value_name = "FILE", default_value = "/run/beemesh/cni.sock")]
    pub(crate) socket: PathBuf,
    /// Name of this node, where the objects are of several
    #[arg(long, env = "NODE_NAME")]
    pub(crate) name: Option<String>,
}
/// Options of the daemon that are options of `inspect` too.
const SHARED: [&str; 5] = [
    "--state-dir",
    "--cache-dir",
    "--run-dir",
    "--socket",
    "--name",
];

/// Of the daemon's command line what `inspect` needs to look where the daemon does. References to the
/// container's environment (`$(NODE_NAME)`) are left out: there `inspect` finds the same variable.
pub(crate) fn shared_options(command_line: &[String]) -> Vec<String> {
    let mut options = Vec::new();
    let mut words = command_line.iter().peekable();
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if !SHARED.contains(&option) {
            continue;
        }
        let value = value.or_else(|| words.next().cloned());
        if let Some(value) = value.filter(|value| !value.contains("$(")) {
            options.push(format!("{option}={value}"));
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_was_told_of_its_directories_is_handed_on() {
        #[rustfmt::skip]
        let cases = [
            // the daemon's                                     inspect's
            ("node --kubernetes",                               ""),
            ("node --state-dir /a --peer-port 1 --run-dir=/b",  "--state-dir=/a --run-dir=/b"),
            ("node --name $(NODE_NAME) --cache-dir=/c",         "--cache-dir=/c"),
            ("node --socket",                                   ""),
        ];
        for (daemon, expected) in cases {
            let words: Vec<String> = daemon.split_whitespace().map(str::to_owned).collect();
            assert_eq!(shared_options(&words).join(" "), expected, "{daemon}");
        }
    }
}
