//! Entry point of the program `beemesh-operator`.

use std::process::ExitCode;

use ::telemetry::{Logs, chain};
use clap::Parser;
use operator::{
    check::{Check, check},
    config::{Command, Config},
    run,
};

fn main() -> ExitCode {
    let mut config = Config::parse();
    let result = match config.command.take() {
        Some(Command::Check(question)) => ask(&question),
        None => start(config),
    };
    match result {
        // Only unanswered requests still run now; they are not waited for.
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("beemesh-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> Result<(), String> {
    let logs =
        Logs::install(config.log_format, &config.log_level).map_err(|error| error.to_string())?;
    // An error means that one is installed already, and there is only this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let result = runtime.block_on(run::run(config, logs));
    runtime.shutdown_background();
    result.map_err(|error| chain(&error))
}

fn ask(question: &Check) -> Result<(), String> {
    // As in `start`.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let result = runtime.block_on(check(question));
    result.map_err(|error| error.to_string())
}
