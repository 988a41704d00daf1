//! What the tests of this crate share: opening a journal and looking at everything in it.

use std::sync::Arc;

use stdx::clock::Monotonic;
use storage::disk::SimulatedDisk;
use storage::{Journal, JournalSettings, OpenError, ReplaySummary, Work, Writer};

/// Position, tag and payload.
pub(crate) type SeenRecord = (u64, u8, Vec<u8>);

/// An opened journal and the records it showed.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) journal: Arc<Journal<&'static str>>,
    pub(crate) writer: Writer<&'static str>,
    pub(crate) summary: ReplaySummary,
    pub(crate) records: Vec<SeenRecord>,
}

/// Settings with small files; generations are drawn from a fixed sequence that differs per call.
pub(crate) fn settings(file_bytes: u64) -> JournalSettings {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LIVES: AtomicU64 = AtomicU64::new(1);
    let generation = || LIVES.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    JournalSettings { file_bytes, ..JournalSettings::new(Box::new(generation)) }
}

pub(crate) fn open(disk: &SimulatedDisk) -> Result<Seen, OpenError> {
    open_with(disk, settings(64 << 20))
}

pub(crate) fn open_with(
    disk: &SimulatedDisk,
    settings: JournalSettings,
) -> Result<Seen, OpenError> {
    let mut records = Vec::new();
    let opened = storage::open(Arc::new(disk.clone()), settings, &mut |record| {
        records.push((record.position.0, record.tag, record.payload.to_vec()));
    })?;
    let (journal, writer, summary) = (opened.journal, opened.writer, opened.summary);
    Ok(Seen { journal, writer, summary, records })
}

/// Calls the writer until it is idle; all waiters, in order.
pub(crate) fn work_until_idle(
    writer: &mut Writer<&'static str>,
    now: Monotonic,
) -> Vec<&'static str> {
    let mut all = Vec::new();
    loop {
        match writer.work(now) {
            Work::Wrote { waiters, .. } => all.extend(waiters),
            Work::Idle { .. } => return all,
            Work::Full { shortage, .. } => panic!("{shortage}"),
            Work::Poisoned { poison, .. } => panic!("{poison}"),
        }
    }
}
