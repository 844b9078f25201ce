//! The Poll Sequence: has the peer received our newest parameters?

/// The Poll Sequences of one end (RFC 5880, section 6.5).
///
/// An F bit does not say which P bit it answers. On a path whose delay is longer than our interval, answers to an older sequence arrive
/// during a newer one, and would put parameters into effect that the peer has not received yet. So questions are counted: answers
/// belong to the oldest ones. A lost question or answer makes the next sequence longer by one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Poll {
    is_active: bool,
    /// Packets with the P bit of this sequence, without answer.
    asked: u8,
    /// Packets with the P bit of older sequences, without answer.
    stale: u8,
}

impl Poll {
    /// No sequence, and no question.
    pub(crate) const IDLE: Self = Self {
        is_active: false,
        asked: 0,
        stale: 0,
    };

    /// The first sequence of a session that came up.
    pub(crate) const FIRST: Self = Self {
        is_active: true,
        ..Self::IDLE
    };

    /// True while periodic packets carry the P bit, and parameters wait for the end of the sequence.
    pub(crate) const fn is_active(self) -> bool {
        self.is_active
    }

    /// A new sequence, because the parameters changed.
    pub(crate) const fn after_change(self) -> Self {
        Self {
            is_active: true,
            asked: 0,
            stale: self.stale.saturating_add(self.asked),
        }
    }

    /// The sequence after a periodic packet was sent, with the P bit when it is active.
    pub(crate) const fn after_send(mut self) -> Self {
        if self.is_active {
            self.asked = self.asked.saturating_add(1);
        }
        self
    }

    /// The sequence after a packet with the F bit was received. One without a question ends nothing.
    pub(crate) const fn after_final(mut self) -> Self {
        if self.stale > 0 {
            self.stale -= 1;
        } else if self.asked > 0 {
            self.asked -= 1;
            self.is_active = false;
        }
        self
    }
}
