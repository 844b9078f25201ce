//! Failures: silent cuts, restarts, pauses.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bfd::{Cause, Diagnostic, State};
use e2e::eventually;
use serde_json::json;

use crate::bed::{Bed, Family};
use crate::capture::Capture;
use crate::near::{Near, PATIENCE, Seen, config};
use crate::talk::{up, wait_until_up};

/// Fails unless the change was made at the end of the detection time, as far as our own thread ran in time.
fn is_punctual(seen: &Seen, near: &Near) -> Result<()> {
    println!("{seen:?}");
    let punctual = seen.silence.saturating_sub(seen.lateness);
    let is_early = punctual + Duration::from_micros(1) < seen.detection_time;
    ensure!(!is_early, "{seen:?}");
    let is_late = punctual > seen.detection_time + Duration::from_micros(1);
    let was_extended = near.log().lateness.extensions > 0;
    ensure!(!is_late || was_extended, "{seen:?}");
    Ok(())
}

pub(crate) fn silence_is_noticed(family: Family) -> Result<()> {
    let (bed, near) = up(family)?;
    let changes = near.log().changes.len();
    let capture = Capture::start(bed.far())?;
    // We are deaf; FRR still hears us.
    bed.cut(bed.near())?;
    let seen = near.change(changes)?;
    ensure!(seen.change.cause == Cause::Silence, "{seen:?}");
    ensure!(seen.change.is_failure(), "{seen:?}");
    let expected = Duration::from_secs(1);
    ensure!(seen.detection_time == expected, "{seen:?}");
    is_punctual(&seen, &near)?;
    // FRR is told, with the reason, and does not have to notice it by itself.
    let reason = json!("control detection time expired");
    bed.wait_for_peer("FRR knows why", &[("remote-diagnostic", reason)])?;
    let first = eventually("FRR is down", PATIENCE, || {
        let packets = capture.from(family.addresses()[1]);
        let down = packets
            .into_iter()
            .find(|it| it.packet.state == State::Down);
        down.context("not yet")
    })?;
    let is_told = first.packet.diagnostic == Diagnostic::NEIGHBOUR_DOWN;
    ensure!(is_told, "{first:?}");
    ensure!(bed.downs()? == 1, "more than one failure");
    bed.heal(bed.near())?;
    wait_until_up(&bed, &near)
}

pub(crate) fn frr_stops_hearing_us() -> Result<()> {
    let (bed, near) = up(Family::V4)?;
    let changes = near.log().changes.len();
    bed.cut(bed.far())?;
    let seen = near.change(changes)?;
    let reason = Diagnostic::DETECTION_TIME_EXPIRED;
    ensure!(seen.change.cause == Cause::RemoteDown(reason), "{seen:?}");
    let expected = [
        ("status", json!("down")),
        ("diagnostic", json!("control detection time expired")),
    ];
    bed.wait_for_peer("FRR noticed", &expected)?;
    // Packets of one direction do not bring it up.
    let heard = near.log().heard.len();
    near.wait("three packets", |log| {
        (log.heard.len() > heard + 3).then_some(())
    })?;
    ensure!(near.session()?.state() != State::Up, "up in one direction");
    // Then both directions.
    bed.cut(bed.near())?;
    near.wait_for(State::Down)?;
    for netns in [bed.near(), bed.far()] {
        bed.heal(netns)?;
    }
    wait_until_up(&bed, &near)
}

pub(crate) fn a_restarted_frr_comes_back() -> Result<()> {
    let (mut bed, near) = up(Family::V4)?;
    let changes = near.log().changes.len();
    let remote = |near: &Near| -> Result<u32> {
        let session = near.session()?;
        let remote = session.remote().context("nobody")?;
        Ok(remote.discriminator.get())
    };
    let before = remote(&near)?;
    bed.restart_frr()?;
    bed.frr_peer(100, 100, 10)?;
    let seen = near.change(changes)?;
    ensure!(seen.change.is_failure(), "{seen:?}");
    wait_until_up(&bed, &near)?;
    let after = remote(&near)?;
    ensure!(before != after, "the same discriminator {before}");
    Ok(())
}

pub(crate) fn a_frozen_frr_is_down() -> Result<()> {
    let (bed, near) = up(Family::V4)?;
    let changes = near.log().changes.len();
    bed.freeze()?;
    let seen = near.change(changes)?;
    ensure!(seen.change.cause == Cause::Silence, "{seen:?}");
    is_punctual(&seen, &near)?;
    bed.thaw()?;
    wait_until_up(&bed, &near)
}

/// FRR waits for 10 s and speaks each 50 ms; we wait for 150 ms, and do not run for 2 s.
pub(crate) fn our_own_pause_is_no_silence() -> Result<()> {
    let bed = Bed::new(Family::V4)?;
    bed.frr_peer(50, 50, 3)?;
    let near = Near::start(&bed, 0x00bf_d001, config(200, 50, 50)?)?;
    wait_until_up(&bed, &near)?;
    let changes = near.log().changes.len();
    for _ in 0..3 {
        let extensions = near.log().lateness.extensions;
        near.sleep(Duration::from_secs(2))?;
        near.wait("silence that is not believed", |log| {
            (log.lateness.extensions > extensions).then_some(())
        })?;
        let heard = near.log().heard.len();
        near.wait("ten packets", |log| {
            (log.heard.len() > heard + 10).then_some(())
        })?;
    }
    let log = near.log();
    println!("{:?}", log.lateness);
    ensure!(log.changes.len() == changes, "{:?}", log.changes);
    ensure!(bed.downs()? == 0, "FRR was down");
    Ok(())
}
