//! Links, routes and what happens to them.

use std::fs;
use std::net::IpAddr;

use crate::traffic::Traffic;
use crate::world::{World, output, run, wait_for};

pub(crate) mod stops;

const DUAL: &str = "  addressing: {cidrs: [10.80.0.0/16, \"fd00:80::/48\"]}\n";

/// A triangle of Forwarders on these nodes, with an App of which any pod is an instance.
pub(crate) fn triangle(nodes: [&str; 3]) -> String {
    let [a, b, c] = nodes;
    format!(
        "{DUAL}  forwarders: [{{name: f1, node: {a}}}, {{name: f2, node: {b}}}, {{name: f3, node: {c}}}]\n\
         \x20 shape: Ring\n  apps: [{{name: a, podSelector: {{matchLabels: {{app: a}}}}}}]\n"
    )
}

pub(crate) fn on(forwarder: &str) -> String {
    format!("app=a beemesh.io/forwarder={forwarder}")
}

/// One pod on f1 and one on f2, each reaching the other over both families.
pub(crate) fn two_pods(world: &World, nodes: [&str; 2]) -> [IpAddr; 2] {
    let one = world.add_pod(nodes[0], "p1", &on("f1"));
    let two = world.add_pod(nodes[1], "p2", &on("f2"));
    assert_eq!((one.len(), two.len()), (2, 2));
    for (pod, addresses) in [("p1", &two), ("p2", &one)] {
        for address in addresses {
            assert!(world.reaches(pod, *address), "{pod} to {address}");
        }
    }
    [one[0], two[0]]
}

pub(crate) fn forwarders_of_one_host_are_linked_by_veth() {
    let mut world = World::new(1);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1"; 3]));
    world.start_all();
    world.wait_until_ready(&tag);
    two_pods(&world, ["n1", "n1"]);
    let status = world.status(&tag, "f1");
    assert_eq!(status.netns, world.forwarder_netns("f1"));
    assert_eq!((status.epoch.len(), status.digest.len()), (16, 16));
    wait_for("the pod is reported", || {
        world
            .status(&tag, "f1")
            .attachments
            .first()
            .is_some_and(|pod| pod.key == "p1/eth0")
    });
}

pub(crate) fn forwarders_of_two_hosts_are_linked_by_vxlan() {
    let mut world = World::new(2);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1", "n2", "n2"]));
    world.start_all();
    world.wait_until_ready(&tag);
    two_pods(&world, ["n1", "n2"]);
    let link = run(&format!(
        "ip -d -n {} link show l-f2",
        world.forwarder_netns("f1")
    ));
    assert!(
        link.contains("vxlan id") && link.contains("mtu 1450"),
        "{link}"
    );
}

pub(crate) fn a_daemon_with_the_rights_of_a_cluster_does_all_of_it() {
    let mut world = World::new(2);
    world.is_confined = true;
    // What is seen in time is what the kernel tells, not what a timer finds.
    world.resync_seconds = 600;
    let tag = world.tag.clone();
    // A pair of one host, and tunnels.
    world.declare(&tag, &triangle(["n1", "n2", "n1"]));
    world.start_all();
    world.wait_until_ready(&tag);
    let process = world.process("n1");
    let status = run(&format!("cat /proc/{process}/status"));
    let kept = node::host::capabilities::KEPT.iter();
    let kept = kept.fold(0, |all, (capability, _)| all | capability.bitmask());
    assert!(
        status.contains(&format!("CapPrm:\t{kept:016x}")),
        "{status}"
    );
    let [_, address] = two_pods(&world, ["n1", "n2"]);
    assert!(world.reaches("p1", address));
    // Made again, taken away, adopted by the next daemon.
    let f1 = world.forwarder_netns("f1");
    run(&format!("ip -n {f1} link delete l-f2"));
    let show = format!("ip -n {f1} link show l-f2");
    wait_for("made again", || {
        let is_there = output(&show).status.success();
        is_there && world.status(&tag, "f1").links.up == 2 && world.reaches("p1", address)
    });
    world.kill("n1");
    world.start("n1");
    world.wait_until_ready(&tag);
    for (node, pod, forwarder) in [("n1", "p1", "f1"), ("n2", "p2", "f2")] {
        let (is_done, output) = world.cni("DEL", node, pod, &on(forwarder));
        assert!(is_done, "{output}");
    }
    world.remove_all();
    wait_for("gone", || {
        !std::path::Path::new("/run/netns").join(&f1).exists()
    });
}

pub(crate) fn traffic_goes_around_a_link_that_falls_and_comes_back() {
    for nodes in [["n1", "n1", "n1"], ["n1", "n2", "n2"]] {
        let mut world = World::new(2);
        let tag = world.tag.clone();
        world.declare(&tag, &triangle(nodes));
        world.start_all();
        world.wait_until_ready(&tag);
        let [source, address] = two_pods(&world, [nodes[0], nodes[1]]);
        let (f1, f2) = (world.forwarder_netns("f1"), world.forwarder_netns("f2"));

        run(&format!("ip -n {f1} link set l-f2 down"));
        wait_for("both ends know", || {
            ["f1", "f2"]
                .iter()
                .all(|name| world.status(&tag, name).links.up == 1)
        });
        assert!(world.reaches("p1", address), "around");
        let traffic = Traffic::start(&world.netns("p1"), address);
        for (netns, other) in [(&f1, address), (&f2, source)] {
            let route = run(&format!("ip -n {netns} route get {other}"));
            assert!(route.contains("dev l-f3 "), "{route}");
        }
        let state = &world.status(&tag, "f1").link_states[0];
        assert_eq!(
            (state.up, state.reason.as_str()),
            (false, "administratively down")
        );

        run(&format!("ip -n {f1} link set l-f2 up"));
        world.wait_until_ready(&tag);
        assert!(world.reaches("p1", address), "straight again");
        traffic.wait_for_more();
        assert_eq!(traffic.end(), 0, "healing loses no packet");
        let route = run(&format!("ip -n {f1} route get {address}"));
        assert!(route.contains("dev l-f2 "), "{route}");
    }
}

pub(crate) fn a_link_that_was_taken_down_by_hand_is_left_down_and_told() {
    let mut world = World::new(1);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1"; 3]));
    world.start_all();
    world.wait_until_ready(&tag);
    let f1 = world.forwarder_netns("f1");
    run(&format!("ip -n {f1} link set l-f2 down"));
    wait_for("it is told", || world.status(&tag, "f1").links.up == 1);
    world.kill("n1");
    world.start("n1");
    let before = world.rounds("n1").len();
    wait_for("two looks at everything", || {
        world.rounds("n1").len() >= before + 2
    });
    assert!(run(&format!("ip -n {f1} link show l-f2")).contains("state DOWN"));
    wait_for("it is told again", || {
        let states = world.status(&tag, "f1").link_states;
        states
            .first()
            .is_some_and(|state| state.reason == "administratively down")
    });
}

pub(crate) fn kill_and_restart_adopts_without_a_write_or_a_lost_packet() {
    let mut world = World::new(2);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1", "n2", "n1"]));
    world.start_all();
    world.wait_until_ready(&tag);
    let [_, address] = two_pods(&world, ["n1", "n2"]);
    let traffic = Traffic::start(&world.netns("p1"), address);
    for node in ["n1", "n2"] {
        world.kill(node);
        let before = world.rounds(node).len();
        world.start(node);
        // The start, and two looks at everything after it: the steady state.
        wait_for("three rounds", || world.rounds(node).len() >= before + 3);
        assert_eq!(
            world.rounds(node)[before..before + 3],
            [0, 0, 0],
            "{}",
            world.log(node)
        );
    }
    traffic.wait_for_more();
    assert_eq!(traffic.end(), 0, "packets were lost");
}

pub(crate) fn a_cut_is_gone_around_also_where_only_the_other_end_knows() {
    let mut world = World::new(2);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1", "n2", "n2"]));
    world.start_all();
    world.wait_until_ready(&tag);
    let [source, _] = two_pods(&world, ["n1", "n2"]);
    let traffic = Traffic::start(&world.netns("p2"), source);
    // The tunnel's end at f2 stays up: only f1's node can tell f2's that the link is dead.
    run(&format!(
        "ip -n {} link set l-f2 down",
        world.forwarder_netns("f1")
    ));
    wait_for("around", || world.reaches("p2", source));
    traffic.wait_for_more();
    eprintln!("lost around a cut: {} ms", 2 * traffic.end());
}

pub(crate) fn a_daemon_that_is_told_to_end_leaves_the_kernel_as_it_is() {
    let mut world = World::new(1);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1"; 3]));
    world.start_all();
    world.wait_until_ready(&tag);
    two_pods(&world, ["n1", "n1"]);
    let before = world.census();
    assert!(world.terminate("n1"), "it ends in peace");
    assert_eq!(world.census(), before);
    assert!(!world.socket("n1").exists());
}

pub(crate) fn removed_forwarders_leave_nothing_behind() {
    let mut world = World::new(2);
    let tag = world.tag.clone();
    world.start_all();
    let before = world.census();
    world.declare(&tag, &triangle(["n1", "n2", "n2"]));
    world.wait_until_ready(&tag);
    let whole = world.census();

    // One goes: its namespace, and its ends at the others.
    let two = triangle(["n1", "n2", "n2"]).replace(", {name: f3, node: n2}", "");
    world.declare(&tag, &two.replace("Ring", "Line"));
    world.wait_until_ready(&tag);
    let f3 = world.forwarder_netns("f3");
    wait_for("f3 is gone", || !run("ip netns list").contains(&f3));
    wait_for("f1 has one link", || {
        !run(&format!("ip -n {} link show", world.forwarder_netns("f1"))).contains("l-f3")
    });
    // It comes back as it was, and then all go.
    world.declare(&tag, &triangle(["n1", "n2", "n2"]));
    world.wait_until_ready(&tag);
    wait_for("as before", || world.census() == whole);
    world.remove_all();
    wait_for("nothing is left", || world.census() == before);
    let run_dirs = ["n1", "n2"].map(|node| world.run_dir(node).join("link-states"));
    for directory in run_dirs.into_iter().chain([world.objects().join("status")]) {
        wait_for(&format!("{} is empty", directory.display()), || {
            fs::read_dir(&directory).is_ok_and(|mut files| files.next().is_none())
        });
    }
}

pub(crate) fn a_torn_file_stops_no_other_and_deletes_nothing() {
    let mut world = World::new(1);
    let tag = world.tag.clone();
    world.declare(&tag, &triangle(["n1"; 3]));
    world.start_all();
    world.wait_until_ready(&tag);
    let before = world.census();
    world.kill("n1");
    let file = world
        .objects()
        .join("forwarders")
        .join(format!("{tag}.f1.yaml"));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    let rounds = world.rounds("n1").len();
    world.start("n1");
    wait_for("the others", || world.rounds("n1").len() > rounds + 1);
    assert_eq!(world.census(), before);
    assert!(
        world
            .log("n1")
            .contains("object unreadable, last readable version kept")
    );
    fs::write(&file, text).unwrap();
    world.wait_until_ready(&tag);
    two_pods(&world, ["n1", "n1"]);
}

pub(crate) fn two_topologies_with_the_same_addresses_never_meet() {
    let mut world = World::new(2);
    let (one, other) = (world.tag.clone(), format!("{}b", world.tag));
    for topology in [&one, &other] {
        let app = if *topology == one { "a" } else { "b" };
        let spec = triangle(["n1", "n2", "n2"]);
        world.declare(
            topology,
            &spec.replace("{app: a}", &format!("{{app: {app}}}")),
        );
    }
    world.start_all();
    world.wait_until_ready(&one);
    world.wait_until_ready(&other);
    let [_, address] = two_pods(&world, ["n1", "n2"]);
    let twin = world.add_pod("n1", "p3", "app=b beemesh.io/forwarder=f1");
    assert!(
        !world.reaches("p3", address),
        "the other topology has no such pod yet"
    );
    let same = world.add_pod("n2", "p4", "app=b beemesh.io/forwarder=f2");
    assert_eq!(same[0], address, "the same addresses again");
    assert!(world.reaches("p3", same[0]) && world.reaches("p4", twin[0]));
    world.cni("DEL", "n2", "p4", "app=b");
    assert!(!world.reaches("p3", address));
    assert!(world.reaches("p1", address));
}
