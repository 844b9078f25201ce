//! Options of a daemon that its diagnosis needs too.

/// Options of the daemon that are options of `beemesh-node inspect` too.
const SHARED: [&str; 5] = [
    "--state-dir",
    "--cache-dir",
    "--run-dir",
    "--socket",
    "--name",
];

/// Of the daemon's command line what `beemesh-node inspect` needs to look where the daemon does. References to the
/// container's environment (`$(NODE_NAME)`) are left out: there `beemesh-node inspect` finds the same variable.
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
