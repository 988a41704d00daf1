//! How long things took: kept one by one, since a run has few of them.

use std::time::Duration;

use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn merge(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    /// The time within which that share of them was, in milliseconds; sorts them.
    pub(crate) fn quantile_ms(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    pub(crate) fn shown(&mut self) -> Value {
        json!({
            "n": self.0.len(),
            "p50_ms": round(self.quantile_ms(50)),
            "p99_ms": round(self.quantile_ms(99)),
            "max_ms": round(self.quantile_ms(100)),
        })
    }
}

/// Three digits behind the point are enough.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_their_share() {
        let mut times = Times::default();
        for ms in (1..=200).rev() {
            times.add(Duration::from_millis(ms));
        }
        let found = [1, 50, 99, 100].map(|percent| format!("{:.0}", times.quantile_ms(percent)));
        assert_eq!(found, ["2", "100", "198", "200"]);
        assert!(Times::default().quantile_ms(50).is_nan());
    }
}
