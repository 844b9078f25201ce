//! `beemesh-cni`: one exec, one exchange with the node, one batch of netlink for each end.
//!
//! ```text
//! env, stdin -> Request -> add | del | check | network (GC, STATUS) -> stdout, exit status
//!                            |  \
//!                 node's socket  dataplane::attachment
//! ```
//! One JSON object or nothing goes to stdout, one line for each event to stderr. It holds no
//! credential, talks only to the node, and stores only DELs that the node missed.

mod add;
mod check;
mod del;
mod network;
mod node;
mod pod;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use cni::config::MAX_BYTES;
use cni::error::{Code, Error};
use cni::request::Request;
use cni::result;
use cni::version::Version;
use serde_json::Value;

fn main() -> ExitCode {
    let (version, answer) = match Request::parse(|name| std::env::var_os(name), read_stdin) {
        Ok(request) => (request.version(), answer(request)),
        Err(failure) => (failure.version, Err(failure.error)),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(version, &error),
    }
}

fn answer(request: Request) -> Result<(), Error> {
    match request {
        Request::Add(container) => add::add(&container, print),
        Request::Del(container) => del::del(&container),
        Request::Check(container) => check::check(&container),
        Request::Gc(config) => network::collect(&config),
        Request::Status(config) => network::status(&config),
        Request::Version { asked } => print(&result::versions(asked)),
    }
}

fn fail(version: Version, error: &Error) -> ExitCode {
    log(error);
    let mut json = error.to_json(version);
    json.push(b'\n');
    // A failed write cannot be reported; the exit status carries the failure too.
    let _ = io::stdout().write_all(&json);
    ExitCode::from(error.code.number())
}

fn print(value: &Value) -> Result<(), Error> {
    let line = format!("{value}\n");
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|error| Error::new(Code::Io, format!("stdout: {error}")))
}

/// Reads one byte beyond the limit, to detect an oversized input.
fn read_stdin() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = io::stdin()
        .lock()
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| Error::new(Code::Io, format!("stdin: {error}")))?;
    Ok(bytes)
}

/// Writes one line to stderr.
fn log(message: impl std::fmt::Display) {
    let verb = std::env::var("CNI_COMMAND").unwrap_or_default();
    let container = std::env::var("CNI_CONTAINERID").unwrap_or_default();
    // Logging must never fail a call.
    let _ = writeln!(io::stderr(), "beemesh-cni {verb} {container}: {message}");
}
