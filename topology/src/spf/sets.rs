//! Next-hop sets of all Forwarders, as bits over the half edges of the root.
//!
//! A root of at most 64 links needs one word for each Forwarder ([`Narrow`]). Above that most
//! sets are still single links or the same as a neighbour's, so sets are shared until they
//! differ ([`Wide`]): a hub of 10,000 leaves needs not one row of bits.

use alloc::vec::Vec;

/// One set for each Forwarder, built up along the edges of the shortest-path DAG.
pub(crate) trait Sets {
    /// A set that no longer changes, cheap to copy.
    type Value: Copy;

    /// All sets empty, for this many Forwarders and links of the root.
    fn reset(&mut self, forwarders: usize, degree: usize);
    /// The set of one link of the root.
    fn single(position: usize) -> Self::Value;
    /// The set of a Forwarder.
    fn value(&self, of: u32) -> Self::Value;
    /// Replaces a set.
    fn put(&mut self, of: u32, value: Self::Value);
    /// Adds to a set.
    fn merge(&mut self, of: u32, value: Self::Value);
    /// Empties a set.
    fn clear(&mut self, of: u32);
    /// Adds to the union that [`Sets::store`] takes.
    fn gather(&mut self, value: Self::Value);
    /// Replaces a set by the gathered union, which is reset; true when the set changed.
    fn store(&mut self, of: u32) -> bool;
}

/// One word for each set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Narrow {
    masks: Vec<u64>,
    gathered: u64,
}

impl Narrow {
    pub(crate) fn load(&mut self, masks: impl Iterator<Item = u64>) {
        self.masks.clear();
        self.masks.extend(masks);
    }

    pub(crate) fn members(&self, of: u32) -> Members<'_> {
        Members {
            word: self.masks[of as usize],
            base: 0,
            rest: &[],
        }
    }

    pub(crate) fn key(&self, of: u32) -> u64 {
        self.masks[of as usize]
    }
}

impl Sets for Narrow {
    type Value = u64;

    fn reset(&mut self, forwarders: usize, _: usize) {
        // Masks are read only where a distance says that they were written in this run.
        self.masks.resize(forwarders, 0);
    }

    fn single(position: usize) -> u64 {
        1 << position
    }

    #[inline]
    fn value(&self, of: u32) -> u64 {
        self.masks[of as usize]
    }

    #[inline]
    fn put(&mut self, of: u32, value: u64) {
        self.masks[of as usize] = value;
    }

    #[inline]
    fn merge(&mut self, of: u32, value: u64) {
        self.masks[of as usize] |= value;
    }

    fn clear(&mut self, of: u32) {
        self.masks[of as usize] = 0;
    }

    fn gather(&mut self, value: u64) {
        self.gathered |= value;
    }

    fn store(&mut self, of: u32) -> bool {
        let union = core::mem::take(&mut self.gathered);
        core::mem::replace(&mut self.masks[of as usize], union) != union
    }
}

/// The empty set.
const EMPTY: u32 = 0;
/// The id of the first shared row; ids from 1 below it are single links.
const ROWS: u32 = 1 << 31;

/// Rows of bits, shared by reference count and copied when written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wide {
    /// By Forwarder: empty, a single link (its position + 1), or a row (its number + `ROWS`).
    ids: Vec<u32>,
    /// Words in a row.
    width: usize,
    words: Vec<u64>,
    /// Number of Forwarders that use each row.
    users: Vec<u32>,
    free: Vec<u32>,
    gathered: Vec<u64>,
    /// All that was gathered, while it is one value.
    only: Option<u32>,
    is_mixed: bool,
}

impl Wide {
    pub(crate) fn members(&self, of: u32) -> Members<'_> {
        self.members_of(self.ids[of as usize])
    }

    pub(crate) fn key(&self, of: u32) -> u64 {
        u64::from(self.ids[of as usize])
    }

    fn members_of(&self, id: u32) -> Members<'_> {
        match id {
            EMPTY => Members {
                word: 0,
                base: 0,
                rest: &[],
            },
            1..ROWS => {
                let position = id - 1;
                Members {
                    word: 1 << (position % 64),
                    base: position / 64 * 64,
                    rest: &[],
                }
            }
            _ => {
                let row = self.row(id);
                Members {
                    word: row[0],
                    base: 0,
                    rest: &row[1..],
                }
            }
        }
    }

    fn row(&self, id: u32) -> &[u64] {
        let start = (id - ROWS) as usize * self.width;
        &self.words[start..start + self.width]
    }

    /// True when all members of `part` are in `whole`.
    fn contains(&self, whole: u32, part: u32) -> bool {
        if whole == part || part == EMPTY {
            return true;
        }
        if whole < ROWS {
            return false;
        }
        let row = self.row(whole);
        if part < ROWS {
            return row[(part - 1) as usize / 64] >> ((part - 1) % 64) & 1 == 1;
        }
        row.iter()
            .zip(self.row(part))
            .all(|(whole, part)| part & !whole == 0)
    }

    /// Adds the members of `part` to row `into`.
    fn pour(&mut self, into: u32, part: u32) {
        let start = (into - ROWS) as usize * self.width;
        match part {
            EMPTY => {}
            1..ROWS => {
                self.words[start + (part - 1) as usize / 64] |= 1 << ((part - 1) % 64);
            }
            _ => {
                let from = (part - ROWS) as usize * self.width;
                for word in 0..self.width {
                    self.words[start + word] |= self.words[from + word];
                }
            }
        }
    }

    /// An empty row without users.
    fn new_row(&mut self) -> u32 {
        if let Some(row) = self.free.pop() {
            let start = row as usize * self.width;
            self.words[start..start + self.width].fill(0);
            return row + ROWS;
        }
        self.users.push(0);
        self.words.resize(self.words.len() + self.width, 0);
        self.users.len() as u32 - 1 + ROWS
    }

    fn assign(&mut self, of: u32, id: u32) {
        if id >= ROWS {
            self.users[(id - ROWS) as usize] += 1;
        }
        let before = core::mem::replace(&mut self.ids[of as usize], id);
        if before >= ROWS {
            let row = before - ROWS;
            self.users[row as usize] -= 1;
            if self.users[row as usize] == 0 {
                self.free.push(row);
            }
        }
    }
}

impl Sets for Wide {
    type Value = u32;

    fn reset(&mut self, forwarders: usize, degree: usize) {
        self.ids.clear();
        self.ids.resize(forwarders, EMPTY);
        self.width = degree.div_ceil(64);
        self.words.clear();
        self.users.clear();
        self.free.clear();
        self.gathered.clear();
        self.gathered.resize(self.width, 0);
        self.only = None;
        self.is_mixed = false;
    }

    fn single(position: usize) -> u32 {
        position as u32 + 1
    }

    fn value(&self, of: u32) -> u32 {
        self.ids[of as usize]
    }

    fn put(&mut self, of: u32, value: u32) {
        self.assign(of, value);
    }

    fn merge(&mut self, of: u32, value: u32) {
        let own = self.ids[of as usize];
        let is_own_row = own >= ROWS && self.users[(own - ROWS) as usize] == 1;
        if is_own_row && value < ROWS {
            // The usual case at a hub: one link more.
            return self.pour(own, value);
        }
        if self.contains(own, value) {
            return;
        }
        if own == EMPTY {
            return self.assign(of, value);
        }
        if is_own_row {
            return self.pour(own, value);
        }
        let row = self.new_row();
        self.pour(row, own);
        self.pour(row, value);
        self.assign(of, row);
    }

    fn clear(&mut self, of: u32) {
        self.assign(of, EMPTY);
    }

    fn gather(&mut self, value: u32) {
        match self.only {
            None => self.only = Some(value),
            Some(only) if only == value => return,
            Some(_) => self.is_mixed = true,
        }
        match value {
            EMPTY => {}
            1..ROWS => self.gathered[(value - 1) as usize / 64] |= 1 << ((value - 1) % 64),
            _ => {
                let start = (value - ROWS) as usize * self.width;
                let row = &self.words[start..start + self.width];
                self.gathered
                    .iter_mut()
                    .zip(row)
                    .for_each(|(union, word)| *union |= word);
            }
        }
    }

    fn store(&mut self, of: u32) -> bool {
        let union = Members {
            word: self.gathered[0],
            base: 0,
            rest: &self.gathered[1..],
        };
        let is_same = union.eq(self.members(of));
        let only = self.only.take();
        let is_mixed = core::mem::take(&mut self.is_mixed);
        if !is_same {
            let id = match only {
                Some(only) if !is_mixed => only,
                _ => {
                    let row = self.new_row();
                    let start = (row - ROWS) as usize * self.width;
                    self.words[start..start + self.width].copy_from_slice(&self.gathered);
                    row
                }
            };
            self.assign(of, id);
        }
        self.gathered.fill(0);
        !is_same
    }
}

/// Positions of the set bits, ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members<'a> {
    word: u64,
    base: u32,
    rest: &'a [u64],
}

impl Iterator for Members<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.word == 0 {
            let (first, rest) = self.rest.split_first()?;
            (self.word, self.rest) = (*first, rest);
            self.base += 64;
        }
        let bit = self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(self.base + bit)
    }
}
