//! What was seen before, once a minute: conditions speak of what has changed within some time.

use std::collections::{BTreeMap, VecDeque};

use broker::Histogram;

use super::look::{Look, VhostLook};

/// How far apart what is remembered lies, and how much of it there is.
const STEP_MS: u64 = 60_000;
const HOUR_STEPS: usize = 60;
const QUARTER_STEPS: usize = 15;

/// The past hour of the disk, and the past quarter of each virtual host.
#[derive(Debug, Default)]
pub(super) struct Past {
    disk_free: VecDeque<(u64, u64)>,
    vhosts: VecDeque<(u64, BTreeMap<String, Counted>)>,
}

/// What a virtual host had counted.
#[derive(Clone, Debug, Default)]
struct Counted {
    handling: Histogram,
    writes: Histogram,
    consumers_timed_out: u64,
    dead_letters_dropped: u64,
}

/// What a virtual host has counted since then.
#[derive(Clone, Debug, Default)]
pub(super) struct Since {
    pub(super) handling: Histogram,
    pub(super) writes: Histogram,
    pub(super) consumers_timed_out: u64,
    pub(super) dead_letters_dropped: u64,
}

impl Past {
    /// What is seen now is remembered, once a minute.
    pub(super) fn remember(&mut self, look: &Look) {
        let now_ms = look.now_ms;
        if self.vhosts.back().is_some_and(|(at_ms, _)| now_ms < at_ms + STEP_MS) {
            return;
        }
        let counted = |vhost: &VhostLook| {
            let counted = Counted {
                handling: vhost.handling,
                writes: vhost.writes,
                consumers_timed_out: vhost.consumers_timed_out,
                dead_letters_dropped: vhost.dead_letters_dropped,
            };
            (vhost.name.clone(), counted)
        };
        self.vhosts.push_back((now_ms, look.vhosts.iter().map(counted).collect()));
        // Nothing free: nobody has looked yet, or there is nothing to be foreseen.
        if look.machine.disk_free_bytes > 0 {
            self.disk_free.push_back((now_ms, look.machine.disk_free_bytes));
        }
        if self.vhosts.len() > QUARTER_STEPS + 1 {
            self.vhosts.pop_front();
        }
        if self.disk_free.len() > HOUR_STEPS + 1 {
            self.disk_free.pop_front();
        }
    }

    /// What a virtual host has counted in about the last so many minutes; all, if it is younger.
    pub(super) fn since(&self, vhost: &VhostLook, now_ms: u64, minutes: u64) -> Since {
        let from_ms = now_ms.saturating_sub((minutes + 1) * STEP_MS);
        let oldest = self.vhosts.iter().find(|(at_ms, _)| *at_ms >= from_ms);
        let then = oldest.and_then(|(_, vhosts)| vhosts.get(&vhost.name)).cloned();
        let then = then.unwrap_or_default();
        Since {
            handling: vhost.handling.since(&then.handling),
            writes: vhost.writes.since(&then.writes),
            consumers_timed_out: vhost.consumers_timed_out.saturating_sub(then.consumers_timed_out),
            dead_letters_dropped: vhost
                .dead_letters_dropped
                .saturating_sub(then.dead_letters_dropped),
        }
    }

    /// What will be free of the disk then, if it goes on as in the past hour; `None`: nobody knows.
    pub(super) fn disk_free_in(&self, ahead_ms: u64) -> Option<f64> {
        let (first_ms, _) = self.disk_free.front()?;
        let (last_ms, _) = self.disk_free.back()?;
        if self.disk_free.len() < 3 {
            return None;
        }
        // The straight line that fits best.
        let point = |(at_ms, bytes): &(u64, u64)| (float(at_ms - first_ms), float(*bytes));
        let count = self.disk_free.iter().map(|_| 1.0).sum::<f64>();
        let (x_sum, y_sum) = self.disk_free.iter().map(point).fold((0.0, 0.0), add);
        let (x_mean, y_mean) = (x_sum / count, y_sum / count);
        let products = self
            .disk_free
            .iter()
            .map(point)
            .map(|(x, y)| ((x - x_mean) * (x - x_mean), (x - x_mean) * (y - y_mean)));
        let (squares, products) = products.fold((0.0, 0.0), add);
        (squares > 0.0)
            .then(|| y_mean + products / squares * (float(last_ms - first_ms + ahead_ms) - x_mean))
    }
}

fn add(one: (f64, f64), two: (f64, f64)) -> (f64, f64) {
    (one.0 + two.0, one.1 + two.1)
}

#[expect(clippy::cast_precision_loss, reason = "a measure needs no more digits")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(minute: u64, disk_free_bytes: u64, timed_out: u64) -> Look {
        let mut look = Look { now_ms: minute * STEP_MS, ..Look::default() };
        look.machine.disk_free_bytes = disk_free_bytes;
        let mut handling = Histogram::default();
        handling.record(7, timed_out);
        let consumers_timed_out = timed_out;
        let name = "/".to_owned();
        look.vhosts.push(VhostLook { name, handling, consumers_timed_out, ..VhostLook::default() });
        look
    }

    #[test]
    fn the_past_is_as_long_as_it_is_asked_for() {
        let mut past = Past::default();
        for minute in 0..100 {
            past.remember(&look(minute, 1_000 - minute, minute));
            // More often than once a minute is once.
            past.remember(&look(minute, 0, 0));
        }
        let now = look(100, 900, 100);
        let since = past.since(&now.vhosts[0], now.now_ms, 15);
        assert_eq!((since.consumers_timed_out, since.handling.count()), (16, 16));
        assert_eq!(past.since(&now.vhosts[0], now.now_ms, 5).consumers_timed_out, 6);
        assert_eq!((past.vhosts.len(), past.disk_free.len()), (16, 61));
    }

    #[test]
    fn a_disk_that_fills_up_is_foreseen() {
        let mut past = Past::default();
        assert_eq!(past.disk_free_in(STEP_MS), None);
        for minute in 0..30 {
            past.remember(&look(minute, 10_000 - 100 * minute, 0));
        }
        let foreseen = past.disk_free_in(10 * STEP_MS).unwrap();
        assert!((foreseen - 6_100.0).abs() < 1.0, "{foreseen}");
    }
}
