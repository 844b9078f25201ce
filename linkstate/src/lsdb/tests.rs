use alloc::collections::BTreeMap;
use alloc::vec;

use proptest::collection::{btree_map, vec as vec_of};
use proptest::prelude::*;

use super::*;
use crate::evidence::{End, Evidence};
use crate::state::{Reason, State};
use crate::suspicion::{PathVerdict, Suspicion};
use crate::wire::{DecodeError, decode, encode};

fn evidence() -> impl Strategy<Value = Evidence> {
    let states = prop_oneof![
        Just(State::AdminDown),
        Just(State::Down),
        Just(State::Suspect),
        Just(State::Init),
        Just(State::Up)
    ];
    let reasons = prop_oneof![
        Just(Reason::None),
        Just(Reason::NoCarrier),
        Just(Reason::AdminDown),
        Just(Reason::Missing),
        Just(Reason::Silence),
        Just(Reason::PeerSilence),
        Just(Reason::NeverUp),
        Just(Reason::Damped),
        Just(Reason::Other)
    ];
    let all = (states, 0..3_u64, reasons, 0..3_u8);
    all.prop_map(|(state, since, reason, diagnostic)| Evidence {
        state,
        since,
        reason,
        diagnostic,
    })
}

fn end() -> impl Strategy<Value = End> {
    let ends = (evidence(), evidence(), 0..3_u32);
    ends.prop_map(|(receive, transmit, mtu)| End {
        receive,
        transmit,
        mtu,
    })
}

fn sequence() -> impl Strategy<Value = Sequence> {
    (0..2_u64, 0..3_u64).prop_map(|(incarnation, number)| Sequence {
        incarnation,
        number,
    })
}

/// Reports of few names and sequences, so that many meet, also different ones of one sequence.
fn report() -> impl Strategy<Value = Report> {
    let ends = btree_map("[ab]/[ab]", end(), 0..3);
    ("n[12]", "t\\.[ab]", sequence(), ends).prop_map(|(origin, forwarder, sequence, ends)| Report {
        origin,
        forwarder,
        sequence,
        ends,
    })
}

#[derive(Clone, Debug)]
enum Word {
    Report(Report),
    Withdrawn(Report),
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        4 => report().prop_map(Word::Report),
        1 => report().prop_map(Word::Withdrawn)
    ]
}

fn take(lsdb: &mut Lsdb, word: &Word) {
    match word {
        Word::Report(report) => lsdb.merge(Arc::new(report.clone())),
        Word::Withdrawn(it) => Ok(lsdb.withdraw(&it.origin, &it.forwarder, it.sequence)),
    }
    .expect("below every limit");
}

fn merged<'a>(words: impl IntoIterator<Item = &'a Word>) -> Lsdb {
    let mut lsdb = Lsdb::default();
    words.into_iter().for_each(|word| take(&mut lsdb, word));
    lsdb
}

proptest! {
    #[test]
    fn the_order_and_the_number_of_merges_do_not_matter(
        (words, shuffled) in vec_of(word(), 0..12).prop_flat_map(|words| {
            (Just(words.clone()), Just(words).prop_shuffle())
        }),
    ) {
        let once = merged(&words);
        prop_assert_eq!(&once, &merged(&shuffled));
        prop_assert_eq!(&once, &merged(words.iter().chain(&shuffled)));
    }

    #[test]
    fn databases_that_exchange_everything_are_equal(
        one in vec_of(word(), 0..8), other in vec_of(word(), 0..8), third in vec_of(word(), 0..8),
    ) {
        let [a, b, c] = [&one, &other, &third].map(merged);
        let join = |lsdbs: [&Lsdb; 3]| {
            let mut joined = Lsdb::default();
            for lsdb in lsdbs {
                joined.merge_all(lsdb).expect("below every limit");
            }
            joined
        };
        let joined = join([&a, &b, &c]);
        prop_assert_eq!(&joined, &join([&c, &a, &b]));
        prop_assert_eq!(&joined, &merged(one.iter().chain(&other).chain(&third)));
        for change in a.diff(&joined) {
            let sequence = |report: &Option<Arc<Report>>| report.as_ref().map(|it| it.sequence);
            prop_assert!(change.after.is_none() || sequence(&change.before) <= sequence(&change.after));
        }
        prop_assert!(joined.diff(&joined).is_empty());
    }

    #[test]
    fn a_forgotten_withdrawal_changes_nothing_where_an_origin_numbers_in_one_row(
        steps in vec_of((0..4_usize, any::<bool>(), any::<bool>()), 0..40),
    ) {
        let (mut all, mut forgetful) = (Lsdb::default(), Lsdb::default());
        let mut sequence = Sequence::default();
        for (number, is_report, forgets) in steps {
            sequence = sequence.next();
            let forwarder = std::format!("t.f{number}");
            for lsdb in [&mut all, &mut forgetful] {
                let is_taken = match is_report {
                    true => {
                        let forwarder = forwarder.clone();
                        let report = Report { forwarder, sequence, ..one(1) };
                        lsdb.merge(Arc::new(report)).unwrap()
                    }
                    false => lsdb.withdraw("n1", &forwarder, sequence),
                };
                prop_assert!(is_taken);
            }
            if forgets {
                let reported = |name: &str| all.get("n1", name).is_some();
                forgetful.retain("n1", reported);
            }
            prop_assert!(all.reports().eq(forgetful.reports()));
        }
    }

    #[test]
    fn what_is_encoded_is_decoded(report in report()) {
        prop_assert_eq!(decode(&encode(&report)).unwrap(), report);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec_of(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}

fn one(links: usize) -> Report {
    let ends = (0..links).map(|number| (std::format!("a/b#{number}"), End::default()));
    Report {
        origin: "n1".to_string(),
        forwarder: "t.a".to_string(),
        sequence: Sequence::default(),
        ends: ends.collect(),
    }
}

#[test]
fn a_newer_version_may_add_fields_states_and_reasons() {
    let text = br#"{"origin":"n1","forwarder":"t.a","sequence":{"incarnation":3,"number":4},"signature":"x",
        "ends":{"a/b":{"state":"degraded","since":5,"reason":"loss","loss":7},"a/c":{"state":"up","since":6}}}"#;
    let report = decode(text).unwrap();
    let (degraded, up) = (report.ends["a/b"], report.ends["a/c"]);
    assert_eq!(
        degraded.state(),
        State::Down,
        "not used for what is not understood"
    );
    assert_eq!(degraded.reason(), Reason::Other);
    assert_eq!((up.state(), up.receive.since), (State::Up, 6));
}

#[test]
fn what_exceeds_a_bound_is_refused() {
    let refused = |report: &Report| decode(&encode(report)).unwrap_err();
    for name in ["", ".hidden", "../up", "a/b", "A"] {
        let named = Report {
            forwarder: name.to_string(),
            ..one(1)
        };
        let error = refused(&named);
        assert!(
            matches!(
                error,
                DecodeError::Name {
                    field: "forwarder",
                    ..
                }
            ),
            "{name}: {error}"
        );
    }
    assert!(matches!(
        decode(&vec![b' '; crate::MAX_BYTES + 1]),
        Err(DecodeError::Oversize { .. })
    ));
    let mut long = one(0);
    long.ends.insert("x".repeat(600), End::default());
    assert!(matches!(
        refused(&long),
        DecodeError::Name { field: "ends", .. }
    ));
}

#[test]
fn no_origin_fills_the_database() {
    let mut lsdb = Lsdb::default();
    for number in 0..MAX_FORWARDERS {
        let report = Report {
            forwarder: std::format!("t.f{number}"),
            ..one(0)
        };
        assert!(lsdb.merge(Arc::new(report)).unwrap());
    }
    let too_many = lsdb.merge(Arc::new(one(0))).unwrap_err();
    assert_eq!(too_many.what, "Forwarders");
    let other = Report {
        origin: "n2".to_string(),
        ..one(MAX_LINKS)
    };
    assert!(lsdb.merge(Arc::new(other)).unwrap(), "another origin");
    let next = Report {
        origin: "n2".to_string(),
        forwarder: "t.b".to_string(),
        ..one(1)
    };
    assert_eq!(lsdb.merge(Arc::new(next)).unwrap_err().what, "links");
}

#[test]
fn withdrawn_reports_leave_room_for_new_ones() {
    let mut lsdb = Lsdb::default();
    let mut sequence = Sequence::default();
    let name = |number| std::format!("t.f{number}");
    for number in 0..MAX_FORWARDERS + 10 {
        let forwarder = name(number);
        sequence = sequence.next();
        let report = Report {
            forwarder,
            sequence,
            ..one(1)
        };
        assert!(lsdb.merge(Arc::new(report)).unwrap(), "{number}");
        sequence = sequence.next();
        assert!(lsdb.withdraw("n1", &name(number), sequence));
    }
    assert_eq!(lsdb.highest("n1"), sequence);
    assert_eq!(lsdb.sequence("n1", &name(9)), Sequence::default());
    let kept = lsdb.sequence("n1", &name(10));
    assert_eq!(kept.number, 22, "the lowest were forgotten");
}

#[test]
fn a_withdrawn_report_comes_back_only_with_a_newer_sequence() {
    let mut lsdb = Lsdb::default();
    let report = one(1);
    assert!(lsdb.merge(Arc::new(report.clone())).unwrap());
    let next = report.sequence.next();
    assert!(lsdb.withdraw("n1", "t.a", next));
    assert_eq!(lsdb.get("n1", "t.a"), None);
    assert!(
        !lsdb.merge(Arc::new(report.clone())).unwrap(),
        "it is older"
    );
    let newer = Report {
        sequence: Sequence {
            incarnation: 9,
            ..next
        },
        ..report
    };
    assert!(lsdb.merge(Arc::new(newer)).unwrap());
    assert_eq!(lsdb.highest("n1").incarnation, 9);
    assert_eq!(lsdb.retain("n1", |_| false), ["t.a"]);
    assert_eq!(lsdb.reports().count(), 0);
}

#[test]
fn a_link_falls_once() {
    let up = End::observed(None, State::Up, Reason::None, 1);
    let down = End::observed(Some(&up), State::Down, Reason::NoCarrier, 2);
    assert_eq!((down.transmit.since, down.reason()), (2, Reason::NoCarrier));
    let same = End::observed(Some(&down), State::Down, Reason::NoCarrier, 3);
    assert_eq!(same, down, "a state that lasts keeps its begin");
    let with = |end: End| Report {
        ends: BTreeMap::from([("a/b".to_string(), end)]),
        ..Report::default()
    };
    let (before, after) = (with(up), with(down));
    assert_eq!(after.fallen(Some(&before)).collect::<Vec<_>>(), ["a/b"]);
    assert_eq!(after.fallen(Some(&after)).count(), 0);
    assert_eq!(before.fallen(None).count(), 0);
    let absent = Report::default();
    assert_eq!(absent.fallen(Some(&before)).collect::<Vec<_>>(), ["a/b"]);
}

#[test]
fn a_suspect_link_falls_when_it_is_doubted_and_again_when_its_interface_goes_down() {
    let up = End::observed(None, State::Up, Reason::None, 1);
    let silence = PathVerdict {
        receive: Some(Suspicion {
            reason: Reason::Silence,
            diagnostic: 1,
        }),
        transmit: None,
    };
    let suspect = up.judged(silence, 2);
    let down = End::observed(Some(&suspect), State::Down, Reason::NoCarrier, 3);
    let with = |end: End| Report {
        ends: BTreeMap::from([("a/b".to_string(), end)]),
        ..Report::default()
    };
    #[rustfmt::skip]
    let cases = [
        // before   after    falls
        (up,        suspect, true),
        (suspect,   down,    true),
        (up,        down,    true),
        (suspect,   suspect, false),
        (suspect,   up,      false),
        (down,      suspect, false),
    ];
    for (before, after, falls) in cases {
        let (before, after) = (with(before), with(after));
        let count = after.fallen(Some(&before)).count();
        assert_eq!(count, usize::from(falls), "{before:?} {after:?}");
    }
}
