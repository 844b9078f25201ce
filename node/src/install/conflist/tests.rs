use super::*;

pub(in crate::install) const PTP: &str = r#"{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"ptp","mtu":1400},{"type":"portmap"}]}"#;
const PLAIN: &str = r#"{"cniVersion":"0.4.0","name":"lone","type":"bridge","bridge":"br0"}"#;
const BY_HAND: &str =
    r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"ptp"},{"type":"beemesh-cni","x":1}]}"#;
const MULTUS: &str = r#"{"cniVersion":"1.0.0","name":"m","type":"multus-shim"}"#;

pub(in crate::install) fn files(files: &[(&str, &str)]) -> Files {
    let files = files.iter();
    let file = |(name, content): &(&str, &str)| ((*name).into(), Ok(content.as_bytes().to_vec()));
    files.map(file).collect()
}

fn list(text: &str) -> List {
    serde_json::from_str(text).expect("a JSON object")
}

#[test]
fn the_first_in_byte_order_that_is_not_ours_is_the_primary() {
    #[rustfmt::skip]
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[],                                                      "absent"),
        (&[(FILE, PTP)],                                           "absent"),
        (&[("README", "x"), ("10-a.conflist.cilium_bak", PTP)],    "absent"),
        (&[("calico-kubeconfig", "x"), ("10-a.conflist", PTP)],    "10-a.conflist: cbr0"),
        (&[("20-b.conflist", PLAIN), ("10-a.conflist", PTP)],      "10-a.conflist: cbr0"),
        (&[("9-b.conflist", PLAIN), ("10-a.conflist", PTP)],       "10-a.conflist: cbr0"),
        (&[(FILE, PTP), ("10-a.conf", PLAIN)],                     "10-a.conf: lone"),
        (&[("10-a.json", PLAIN), ("20-b.conflist", PTP)],          "10-a.json: lone"),
        (&[(".a.conflist", PTP), ("10-a.conf", PLAIN)],            ".a.conflist: cbr0"),
        (&[("00-a.conflist", PTP), (FILE, PLAIN)],                 "00-a.conflist: cbr0"),
        (&[("A.conflist", PTP), ("a.conflist", PLAIN)],            "A.conflist: cbr0"),
        // What the runtime would stumble over is not passed over.
        (&[("10-a.conflist", ""), ("20-b.conflist", PTP)],         "10-a.conflist: not JSON"),
        (&[("10-a.conflist", "{\"plugins\""), ("20-b", PTP)],      "10-a.conflist: not JSON"),
        (&[("10-a.conflist", "[]")],                               "10-a.conflist: not a JSON object"),
        (&[("10-a.conflist", PLAIN)],                              "10-a.conflist: no plugins"),
        (&[("10-a.conf", PTP)],                                    "10-a.conf: no type"),
        (&[("10-a.conf", r#"{"type":"ptp"}"#)],                    "10-a.conf: no name"),
        (&[("10-a.conf", r#"{"name":"a","type":"ptp"}"#)],         "10-a.conf: cniVersion null"),
        (&[("10-a.conf", r#"{"cniVersion":"0.2.0","name":"a","type":"b"}"#)], "10-a.conf: cniVersion \"0.2.0\""),
        (&[("00-multus.conf", MULTUS), ("10-a.conflist", PTP)],    "00-multus.conf: refused"),
    ];
    for (given, expected) in cases {
        let found = match choose(&files(given)) {
            Primary::Found(file, list) => format!("{file}: {}", list["name"].as_str().unwrap()),
            Primary::Unusable(file, why) => format!("{file}: {why}"),
            Primary::Refused(file, _) => format!("{file}: refused"),
            Primary::Absent => "absent".to_owned(),
        };
        assert!(found.starts_with(expected), "{given:?}: {found}");
    }
}

#[test]
fn what_cannot_be_read_is_not_passed_over() {
    let mut all = files(&[("20-b.conflist", PTP)]);
    all.insert("10-a.conflist".into(), Err("is a pipe".to_owned()));
    let expected = Primary::Unusable("10-a.conflist".to_owned(), "is a pipe".to_owned());
    assert_eq!(choose(&all), expected);
}

#[test]
fn our_plugin_is_appended_and_everything_else_kept() {
    let primary = r#"{"cniVersion":"0.3.1","cniVersions":["0.3.1","1.1.0"],"name":"cbr0","disableCheck":true,
        "plugins":[{"type":"ptp","mtu":1400,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/16"}]]}}]}"#;
    let entry = entry(
        Path::new("/run/beemesh/cni.sock"),
        Path::new("/var/lib/beemesh/cni"),
    );
    let composed: List = serde_json::from_slice(&compose(&list(primary), &entry)).unwrap();
    let mut expected = list(primary);
    let plugins = expected["plugins"].as_array_mut().unwrap();
    plugins.push(json!({
        "type": "beemesh-cni",
        "socket": "/run/beemesh/cni.sock",
        "stateDir": "/var/lib/beemesh/cni",
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
    }));
    assert_eq!(composed, expected);
}

#[test]
fn a_list_that_has_our_plugin_gets_no_second_one() {
    let composed = compose(&list(BY_HAND), &json!({"type": PLUGIN}));
    assert_eq!(
        serde_json::from_slice::<List>(&composed).unwrap(),
        list(BY_HAND)
    );
}

#[test]
fn a_plain_configuration_becomes_a_list_as_libcni_makes_it() {
    let Primary::Found(_, wrapped) = choose(&files(&[("10-a.conf", PLAIN)])) else {
        panic!("it is sound");
    };
    let expected = json!({"cniVersion": "0.4.0", "name": "lone", "plugins": [list(PLAIN)]});
    assert_eq!(Value::Object(wrapped), expected);
}

#[test]
fn only_what_the_runtime_reads_displaces_us() {
    #[rustfmt::skip]
    let cases: &[(&[&str], Option<&str>)] = &[
        (&["10-a.conflist"],                         None),
        (&[FILE, "00-beemesh.conflist.cilium_bak"],  None),
        (&["00-a.conflist", FILE],                   Some("00-a.conflist")),
        (&["00-a.conf"],                             Some("00-a.conf")),
        (&["00-a.conflist.cilium_bak", "00-a.txt"],  None),
        (&["00-Multus.conf", "00-a.conf"],           Some("00-Multus.conf")),
        (&["00-multus.conf"],                        None),
        (&[".hidden.json"],                          Some(".hidden.json")),
    ];
    for (names, expected) in cases {
        let given: Vec<(&str, &str)> = names.iter().map(|name| (*name, PTP)).collect();
        assert_eq!(
            displacing(&files(&given)).as_deref(),
            *expected,
            "{names:?}"
        );
    }
}

#[test]
fn lists_of_others_that_name_us_are_found() {
    let all = files(&[
        (FILE, BY_HAND),
        ("10-a.conflist", BY_HAND),
        ("20-b.conflist", PTP),
    ]);
    assert_eq!(naming_us(&all), ["10-a.conflist"]);
}
