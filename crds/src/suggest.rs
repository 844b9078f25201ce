//! The name that was probably meant.

use strsim::osa_distance;

/// ` (did you mean "x"?)` with the nearest of `known`, or nothing when none is near.
pub fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(wrong, known) {
        Some(name) => format!(" (did you mean {name:?}?)"),
        None => String::new(),
    }
}

/// The first of `known` with the fewest edits (insert, delete, replace, swap neighbours; case does not count), when these are
/// at most a third of its length.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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
    let measured = close.map(|name| (osa_distance(&lower, &name.to_lowercase()), name));
    let (distance, name) = measured.min_by_key(|(distance, _)| *distance)?;
    (distance <= most(name) && name != wrong).then_some(name)
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
}
