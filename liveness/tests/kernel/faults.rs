//! Faults of the link, stops of a detector, hostile neighbours.

use std::net::{IpAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dataplane::netns::{self, Netns};
use e2e::eventually;
use linkstate::Reason;
use nix::sys::socket::{setsockopt, sockopt};

use crate::bed::Family;
use crate::ends::{ALIVE, End, PATIENCE, World, ip, mac};

const SILENCE: [Option<Reason>; 2] = [Some(Reason::Silence), None];

pub(crate) fn silent_cut(family: Family) -> Result<()> {
    let world = World::new(family)?;
    let ends = world.both()?;
    world.cut(0)?;
    world.cut(1)?;
    for end in &ends {
        end.wait_for(SILENCE)?;
    }
    world.heal(0)?;
    world.heal(1)?;
    for end in &ends {
        end.wait_for(ALIVE)?;
        end.wait_until_up()?;
    }
    Ok(())
}

pub(crate) fn one_way_cut(family: Family) -> Result<()> {
    let world = World::new(family)?;
    let [a, b] = world.both()?;
    world.cut(1)?;
    b.wait_for(SILENCE)?;
    a.wait_for([None, Some(Reason::PeerSilence)])?;
    world.heal(1)?;
    a.wait_for(ALIVE)?;
    b.wait_for(ALIVE)
}

/// The other end hears of the stop, and believes no silence after it.
pub(crate) fn planned_stop(family: Family) -> Result<()> {
    let world = World::new(family)?;
    let [a, b] = world.both()?;
    b.detector.stop();
    eventually("the stop was heard", PATIENCE, || {
        let seen = a.detector.statistics().get();
        ensure!(seen.up == 0, "{seen:?}");
        Ok(())
    })?;
    // Many detection times.
    sleep(Duration::from_secs(2));
    ensure!(a.log.doubts() == 0, "{:?}", a.log.reasons());
    let again = End::start(&world.names[1], family, false)?;
    again.wait_until_up()?;
    a.wait_until_up()?;
    ensure!(a.log.doubts() == 0, "{:?}", a.log.reasons());
    // Watched as before.
    world.cut(0)?;
    a.wait_for(SILENCE)
}

pub(crate) fn made_anew(family: Family) -> Result<()> {
    let world = World::new(family)?;
    let ends = world.both()?;
    ip(&format!("-n {} link del v0", world.names[0]))?;
    world.make_link()?;
    let before = ends
        .each_ref()
        .map(|end| end.detector.statistics().get().received);
    for end in &ends {
        end.watch(1);
    }
    for (end, before) in ends.iter().zip(before) {
        eventually("packets over the new interface", PATIENCE, || {
            let seen = end.detector.statistics().get();
            ensure!(seen.up == 1 && seen.received > before + 20, "{seen:?}");
            Ok(())
        })?;
        ensure!(end.log.reasons() == ALIVE);
    }
    Ok(())
}

/// A pod fills the port with datagrams from its own interface.
pub(crate) fn flood(family: Family) -> Result<()> {
    let world = World::new(family)?;
    let ends = world.both()?;
    let pod = format!("{}-pod", world.names[0]);
    netns::create(&pod)?;
    let flooded = flood_from(&pod, &world);
    let _ = netns::delete(&pod);
    let count = flooded?;
    let seen = ends[0].detector.statistics().get();
    ensure!(count > 1_000, "{count} datagrams are no flood");
    ensure!(ends[0].log.doubts() == 0, "{:?}", ends[0].log.reasons());
    ensure!(seen.refused == 0 && seen.up == 1, "of {count}: {seen:?}");
    Ok(())
}

fn flood_from(pod: &str, world: &World) -> Result<u64> {
    let (target, length) = match world.family {
        Family::V4 => ("10.99.9.9", 24),
        Family::V6 => ("fd00:99:9::9", 64),
    };
    ip(&format!(
        "-n {pod} link add eth0 type veth peer name pod netns {}",
        world.names[0]
    ))?;
    ip(&format!(
        "-n {pod} addr add {target}/{length} dev eth0 nodad"
    ))?;
    ip(&format!("-n {pod} link set eth0 up"))?;
    ip(&format!("-n {} link set pod up", world.names[0]))?;
    ip(&format!(
        "-n {} addr add {}/{length} dev pod nodad",
        world.names[0],
        gateway(world.family)
    ))?;
    ip(&format!(
        "-n {pod} route add {} via {}",
        world.address(0),
        gateway(world.family)
    ))?;
    let address = world.address(0);
    send_for_a_while(pod, target.parse()?, address, 255)
}

/// Sends datagrams for some detection times; their number.
fn send_for_a_while(netns: &str, from: IpAddr, to: IpAddr, ttl: i32) -> Result<u64> {
    Netns::open(netns)?.run(|| -> Result<u64> {
        let socket = UdpSocket::bind((from, 0))?;
        match to {
            IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Ttl, &ttl)?,
            IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6Ttl, &ttl)?,
        }
        let (started, mut count) = (Instant::now(), 0);
        while started.elapsed() < Duration::from_secs(2) {
            count += u64::from(socket.send_to(&[0x20; 24], (to, bfd::PORT)).is_ok());
        }
        Ok(count)
    })?
}

/// Packets of pods behind a neighbour arrive over the link, forwarded: their TTL is below 255.
pub(crate) fn forwarded_flood(family: Family) -> Result<()> {
    let world = World::new(family)?;
    let ends = world.both()?;
    let (netns, own, target) = (&world.names[1], world.address(1), world.address(0));
    let [.., last] = mac(true);
    ip(&format!(
        "-n {netns} neigh add {target} lladdr 02:00:00:00:09:0{last} dev v0"
    ))?;
    ip(&format!("-n {netns} route add {target} dev v0"))?;
    let count = send_for_a_while(netns, own, target, 254)?;
    let seen = ends[0].detector.statistics().get();
    ensure!(count > 1_000, "{count} datagrams are no flood");
    ensure!(ends[0].log.doubts() == 0, "{:?}", ends[0].log.reasons());
    ensure!(seen.refused == 0 && seen.up == 1, "of {count}: {seen:?}");
    // The same without a router in between is read: the test would notice one.
    send_for_a_while(netns, own, target, 255)?;
    eventually("what was not forwarded is read", PATIENCE, || {
        let seen = ends[0].detector.statistics().get();
        ensure!(seen.refused > 0, "{seen:?}");
        Ok(())
    })
}

fn gateway(family: Family) -> &'static str {
    match family {
        Family::V4 => "10.99.9.1",
        Family::V6 => "fd00:99:9::1",
    }
}

/// A namespace that is deleted while its links are watched is gone, and its links with it; a new one of its name is watched.
pub(crate) fn deleted_namespace(family: Family) -> Result<()> {
    let world = World::new(family)?;
    let ends = world.both()?;
    netns::delete(&world.names[0])?;
    eventually("the link is gone", PATIENCE, || {
        let links = world.links(1)?;
        ensure!(!links.contains("v0"), "{links}");
        Ok(())
    })?;
    world.make_namespace(0)?;
    world.make_link()?;
    ends[1].watch(1);
    for end in &ends {
        end.wait_until_up()?;
    }
    Ok(())
}

/// Descriptors are closed with the detector.
pub(crate) fn nothing_is_left() -> Result<()> {
    let world = World::new(Family::V6)?;
    let ends = world.both()?;
    let inodes = |netns: &str| -> Result<usize> {
        let sockets = std::process::Command::new("ip")
            .args([
                "netns",
                "exec",
                netns,
                "cat",
                "/proc/net/udp6",
                "/proc/net/packet",
            ])
            .output()?;
        let text = String::from_utf8(sockets.stdout)?;
        Ok(text
            .lines()
            .filter(|line| !line.contains("sk ") && !line.contains("sl "))
            .count())
    };
    for netns in &world.names {
        ensure!(inodes(netns)? == 2, "{}", inodes(netns)?);
    }
    // A namespace that is watched no longer, and a detector that ends.
    ends[0].detector.retain(|_| false);
    ends[1].detector.stop();
    for netns in &world.names {
        eventually("no socket is left", PATIENCE, || {
            let left = inodes(netns)?;
            ensure!(left == 0, "{left}");
            Ok(())
        })?;
    }
    Ok(())
}
