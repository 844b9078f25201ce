//! Cuts of a link, prepared first so that both ends are cut at the same moment.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::harness::command;

/// One end of a link.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// Namespace.
    pub(crate) netns: String,
    /// Interface in it.
    pub(crate) interface: String,
}

/// Kind of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The end at the sender's side is set down.
    Carrier,
    /// Both ends drop all that arrives, and stay up.
    Silent,
}

/// Commands that are started and wait for their input.
pub(crate) struct Prepared(Vec<(Child, Command, String)>);

/// Time in which a command starts.
const START: Duration = Duration::from_millis(100);

impl Fault {
    /// Prepares the cut of a link.
    ///
    /// # Errors
    /// When a command cannot be started.
    pub(crate) fn cut(self, link: &[End; 2]) -> Result<Prepared> {
        self.prepare(link, |end| match self {
            Self::Carrier => format!("link set {} down", end.interface),
            Self::Silent => format!(
                "table netdev bench_cut {{ chain cut {{ type filter hook ingress device {} priority 0; policy drop; }}; }}",
                end.interface
            ),
        })
    }

    /// Prepares the end of the cut.
    ///
    /// # Errors
    /// When a command cannot be started.
    pub(crate) fn heal(self, link: &[End; 2]) -> Result<Prepared> {
        self.prepare(link, |end| match self {
            Self::Carrier => format!("link set {} up", end.interface),
            Self::Silent => "delete table netdev bench_cut".to_owned(),
        })
    }

    fn prepare(self, link: &[End; 2], input: impl Fn(&End) -> String) -> Result<Prepared> {
        let ends = match self {
            Self::Carrier => &link[..1],
            Self::Silent => &link[..],
        };
        let start = |end: &End| {
            let mut command = Command::new("ip");
            match self {
                Self::Carrier => command.args(["-n", &end.netns, "-batch", "-"]),
                Self::Silent => command.args(["netns", "exec", &end.netns, "nft", "-f", "-"]),
            };
            command.stdin(Stdio::piped()).stderr(Stdio::piped());
            let child = command.stdout(Stdio::piped()).spawn();
            let child = child.with_context(|| format!("failed to start {command:?}"))?;
            Ok((child, command, input(end) + "\n"))
        };
        let commands = ends.iter().map(start).collect::<Result<_>>()?;
        sleep(START);
        Ok(Prepared(commands))
    }
}

impl Prepared {
    /// Runs all commands, and waits for their ends.
    ///
    /// # Errors
    /// Failure of a command, with its message.
    pub(crate) fn run(mut self) -> Result<()> {
        for (child, _, input) in &mut self.0 {
            let mut stdin = child.stdin.take().context("the input is piped")?;
            stdin.write_all(input.as_bytes())?;
        }
        for (child, command, _) in self.0 {
            command::check(&command, &child.wait_with_output()?)?;
        }
        Ok(())
    }
}
