//! When the messages of a queue came, roughly: a few marks of a sequence and a time each. It costs
//! nothing for each message, and does not care where messages lie.

use std::collections::VecDeque;

use domain::run::Sequence;

/// Marks are thinned out when there are so many.
const MARKS_MAX: usize = 64;

/// Marks are at least so far apart, in milliseconds.
const STEP_MS: u64 = 50;

/// And at least this part of the whole line.
const STEP_SHARE: u64 = 48;

/// When messages came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    /// What came at that time or later, up to the next mark; both ascend.
    marks: VecDeque<(Sequence, u64)>,
}

impl Timeline {
    /// Whether what comes now needs a mark of its own.
    pub(crate) fn wants_mark(&self, now_ms: u64) -> bool {
        let (Some((_, first_ms)), Some((_, last_ms))) = (self.marks.front(), self.marks.back())
        else {
            return true;
        };
        let step_ms = (last_ms.saturating_sub(*first_ms) / STEP_SHARE).max(STEP_MS);
        now_ms >= last_ms.saturating_add(step_ms)
    }

    /// `next` comes now; nothing before `oldest` is in the queue any more.
    pub(crate) fn mark(&mut self, next: Sequence, now_ms: u64, oldest: Sequence) {
        while self.marks.get(1).is_some_and(|(first, _)| *first <= oldest) {
            self.marks.pop_front();
        }
        if self.marks.len() >= MARKS_MAX {
            // Every other one; the first stays, so that nothing looks younger than it is.
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.marks.push_back((next, now_ms));
    }

    /// When a message came, at the earliest; `None`: nobody knows.
    pub(crate) fn came_ms(&self, message: Sequence) -> Option<u64> {
        let behind = self.marks.partition_point(|(first, _)| *first <= message);
        // What is older than the line came before it, but nobody knows when.
        self.marks.get(behind.saturating_sub(1)).map(|(_, at_ms)| *at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NxT` messages come at a time, `-N` the oldest so many are gone, `?N` when did that one come.
    fn check(script: &str, expected: &str) {
        let mut timeline = Timeline::default();
        let (mut next, mut oldest) = (0, 0);
        let mut said = Vec::new();
        for command in script.split(' ') {
            if let Some(message) = command.strip_prefix('?') {
                let came = timeline.came_ms(Sequence(message.parse().unwrap()));
                said.push(came.map_or("unknown".to_owned(), |at_ms| at_ms.to_string()));
            } else if let Some(gone) = command.strip_prefix('-') {
                oldest += gone.parse::<u64>().unwrap();
            } else if let Some((count, now)) = command.split_once('x') {
                let now_ms = now.parse().unwrap();
                if timeline.wants_mark(now_ms) {
                    timeline.mark(Sequence(next), now_ms, Sequence(oldest));
                }
                next += count.parse::<u64>().unwrap();
            }
        }
        assert_eq!(said.join(" "), expected, "{script}");
    }

    #[test]
    fn a_message_came_about_then() {
        check("?0 1x100 1x120 5x200 1x1000 ?0 ?1 ?2 ?6 ?7", "unknown 100 100 200 200 1000");
        // Marks behind which nothing is left go, the last one never.
        check("1x100 1x200 -2 1x300 1x400 ?2 ?3 ?0", "300 400 300");
    }

    #[test]
    fn a_long_line_has_few_marks_and_is_off_by_little() {
        let mut timeline = Timeline::default();
        for message in 0..1_000_000 {
            let now_ms = message * 10;
            if timeline.wants_mark(now_ms) {
                timeline.mark(Sequence(message), now_ms, Sequence(0));
            }
        }
        assert!(timeline.marks.len() <= MARKS_MAX);
        for message in [0, 1, 5_000, 500_000, 999_999] {
            let came_ms = timeline.came_ms(Sequence(message)).unwrap();
            let off_ms = (message * 10).checked_sub(came_ms).unwrap();
            assert!(off_ms <= 10_000_000 / 12, "{message}: off by {off_ms} ms");
        }
    }
}
