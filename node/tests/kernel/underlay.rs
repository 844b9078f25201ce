//! Tunnels fit into what carries them.

use crate::routing::triangle;
use crate::world::{World, run, wait_for};

/// Waits until both ends of the tunnel of f1 on n1 and f2 on n2 have this MTU.
fn wait_for_mtu(world: &World, expected: u32) {
    for (forwarder, link) in [("f1", "l-f2"), ("f2", "l-f1")] {
        let netns = world.forwarder_netns(forwarder);
        wait_for(&format!("{link} of {forwarder} has {expected}"), || {
            let link = run(&format!("ip -n {netns} link show {link}"));
            link.contains(&format!(" mtu {expected} "))
        });
    }
}

fn ready(world: &mut World) {
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1", "n2", "n2"]));
    world.start_all();
    world.wait_until_ready(&tag);
}

fn set_mtu(world: &World, node: &str, mtu: u32) {
    let netns = world.netns(node);
    run(&format!("ip -n {netns} link set eth0 mtu {mtu}"));
}

pub(crate) fn both_ends_of_a_tunnel_take_the_smaller_mtu_of_their_nodes() {
    let mut world = World::new(2);
    set_mtu(&world, "n1", 9000);
    ready(&mut world);
    wait_for_mtu(&world, 1450);
    set_mtu(&world, "n2", 4000);
    wait_for_mtu(&world, 3950);
    set_mtu(&world, "n1", 2000);
    wait_for_mtu(&world, 1950);
}

pub(crate) fn a_node_address_on_the_loopback_has_the_mtu_of_the_way_to_its_peers() {
    let mut world = World::new(2);
    for (number, peer) in [(1, 2), (2, 1)] {
        let netns = world.netns(&format!("n{number}"));
        let own = format!("192.0.2.{number}");
        run(&format!("ip -n {netns} address del {own}/24 dev eth0"));
        run(&format!("ip -n {netns} address add {own}/32 dev lo"));
        run(&format!(
            "ip -n {netns} address add 198.51.100.{number}/24 dev eth0"
        ));
        let via = format!("192.0.2.{peer}/32 via 198.51.100.{peer} src {own}");
        run(&format!("ip -n {netns} route add {via}"));
    }
    ready(&mut world);
    wait_for_mtu(&world, 1450);
}

pub(crate) fn a_node_address_of_a_point_to_point_link_is_its_own_and_not_the_peers() {
    let mut world = World::new(2);
    for (number, peer) in [(1, 2), (2, 1)] {
        let node = format!("n{number}");
        let netns = world.netns(&node);
        set_mtu(&world, &node, 1400);
        run(&format!("ip -n {netns} address flush dev eth0"));
        let pair = format!("192.0.2.{number} peer 192.0.2.{peer}");
        run(&format!("ip -n {netns} address add {pair} dev eth0"));
    }
    ready(&mut world);
    wait_for_mtu(&world, 1350);
}
