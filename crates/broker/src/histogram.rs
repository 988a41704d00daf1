//! How often something took how long: counts by powers of two, so that a microsecond and a week are
//! told apart alike.

/// Upper bounds from 1 up: the last one stands for everything above.
const BUCKETS: usize = 42;

/// Counts by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Values up to 2 to the power of the index, and more than the one before.
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; BUCKETS], sum: 0 }
    }
}

impl Histogram {
    /// Counts `count` values alike.
    pub fn record(&mut self, value: u64, count: u64) {
        let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
        let at = (bits as usize).min(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += count;
        }
        self.sum = self.sum.saturating_add(value.saturating_mul(count));
    }

    /// Adds what others counted.
    pub fn add(&mut self, other: &Histogram) {
        for (mine, others) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += others;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// What was counted since it was as `before`.
    #[must_use]
    pub fn since(&self, before: &Histogram) -> Histogram {
        let mut since = *self;
        for (mine, then) in since.buckets.iter_mut().zip(before.buckets) {
            *mine = mine.saturating_sub(then);
        }
        since.sum = self.sum.saturating_sub(before.sum);
        since
    }

    /// Below which value that share of all lies, as exactly as the buckets tell; `None`: there is
    /// nothing.
    #[expect(clippy::cast_precision_loss, reason = "a measure needs no more digits")]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let mut below = 0.0;
        let mut lower = 0.0;
        for (at, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            let upper = (1_u64 << at) as f64;
            lower = if at == 0 { 0.0 } else { upper / 2.0 };
            let count = *count as f64;
            if below + count >= wanted && at < BUCKETS - 1 {
                return Some(lower + (upper - lower) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            below += count;
        }
        // Above every bound.
        (below > 0.0).then_some(lower)
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What they are together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Upper bounds, and how many values are not above each; every bound is twice the one before.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let bounded = self.buckets.iter().take(BUCKETS - 1).enumerate();
        bounded.scan(0, |below, (at, count)| {
            *below += count;
            Some((1 << at, *below))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lies_below_a_value() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.record(3, 50);
        let before = histogram;
        histogram.record(1_000, 50);
        for (share, expected) in [(0.25, 3.0), (0.5, 4.0), (0.75, 768.0), (1.0, 1_024.0)] {
            assert_eq!(histogram.quantile(share), Some(expected), "{share}");
        }
        let since = histogram.since(&before);
        assert_eq!((since.count(), since.sum()), (50, 50_000));
        assert_eq!(since.quantile(0.5), Some(768.0));
        histogram.record(u64::MAX, 1_000);
        assert_eq!(histogram.quantile(0.99), Some(2_f64.powi(40)));
    }

    #[test]
    fn a_value_is_counted_under_the_next_power_of_two() {
        let mut histogram = Histogram::default();
        for (value, bound) in
            [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1_000, 1_024), (1 << 40, 1 << 40)]
        {
            let before: Vec<(u64, u64)> = histogram.cumulative().collect();
            histogram.record(value, 3);
            for ((at, below), (_, before)) in histogram.cumulative().zip(before) {
                assert_eq!(below - before, if at >= bound { 3 } else { 0 }, "{value} at {at}");
            }
        }
        // What is above every bound counts all the same.
        histogram.record(u64::MAX, 1);
        assert_eq!(histogram.count(), 25);
        assert_eq!(histogram.cumulative().last(), Some((1 << 40, 24)));
        assert_eq!(histogram.sum(), u64::MAX);
    }
}
