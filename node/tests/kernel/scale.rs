//! As many Forwarders as one machine is to hold. Takes long, so it is run when asked for.

use std::fmt::Write;
use std::time::Instant;

use topology::generate::{Kind, generate};

use crate::world::{World, run, wait_for};

/// Forwarders of the test, each with four links at least: `BEEMESH_SCALE=1000`.
pub(crate) fn size() -> Option<usize> {
    std::env::var("BEEMESH_SCALE").ok()?.parse().ok()
}

pub(crate) fn a_thousand_forwarders_come_up_and_fit_into_memory() {
    let count = size().unwrap_or(1_000);
    let generated = generate(Kind::Random, count, 1);
    let mut spec = "  addressing: {cidrs: [10.0.0.0/8]}\n  forwarders:\n".to_owned();
    for name in &generated.forwarders {
        let _ = writeln!(spec, "  - {{name: {name}, node: n1}}");
    }
    spec.push_str("  links:\n");
    for link in &generated.links {
        let _ = writeln!(
            spec,
            "  - {{a: {}, b: {}, weight: {}}}",
            link.a, link.b, link.weight
        );
    }
    let mut world = World::new(1);
    let tag = world.tag.clone();
    world.start_all();
    wait_for("the daemon", || world.log("n1").contains("desired state"));
    let idle = world.memory("n1");
    world.declare(&tag, &spec);
    let started = Instant::now();
    world.wait_until_ready(&tag);
    let up = started.elapsed();
    eprintln!(
        "{count} forwarders, {} links: up in {up:?}",
        generated.links.len()
    );
    eprintln!("memory in KiB: idle {idle}, now {}", world.memory("n1"));

    let link = &generated.links[0];
    let rounds = world.rounds("n1").len();
    let started = Instant::now();
    let interface = crds::names::link(&link.b, 1);
    run(&format!(
        "ip -n {} link set {interface} down",
        world.forwarder_netns(&link.a)
    ));
    wait_for("everyone is around it", || {
        world.rounds("n1").len() > rounds
    });
    eprintln!(
        "one link down: all routes right after {:?}",
        started.elapsed()
    );

    world.kill("n1");
    let started = Instant::now();
    let rounds = world.rounds("n1").len();
    world.start("n1");
    wait_for("adoption", || world.rounds("n1").len() > rounds);
    eprintln!(
        "adopted in {:?}, memory {}",
        started.elapsed(),
        world.memory("n1")
    );
    assert_eq!(world.rounds("n1")[rounds], 0, "{}", world.log("n1"));
}
