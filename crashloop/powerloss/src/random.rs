//! Random numbers that a seed repeats on every machine and with every version of every library:
//! SplitMix64.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for one part of a run, so that parts don't shift each other's numbers.
    #[must_use]
    pub fn branch(&self, part: u64) -> Self {
        let mut branch = Self::new(self.state ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        branch.next();
        branch
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "an endless stream needs no Option")]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to just under `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let next = self.next();
        next.checked_rem(limit).unwrap_or(0)
    }

    /// A place in a list of `length` entries; 0 for an empty one.
    #[expect(clippy::cast_possible_truncation, reason = "less than length, which is a usize")]
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True in `per_cent` of a hundred cases.
    pub fn chance(&mut self, per_cent: u64) -> bool {
        self.below(100) < per_cent
    }
}
