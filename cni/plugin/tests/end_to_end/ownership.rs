//! Ownership of interfaces, and valid values of `CNI_NETNS`.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::lab::{Answer, Lab, ip, spawn};

/// A call for another container in the namespace of the lab's pod.
fn call_as(lab: &Lab, container: &str, verb: &str, config: &serde_json::Value) -> Answer {
    let mut command = lab.command(verb);
    command.env("CNI_CONTAINERID", container);
    crate::lab::run(command, config.to_string().as_bytes())
}

pub(crate) fn a_late_del_spares_the_interface_of_another_container() {
    for is_chained in [false, true] {
        let lab = Lab::new();
        let mut config = lab.config("1.1.0");
        if is_chained {
            config["prevResult"] = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}]});
        }
        let name = if is_chained { "bm-iot" } else { "eth0" };
        let result = call_as(&lab, "alive", "ADD", &config).succeeds().json();
        call_as(&lab, "gone", "DEL", &config).says_nothing();
        assert!(lab.has_interface(name), "chained {is_chained}");
        assert_eq!(lab.agent().state().leases.len(), 1);
        config["prevResult"] = result;
        call_as(&lab, "alive", "CHECK", &config).says_nothing();
        // It is not the other container's for CHECK either.
        let lease = lab.agent().state().leases.keys().next().unwrap().clone();
        let mut stolen = lab.agent().state().leases.remove(&lease).unwrap();
        stolen.is_confirmed = true;
        let other = cni::node_protocol::Key {
            container_id: "gone".into(),
            ..lease.clone()
        };
        lab.agent().state().leases.insert(other, stolen);
        let error = call_as(&lab, "gone", "CHECK", &config).fails_with(104);
        assert!(
            error["details"]
                .as_str()
                .unwrap()
                .contains("another attachment"),
            "{error}"
        );
    }
}

pub(crate) fn a_path_that_is_no_network_namespace_is_refused_at_once() {
    let lab = Lab::new();
    let before = lab.census();
    let directory = tempfile::TempDir::new().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let (plain, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&plain, "").unwrap();
    symlink(&fifo, &link).unwrap();
    let other = std::path::PathBuf::from("/proc/self/ns/mnt");
    for path in [
        &fifo,
        &link,
        &plain,
        &other,
        &"/".into(),
        &"/dev/null".into(),
    ] {
        for (verb, code) in [("ADD", 4), ("CHECK", 4), ("DEL", 0)] {
            let config = lab.config_with("1.1.0", "prevResult", json!({}));
            let mut command = lab.command(verb);
            command.env("CNI_NETNS", path);
            let mut child = spawn(command, config.to_string().as_bytes());
            let deadline = Instant::now() + Duration::from_secs(60);
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if Instant::now() > deadline {
                    let _ = child.kill();
                    panic!("{verb} of {}: no end", path.display());
                }
                std::thread::sleep(Duration::from_millis(2));
            };
            assert_eq!(status.code(), Some(code), "{verb} of {}", path.display());
        }
    }
    assert_eq!(lab.census(), before);
}

pub(crate) fn wishes_that_cannot_be_granted_are_refused() {
    let lab = Lab::new();
    let before = lab.census();
    #[rustfmt::skip]
    let wishes = [
        ("runtimeConfig", json!({"ips": ["10.80.1.9/32"]}),         "runtimeConfig.ips"),
        ("runtimeConfig", json!({"mac": "02:de:ad:00:00:03"}),      "runtimeConfig.mac"),
        ("args", json!({"cni": {"ips": ["10.80.1.9"]}}),            "args.cni.ips"),
        ("args", json!({"cni": {"mac": "02:de:ad:00:00:03"}}),      "args.cni.mac"),
    ];
    for (key, value, named) in wishes {
        let error = lab
            .call("ADD", &lab.config_with("1.1.0", key, value.clone()))
            .fails_with(2);
        assert!(
            error["details"].as_str().unwrap().contains(named),
            "{error}"
        );
        // What is there must go all the same.
        lab.call("DEL", &lab.config_with("1.1.0", key, value))
            .says_nothing();
    }
    for arguments in ["IgnoreUnknown=1;IP=10.80.1.9", "MAC=02:de:ad:00:00:03"] {
        let mut command = lab.command("ADD");
        command.env("CNI_ARGS", arguments);
        let config = lab.config("1.1.0").to_string();
        crate::lab::run(command, config.as_bytes()).fails_with(2);
    }
    assert_eq!(lab.census(), before);
    // Behind another plugin the wishes of the list are that plugin's; an empty list is no wish.
    let mut config = lab.config_with("1.1.0", "args", json!({"cni": {"ips": ["10.244.0.7"]}}));
    config["prevResult"] = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}]});
    config["runtimeConfig"] = json!({"ips": [], "mac": ""});
    lab.call("ADD", &config).succeeds();
}

pub(crate) fn a_bounced_interface_keeps_its_addresses() {
    let lab = Lab::new();
    lab.call("ADD", &lab.config("1.1.0")).succeeds();
    ip(&lab.pod, "link set eth0 down");
    ip(&lab.pod, "link set eth0 up");
    let addresses = ip(&lab.pod, "-o addr show dev eth0");
    for address in ["10.80.1.2/32", "fd00:80:0:1::2/128"] {
        assert!(addresses.contains(address), "{addresses}");
    }
    // Neighbours are found again without anybody's help; routes are the daemon's to restore.
    ip(
        &lab.pod,
        "route add 10.80.0.0/16 via 169.254.1.1 dev eth0 onlink",
    );
    ip(
        &lab.pod,
        "route add fd00:80::/48 via fe80::1 dev eth0 onlink",
    );
    for to in ["10.80.1.1", "fd00:80:0:1::1"] {
        let ping = Command::new("ip")
            .args(["netns", "exec", &lab.pod, "ping", "-c3", "-W5", "-q", to])
            .output()
            .unwrap();
        assert!(ping.status.success(), "{to}: {ping:?}");
    }
}
