//! Every speed claim, measured beside a peer on the same work in the same run.
//!
//! Knows: how to set up the same work for beemesh and for a peer, how to time both in turn, how to
//! write the figures. Refuses to know: targets of figures (the goals are in `README.md`).
//!
//! ```text
//! arguments -> Vec<Bench> -> (each: set up, warm up, time in turn, take down) -> Vec<Figure> -> report
//! ```

mod bed;
mod bfd;
mod cni;
mod failover;
mod group;
mod harness;
mod lab;
mod memory;
mod operator;
mod routes;
mod spf;
mod throughput;
mod walk;

use std::process::ExitCode;

use harness::{
    arguments::{Arguments, Task},
    bench::{self, Bench},
    report,
};

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let benches = all();
    match arguments.task {
        Task::List => {
            benches
                .iter()
                .flat_map(|bench| &bench.names)
                .for_each(|name| println!("{name}"));
            Ok(ExitCode::SUCCESS)
        }
        Task::Measure { context, chosen } => {
            let (figures, failed) = bench::run(&benches, &context, &chosen)?;
            report::write(&figures, &context.output)?;
            Ok(ExitCode::from(u8::from(failed)))
        }
    }
}

/// All benches in the order in which they run. After `routes` and `lab` the kernel is busy for a while
/// taking namespaces down in the background, so what is easily disturbed comes before.
fn all() -> Vec<Bench> {
    [
        spf::benches(),
        memory::benches(),
        cni::benches(),
        throughput::benches(),
        failover::benches(),
        walk::benches(),
        bfd::benches(),
        routes::benches(),
        group::benches(),
        lab::benches(),
        operator::benches(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
