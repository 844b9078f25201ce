//! What liveness and readiness go by in every daemon.

use std::time::Instant;

use ::telemetry::{Check, Probes};

use super::Vitals;

/// Probes of a daemon with this engine, ready when that is and as soon as no check is against it.
pub fn probes(vitals: &Vitals) -> Probes {
    let engine = vitals.clone();
    let probes = Probes::new("engine", move || {
        let silence = engine.silence(Instant::now());
        Check::failed(silence.map(|late| format!("the engine is late by {} s", late.as_secs())))
    });
    let engine = vitals.clone();
    probes.ready_when("desired-state", move || {
        let is_ready = engine.is_ready();
        Check::failed((!is_ready).then(|| "the desired state was not read yet".to_owned()))
    });
    probes
}
