use alloc::{format, string::ToString, vec};

use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().expect("the test writes networks")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("f{index:05}")).collect()
}

fn held(blocks: &[(&str, &[&str])]) -> BTreeMap<String, Vec<Prefix>> {
    let parse = |texts: &[&str]| texts.iter().map(|text| prefix(text)).collect();
    blocks
        .iter()
        .map(|(name, texts)| (name.to_string(), parse(texts)))
        .collect()
}

fn shown(blocks: &BTreeMap<String, Vec<Prefix>>) -> Vec<String> {
    blocks
        .iter()
        .map(|(name, blocks)| {
            let blocks: Vec<String> = blocks.iter().map(Prefix::to_string).collect();
            format!("{name} {}", blocks.join(" "))
        })
        .collect()
}

#[test]
fn prefixes_are_read_strictly() {
    for text in [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "1.2.3.4/32",
        "fd00:80::/48",
        "::/0",
        "::1/128",
    ] {
        assert_eq!(prefix(text).to_string(), text);
    }
    for text in [
        "",
        "/",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0/8",
        "10.0.0.0/256",
    ] {
        let malformed = AddressError::Malformed {
            text: text.to_string(),
        };
        assert_eq!(text.parse::<Prefix>(), Err(malformed), "{text}");
    }
    for text in ["10.0.0.1/8", "10.0.0.0/33", "::/129", "fd00::1/64"] {
        let error = text.parse::<Prefix>().expect_err(text);
        assert!(
            matches!(error, AddressError::NotANetwork { .. }),
            "{text}: {error}"
        );
    }
}

#[test]
fn hosts_are_counted_from_the_network() {
    #[rustfmt::skip]
    let cases = [
        ("10.1.2.0/24",  0,        Some("10.1.2.0")),
        ("10.1.2.0/24",  1,        Some("10.1.2.1")),
        ("10.1.2.0/24",  255,      Some("10.1.2.255")),
        ("10.1.2.0/24",  256,      None),
        ("1.2.3.4/32",   1,        None),
        ("fd00::/64",    2,        Some("fd00::2")),
        ("::/0",         u128::MAX, Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
    ];
    for (text, n, expected) in cases {
        let expected: Option<IpAddr> = expected.map(|addr| addr.parse().unwrap());
        assert_eq!(prefix(text).host(n), expected, "{text} {n}");
    }
}

#[test]
fn default_lengths_leave_room_to_grow() {
    #[rustfmt::skip]
    let cases = [
        ("10.80.0.0/16",   5,     Ok(24)),
        ("10.80.0.0/16",   128,   Ok(24)),
        ("10.80.0.0/16",   129,   Ok(25)),  // 256 blocks are less than twice 129
        ("10.80.0.0/16",   8192,  Ok(30)),
        ("10.80.0.0/16",   16384, Ok(30)),  // just enough
        ("10.80.0.0/16",   16385, Err(16384)),
        ("10.0.0.0/24",    1,     Ok(25)),
        ("10.0.0.0/30",    1,     Ok(30)),
        ("10.0.0.0/31",    1,     Err(0)),
        ("fd00:80::/48",   1000,  Ok(64)),
        ("fd00:80::/64",   1,     Ok(65)),
        ("fd00:80::/120",  16,    Ok(124)),
        ("fd00:80::/120",  17,    Err(16)),
    ];
    for (text, count, expected) in cases {
        let cidr = prefix(text);
        let error = |blocks| AddressError::TooFewBlocks {
            cidr,
            blocks,
            wanted: count,
        };
        assert_eq!(
            default_length(cidr, count),
            expected.map_err(error),
            "{text} {count}"
        );
    }
}

#[test]
fn new_names_get_the_lowest_free_blocks_of_each_family() {
    let cidrs = [prefix("10.80.0.0/16"), prefix("fd00:80::/48")];
    let given = assign(&cidrs, &[], &BTreeMap::new(), &names(3)).unwrap();
    let expected = [
        "f00000 10.80.0.0/24 fd00:80::/64",
        "f00001 10.80.1.0/24 fd00:80:0:1::/64",
        "f00002 10.80.2.0/24 fd00:80:0:2::/64",
    ];
    assert_eq!(shown(&given), expected);
}

#[test]
fn names_keep_their_blocks_when_others_come_and_go() {
    let cidrs = [prefix("10.80.0.0/16")];
    let existing = held(&[("b", &["10.80.1.0/24"]), ("gone", &["10.80.0.0/24"])]);
    let names: Vec<String> = ["c", "a", "b"].map(String::from).to_vec();
    let given = assign(&cidrs, &[], &existing, &names).unwrap();
    // The block of `gone` is not handed out while there are others.
    assert_eq!(
        shown(&given),
        ["a 10.80.2.0/24", "b 10.80.1.0/24", "c 10.80.3.0/24"]
    );
    assert_eq!(
        assign(&cidrs, &[], &given, &names),
        Ok(given),
        "again changes nothing"
    );
}

#[test]
fn blocks_of_the_gone_are_the_last_resort() {
    let cidrs = [prefix("10.0.0.0/24")];
    let existing = held(&[("gone", &["10.0.0.0/25"]), ("a", &["10.0.0.128/25"])]);
    let names: Vec<String> = ["a", "b"].map(String::from).to_vec();
    let given = assign(&cidrs, &[Some(25)], &existing, &names).unwrap();
    assert_eq!(shown(&given), ["a 10.0.0.128/25", "b 10.0.0.0/25"]);
}

#[test]
fn blocks_of_another_length_are_kept_and_gone_around() {
    let cidrs = [prefix("10.80.0.0/16")];
    let existing = held(&[("b", &["10.80.0.64/26"]), ("c", &["10.80.2.0/23"])]);
    let names: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
    let given = assign(&cidrs, &[], &existing, &names).unwrap();
    let expected = [
        "a 10.80.1.0/24",
        "b 10.80.0.64/26",
        "c 10.80.2.0/23",
        "d 10.80.4.0/24",
    ];
    assert_eq!(shown(&given), expected);
}

#[test]
fn blocks_outside_of_the_network_are_replaced() {
    let existing = held(&[("a", &["10.9.0.0/24", "fd00::/64"])]);
    let given = assign(
        &[prefix("10.80.0.0/16")],
        &[],
        &existing,
        &["a".to_string()],
    )
    .unwrap();
    assert_eq!(shown(&given), ["a 10.80.0.0/24"]);
}

#[test]
fn what_cannot_be_assigned_is_told() {
    let one = prefix("10.80.0.0/16");
    let part = prefix("10.80.3.0/24");
    let none = BTreeMap::new();
    let overlap = assign(&[one, part], &[], &none, &names(1));
    assert_eq!(overlap, Err(AddressError::Overlap { a: one, b: part }));
    for len in [15, 31, 32, 200] {
        let error = AddressError::BlockLength {
            cidr: one,
            len,
            max: 30,
        };
        assert_eq!(assign(&[one], &[Some(len)], &none, &names(1)), Err(error));
    }
    let few = AddressError::TooFewBlocks {
        cidr: part,
        blocks: 4,
        wanted: 5,
    };
    assert_eq!(assign(&[part], &[Some(26)], &none, &names(5)), Err(few));
    let twice = held(&[("f00000", &["10.80.0.0/24"]), ("f00001", &["10.80.0.0/25"])]);
    let error = assign(&[one], &[], &twice, &names(2)).expect_err("both hold 10.80.0.0");
    assert!(matches!(error, AddressError::Overlap { .. }), "{error}");
    let cidr = Prefix {
        addr: prefix("10.0.0.1/32").addr,
        len: 8,
    };
    assert_eq!(
        assign(&[cidr], &[], &none, &[]),
        Err(AddressError::NotANetwork { prefix: cidr })
    );
}

#[test]
fn the_whole_of_each_family_is_no_overflow() {
    for text in ["0.0.0.0/0", "::/0"] {
        let given = assign(&[prefix(text)], &[], &BTreeMap::new(), &names(10_000)).unwrap();
        let blocks: BTreeSet<_> = given.values().flatten().collect();
        assert_eq!(blocks.len(), 10_000, "{text}");
    }
    let full = assign(
        &[prefix("255.255.255.0/24")],
        &[Some(30)],
        &BTreeMap::new(),
        &names(64),
    );
    assert_eq!(full.unwrap()["f00063"], vec![prefix("255.255.255.252/30")]);
}
