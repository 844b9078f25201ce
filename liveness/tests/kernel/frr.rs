//! bfdd of FRR at the other end: the encapsulation is that of RFC 5881.

use std::num::NonZeroU8;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::eventually;
use linkstate::{PathVerdict, Reason};
use liveness::{Detector, Link, Namespace, Path};
use serde_json::json;

use crate::bed::{Bed, Family};
use crate::ends::{Log, PATIENCE};

pub(crate) fn session(family: Family) -> Result<()> {
    let bed = Bed::new(family)?;
    let [own, peer] = family.addresses();
    let log = Arc::new(Log::default());
    let detector = Detector::start(log.clone(), 100)?;
    let path = Path {
        interface: "v0".to_owned(),
        peer_mac: mac(bed.far())?,
        own,
        peer,
        peer_node: "frr".to_owned(),
        interval: Duration::from_millis(100),
        multiplier: NonZeroU8::new(5).context("zero")?,
    };
    let links = vec![Link {
        path,
        earlier: PathVerdict::ALIVE,
    }];
    detector.set(bed.near(), Namespace { links, epoch: 0 });
    bed.frr_peer(100, 100, 5)?;
    bed.wait_for_peer("up at FRR", &[("status", json!("up"))])?;
    eventually("up here", PATIENCE, || {
        let seen = detector.statistics().get();
        ensure!(seen.up == 1, "{seen:?}");
        Ok(())
    })?;
    bed.cut(bed.near())?;
    let wait = |expected| {
        eventually("the verdict", PATIENCE, || {
            let reasons = log.reasons();
            ensure!(reasons == expected, "{reasons:?}");
            Ok(())
        })
    };
    wait([Some(Reason::Silence), None])?;
    bed.wait_for_peer("down at FRR", &[("status", json!("down"))])?;
    bed.heal(bed.near())?;
    wait([None, None])?;
    bed.wait_for_peer("up again at FRR", &[("status", json!("up"))])?;
    detector.stop();
    bed.wait_for_peer(
        "stopped on purpose",
        &[("remote-diagnostic", json!("administratively down"))],
    )
}

/// Link-layer address of `v0`.
fn mac(netns: &str) -> Result<[u8; 6]> {
    let output = Command::new("ip")
        .args(["-n", netns, "-j", "link", "show", "v0"])
        .output()?;
    let links: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let text = links[0]["address"].as_str().context("no address")?;
    dataplane::mac::parse(text).context("not an address")
}
