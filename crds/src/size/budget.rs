//! The bound on the memory of the Forwarders of all topologies together.
//!
//! What is there stays. What is to come gets the rest in the order in which topologies were created, so that all replicas
//! of an operator decide alike, also after a restart.

/// Memory of one topology in bytes, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Memory of the declaration, accepted or not.
    pub declared: usize,
    /// Memory of the Forwarders that are there.
    pub held: usize,
    /// Memory of the Forwarders that it asks for; 0 when it is rejected for a reason of its own.
    pub asked: usize,
}

impl Claim {
    /// The largest that a plan of it holds.
    pub fn size(&self) -> usize {
        self.declared + self.held.max(self.asked)
    }
}

/// Memory out of `most` that others take, and those before it are to get, for the claim at `own` in the order of creation.
pub fn taken(most: usize, claims: &[Claim], own: usize) -> usize {
    let there = |claim: &Claim| claim.declared + claim.held;
    let mut taken: usize = claims.iter().map(there).sum();
    for claim in &claims[..own] {
        let growth = claim.asked.saturating_sub(claim.held);
        // One that is too large is refused, and the next may still fit.
        taken += growth * usize::from(taken + growth <= most);
    }
    taken - there(&claims[own])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held and asked by each, in the order of creation: taken for the one at `own`.
    fn of(claims: &[(usize, usize)], own: usize) -> usize {
        let claim = |(held, asked): &(usize, usize)| Claim {
            declared: 1,
            held: *held,
            asked: *asked,
        };
        taken(100, &claims.iter().map(claim).collect::<Vec<Claim>>(), own)
    }

    #[test]
    fn what_is_there_counts_and_what_comes_is_first_for_the_older() {
        #[rustfmt::skip]
        let cases = [
            // held, asked of each                own   taken
            (vec![(0, 50)],                       0,    0),
            (vec![(0, 50), (0, 40)],              0,    1),
            (vec![(0, 50), (0, 40)],              1,    51),
            (vec![(0, 50), (0, 60), (0, 40)],     2,    52),  // The second does not fit.
            (vec![(0, 50), (60, 60)],             0,    61),  // What is there stays.
            (vec![(50, 50), (60, 60)],            0,    61),
            (vec![(50, 20), (0, 40)],             1,    51),  // Not freed yet.
            (vec![(70, 0), (0, 40)],              1,    71),  // Rejected, and still there.
        ];
        for (claims, own, expected) in cases {
            assert_eq!(of(&claims, own), expected, "{claims:?}, {own}");
        }
    }
}
