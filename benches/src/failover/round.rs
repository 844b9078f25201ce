//! One round: a link is cut under traffic, and healed.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    diamond::{Diamond, Position},
    fault::Fault,
    record::Disturbance,
    traffic::{INTERVAL, Traffic, now},
};

/// Time of traffic without a loss before anything is cut.
const BEFORE: Duration = Duration::from_millis(200);
/// Time of traffic without a loss after which a cut is over: longer than any later step of it.
const AFTER: Duration = Duration::from_secs(1);
/// Longest time for all to be as before: a BGP session has to be made again.
const LIMIT: Duration = Duration::from_secs(60);
/// Time in which packets on a link are counted.
const COUNTED: Duration = Duration::from_millis(100);
/// More packets in that time than liveness and routing protocols send, fewer than one flow has.
const FLOW: u64 = (COUNTED.as_millis() / INTERVAL.as_millis() * 4 / 5) as u64;

/// Result of a round.
pub(crate) struct Outcome {
    /// From the cut until the repair.
    pub(crate) cut: Disturbance,
    /// From the repair on.
    pub(crate) healing: Disturbance,
}

/// Cuts and heals the link at `position`.
///
/// # Errors
/// When traffic does not come back, or not over that link.
pub(crate) fn round(diamond: &Diamond, fault: Fault, position: Position) -> Result<Outcome> {
    run(diamond, fault, position).with_context(|| diamond.name)
}

fn run(diamond: &Diamond, fault: Fault, position: Position) -> Result<Outcome> {
    let link = diamond.link(position);
    let traffic = Traffic::start(&diamond.path)?;
    wait_used(diamond, position)?;
    traffic.wait_unbroken(now(), BEFORE, LIMIT)?;
    let (cut, heal) = (fault.cut(link)?, fault.heal(link)?);
    let cut_at = now();
    cut.run()?;
    let recovered = traffic.wait_unbroken(now(), AFTER, LIMIT);
    let healed_at = now();
    heal.run()?;
    recovered.context("after the cut")?;
    wait_repaired(diamond)?;
    sleep(AFTER);
    let end = now();
    let record = traffic.finish()?;
    Ok(Outcome {
        cut: record.between(cut_at, healed_at),
        healing: record.between(healed_at, end),
    })
}

/// Waits until flows cross the link.
fn wait_used(diamond: &Diamond, position: Position) -> Result<()> {
    let start = Instant::now();
    let mut before = diamond.carried(position)?;
    loop {
        sleep(COUNTED);
        let carried = diamond.carried(position)?;
        if carried - before >= FLOW {
            return Ok(());
        }
        before = carried;
        ensure!(
            start.elapsed() < LIMIT,
            "no flow crosses the link within {LIMIT:?}"
        );
    }
}

/// Waits until both paths may be used. Flows need not return to the repaired one: a resilient group
/// leaves them where they are.
fn wait_repaired(diamond: &Diamond) -> Result<()> {
    let start = Instant::now();
    while !diamond.has_both_paths()? {
        ensure!(
            start.elapsed() < LIMIT,
            "the repaired link is not used within {LIMIT:?}"
        );
        sleep(COUNTED / 5);
    }
    Ok(())
}
