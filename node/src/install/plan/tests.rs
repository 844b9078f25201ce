use serde_json::json;

use super::super::conflist::tests::{PTP, files};
use super::*;

/// Names of files and what they hold.
type Given<'a> = &'a [(&'a str, &'a str)];

const BROKEN: &str = "{";
const MULTUS: &str = r#"{"cniVersion":"1.0.0","name":"m","type":"multus"}"#;

fn composed() -> String {
    let list = serde_json::from_str(PTP).expect("a list");
    String::from_utf8(conflist::compose(&list, &json!({"type": "beemesh-cni"}))).expect("text")
}

fn planned(mode: Mode, is_ready: bool, given: Given<'_>) -> Plan {
    let seen = Seen {
        files: files(given),
        is_binary_current: false,
    };
    let entry = json!({"type": "beemesh-cni"});
    let wanted = Wanted {
        mode,
        is_ready,
        entry,
    };
    plan(&seen, &wanted)
}

fn described(plan: &Plan) -> String {
    let what = match &plan.conflist {
        Conflist::Keep => "keep",
        Conflist::Write(_) => "write",
        Conflist::Remove => "remove",
    };
    let Report {
        missing,
        displaced,
        primary,
    } = &plan.report;
    let told = [
        ("missing", missing),
        ("displaced", displaced),
        ("primary", primary),
    ];
    let told = told.iter().filter(|(_, it)| it.is_some());
    told.fold(what.to_owned(), |text, (name, _)| format!("{text} {name}"))
}

#[test]
fn what_becomes_of_our_list() {
    use Mode::{Binary, Chained, None};
    let ours = &composed();
    let bak = SET_ASIDE;
    #[rustfmt::skip]
    let cases: &[(Mode, bool, Given<'_>, &str)] = &[
        // First start, while not ready, ready, and ever after.
        (Chained, false, &[("10-a.conflist", PTP)],                      "keep missing"),
        (Chained, true,  &[("10-a.conflist", PTP)],                      "write"),
        (Chained, true,  &[("10-a.conflist", PTP), (FILE, ours)],        "keep"),
        (Chained, false, &[("10-a.conflist", PTP), (FILE, ours)],        "keep"),
        // Edited by hand, or the primary changed.
        (Chained, true,  &[("10-a.conflist", PTP), (FILE, "{}")],        "write"),
        (Chained, false, &[("10-a.conflist", PTP), (FILE, "{}")],        "keep"),
        // Renamed, gone.
        (Chained, true,  &[("20-a.conflist", PTP), (FILE, ours)],        "keep"),
        (Chained, true,  &[("10-a.conflist.old", PTP), (FILE, ours)],    "remove missing"),
        (Chained, false, &[(FILE, ours)],                                "remove missing"),
        (Chained, true,  &[],                                            "keep missing"),
        // Half written: what was made before stays.
        (Chained, true,  &[("10-a.conflist", BROKEN), (FILE, ours)],     "keep primary"),
        (Chained, true,  &[("10-a.conflist", BROKEN)],                   "keep missing"),
        (Chained, true,  &[("10-a.conflist", BROKEN), ("20-b.conflist", PTP)], "keep missing"),
        // Others who want to be first.
        (Chained, true,  &[("00-a.conflist", PTP)],                      "write displaced"),
        (Chained, true,  &[("00-a.conflist", PTP), (FILE, ours)],        "keep displaced"),
        (Chained, true,  &[("10-a.conflist", PTP), (bak, ours)],         "write displaced"),
        (Chained, true,  &[("10-a.conflist", PTP), (bak, ours), (FILE, ours)], "keep"),
        (Chained, true,  &[("00-multus.conf", MULTUS), (FILE, ours)],    "remove missing"),
        // Not our way of installing.
        (Binary,  true,  &[("10-a.conflist", PTP)],                      "keep"),
        (Binary,  true,  &[("10-a.conflist", PTP), (FILE, ours)],        "remove"),
        (None,    true,  &[("10-a.conflist", PTP), (FILE, "{}")],        "keep"),
    ];
    for (mode, is_ready, given, expected) in cases {
        let plan = planned(*mode, *is_ready, given);
        assert_eq!(described(&plan), *expected, "{mode:?} {is_ready} {given:?}");
        assert_eq!(plan.writes_binary, *mode != None, "{mode:?}");
    }
}

#[test]
fn a_second_look_finds_nothing_to_do() {
    let Conflist::Write(bytes) = planned(Mode::Chained, true, &[("10-a.conflist", PTP)]).conflist
    else {
        panic!("it is to be written");
    };
    let written = String::from_utf8(bytes).expect("text");
    let again = planned(
        Mode::Chained,
        true,
        &[("10-a.conflist", PTP), (FILE, &written)],
    );
    assert_eq!(again.conflist, Conflist::Keep);
    assert_eq!(again.report, Report::default());
}
