//! Whatever a runtime sends, the parser answers with a request or an error of the table, and what
//! it accepts can be answered in turn.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use cni::config::Config;
use cni::error::Code;
use cni::request::{Container, Failure, Request};
use cni::result;
use cni::version::Version;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Keys that mean something to us or to the crate that reads for us.
const KEYS: [&str; 25] = [
    "cniVersion",
    "name",
    "type",
    "args",
    "cni",
    "labels",
    "key",
    "value",
    "ipam",
    "dns",
    "ipMasq",
    "runtimeConfig",
    "io.kubernetes.cri.pod-annotations",
    "prevResult",
    "interfaces",
    "ips",
    "routes",
    "interface",
    "address",
    "sandbox",
    "socket",
    "stateDir",
    "topology",
    "cni.dev/valid-attachments",
    "cni.dev/attachments",
];

const WORDS: [&str; 16] = [
    "",
    "0.3.1",
    "0.4.0",
    "1.0.0",
    "1.1.0",
    "1.2.0",
    "mesh",
    "beemesh-cni",
    "/run/x.sock",
    "../x",
    "10.80.1.2/32",
    "10.80.1.2/99",
    "fd00::1/128",
    "\u{0}",
    "\u{202e}é",
    "999999999999999999999",
];

const VERBS: [&str; 7] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "NOPE"];

const CASES: u32 = 20_000;

/// Any JSON, made of our words more often than not.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(&WORDS[..]).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let key = proptest::sample::select(&KEYS[..]).prop_map(str::to_owned);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key, inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A configuration that is right but for what `broken` puts in its place.
fn configuration() -> impl Strategy<Value = Value> {
    let key = proptest::sample::select(&KEYS[..]);
    (
        proptest::sample::select(&WORDS[1..5]),
        vec((key, any_json()), 0..4),
    )
        .prop_map(|(version, broken)| {
            let mut value = json!({"cniVersion": version, "name": "mesh", "type": "beemesh-cni",
                "prevResult": {"cniVersion": version, "interfaces": [{"name": "eth0"}]},
                "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]});
            broken
                .into_iter()
                .for_each(|(key, broken)| value[key] = broken);
            value
        })
}

fn environment() -> impl Strategy<Value = HashMap<&'static str, OsString>> {
    let variable = |usual: &'static str| {
        prop_oneof![
            8 => Just(Some(OsString::from(usual))),
            1 => Just(None),
            1 => vec(1_u8.., 0..20).prop_map(|bytes| Some(OsString::from_vec(bytes))),
        ]
    };
    let verb = prop_oneof![
        12 => proptest::sample::select(&VERBS[..]).prop_map(|verb| Some(OsString::from(verb))),
        1 => variable("ADD"),
    ];
    let arguments = variable("IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b");
    let variables = (
        verb,
        variable("c1"),
        variable("/run/netns/a"),
        variable("eth0"),
        arguments,
    );
    variables.prop_map(|(verb, container, netns, ifname, arguments)| {
        let names = [
            "CNI_COMMAND",
            "CNI_CONTAINERID",
            "CNI_NETNS",
            "CNI_IFNAME",
            "CNI_ARGS",
        ];
        let values = [verb, container, netns, ifname, arguments];
        names
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    })
}

/// Parses, and uses whatever came out in every way that the plugin does.
fn exercise(environment: &HashMap<&str, OsString>, stdin: &[u8]) -> Option<Code> {
    let variable = |name: &str| environment.get(name).cloned();
    match Request::parse(variable, || Ok(stdin.to_vec())) {
        Err(Failure { version, error }) => {
            let json: Value = serde_json::from_slice(&error.to_json(version)).unwrap();
            assert_eq!(json["code"], error.code.number());
            assert_eq!(json["cniVersion"], version.as_str());
            Some(error.code)
        }
        Ok(request) => {
            assert!(Version::ALL.contains(&request.version()));
            match request {
                Request::Add(container) | Request::Del(container) | Request::Check(container) => {
                    exercise_container(&container)
                }
                Request::Gc(config) | Request::Status(config) => exercise_config(&config),
                Request::Version { asked } => drop(result::versions(asked)),
            }
            None
        }
    }
}

fn exercise_container(container: &Container) {
    let config = &container.config;
    exercise_config(config);
    let previous = config.prev_result.as_ref();
    if let Ok(passed) = result::added(config.version, previous, &[], "/run/netns/a") {
        // Nothing of a previous result is lost, and nothing but the version changed.
        for (key, value) in previous.and_then(Value::as_object).into_iter().flatten() {
            assert!(key == "cniVersion" || &passed[key] == value, "{key}");
        }
    }
    if let Some(previous) = previous {
        let _ = result::differences(previous, &[attachment()], "/run/netns/a");
        let _ = result::interfaces_in(previous, "/run/netns/a").count();
        let _ = result::added(
            config.version,
            Some(previous),
            &[attachment()],
            "/run/netns/a",
        );
    }
}

fn exercise_config(config: &Config) {
    let _ = (
        config.labels(),
        config.annotations(),
        config.valid_attachments(),
        config.topology(),
    );
    let _ = (config.socket(), config.state_dir(), config.validate());
}

fn attachment() -> cni::node_protocol::Attachment {
    let attachment = json!({"topology": "iot", "app": "a", "forwarder": "f",
        "forwarderNetns": "/run/netns/f", "forwarderInterface": "app0", "podInterface": "eth0",
        "podMac": "02:00:00:00:00:01", "forwarderMac": "02:00:00:00:00:02",
        "addresses": ["10.80.1.2/32"], "gateways": ["169.254.1.1"], "routes": ["10.80.0.0/16"],
        "mtu": 1400, "alias": "beemesh:iot/a/b"});
    serde_json::from_value(attachment).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..Default::default() })]

    #[test]
    fn broken_configurations_are_answered(
        environment in environment(),
        configuration in configuration(),
    ) {
        exercise(&environment, configuration.to_string().as_bytes());
    }

    #[test]
    fn any_json_is_answered(environment in environment(), value in any_json()) {
        exercise(&environment, value.to_string().as_bytes());
    }

    #[test]
    fn messages_of_the_node_are_read_or_refused(value in any_json(), cut in 0_usize..64) {
        let line = json!({"version": 1, "body": value}).to_string().into_bytes();
        let line = &line[..line.len().saturating_sub(cut)];
        let _ = cni::node_protocol::decode::<cni::node_protocol::Request>(line);
        let _ = cni::node_protocol::read::<cni::node_protocol::Reply>(&mut &line[..]);
    }
}

/// One million mutations of a right configuration: bytes flipped, cut, doubled and put in.
#[test]
fn mutated_bytes_are_answered() {
    let right = json!({"cniVersion": "1.1.0", "name": "mesh", "type": "beemesh-cni",
        "args": {"cni": {"labels": [{"key": "a", "value": "b"}]}},
        "prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/run/netns/a"}]}});
    let right = right.to_string().into_bytes();
    let mut environment: HashMap<&str, OsString> = [
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "eth0"),
    ]
    .map(|(name, value)| (name, value.into()))
    .into();
    let mut state = 0x5eed_u64;
    // splitmix64, written out: the cases are the same on every machine.
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % below.max(1) as u64).unwrap()
    };
    let mut codes = HashMap::<Option<Code>, u32>::new();
    for _ in 0..1_000_000 {
        let mut stdin = right.clone();
        for _ in 0..=random(3) {
            let at = random(stdin.len());
            match random(5) {
                0 => stdin[at] ^= 1 << random(8),
                1 => stdin.truncate(at.max(1)),
                2 => stdin.insert(at, b"{}[]\",:0\\\xff"[random(10)]),
                3 => drop(stdin.drain(at..(at + random(9)).min(stdin.len()))),
                _ => stdin.extend_from_within(at..(at + random(40)).min(stdin.len())),
            }
            if stdin.is_empty() {
                break;
            }
        }
        environment.insert("CNI_COMMAND", VERBS[random(VERBS.len())].into());
        *codes.entry(exercise(&environment, &stdin)).or_default() += 1;
    }
    // The mutations reach all the ways out, also the right one.
    for code in [Code::IncompatibleVersion, Code::Decode, Code::InvalidConfig] {
        assert!(codes.contains_key(&Some(code)), "{codes:?}");
    }
    assert!(codes.contains_key(&None), "{codes:?}");
}
