//! Names of links: `A/B`, and `A/B#2`, `A/B#3`, ... for the second and later of parallel links.

use core::fmt;

/// The id of one link. Its ends are in byte order, so both ends know the link by the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId<'a> {
    a: &'a str,
    b: &'a str,
    ordinal: u32,
}

/// The text names no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected two forwarders with / between, such as \"a/b\" or \"a/b#2\"")]
pub struct ParseLinkError;

impl<'a> LinkId<'a> {
    /// The link between two Forwarders, in either order; `ordinal` counts parallel links from 1.
    pub fn new(one: &'a str, other: &'a str, ordinal: u32) -> LinkId<'a> {
        let (a, b) = (one.min(other), one.max(other));
        LinkId { a, b, ordinal }
    }

    /// Reads `A/B` or `A/B#N`, the ends in either order. `A/B` and `A/B#1` are one id.
    ///
    /// # Errors
    /// [`ParseLinkError`] unless there are two names and, after `#`, a number from 1 on.
    pub fn parse(text: &'a str) -> Result<LinkId<'a>, ParseLinkError> {
        let LinkSelector { a, b, ordinal } = LinkSelector::parse(text)?;
        Ok(LinkId {
            a,
            b,
            ordinal: ordinal.unwrap_or(1),
        })
    }

    /// The names of both ends, in byte order.
    pub fn ends(&self) -> (&'a str, &'a str) {
        (self.a, self.b)
    }

    /// 1 for the first of parallel links.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// True when the link ends at `forwarder`.
    pub fn has_end(&self, forwarder: &str) -> bool {
        self.a == forwarder || self.b == forwarder
    }
}

impl fmt::Display for LinkId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ordinal = Some(self.ordinal).filter(|ordinal| *ordinal > 1);
        let LinkId { a, b, .. } = *self;
        LinkSelector { a, b, ordinal }.fmt(f)
    }
}

/// Links as users name them: `A/B` is all links between the two, `A/B#1`, `A/B#2`, ... one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkSelector<'a> {
    a: &'a str,
    b: &'a str,
    ordinal: Option<u32>,
}

impl<'a> LinkSelector<'a> {
    /// Reads `A/B` or `A/B#N`, the ends in either order.
    ///
    /// # Errors
    /// [`ParseLinkError`] unless there are two names and, after `#`, a number from 1 on.
    pub fn parse(text: &'a str) -> Result<LinkSelector<'a>, ParseLinkError> {
        let (ends, ordinal) = match text.split_once('#') {
            Some((ends, ordinal)) => (ends, Some(parse_ordinal(ordinal)?)),
            None => (text, None),
        };
        let (one, other) = ends.split_once('/').ok_or(ParseLinkError)?;
        if one.is_empty() || other.is_empty() || other.contains('/') {
            return Err(ParseLinkError);
        }
        let (a, b) = (one.min(other), one.max(other));
        Ok(LinkSelector { a, b, ordinal })
    }

    /// The names of both ends, in byte order.
    pub fn ends(&self) -> (&'a str, &'a str) {
        (self.a, self.b)
    }

    /// The one link that is meant; `None` when all between the ends are.
    pub fn ordinal(&self) -> Option<u32> {
        self.ordinal
    }

    /// True when `link` matches.
    pub fn matches(&self, link: &LinkId<'_>) -> bool {
        self.ends() == link.ends() && self.ordinal.is_none_or(|ordinal| ordinal == link.ordinal)
    }
}

impl fmt::Display for LinkSelector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.a, self.b)?;
        match self.ordinal {
            Some(ordinal) => write!(f, "#{ordinal}"),
            None => Ok(()),
        }
    }
}

fn parse_ordinal(text: &str) -> Result<u32, ParseLinkError> {
    // `parse` alone takes `+2`, and two texts would be one link: `#2` and `#02`.
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(ordinal) if is_canonical => Ok(ordinal),
        _ => Err(ParseLinkError),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn ids_are_read_and_shown() {
        #[rustfmt::skip]
        let cases = [
            // text    ends        ordinal  shown
            ("a/b",   ("a", "b"), 1,       "a/b"),
            ("b/a",   ("a", "b"), 1,       "a/b"),
            ("a/b#1", ("a", "b"), 1,       "a/b"),
            ("b/a#2", ("a", "b"), 2,       "a/b#2"),
            ("n.1/n.0#4294967295", ("n.0", "n.1"), u32::MAX, "n.0/n.1#4294967295"),
        ];
        for (text, ends, ordinal, shown) in cases {
            let id = LinkId::parse(text).expect(text);
            assert_eq!(
                (id.ends(), id.ordinal(), &*id.to_string()),
                (ends, ordinal, shown)
            );
            assert_eq!(id, LinkId::new(ends.1, ends.0, ordinal), "{text}");
        }
    }

    #[test]
    fn what_names_no_link_is_refused() {
        for text in [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a/b#",
            "a/b#0",
            "a/b#02",
            "a/b#+2",
            "a/b#2#3",
            "a#2/b",
            "a/b#4294967296",
        ] {
            assert_eq!(LinkId::parse(text), Err(ParseLinkError), "{text:?}");
            assert_eq!(LinkSelector::parse(text), Err(ParseLinkError), "{text:?}");
        }
    }

    #[test]
    fn selectors_match_one_link_or_all_between_two() {
        #[rustfmt::skip]
        let cases = [
            ("b/a",   [true, true, false],  "a/b"),
            ("a/b#1", [true, false, false], "a/b#1"),
            ("b/a#2", [false, true, false], "a/b#2"),
            ("a/c",   [false, false, true], "a/c"),
        ];
        let links = [("a", "b", 1), ("a", "b", 2), ("a", "c", 1)];
        for (text, matches, shown) in cases {
            let selector = LinkSelector::parse(text).expect(text);
            let found = links.map(|(a, b, ordinal)| selector.matches(&LinkId::new(a, b, ordinal)));
            assert_eq!((found, &*selector.to_string()), (matches, shown), "{text}");
        }
    }

    #[test]
    fn links_end_at_whole_names() {
        let id = LinkId::new("edge", "edge-a", 2);
        assert!(id.has_end("edge") && id.has_end("edge-a"));
        assert!(!id.has_end("edge-") && !id.has_end("edge-a#2") && !id.has_end(""));
    }
}
