//! Packets on the link: their rhythm, and those that do not come from the link.

use std::net::{SocketAddr, UdpSocket};
use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bfd::{Diagnostic, Interval, Packet, State};
use dataplane::netns::Netns;
use e2e::eventually;
use nix::sys::socket::{setsockopt, sockopt};

use crate::bed::{Bed, Family};
use crate::capture::Capture;
use crate::near::{Log, Near, PATIENCE, config};
use crate::talk::{up, wait_until_up};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Gaps between neighbours that are both periodic: no answer, and no news between them.
fn gaps(log: &Log, state: State) -> Vec<Duration> {
    let periodic = |sent: &&[crate::near::Sent]| {
        let is_plain = sent.iter().all(|sent| !sent.packet.is_final);
        let is_same = sent[0].packet.desired_min_tx == sent[1].packet.desired_min_tx;
        is_plain && is_same && sent[1].packet.state == state && sent[0].packet.state == state
    };
    let pairs = log.sent.windows(2).filter(periodic);
    let gap = |sent: &[crate::near::Sent]| {
        let gap = sent[1].at.since(sent[0].at);
        gap.saturating_sub(sent[1].lateness.unwrap_or_default())
    };
    pairs.map(gap).collect()
}

/// Fails unless the gaps fill the range from 75 % to 100 % of an interval and do not leave it.
fn have_jitter(gaps: &[Duration], interval: Duration) -> Result<()> {
    let (least, longest) = (gaps.iter().min(), gaps.iter().max());
    let (least, longest) = (*least.context("none")?, *longest.context("none")?);
    println!(
        "{} gaps of {interval:?}: {least:?} to {longest:?}",
        gaps.len()
    );
    let slack = Duration::from_micros(1);
    ensure!(least + slack >= interval * 3 / 4, "{least:?} is too short");
    ensure!(longest <= interval + slack, "{longest:?} is too long");
    ensure!(longest - least >= interval / 20, "all are alike");
    Ok(())
}

pub(crate) fn packets_leave_slowly_at_first_and_with_jitter() -> Result<()> {
    let bed = Bed::new(Family::V4)?;
    let capture = Capture::start(bed.far())?;
    let [own, frr] = Family::V4.addresses();
    let near = Near::start(&bed, 0x00bf_d001, config(100, 100, 20)?)?;
    // FRR has no session yet.
    near.wait("eight packets", |log| (log.sent.len() >= 8).then_some(()))?;
    have_jitter(&gaps(&near.log(), State::Down), ms(1000))?;
    let slow = capture.from(own);
    ensure!(slow.len() >= 7, "{} packets on the link", slow.len());
    for captured in &slow {
        let interval = captured.packet.desired_min_tx;
        ensure!(interval == Interval::from_millis(1000), "{captured:?}");
    }
    bed.frr_peer(100, 100, 10)?;
    wait_until_up(&bed, &near)?;
    let sent = near.log().sent.len();
    near.wait("60 packets", |log| {
        (log.sent.len() >= sent + 60).then_some(())
    })?;
    let log = near.log();
    have_jitter(&gaps(&log, State::Up), ms(100))?;
    // The same on the link, in the middle: single packets wait for the processor on a busy machine.
    for address in [own, frr] {
        let up: Vec<_> = capture.from(address);
        let up = up
            .iter()
            .filter(|it| it.packet.state == State::Up && !it.packet.is_final);
        let times: Vec<Duration> = up.map(|it| it.at).collect();
        let mut gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort();
        let middle = *gaps.get(gaps.len() / 2).context("no packets")?;
        println!(
            "{address}: {} gaps on the link, middle {middle:?}",
            gaps.len()
        );
        ensure!(middle > ms(70) && middle < ms(110), "{address}: {middle:?}");
    }
    Ok(())
}

/// A packet that says Down, with the right discriminators, from the neighbour's own address.
pub(crate) fn packets_from_afar_are_refused() -> Result<()> {
    let (bed, near) = up(Family::V4)?;
    let changes = near.log().changes.len();
    let session = near.session()?;
    let forged = |your: u32| Packet {
        diagnostic: Diagnostic::NONE,
        state: State::Down,
        is_poll: false,
        is_final: false,
        is_control_plane_independent: false,
        is_demand: false,
        detect_multiplier: NonZeroU8::MIN,
        my_discriminator: NonZeroU32::MIN,
        your_discriminator: NonZeroU32::new(your),
        desired_min_tx: Interval::from_millis(100),
        required_min_rx: Interval::from_millis(100),
        required_min_echo_rx: Interval::ZERO,
    };
    let send = |ttl: i32, your: u32| -> Result<()> {
        let [own, frr] = Family::V4.addresses();
        let packet = bfd::encode(&forged(your));
        Netns::open(bed.far())?.run(|| -> Result<()> {
            let socket = UdpSocket::bind(SocketAddr::new(frr, 0))?;
            setsockopt(&socket, sockopt::Ipv4Ttl, &ttl)?;
            socket.send_to(&packet, SocketAddr::new(own, bfd::PORT))?;
            Ok(())
        })?
    };
    let own = session.discriminator().get();
    send(254, own)?;
    send(64, 0)?;
    send(255, own + 1)?;
    near.wait("three are refused", |log| (log.refused == 3).then_some(()))?;
    let log_changes = near.log().changes.len();
    ensure!(log_changes == changes, "a forged packet had an effect");
    // The same packet from the link is taken: the test would notice one.
    send(255, own)?;
    let seen = near.change(changes)?;
    ensure!(seen.change.to == State::Down, "{seen:?}");
    eventually("FRR brings it up again", PATIENCE, || {
        ensure!(near.session()?.state() == State::Up, "not yet");
        Ok(())
    })
}
