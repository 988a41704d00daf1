//! A full disk stops nothing for good: what was confirmed is there, what waits goes on when there is room.

use stdx::clock::Monotonic;
use storage::disk::{Faults, SimulatedDisk};
use storage::{Position, Staged, SyncMode, Work};

use crate::support::{Seen, open, open_with, settings};

const NOW: Monotonic = Monotonic(0);
const PAGE_BYTES: u64 = 4096;

fn commit(opened: &Seen, tag: u8, bytes: usize) -> Position {
    let mut staged = Staged::default();
    staged.record(tag, |out| out.resize(out.len() + bytes, tag));
    staged.wait("waits");
    staged.urge();
    opened.journal.commit(&mut staged, NOW).unwrap().position
}

fn full_up_to(capacity_bytes: u64) -> Faults {
    Faults { capacity_bytes: Some(capacity_bytes), ..Faults::default() }
}

/// Commits until there is no room; how many frames were confirmed. The one behind waits.
fn fill(opened: &mut Seen, bytes: usize) -> u64 {
    loop {
        let position = commit(opened, 1, bytes);
        match opened.writer.work(NOW) {
            Work::Wrote { .. } => {}
            Work::Full { retry_at, shortage } => {
                assert!(retry_at > NOW && opened.journal.is_full());
                assert!(shortage.to_string().starts_with("there is no room on the disk: "));
                assert!(opened.journal.poison().is_none());
                return position.0 - 1;
            }
            other @ (Work::Idle { .. } | Work::Poisoned { .. }) => panic!("{other:?}"),
        }
    }
}

#[test]
fn whatever_did_not_fit_goes_on_when_there_is_room() {
    let mut confirmed_at = Vec::new();
    for sync in [SyncMode::Always, SyncMode::Never] {
        for room in 0..40 {
            let disk = SimulatedDisk::new();
            let capacity_bytes = room * PAGE_BYTES / 2 + 100;
            disk.set_faults(full_up_to(capacity_bytes));
            let mut settings = settings(4 * PAGE_BYTES);
            settings.sync = sync;
            let mut opened = open_with(&disk, settings).unwrap();
            let confirmed = fill(&mut opened, 5_000);
            confirmed_at.push(confirmed);
            // It is tried again without end, and commits go on being taken.
            for _ in 0..3 {
                commit(&opened, 2, 10);
                assert!(matches!(opened.writer.work(NOW), Work::Full { .. }));
            }
            assert_eq!(opened.journal.durable(), Position(confirmed));
            for seed in 0..8 {
                let found = open(&disk.crash(seed)).unwrap();
                let durable = if sync == SyncMode::Always { confirmed } else { 0 };
                assert!(found.journal.durable() >= Position(durable), "seed {seed}");
                assert!(
                    found.records.iter().all(|(_, tag, bytes)| bytes.iter().all(|it| it == tag))
                );
            }
            // Room comes back little by little.
            let mut waiters = 0;
            for more in 1..40 {
                disk.set_faults(full_up_to(capacity_bytes + more * 1_000));
                while let Work::Wrote { waiters: some, .. } = opened.writer.work(NOW) {
                    waiters += some.len();
                }
            }
            assert!(!opened.journal.is_full());
            assert_eq!(waiters, 4);
            assert_eq!(opened.journal.durable(), Position(confirmed + 2));
            while let Work::Wrote { .. } = opened.writer.flush(NOW) {}
            for seed in 0..8 {
                let found = open(&disk.crash(seed)).unwrap();
                assert_eq!(found.records.len() as u64, confirmed + 4, "seed {seed}");
            }
        }
    }
    assert!(confirmed_at.contains(&0) && confirmed_at.contains(&5), "{confirmed_at:?}");
}

#[test]
fn a_file_that_cannot_be_made_is_made_later() {
    let disk = SimulatedDisk::new();
    disk.set_faults(Faults { files_max: Some(2), ..Faults::default() });
    let mut opened = open_with(&disk, settings(4 * PAGE_BYTES)).unwrap();
    assert_eq!(fill(&mut opened, 3_000), 6);
    disk.set_faults(Faults::default());
    assert!(matches!(opened.writer.work(NOW), Work::Wrote { position: Position(7), .. }));
    assert_eq!(open(&disk).unwrap().records.len(), 7);
}

#[test]
fn spare_files_are_used_before_anything_is_full_and_files_go_meanwhile() {
    let disk = SimulatedDisk::new();
    let mut opened = open_with(&disk, settings(4 * PAGE_BYTES)).unwrap();
    for _ in 0..9 {
        let position = commit(&opened, 1, 3_000);
        while let Work::Wrote { .. } = opened.writer.work(NOW) {}
        let _ = opened.journal.release_before(position);
        while let Work::Wrote { .. } = opened.writer.work(NOW) {}
    }
    let used = opened.journal.disk_use();
    assert!(used.spare_files > 0, "{used:?}");
    disk.set_faults(full_up_to(opened.journal.disk_bytes()));
    // No byte is free, and yet there is room for many frames, over and over, as long as they are let go.
    for _ in 0..60 {
        let position = commit(&opened, 1, 3_000);
        assert!(matches!(opened.writer.work(NOW), Work::Wrote { .. }), "{position:?}");
        let _ = opened.journal.release_before(position);
        while let Work::Wrote { .. } = opened.writer.work(NOW) {}
    }
}

#[test]
fn what_a_burst_took_of_the_disk_is_given_back() {
    const MIB: u64 = 1 << 20;
    let disk = SimulatedDisk::new();
    let mut opened = open_with(&disk, settings(8 * MIB)).unwrap();
    for _ in 0..40 {
        commit(&opened, 1, 1 << 20);
        while let Work::Wrote { .. } = opened.writer.work(NOW) {}
    }
    assert!(opened.journal.disk_bytes() >= 40 * MIB);
    assert!(opened.journal.bytes_written() >= 40 * MIB);
    // Everything is gone: the owner says what it needs again, in a new file.
    opened.journal.turn_file();
    let position = commit(&opened, 2, 100);
    while let Work::Wrote { .. } = opened.writer.work(NOW) {}
    let _ = opened.journal.release_before(position);
    let now = NOW;
    let wake_at = loop {
        match opened.writer.work(now) {
            Work::Wrote { .. } => {}
            Work::Idle { wake_at } => break wake_at,
            other @ (Work::Full { .. } | Work::Poisoned { .. }) => panic!("{other:?}"),
        }
    };
    assert_eq!(wake_at, None, "nothing is kept to be written again");
    let used = opened.journal.disk_use();
    assert_eq!((used.live_files, used.spare_files), (1, 0));
    assert_eq!(used.bytes(), MIB);
    let on_disk: u64 = disk.files().values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!(used.bytes(), on_disk);
    // Asked again, it has nothing to gain by another file.
    opened.journal.turn_file();
    commit(&opened, 3, 100);
    while let Work::Wrote { .. } = opened.writer.work(now) {}
    assert_eq!(opened.journal.disk_use().live_files, 1);
    let found = open(&disk).unwrap();
    assert_eq!(found.records.iter().map(|(_, tag, _)| *tag).collect::<Vec<_>>(), [2, 3]);
}
