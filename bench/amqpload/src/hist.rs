//! Log-linear latency histogram in nanoseconds (128 sub-buckets per power of
//! two, so a reported quantile is at most 0.8 % above the true one).

use crate::json::Obj;

const SUB_BITS: u32 = 7;
const SUB: u64 = 1 << SUB_BITS;
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) * SUB as usize;

#[derive(Clone)]
pub(crate) struct Hist {
    counts: Vec<u64>,
    n: u64,
    sum: u128,
    max: u64,
}

impl Default for Hist {
    fn default() -> Self {
        Hist { counts: vec![0; BUCKETS], n: 0, sum: 0, max: 0 }
    }
}

#[inline]
fn index(v: u64) -> usize {
    if v < SUB {
        return v as usize;
    }
    let shift = v.ilog2() - SUB_BITS;
    let sub = (v >> shift) & (SUB - 1);
    ((u64::from(shift) + 1) * SUB + sub) as usize
}

/// Upper edge of a bucket.
fn edge(i: usize) -> u64 {
    let (major, sub) = (i as u64 / SUB, i as u64 % SUB);
    if major == 0 {
        return sub;
    }
    let shift = major - 1;
    ((SUB + sub) << shift) + ((1u64 << shift) - 1)
}

impl Hist {
    #[inline]
    pub(crate) fn record(&mut self, ns: u64) {
        self.counts[index(ns)] += 1;
        self.n += 1;
        self.sum += u128::from(ns);
        if ns > self.max {
            self.max = ns;
        }
    }

    pub(crate) fn merge(&mut self, o: &Hist) {
        for (a, b) in self.counts.iter_mut().zip(&o.counts) {
            *a += b;
        }
        self.n += o.n;
        self.sum += o.sum;
        self.max = self.max.max(o.max);
    }

    /// `q` in 0..=1; nanoseconds.
    pub(crate) fn quantile(&self, q: f64) -> u64 {
        if self.n == 0 {
            return 0;
        }
        let rank = ((self.n as f64 * q).ceil() as u64).clamp(1, self.n);
        let mut seen = 0;
        for (i, c) in self.counts.iter().enumerate() {
            seen += c;
            if seen >= rank {
                return edge(i).min(self.max);
            }
        }
        self.max
    }

    /// `{"n":..,"mean":..,"p50":..}` in microseconds, or `null` when empty.
    pub(crate) fn to_json_us(&self) -> String {
        if self.n == 0 {
            return "null".into();
        }
        let us = |ns: u64| ns as f64 / 1000.0;
        Obj::new()
            .int("n", self.n)
            .num("mean", self.sum as f64 / self.n as f64 / 1000.0)
            .num("p50", us(self.quantile(0.50)))
            .num("p90", us(self.quantile(0.90)))
            .num("p99", us(self.quantile(0.99)))
            .num("p999", us(self.quantile(0.999)))
            .num("max", us(self.max))
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_bound_their_values() {
        for v in (0..200_000u64).chain([1 << 33, (1 << 40) + 12345, u64::MAX / 2]) {
            let e = edge(index(v));
            assert!(e >= v, "{v} {e}");
            assert!((e - v) as f64 <= v as f64 / 127.0 + 1.0, "{v} {e}");
        }
    }

    #[test]
    fn quantiles() {
        let mut h = Hist::default();
        for v in 1..=1000u64 {
            h.record(v * 1000);
        }
        let p50 = h.quantile(0.5) as f64;
        assert!((p50 - 500_000.0).abs() < 5_000.0, "{p50}");
        assert_eq!(h.quantile(1.0), 1_000_000);
    }
}
