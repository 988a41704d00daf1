//! When the disk fails the journal stops for good, says why, and what was confirmed is there.

use std::sync::Arc;

use stdx::clock::Monotonic;
use storage::disk::{Disk, Faults, SimulatedDisk};
use storage::{Journal, Nudge, Operation, Position, Staged, SyncMode, Work, Writer};

use crate::support::{open, open_with, settings, work_until_idle};

const NOW: Monotonic = Monotonic(0);

fn commit(journal: &Journal<&'static str>, tag: u8, waiter: &'static str) -> Position {
    let mut staged = Staged::default();
    staged.record(tag, |out| out.extend_from_slice(&[tag; 3_000]));
    staged.wait(waiter);
    staged.urge();
    journal.commit(&mut staged, NOW).unwrap().position
}

fn poisoned(writer: &mut Writer<&'static str>) -> (Operation, Vec<&'static str>) {
    match writer.work(NOW) {
        Work::Poisoned { poison, abandoned } => (poison.operation(), abandoned),
        other @ (Work::Wrote { .. } | Work::Full { .. } | Work::Idle { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_write_or_sync_poisons_for_good() {
    // The first file's header is write 1 and sync 1, the first frame write 2, zeros behind it write 3.
    let fails = [
        (Faults { fail_write: Some(4), ..Faults::default() }, Operation::Write),
        (Faults { fail_sync: Some(3), ..Faults::default() }, Operation::Sync),
    ];
    for (faults, operation) in fails {
        let disk = SimulatedDisk::new();
        disk.set_faults(faults);
        let mut opened = open(&disk).unwrap();
        commit(&opened.journal, 1, "confirmed");
        assert_eq!(work_until_idle(&mut opened.writer, NOW), ["confirmed"]);
        let position = commit(&opened.journal, 2, "refused");
        assert_eq!(opened.journal.when_durable(position, "late"), None);
        assert_eq!(poisoned(&mut opened.writer), (operation, vec!["refused", "late"]));
        assert_eq!(opened.journal.durable(), Position(1));

        // The disk works again, the journal does not.
        let mut staged = Staged::default();
        staged.record(3, |_| {});
        staged.wait("not taken");
        let refused = opened.journal.commit(&mut staged, NOW).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "the journal takes no more records, because its file journal-0000000001 could not \
                 be {operation}: Input/output error (os error 5); what is confirmed is safe, remove \
                 the cause and restart"
            )
        );
        assert!(opened.journal.poison().is_some());
        assert_eq!(staged.abandon(), ["not taken"]);
        assert_eq!(opened.journal.when_durable(position, "later"), None);
        assert_eq!(poisoned(&mut opened.writer), (operation, vec!["later"]));
        let operations = disk.counts().operations;
        assert!(matches!(opened.writer.flush(NOW), Work::Poisoned { .. }));
        assert_eq!(disk.counts().operations, operations, "the disk is not touched again");

        let reopened = open(&disk).unwrap();
        assert_eq!(reopened.records[0].1, 1, "what was confirmed is there");
    }
}

#[test]
fn nobody_is_told_that_all_is_safe_when_something_can_not_be_read() {
    let opened = open(&SimulatedDisk::new()).unwrap();
    let error = std::io::Error::other("it is gone");
    assert_eq!(
        opened.journal.stop("segment-0000000001", Operation::Read, error).to_string(),
        "the journal takes no more records, because its file segment-0000000001 could not be read: \
         it is gone"
    );
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_again_before_it_is_believed() {
    let disk = SimulatedDisk::new();
    disk.set_faults(Faults { fail_sync: Some(3), ..Faults::default() });
    let mut opened = open(&disk).unwrap();
    commit(&opened.journal, 1, "confirmed");
    work_until_idle(&mut opened.writer, NOW);
    commit(&opened.journal, 2, "refused");
    poisoned(&mut opened.writer);
    drop(opened);
    // A restart without a power loss still sees the frame whose sync failed, and shows it …
    let reopened = open(&disk).unwrap();
    assert_eq!(reopened.records.len(), 2);
    // … so it has to stay, though the system will never write those pages by itself.
    for seed in 0..20 {
        assert_eq!(open(&disk.crash(seed)).unwrap().records.len(), 2);
    }
}

#[test]
fn directory_failures_poison_too() {
    let expected = [
        Operation::Create,
        // Space is set aside.
        Operation::Write,
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
        Operation::SyncDirectory,
        Operation::Write,
    ];
    for (power_out, expected) in (1..).zip(expected) {
        let disk = SimulatedDisk::new();
        disk.set_faults(Faults { power_out: Some(power_out), ..Faults::default() });
        let mut opened = open(&disk).unwrap();
        commit(&opened.journal, 1, "waits");
        let (operation, abandoned) = poisoned(&mut opened.writer);
        assert_eq!((operation, abandoned), (expected, vec!["waits"]));
    }
}

#[test]
fn modes_interval_and_never_sync_when_they_say() {
    // (mode, syncs after the frame, after 49 ms, after 50 ms, after a flush), the first file's
    // header not counted.
    let table = [
        (SyncMode::Always, [1, 1, 1, 2]),
        (SyncMode::Interval { ms: 50 }, [0, 0, 1, 2]),
        (SyncMode::Never, [0, 0, 0, 2]),
    ];
    for (sync, expected) in table {
        let disk = SimulatedDisk::new();
        let mut settings = settings(1 << 20);
        settings.sync = sync;
        let mut opened = open_with(&disk, settings).unwrap();
        commit(&opened.journal, 1, "told");
        let mut syncs = Vec::new();
        assert_eq!(work_until_idle(&mut opened.writer, NOW), ["told"]);
        syncs.push(disk.counts().syncs - 1);
        for now in [NOW.plus_ms(49), NOW.plus_ms(50)] {
            assert!(work_until_idle(&mut opened.writer, now).is_empty());
            syncs.push(disk.counts().syncs - 1);
        }
        while let Work::Wrote { .. } = opened.writer.flush(NOW.plus_ms(50)) {}
        syncs.push(disk.counts().syncs - 1);
        assert_eq!(syncs, expected, "{sync:?}");
    }
}

#[test]
fn a_sync_that_is_asked_for_comes_in_every_mode() {
    for sync in [SyncMode::Always, SyncMode::Interval { ms: 50 }, SyncMode::Never] {
        let disk = SimulatedDisk::new();
        let mut settings = settings(1 << 20);
        settings.sync = sync;
        let mut opened = open_with(&disk, settings).unwrap();
        let position = commit(&opened.journal, 1, "told");
        assert_eq!(work_until_idle(&mut opened.writer, NOW), ["told"]);
        let always = sync == SyncMode::Always;
        assert_eq!(opened.journal.synced() == position, always, "{sync:?}");
        // The writer sleeps and is woken; the second time it knows.
        assert_eq!(opened.journal.ask_for_sync(), Nudge::Writer);
        assert_eq!(opened.journal.ask_for_sync(), Nudge::No);
        assert!(work_until_idle(&mut opened.writer, NOW).is_empty());
        assert_eq!((opened.journal.synced(), disk.counts().syncs), (position, 1 + 1), "{sync:?}");
    }
}

#[test]
fn an_interval_is_kept_under_load_and_named_when_idle() {
    let disk = SimulatedDisk::new();
    let mut settings = settings(1 << 20);
    settings.sync = SyncMode::Interval { ms: 50 };
    let mut opened = open_with(&disk, settings).unwrap();
    for ms in 0..=100 {
        commit(&opened.journal, 1, "");
        assert!(matches!(opened.writer.work(NOW.plus_ms(ms)), Work::Wrote { .. }));
    }
    assert_eq!(disk.counts().syncs, 1 + 1, "at 50 ms; the next began at 51");
    let Work::Idle { wake_at } = opened.writer.work(NOW.plus_ms(100)) else { panic!() };
    assert_eq!(wake_at, Some(NOW.plus_ms(101)));
    let Work::Idle { wake_at } = opened.writer.work(NOW.plus_ms(101)) else { panic!() };
    assert_eq!((wake_at, disk.counts().syncs), (None, 3));
}

#[test]
fn a_real_directory_serves_as_well() {
    let path = std::env::temp_dir().join(format!("storage-journal-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let disk: Arc<dyn Disk> = Arc::new(storage::disk::RealDisk::open(&path).unwrap());
    let mut shown = Vec::new();
    for life in 1..=3u8 {
        shown.clear();
        let mut opened = storage::open(Arc::clone(&disk), settings(1 << 20), &mut |record| {
            shown.push(record.tag);
        })
        .unwrap();
        commit(&opened.journal, life, "");
        while let Work::Wrote { .. } = opened.writer.flush(NOW) {}
    }
    assert_eq!(shown, [1, 2]);
    std::fs::remove_dir_all(&path).unwrap();
}
