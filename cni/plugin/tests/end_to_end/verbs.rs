//! Promises of each verb about a pod without failures.

use std::process::Command;

use serde_json::{Value, json};

use crate::lab::{Lab, ip, run};

const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

pub(crate) fn attaches_checks_and_detaches_in_every_version() {
    for version in VERSIONS {
        let lab = Lab::new();
        let before = lab.census();
        let result = lab.call("ADD", &lab.config(version)).succeeds().json();
        assert_eq!(result, expected(&lab, version), "{version}");
        assert!(lab.has_interface("eth0"));

        let checked = lab.call(
            "CHECK",
            &lab.config_with(version, "prevResult", result.clone()),
        );
        match version {
            "0.3.1" => drop(checked.fails_with(1)),
            _ => drop(checked.says_nothing()),
        }
        lab.call("ADD", &lab.config(version)).fails_with(101);
        assert!(
            lab.has_interface("eth0"),
            "a second ADD leaves the first alone"
        );

        lab.call("DEL", &lab.config_with(version, "prevResult", result))
            .says_nothing();
        assert_eq!(lab.census(), before, "{version}");
        lab.call("DEL", &lab.config(version)).says_nothing();
        lab.wait_until_released();
    }
}

fn expected(lab: &Lab, version: &str) -> Value {
    let mut result = json!({
        "cniVersion": version,
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:01:02", "sandbox": lab.sandbox()}],
        "ips": [
            {"address": "10.80.1.2/32", "gateway": "169.254.1.1", "interface": 0},
            {"address": "fd00:80:0:1::2/128", "gateway": "fe80::1", "interface": 0},
        ],
        "routes": [
            {"dst": "10.80.0.0/16", "gw": "169.254.1.1"},
            {"dst": "fd00:80::/48", "gw": "fe80::1"},
        ],
    });
    match version {
        "0.3.1" | "0.4.0" => {
            result["ips"][0]["version"] = "4".into();
            result["ips"][1]["version"] = "6".into();
        }
        "1.1.0" => result["interfaces"][0]["mtu"] = 1400.into(),
        _ => {}
    }
    result
}

pub(crate) fn pod_and_forwarder_reach_each_other() {
    let lab = Lab::new();
    lab.call("ADD", &lab.config("1.1.0")).succeeds();
    let pings = [
        (&lab.pod, "10.80.1.1"),
        (&lab.pod, "fd00:80:0:1::1"),
        (&lab.forwarder, "10.80.1.2"),
        (&lab.forwarder, "fd00:80:0:1::2"),
    ];
    for (from, to) in pings {
        let ping = Command::new("ip")
            .args(["netns", "exec", from, "ping", "-c1", "-W2", "-q", to])
            .output()
            .unwrap();
        assert!(ping.status.success(), "{from} to {to}: {ping:?}");
    }
    let link = ip(&lab.forwarder, "-d -o link show dev app000000000002");
    assert!(
        link.contains("mtu 1400") && link.contains("beemesh:iot/sensors/Container-1"),
        "{link}"
    );
    let request = format!("{:?}", lab.agent().state().requests[0]);
    for fact in [
        "plant",
        "sensor-0",
        "beemesh.io/topologies",
        "chained: false",
    ] {
        assert!(request.contains(fact), "{request}");
    }
}

fn previous(lab: &Lab) -> Value {
    json!({
        "cniVersion": "1.1.0", "x-unknown": {"kept": [1, null, "two"]},
        "interfaces": [
            {"name": "veth0", "mac": "02:00:00:00:00:01", "pciID": "0000:00"},
            {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": lab.sandbox(), "socketPath": "/s"},
        ],
        "ips": [{"address": "10.244.0.7/24", "gateway": "10.244.0.1", "interface": 1}],
        "routes": [{"dst": "0.0.0.0/0", "mtu": 1400, "priority": 7, "table": 254}],
        "dns": {"nameservers": ["10.96.0.10"], "options": ["ndots:5"]},
    })
}

pub(crate) fn chained_results_keep_all_that_they_came_with() {
    let lab = Lab::new();
    let before = previous(&lab);
    let config = lab.config_with("1.1.0", "prevResult", before.clone());
    let result = lab.call("ADD", &config).succeeds().json();
    for key in ["x-unknown", "dns"] {
        assert_eq!(result[key], before[key], "{key}");
    }
    // Other plugins take all addresses of a result for those of their interface.
    assert_eq!(result["ips"], before["ips"]);
    for (key, count) in [("interfaces", 2), ("routes", 1)] {
        let kept = &result[key].as_array().unwrap()[..count];
        assert_eq!(kept, before[key].as_array().unwrap(), "{key}");
    }
    assert_eq!(result["interfaces"][2]["name"], "bm-iot");
    lab.call("CHECK", &lab.config_with("1.1.0", "prevResult", result))
        .says_nothing();
}

pub(crate) fn detaching_a_chained_pod_leaves_the_other_interface() {
    let lab = Lab::new();
    ip(&lab.pod, "link add eth0 type veth peer name peer0");
    let before = lab.census();
    let config = lab.config_with("0.3.1", "prevResult", previous(&lab));
    lab.call("ADD", &config).succeeds();
    assert!(lab.has_interface("bm-iot"));
    // Runtimes of 0.3.1 do not hand prevResult to DEL.
    lab.call("DEL", &lab.config("0.3.1")).says_nothing();
    assert_eq!(lab.census(), before);
}

pub(crate) fn pods_of_nobody_pass_when_chained_and_fail_alone() {
    let lab = Lab::new();
    ip(&lab.pod, "link add eth0 type veth peer name peer0");
    lab.agent().state().topologies.clear();
    let before = lab.census();
    lab.call("ADD", &lab.config("1.1.0")).fails_with(100);
    let config = lab.config_with("1.1.0", "prevResult", previous(&lab));
    assert_eq!(lab.call("ADD", &config).succeeds().json(), previous(&lab));
    lab.call("CHECK", &config).says_nothing();
    lab.call("DEL", &config).says_nothing();
    assert_eq!(lab.census(), before);
}

pub(crate) fn several_topologies_are_attached_and_detached_together() {
    let lab = Lab::new();
    lab.agent().state().topologies = vec!["iot", "hpc"];
    let before = lab.census();
    let config = lab.config_with("1.1.0", "prevResult", previous(&lab));
    // Both lead to the same prefixes here: the second must fail, and take the first with it.
    lab.call("ADD", &config).fails_with(105);
    assert_eq!(lab.census(), before);
    assert!(lab.agent().state().leases.is_empty());
}

pub(crate) fn check_names_each_difference() {
    #[rustfmt::skip]
    let cases = [
        // done to                what                                              named
        ("pod",       "link set eth0 down",                                      "eth0 is down"),
        ("pod",       "addr del 10.80.1.2/32 dev eth0",                          "lacks address 10.80.1.2/32"),
        ("pod",       "route del 10.80.0.0/16",                                  "no route to 10.80.0.0/16"),
        ("pod",       "link set eth0 address 02:00:00:00:00:99",                 "02:00:00:00:00:99"),
        ("pod",       "link set eth0 mtu 9000",                                  "mtu 9000"),
        ("pod",       "link del eth0",                                           "no interface eth0"),
        ("forwarder", "route del 10.80.1.2/32",                                  "no route to 10.80.1.2/32"),
        ("forwarder", "link set app000000000002 down",                           "app000000000002 is down"),
    ];
    for (side, command, named) in cases {
        let lab = Lab::new();
        let result = lab.call("ADD", &lab.config("1.0.0")).succeeds().json();
        let config = lab.config_with("1.0.0", "prevResult", result);
        lab.call("CHECK", &config).says_nothing();
        ip(
            if side == "pod" {
                &lab.pod
            } else {
                &lab.forwarder
            },
            command,
        );
        let error = lab.call("CHECK", &config).fails_with(104);
        assert!(
            error["details"].as_str().unwrap().contains(named),
            "{command}: {error}"
        );
    }

    let lab = Lab::new();
    let result = lab.call("ADD", &lab.config("1.1.0")).succeeds().json();
    let altered = [
        ("/ips/0/address", json!("10.80.1.9/32"), "10.80.1.9/32"),
        (
            "/interfaces/0/mac",
            json!("02:00:00:00:00:99"),
            "02:00:00:00:00:99",
        ),
        ("/interfaces/0/name", json!("eth7"), "no interface eth0"),
    ];
    for (pointer, value, named) in altered {
        let mut previous = result.clone();
        *previous.pointer_mut(pointer).unwrap() = value;
        let config = lab.config_with("1.1.0", "prevResult", previous);
        let error = lab.call("CHECK", &config).fails_with(104);
        assert!(
            error["details"].as_str().unwrap().contains(named),
            "{pointer}: {error}"
        );
    }
    for previous in [Value::Null, json!(7), json!([])] {
        lab.call("CHECK", &lab.config_with("1.1.0", "prevResult", previous))
            .fails_with(7);
    }
    lab.agent().state().leases.clear();
    let error = lab
        .call("CHECK", &lab.config_with("1.1.0", "prevResult", result))
        .fails_with(104);
    assert!(
        error["details"]
            .as_str()
            .unwrap()
            .contains("without a lease"),
        "{error}"
    );
}

pub(crate) fn check_tolerates_what_later_plugins_add() {
    let lab = Lab::new();
    let mut result = lab.call("ADD", &lab.config("1.1.0")).succeeds().json();
    result["interfaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "lo2", "sandbox": "/x"}));
    result["dns"] = json!({"domain": "plant"});
    ip(&lab.pod, "link set eth0 mtu 1300");
    ip(&lab.pod, "addr add 192.168.9.9/24 dev eth0");
    // Flushed with another MAC address; found again, as the Forwarder answers.
    ip(&lab.pod, "neigh del 169.254.1.1 dev eth0");
    ip(&lab.forwarder, "neigh flush dev app000000000002");
    lab.call("CHECK", &lab.config_with("1.1.0", "prevResult", result))
        .says_nothing();
}

pub(crate) fn detaching_succeeds_whatever_is_missing() {
    let lab = Lab::new();
    let before = lab.census();
    let configs = [
        lab.config("0.3.1"),
        lab.config_with("1.1.0", "prevResult", json!({})),
        lab.config_with("1.1.0", "prevResult", json!("garbage")),
        lab.config_with("1.1.0", "prevResult", json!([[[7]]])),
        lab.config_with("1.1.0", "args", json!({"cni": {"labels": 7}})),
        lab.config_with("1.1.0", "runtimeConfig", json!([])),
        lab.config_with("1.1.0", "ipam", json!({"type": "host-local"})),
        lab.config_with("1.1.0", "dns", json!("none")),
    ];
    for config in &configs {
        for netns in [
            lab.sandbox(),
            String::new(),
            "/run/netns/bmcni-absent".into(),
            "/".into(),
        ] {
            let mut command = lab.command("DEL");
            command.env("CNI_NETNS", netns).env("CNI_ARGS", "nonsense");
            run(command, config.to_string().as_bytes()).says_nothing();
        }
        let mut command = lab.command("DEL");
        command.env_remove("CNI_NETNS");
        run(command, config.to_string().as_bytes()).says_nothing();
    }
    assert_eq!(lab.census(), before);
    lab.wait_until_released();

    // The namespace goes first, as when a container crashes: the node frees the lease all the same.
    lab.call("ADD", &lab.config("1.1.0")).succeeds();
    dataplane::netns::delete(&lab.pod).unwrap();
    lab.call("DEL", &lab.config("1.1.0")).says_nothing();
    lab.wait_until_released();
}

pub(crate) fn ipv6_is_enabled_where_the_runtime_disabled_it() {
    let lab = Lab::new();
    let disable = [
        "netns",
        "exec",
        &lab.pod,
        "sysctl",
        "-qw",
        "net.ipv6.conf.default.disable_ipv6=1",
    ];
    assert!(Command::new("ip").args(disable).status().unwrap().success());
    let result = lab.call("ADD", &lab.config("1.1.0")).succeeds().json();
    lab.call("CHECK", &lab.config_with("1.1.0", "prevResult", result))
        .says_nothing();
}
