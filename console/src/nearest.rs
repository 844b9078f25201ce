//! "Did you mean": the known name that is nearest to a mistyped one.

use crds::suggest::nearest;

/// Largest number of listed names.
const LISTED: usize = 8;

/// `; did you mean "NAME"?`, or the first known names when none is similar.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match nearest(name, known.iter().copied()) {
        Some(other) => format!("; did you mean {other:?}?"),
        None if known.is_empty() => String::new(),
        None => format!("; expected {}", one_of(&known)),
    }
}

fn one_of(names: &[&str]) -> String {
    let listed = names[..names.len().min(LISTED)].join(", ");
    match names.len() {
        1 => listed,
        2..=LISTED => format!("one of {listed}"),
        _ => format!("one of {listed}, ..."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_likely_meant() {
        #[rustfmt::skip]
        let cases = [
            ("f1",     &["F1", "F2"][..],         "; did you mean \"F1\"?"), // case
            ("edge-a", &["edge_a", "core"][..],   "; did you mean \"edge_a\"?"),
            ("zzz",    &["edge-a", "core"][..],   "; expected one of edge-a, core"),
            ("zzz",    &["core"][..],             "; expected core"),
            ("zzz",    &["n-1"; 9][..],           "; expected one of n-1, n-1, n-1, n-1, n-1, n-1, n-1, n-1, ..."),
            ("F9",     &[][..],                   ""),
        ];
        for (name, known, expected) in cases {
            assert_eq!(
                did_you_mean(name, known.iter().copied()),
                expected,
                "{name}"
            );
        }
    }
}
