//! Runs other programs to their end; errors carry their output.

use std::{
    ffi::OsStr,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};

/// Runs a command to its end; its standard output.
///
/// # Errors
/// When it cannot be started or does not succeed: with what it said, cut short.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let result = command
        .output()
        .with_context(|| format!("failed to start {command:?}"))?;
    check(command, &result)?;
    Ok(result.stdout)
}

/// Fails unless the command succeeded.
///
/// # Errors
/// With what the command said, cut short.
pub(crate) fn check(command: &Command, result: &Output) -> Result<()> {
    ensure!(
        result.status.success(),
        "{command:?}: {}: {}{}",
        result.status,
        beginning(&result.stderr),
        beginning(&result.stdout),
    );
    Ok(())
}

/// As much of an output as a reader of an error wants.
fn beginning(output: &[u8]) -> String {
    const MOST: usize = 1_000;
    let text = String::from_utf8_lossy(output);
    text.trim().chars().take(MOST).collect()
}

/// Runs `ip` with these arguments.
///
/// # Errors
/// As [`output`].
pub(crate) fn ip<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<String> {
    let bytes = output(Command::new("ip").args(arguments))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lets the calling thread run before all others: one that is late takes its own delay for that of
/// what it measures. Without the right to it all goes on.
pub(crate) fn hurry() {
    let thread = nix::unistd::gettid().to_string();
    let mut chrt = Command::new("chrt");
    let _ = chrt.args(["--fifo", "--pid", "10", &thread]).output();
}
