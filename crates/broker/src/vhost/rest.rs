//! Rest: when the journal has written little for a while, what a busy time took of the disk is given
//! back. What still lies in memory moves to a segment, and a checkpoint in a new, small journal file
//! lets the older ones go, those that wait to be written again included: they are worth their space
//! only while much is written.

use super::Vhost;
use crate::limits;

/// Where that stands.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    stage: Stage,
    /// No look before this, in milliseconds.
    look_at_ms: u64,
    /// Since when little was written, in milliseconds.
    quiet_since_ms: u64,
    /// What the journal had written at the last look, in bytes.
    written_bytes: u64,
    /// What it had written when it came to rest last, in bytes.
    rested_bytes: u64,
    /// What it wrote for that, in bytes.
    cost_bytes: u64,
    /// There may be something to give back, or nobody has looked since the last commit.
    is_to_look: bool,
}

/// The way to rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Much is written, or little is there.
    #[default]
    Awake,
    /// What lies in memory moves to the disk.
    Emptying { until_ms: u64 },
    /// The next turn writes a checkpoint.
    Due,
    /// It is on its way; the journal had written so many bytes before.
    Written { before_bytes: u64 },
}

impl Rest {
    /// Something was committed: it is to be looked later on.
    pub(crate) fn is_over(&mut self) {
        self.is_to_look = true;
    }

    /// When to look again although nothing happens.
    pub(crate) fn next_look_ms(&self) -> Option<u64> {
        self.is_to_look.then_some(self.look_at_ms)
    }

    /// Whether a checkpoint in a new file is due.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        self.stage == Stage::Due
    }

    /// Whether everything that lies in memory for a while is to move.
    pub(crate) fn empties_memory(&self) -> bool {
        matches!(self.stage, Stage::Emptying { .. })
    }

    /// A checkpoint of many queues must not be written again and again for what it frees.
    fn is_worth_it(&self, disk_bytes: u64) -> bool {
        let news_bytes = self.written_bytes.saturating_sub(self.rested_bytes);
        let is_first = self.rested_bytes == 0;
        disk_bytes > limits::REST_DISK_BYTES + 2 * self.cost_bytes
            && (is_first || news_bytes >= limits::REST_DISK_BYTES / 2 + 4 * self.cost_bytes)
    }
}

impl Vhost {
    /// Looks, now and then, whether the journal can come to rest; called when a turn ends.
    pub(crate) fn come_to_rest(&mut self) {
        if self.now.ms < self.rest.look_at_ms || !self.rest.is_to_look {
            return;
        }
        let now_ms = self.now.ms;
        let used = self.journal.disk_use();
        let rest = &mut self.rest;
        if now_ms > rest.look_at_ms + limits::REST_LOOK_MS {
            // Nobody has looked for long.
            rest.quiet_since_ms = now_ms;
        }
        rest.look_at_ms = now_ms + limits::REST_LOOK_MS;
        let news_bytes = used.written_bytes.saturating_sub(rest.written_bytes);
        rest.written_bytes = used.written_bytes;
        match rest.stage {
            Stage::Awake | Stage::Emptying { .. } if news_bytes > limits::REST_LOOK_BYTES => {
                rest.stage = Stage::Awake;
                rest.quiet_since_ms = now_ms;
            }
            Stage::Awake if now_ms < rest.quiet_since_ms + limits::REST_MS => {}
            Stage::Awake if rest.is_worth_it(used.bytes()) => {
                rest.stage = Stage::Emptying { until_ms: now_ms + limits::REST_EMPTIED_MS };
            }
            Stage::Awake => rest.is_to_look = false,
            Stage::Written { before_bytes } if self.checkpoint_pending.is_none() => {
                rest.stage = Stage::Awake;
                rest.rested_bytes = used.written_bytes;
                rest.cost_bytes = used.written_bytes.saturating_sub(before_bytes);
            }
            Stage::Emptying { .. } | Stage::Due | Stage::Written { .. } => {}
        }
        if let Stage::Emptying { until_ms } = self.rest.stage
            && (until_ms <= now_ms || self.is_memory_emptied())
        {
            self.rest.stage = Stage::Due;
        }
        self.sync_for_the_dead();
    }

    /// The checkpoint that is being staged goes to a new file if it is the one that brings rest.
    pub(crate) fn turn_journal_to_rest(&mut self) {
        if self.rest.stage == Stage::Due {
            self.journal.turn_file();
            self.rest.stage = Stage::Written { before_bytes: self.rest.written_bytes };
        }
    }

    /// Where syncs come late or never, segments that nothing refers to would stay for long.
    fn sync_for_the_dead(&mut self) {
        let is_quiet = self.now.ms >= self.rest.quiet_since_ms + limits::REST_MS;
        if self.waits_for_sync() {
            self.rest.is_to_look = true;
            if is_quiet {
                self.turn.calls_writer |= self.journal.ask_for_sync() == storage::Nudge::Writer;
            }
        }
    }
}
