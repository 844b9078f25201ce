//! The name that was probably meant.

/// ` (did you mean "x"?)` with the nearest of `known`, or nothing when none is near.
pub(crate) fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(wrong, known) {
        Some(name) => format!(" (did you mean {name:?}?)"),
        None => String::new(),
    }
}

/// The first of `known` with the least distance, when that is at most a third of its length.
fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no typos, and the distance is quadratic.
    if wrong.len() > 64 {
        return None;
    }
    let lower = wrong.to_lowercase();
    let most = |name: &str| (name.len() / 3).max(1);
    // Each edit changes the length by one at most, so most names need no closer look.
    let close = known
        .into_iter()
        .filter(|name| name.len().abs_diff(wrong.len()) <= most(name));
    let measured = close.map(|name| (distance(&lower, &name.to_lowercase()), name));
    let (distance, name) = measured.min_by_key(|(distance, _)| *distance)?;
    (distance <= most(name) && name != wrong).then_some(name)
}

/// Edits that turn `a` into `b`: insert, delete, replace, swap neighbours (optimal alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(above[j] + 1).min(row[j - 1] + 1);
            let is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if is_swap {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_near_and_other_words_are_not() {
        let known = ["weight", "weightBack", "mtu", "Ring", "edge-a"];
        #[rustfmt::skip]
        let cases = [
            ("wieght", Some("weight")), ("weigth", Some("weight")), ("weightback", Some("weightBack")),
            ("ring", Some("Ring")), ("edge-b", Some("edge-a")), ("edgea", Some("edge-a")),
            ("colour", None), ("", None), ("x", None),
        ];
        for (wrong, expected) in cases {
            assert_eq!(nearest(wrong, known), expected, "{wrong}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("abc", "abc", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
