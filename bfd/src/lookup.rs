//! The session of a packet.

use alloc::collections::BTreeMap;
use core::num::NonZeroU32;

use crate::packet::Packet;

/// An index of sessions, by our discriminator and by link (RFC 5880, section 6.3; RFC 5881, section 3).
///
/// `L` is all that tells links apart at the place of reception, such as namespace, interface and address family: one session each.
/// RFC 5880 takes a packet with a known discriminator from any link. Here it must come over the link of the session: links of pods
/// end in the same namespaces, and a pod that guessed a discriminator could take a link down.
#[derive(Clone, Debug)]
pub struct Lookup<L, S> {
    by_discriminator: BTreeMap<NonZeroU32, (L, S)>,
    by_link: BTreeMap<L, NonZeroU32>,
}

/// A session that cannot be added, because there is one with its discriminator or on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// Another discriminator must be drawn.
    #[error("discriminator {discriminator} is taken")]
    Discriminator {
        /// It.
        discriminator: NonZeroU32,
    },
    /// Another session is on the link.
    #[error("the link has session {discriminator}")]
    Link {
        /// The discriminator of that session.
        discriminator: NonZeroU32,
    },
}

/// The cause for which a packet belongs to no session. It must be discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No session has the discriminator: it is one of an earlier run, or forged.
    #[error("no session has discriminator {discriminator}")]
    Discriminator {
        /// The packet's "Your Discriminator".
        discriminator: NonZeroU32,
    },
    /// The session is on another link.
    #[error("session {discriminator} is on another link")]
    OtherLink {
        /// The packet's "Your Discriminator".
        discriminator: NonZeroU32,
    },
    /// The packet names no session, and its link has none.
    #[error("the link has no session")]
    Link,
}

impl<L, S> Default for Lookup<L, S> {
    fn default() -> Self {
        Self {
            by_discriminator: BTreeMap::new(),
            by_link: BTreeMap::new(),
        }
    }
}

impl<L: Ord + Clone, S> Lookup<L, S> {
    /// Adds a session under our discriminator for it.
    ///
    /// # Errors
    /// [`Taken`]; the index is unchanged then.
    pub fn insert(&mut self, discriminator: NonZeroU32, link: L, session: S) -> Result<(), Taken> {
        if self.by_discriminator.contains_key(&discriminator) {
            return Err(Taken::Discriminator { discriminator });
        }
        if let Some(&discriminator) = self.by_link.get(&link) {
            return Err(Taken::Link { discriminator });
        }
        self.by_link.insert(link.clone(), discriminator);
        self.by_discriminator.insert(discriminator, (link, session));
        Ok(())
    }

    /// Removes the session of a discriminator; an absent one is none.
    pub fn remove(&mut self, discriminator: NonZeroU32) -> Option<S> {
        let (link, session) = self.by_discriminator.remove(&discriminator)?;
        self.by_link.remove(&link);
        Some(session)
    }

    /// The session of a discriminator, such as one whose deadline has come.
    pub fn session(&mut self, discriminator: NonZeroU32) -> Option<&mut S> {
        let found = self.by_discriminator.get_mut(&discriminator);
        found.map(|(_, session)| session)
    }

    /// The session of a packet that was received on `link`.
    ///
    /// # Errors
    /// [`LookupError`]: none.
    pub fn find(&mut self, packet: &Packet, link: &L) -> Result<&mut S, LookupError> {
        let Some(discriminator) = packet.your_discriminator else {
            let found = self.by_link.get(link);
            let found = found.and_then(|id| self.by_discriminator.get_mut(id));
            return found.map(|(_, session)| session).ok_or(LookupError::Link);
        };
        match self.by_discriminator.get_mut(&discriminator) {
            None => Err(LookupError::Discriminator { discriminator }),
            Some((own, _)) if own != link => Err(LookupError::OtherLink { discriminator }),
            Some((_, session)) => Ok(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::packet;

    const fn id(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not zero")
    }

    #[test]
    fn packets_find_their_session() {
        let mut lookup = Lookup::default();
        lookup.insert(id(1), "a", 'A').unwrap();
        lookup.insert(id(2), "b", 'B').unwrap();
        assert_eq!(lookup.session(id(2)), Some(&mut 'B'));
        let discriminator = id(2);
        #[rustfmt::skip]
        let cases = [
            // your      on   session
            (None,        "a", Ok('A')),
            (None,        "b", Ok('B')),
            (None,        "c", Err(LookupError::Link)),
            (Some(id(1)), "a", Ok('A')),
            (Some(id(2)), "b", Ok('B')),
            (Some(id(2)), "a", Err(LookupError::OtherLink { discriminator })),
            (Some(id(3)), "a", Err(LookupError::Discriminator { discriminator: id(3) })),
        ];
        for (your_discriminator, link, expected) in cases {
            let packet = Packet {
                your_discriminator,
                ..packet()
            };
            let found = lookup.find(&packet, &link).copied();
            assert_eq!(found, expected, "{your_discriminator:?} on {link}");
        }
    }

    #[test]
    fn a_session_is_added_once_and_its_place_is_free_afterwards() {
        let mut lookup = Lookup::default();
        lookup.insert(id(1), "a", 'A').unwrap();
        let discriminator = id(1);
        let taken = Err(Taken::Discriminator { discriminator });
        assert_eq!(lookup.insert(id(1), "b", 'B'), taken);
        let taken = Err(Taken::Link { discriminator });
        assert_eq!(lookup.insert(id(2), "a", 'B'), taken);
        assert_eq!(lookup.remove(id(2)), None);
        assert_eq!(lookup.remove(id(1)), Some('A'));
        assert_eq!(lookup.remove(id(1)), None);
        assert_eq!(lookup.insert(id(1), "a", 'C'), Ok(()));
    }
}
