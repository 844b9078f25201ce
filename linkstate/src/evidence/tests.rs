use alloc::collections::BTreeMap;
use alloc::string::ToString;

use super::*;
use crate::report::Report;
use crate::wire::{decode, encode};

#[test]
fn a_verdict_lowers_an_end_direction_by_direction_and_healing_is_no_use_yet() {
    let doubt = |reason, diagnostic| Some(Suspicion { reason, diagnostic });
    let verdict = |receive, transmit| PathVerdict { receive, transmit };
    let silence = verdict(doubt(Reason::Silence, 1), None);
    let up = End::observed(None, State::Up, Reason::None, 1);

    let suspect = up.judged(silence, 2);
    let Evidence {
        state,
        since,
        reason,
        diagnostic,
    } = suspect.receive;
    assert_eq!((state, since), (State::Suspect, 2));
    assert_eq!((reason, diagnostic), (Reason::Silence, 1));
    assert_eq!(suspect.transmit, up.transmit, "the other direction");
    assert_eq!((suspect.passes(), suspect.is_down()), (false, false));
    assert_eq!(suspect.reason(), Reason::Silence);
    assert_eq!(suspect.verdict(), silence);
    assert_eq!(suspect.judged(silence, 9), suspect, "it lasts");
    let later = suspect.judged(verdict(doubt(Reason::Silence, 3), None), 9);
    assert_eq!((later.receive.since, later.receive.diagnostic), (2, 3));

    // Observations of the interface keep it.
    let seen = |state, reason| Observation {
        state,
        reason,
        mtu: 7,
    };
    let again = End::composed(Some(&suspect), seen(State::Up, Reason::None), silence, 9);
    assert_eq!(again, suspect.with_mtu(7));
    let gone = seen(State::Down, Reason::NoCarrier);
    let gone = End::composed(Some(&suspect), gone, silence, 9);
    assert_eq!(gone.reason(), Reason::NoCarrier, "the interface says more");
    assert_eq!(gone.judged(PathVerdict::ALIVE, 10), gone);

    let both = verdict(doubt(Reason::Damped, 0), doubt(Reason::PeerSilence, 3));
    let both = suspect.judged(both, 4);
    assert_eq!(
        (both.receive.since, both.receive.reason),
        (4, Reason::Damped)
    );
    let healed = both.judged(PathVerdict::ALIVE, 5);
    assert_eq!(
        (healed.state(), healed.reason()),
        (State::Init, Reason::None)
    );
    assert_eq!((healed.receive.since, healed.receive.diagnostic), (5, 0));
}

#[test]
fn a_suspect_end_is_text_that_older_versions_take_for_down() {
    let verdict = PathVerdict {
        receive: Some(Suspicion {
            reason: Reason::PeerSilence,
            diagnostic: 3,
        }),
        transmit: None,
    };
    let end = End::observed(None, State::Init, Reason::None, 4).judged(verdict, 5);
    let report = Report {
        origin: "n1".to_string(),
        forwarder: "t.a".to_string(),
        ends: BTreeMap::from([("a/b".to_string(), end)]),
        ..Report::default()
    };
    let bytes = encode(&report);
    let text = std::str::from_utf8(&bytes).unwrap();
    let expected = r#""a/b":{"state":"init","since":4,"receive":{"state":"suspect","since":5,"reason":"peerSilence","diagnostic":3}}"#;
    assert!(text.contains(expected), "{text}");
    assert_eq!(decode(&bytes).unwrap(), report);
}
