use proptest::prelude::*;

use super::*;

fn encoded(records: &[String]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for record in records {
        bytes.extend(encode(record));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn sample() -> Vec<String> {
    [
        "",
        "a",
        "{\"key\": \"line\\nend\"}",
        "0000",
        "ü€",
        "the last one",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn cut_at_any_byte_the_whole_records_before_it_are_found_and_the_rest_is_told() {
    let records = sample();
    let (bytes, ends) = encoded(&records);
    for cut in 0..=bytes.len() {
        let recovered: Recovered<String> = decode(&bytes[..cut]);
        // A record whose text is whole counts, even when its line end is missing.
        let whole = ends.iter().filter(|end| **end - 1 <= cut).count();
        assert_eq!(recovered.records, records[..whole], "cut at {cut}");
        let at_a_boundary = cut == 0 || ends.contains(&cut);
        assert_eq!(recovered.damage.is_empty(), at_a_boundary, "cut at {cut}");
    }
}

#[test]
fn any_flipped_bit_is_told_and_costs_at_most_its_own_record() {
    let records = sample();
    let (bytes, ends) = encoded(&records);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let recovered: Recovered<String> = decode(&bytes);
            assert!(!recovered.damage.is_empty(), "bit {bit} of byte {at}");
            let hit = ends
                .iter()
                .position(|end| at < *end)
                .expect("inside a record");
            let mut others = records.clone();
            others.remove(hit);
            let is_line_end = ends.contains(&(at + 1));
            let expected = if is_line_end { &records } else { &others };
            assert_eq!(&recovered.records, expected, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn damaged_file_is_set_aside_and_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut bytes, ends) = encoded(&sample());
    bytes[ends[1] + HEADER + 1] ^= 0x10;
    fs::write(&path, &bytes).unwrap();

    let (mut journal, recovered) = Journal::open::<String>(&path).unwrap();
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(
        fs::read(directory.path().join("journal.damaged-1")).unwrap(),
        bytes
    );
    journal.append(&"after").unwrap();
    drop(journal);

    let (_, recovered) = Journal::open::<String>(&path).unwrap();
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.records.len(), sample().len());
    assert_eq!(recovered.records.last().unwrap(), "after");
}

#[test]
fn damaged_file_that_cannot_be_set_aside_is_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    // No name that is longer is possible.
    let path = directory.path().join("j".repeat(250));
    let (bytes, ends) = encoded(&sample());
    // Within a record, after its text, after its line end.
    for (cut, whole) in [(ends[2] - 3, 2), (ends[2] - 1, 3), (ends[2], 3)] {
        let mut bytes = bytes[..cut].to_vec();
        bytes[ends[0] + HEADER + 1] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        for after in ["first", "second"] {
            let (mut journal, recovered) = Journal::open::<String>(&path).unwrap();
            assert!(!recovered.damage.is_empty(), "{cut}");
            journal.append(&after).unwrap();
        }
        let found = fs::read(&path).unwrap();
        assert!(found.starts_with(&bytes), "{cut}: nothing is lost");
        let recovered: Recovered<String> = decode(&found);
        let kept = &recovered.records;
        assert_eq!(kept.len(), whole - 1 + 2, "{cut}: {kept:?}");
        assert!(
            kept.ends_with(&["first".to_owned(), "second".to_owned()]),
            "{cut}"
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn compaction_keeps_what_it_is_given_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut journal, _) = Journal::open::<String>(&path).unwrap();
    assert!(journal.is_empty());
    for number in 0..100 {
        journal.append(&format!("{number}")).unwrap();
    }
    let before = journal.len();
    journal.compact(&["a".to_owned()]).unwrap();
    assert!(journal.len() < before);
    journal.append(&"b").unwrap();
    let (_, recovered) = Journal::open::<String>(&path).unwrap();
    assert_eq!(recovered.records, ["a", "b"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let recovered: Recovered<String> = decode(&bytes);
        prop_assert_eq!(recovered.records.is_empty() && recovered.damage.is_empty(), bytes.is_empty());
    }

    #[test]
    fn what_is_written_is_read(records in proptest::collection::vec(".{0,40}", 0..20)) {
        let (bytes, _) = encoded(&records);
        let recovered: Recovered<String> = decode(&bytes);
        prop_assert_eq!(recovered.records, records);
        prop_assert_eq!(recovered.damage, []);
    }
}
