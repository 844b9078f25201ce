//! Memory of a process, from /proc.

use std::fs;

use anyhow::{Context, Result};

/// The resident memory of the process `pid`, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    bytes(pid, "VmRSS:")
}

/// The most resident memory that the process `pid` has had, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn peak_bytes(pid: u32) -> Result<u64> {
    bytes(pid, "VmHWM:")
}

fn bytes(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("no process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("process {pid} has no memory any more"))? * 1024)
}

/// The processor time that the process `pid` has used, all its threads, user and system, in seconds.
///
/// # Errors
/// When there is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("no process {pid}"))?;
    // The name, in parentheses, may hold spaces: utime and stime are fields 14 and 15, 11 and 12 after it.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
    };
    let ticks = ticks(11)
        .zip(ticks(12))
        .context("/proc/PID/stat is short")?;
    // USER_HZ is 100 on every architecture that Kubernetes runs on.
    Ok((ticks.0 + ticks.1) / 100.0)
}
