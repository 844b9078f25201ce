//! Handshake, parameters, planned stops.

use anyhow::{Result, ensure};
use bfd::{Cause, Event, Interval, State};
use e2e::eventually;
use serde_json::json;

use crate::bed::{Bed, Family};
use crate::capture::Capture;
use crate::near::{Near, PATIENCE, config};

/// A bed with a session that is Up at both ends, and whose Poll Sequence is over. We wait for 1 s and FRR for 2 s, so that only faults
/// that a test makes are failures, also on a busy machine: FRR does not account for its own lateness.
pub(crate) fn up(family: Family) -> Result<(Bed, Near)> {
    let bed = Bed::new(family)?;
    bed.frr_peer(100, 100, 10)?;
    let near = Near::start(&bed, 0x00bf_d001, config(100, 100, 20)?)?;
    wait_until_up(&bed, &near)?;
    Ok((bed, near))
}

/// Waits until both ends are Up and know one another's parameters.
pub(crate) fn wait_until_up(bed: &Bed, near: &Near) -> Result<()> {
    near.wait_for(State::Up)?;
    let expected = [("status", json!("up")), ("diagnostic", json!("ok"))];
    bed.wait_for_peer("FRR is up", &expected)?;
    eventually("FRR answered our Poll", PATIENCE, || {
        let session = near.session()?;
        ensure!(!session.is_polling(), "{session:?}");
        let theirs = session.remote().map(|remote| remote.desired_min_tx);
        let is_fast = theirs.is_some_and(|interval| interval < Interval::from_millis(1000));
        ensure!(is_fast, "{session:?}");
        Ok(())
    })
}

/// Fails when either end was down since both came up.
fn nobody_was_down(bed: &Bed, near: &Near) -> Result<()> {
    let downs = bed.downs()?;
    ensure!(downs == 0, "FRR was down {downs} times");
    let log = near.log();
    let is_down = |to| to == State::Down;
    let is_down = log.changes.iter().any(|seen| is_down(seen.change.to));
    ensure!(!is_down, "{:?}", log.changes);
    Ok(())
}

pub(crate) fn comes_up(family: Family) -> Result<()> {
    let bed = Bed::new(family)?;
    let capture = Capture::start(bed.far())?;
    bed.frr_peer(100, 100, 10)?;
    let near = Near::start(&bed, 0x00bf_d001, config(120, 90, 14)?)?;
    wait_until_up(&bed, &near)?;
    let expected = [
        ("remote-id", json!(0x00bf_d001)),
        ("remote-transmit-interval", json!(120)),
        ("remote-receive-interval", json!(90)),
        ("remote-detect-multiplier", json!(14)),
        ("remote-diagnostic", json!("ok")),
    ];
    bed.wait_for_peer("FRR knows our parameters", &expected)?;
    let id = bed.peer()?["id"].as_u64();
    let session = near.session()?;
    let remote = session
        .remote()
        .map(|remote| u64::from(remote.discriminator.get()));
    ensure!(remote == id, "{remote:?} is not FRR's {id:?}");
    let states: Vec<State> = near
        .log()
        .changes
        .iter()
        .map(|seen| seen.change.to)
        .collect();
    let is_known = [&[State::Init, State::Up][..], &[State::Up]].contains(&&states[..]);
    ensure!(is_known, "{states:?}");
    for address in family.addresses() {
        let packets = eventually("packets on the link", PATIENCE, || {
            let packets = capture.from(address);
            ensure!(packets.len() > 5, "{} of {address}", packets.len());
            Ok(packets)
        })?;
        let port = packets[0].source_port;
        for captured in packets {
            ensure!(captured.ttl == bfd::TTL, "{captured:?}");
            ensure!(bfd::SOURCE_PORTS.contains(&port), "{captured:?}");
            ensure!(captured.source_port == port, "{captured:?}");
        }
    }
    nobody_was_down(&bed, &near)
}

pub(crate) fn follows_intervals_of_frr(family: Family) -> Result<()> {
    let (bed, near) = up(family)?;
    // tx, rx, times of FRR; our interval and detection time, both in ms.
    for (tx, rx, times, interval, detection) in [
        (300, 250, 13, 250, 3900),
        (60, 400, 25, 400, 2500),
        (50, 50, 12, 100, 1200),
        (100, 100, 10, 100, 1000),
    ] {
        bed.frr_peer(tx, rx, times)?;
        eventually("we follow", PATIENCE, || {
            let session = near.session()?;
            let found = session.transmit_interval();
            let expected = Some(Interval::from_millis(interval));
            ensure!(found == expected, "{found:?} is not {expected:?}");
            let found = session.detection_time().unwrap_or_default();
            ensure!(
                found.as_millis() == detection,
                "{found:?} is not {detection} ms"
            );
            Ok(())
        })?;
    }
    // FRR's Poll Sequences end, so we answer them.
    let heard = near.log().heard.len();
    near.wait("packets without a Poll", |log| {
        let last = log.heard.get(heard..).filter(|new| new.len() > 5)?.last()?;
        (!last.1.is_poll).then_some(())
    })?;
    nobody_was_down(&bed, &near)
}

pub(crate) fn frr_follows_our_intervals(family: Family) -> Result<()> {
    let (bed, near) = up(family)?;
    for (tx, rx, times) in [(250, 150, 14), (50, 400, 25), (400, 50, 8), (100, 100, 13)] {
        let sent = near.log().sent.len();
        near.order(Event::Configure(config(tx, rx, times)?))?;
        let expected = [
            ("remote-transmit-interval", json!(tx)),
            ("remote-receive-interval", json!(rx)),
            ("remote-detect-multiplier", json!(times)),
        ];
        bed.wait_for_peer("FRR knows our parameters", &expected)?;
        eventually("FRR answered our Poll", PATIENCE, || {
            let session = near.session()?;
            ensure!(!session.is_polling(), "{session:?}");
            let interval = session.transmit_interval();
            let expected = Some(Interval::from_millis(tx.max(100)));
            ensure!(interval == expected, "{interval:?} is not {expected:?}");
            Ok(())
        })?;
        let is_asked = near.log().sent[sent..]
            .iter()
            .any(|sent| sent.packet.is_poll);
        ensure!(is_asked, "no Poll for {tx} {rx}");
    }
    nobody_was_down(&bed, &near)
}

pub(crate) fn planned_stops_are_no_failures(family: Family) -> Result<()> {
    let (bed, near) = up(family)?;
    let changes = near.log().changes.len();
    bed.frr(&["shutdown"])?;
    let seen = near.change(changes)?;
    // FRR 8.4 gives no reason (0) with it.
    let is_planned = matches!(seen.change.cause, Cause::RemoteAdminDown(_));
    ensure!(is_planned, "{seen:?}");
    ensure!(!seen.change.is_failure(), "{seen:?}");
    bed.frr(&["no shutdown"])?;
    wait_until_up(&bed, &near)?;

    near.order(Event::Disable)?;
    let expected = [
        ("status", json!("down")),
        ("remote-diagnostic", json!("administratively down")),
    ];
    bed.wait_for_peer("FRR knows that we stopped", &expected)?;
    // It stays so, though FRR goes on sending.
    let heard = near.log().heard.len();
    near.wait("three packets", |log| {
        (log.heard.len() > heard + 3).then_some(())
    })?;
    ensure!(
        near.session()?.state() == State::AdminDown,
        "packets bring it up"
    );
    near.order(Event::Enable)?;
    wait_until_up(&bed, &near)
}
