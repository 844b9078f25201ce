//! Reading never panics, whatever comes in: random bytes, and good files broken at random.

use std::{fs, path::Path};

use crds::{Instances, Node};
use topology::hash::SplitMix64;

const CASES: usize = 100_000;

/// Seeded, so that a failure comes again.
struct Random(SplitMix64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound.max(1) as u64) as usize
    }
}

/// Reads; and what is taken must be expanded without a panic.
fn feed(text: &[u8], nodes: &[Node]) -> bool {
    match crds::load("f", text) {
        Ok(topologies) => {
            for topology in &topologies {
                let _ = crds::expand(topology, nodes, &[], &Instances::new());
            }
            true
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            false
        }
    }
}

#[test]
fn random_bytes_are_refused_without_a_panic() {
    let alphabet = b"abcspec:-[]{}, \n\n  \"'#&*!|>%?~0189.\t\r\\\xc3\xa4\xff\x00";
    let mut random = Random(SplitMix64::new(1));
    for _ in 0..CASES {
        let length = random.below(60);
        let is_raw = random.below(4) == 0;
        let byte = |random: &mut Random| {
            if is_raw {
                random.0.next() as u8
            } else {
                alphabet[random.below(alphabet.len())]
            }
        };
        let text: Vec<u8> = (0..length).map(|_| byte(&mut random)).collect();
        assert!(!feed(&text, &[]), "taken: {text:?}");
    }
}

#[test]
fn broken_files_are_read_without_a_panic() {
    let seeds = seeds();
    let nodes: Vec<Node> = ["n1", "n2"].map(Node::from).into();
    let mut random = Random(SplitMix64::new(2));
    let mut taken = 0;
    for _ in 0..CASES {
        let mut text = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(2) {
            mutate(&mut text, &seeds, &mut random);
        }
        taken += usize::from(feed(&text, &nodes));
    }
    // Neither all nor none: the mutations reach the code behind the reader as well.
    assert!(
        (CASES / 100..CASES * 9 / 10).contains(&taken),
        "{taken} of {CASES} were taken"
    );
}

/// The small files of the corpus; the good ones are few, so they come four times.
fn seeds() -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files = Vec::new();
    for folder in ["good", "good", "good", "good", "bad"] {
        let entries = fs::read_dir(corpus.join(folder)).expect("a folder");
        files.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    files.sort();
    let texts = files
        .into_iter()
        .map(|file| fs::read(file).expect("a file"));
    texts.filter(|text| text.len() < 600).collect()
}

fn mutate(text: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    const WORDS: [&str; 16] = [
        "0",
        "-1",
        "1e9",
        "4294967296",
        "null",
        "~",
        "[]",
        "{}",
        "a",
        "Auto",
        "Ring",
        "10.0.0.0/8",
        "::/0",
        "\"\"",
        "&x",
        "*x",
    ];
    let from = random.below(text.len() + 1);
    let to = (from + random.below(12)).min(text.len());
    let insert: Vec<u8> = match random.below(6) {
        0 => Vec::new(),
        1 => text[from..to].repeat(2),
        2 => WORDS[random.below(WORDS.len())].into(),
        3 => vec![random.0.next() as u8],
        4 => {
            // A piece of another file.
            let other = &seeds[random.below(seeds.len())];
            let start = random.below(other.len() + 1);
            other[start..(start + random.below(40)).min(other.len())].to_vec()
        }
        _ => text[from..to].iter().map(u8::to_ascii_uppercase).collect(),
    };
    text.splice(from..to, insert);
}
