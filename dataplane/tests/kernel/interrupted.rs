//! A process that is killed in the middle of an apply, and the next one that finishes its work.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

use dataplane::{
    Balance, LinuxKernel,
    census::{self, Scope},
    converge, converge_routes, netns, remove,
};

use crate::fixture::{
    Names, Network, Real, Test, Testbed, complete, join, programmed, routes_of_a, wanted,
};

/// Tells a process that it is the one to be killed; its value is the prefix of its names.
const VARIABLE: &str = "BEEMESH_TEST_APPLY";
/// Namespaces in the chain.
const CHAIN: u32 = 24;

pub(crate) fn tests() -> Vec<Test> {
    vec![(
        "killed_at_any_moment_the_next_apply_converges",
        killed_at_any_moment,
    )]
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The process that is killed: says when it begins, then builds.
pub(crate) fn child() {
    let prefix = std::env::var(VARIABLE).expect("checked before");
    println!("begin");
    std::io::stdout().flush().expect("the parent reads");
    let mut kernel = LinuxKernel::new().expect("a kernel");
    build(&mut kernel, &network(&prefix));
}

/// A chain in which `a` has the routes of the triangle.
fn network(prefix: &str) -> Network {
    let mut network = Network::new();
    let name = |suffix: &str| format!("{prefix}{suffix}");
    let a = name("a");
    join(&mut network, &a, &name("b"), 1);
    join(&mut network, &a, &name("c"), 1);
    for number in 0..CHAIN {
        join(
            &mut network,
            &name(&format!("x{number}")),
            &name(&format!("x{}", number + 1)),
            1,
        );
    }
    network
        .values_mut()
        .for_each(|namespace| namespace.balance = Balance::RESILIENT);
    network
}

fn build(kernel: &mut LinuxKernel, network: &Network) {
    let a = network
        .keys()
        .find(|name| name.ends_with("-a"))
        .expect("it is there");
    complete(&converge(kernel, network));
    complete(&converge_routes(kernel, a, &network[a], &routes_of_a(3000)));
}

fn killed_at_any_moment() {
    let scope = |names: &Names| Scope {
        netns_prefix: names.prefix().to_owned(),
        ..Scope::default()
    };
    for delay in (0..60).step_by(4).map(Duration::from_millis) {
        let names = Names::new();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(VARIABLE, names.prefix())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        // Not a wait for something: the moment of the kill is the test's input.
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut bed = Real::new();
        let network = network(names.prefix());
        build(bed.kernel(), &network);
        let a = names.name("a");
        assert_eq!(
            programmed(&bed.observe(&a)),
            wanted(&routes_of_a(3000)),
            "after {delay:?}"
        );
        let again = converge(bed.kernel(), &network);
        assert_eq!(again.writes, 0, "after {delay:?}");
        complete(&again);
        for (netns, namespace) in &network {
            let observed = bed.observe(netns);
            assert!(
                namespace
                    .links
                    .keys()
                    .all(|link| observed.links[link].is_up),
                "{netns}"
            );
        }
        complete(&remove(bed.kernel(), network.into_keys()));
        let left = census::census(&scope(&names)).unwrap();
        assert!(
            left.values().all(|&count| count == 0),
            "{left:?} after {delay:?}"
        );
        assert!(
            !netns::list()
                .unwrap()
                .iter()
                .any(|name| name.starts_with(names.prefix()))
        );
    }
}
