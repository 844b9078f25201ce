//! Memory of a replica that holds large topologies, in bytes of the whole process: the only test of this one.

#[path = "support/replica.rs"]
mod replica;

use std::fs;

use operator::observe::Key;
use serde_json::Value;

use self::replica::{NAMESPACE, cache, line, object, settle};

/// `limits.memory` of the chart.
const CHART: u64 = 512 << 20;

/// A declaration of 0.3 MB: 4,096 namespaces with names of 63 characters, and 230 Forwarders.
fn wide(topology: &str) -> Value {
    let namespace = |number| format!("team-{number:04}-{}", "x".repeat(53));
    let mut wide = line(topology, 230);
    wide["spec"]["allowedNamespaces"] = (0..4_096).map(namespace).collect();
    wide
}

/// A line such as `VmHWM: 1234 kB` of this process, in bytes.
fn of_process(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("there is one");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| {
        line.trim_matches([':', '\t', ' ', 'k', 'B'])
            .parse::<u64>()
            .ok()
    });
    kilobytes.expect("a number") << 10
}

#[test]
fn six_topologies_of_many_namespaces_fit_into_the_memory_of_the_chart() {
    let cache = cache(128);
    for number in 0..6 {
        let topology = format!("t{number}");
        cache.learn_topology(object(wide(&topology)));
        assert_eq!(settle(&cache, &topology), "");
        let key = Key::new(NAMESPACE, &topology);
        assert_eq!(cache.forwarders(&key).len(), 230);
    }
    let (peak, held) = (of_process("VmHWM"), of_process("VmRSS"));
    println!("peak {} MiB, held {} MiB", peak >> 20, held >> 20);
    assert!(peak < CHART / 8, "{} MiB at most", peak >> 20);
    assert!(held < CHART / 8, "{} MiB in the end", held >> 20);
}
