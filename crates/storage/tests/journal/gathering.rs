//! When a frame is written, who is nudged for it, and what the writer does when idle.

use stdx::clock::Monotonic;
use storage::disk::SimulatedDisk;
use storage::{Journal, Nudge, Position, Staged, Work};

use crate::support::{Seen, open, open_with, settings, work_until_idle};

const NOW: Monotonic = Monotonic(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urge {
    Yes,
    No,
}

fn commit(journal: &Journal<&'static str>, bytes: usize, urge: Urge, now: Monotonic) -> Nudge {
    let mut staged = Staged::default();
    staged.record(1, |out| out.resize(out.len() + bytes, 7));
    if urge == Urge::Yes {
        staged.urge();
    }
    journal.commit(&mut staged, now).unwrap().nudge
}

fn idle(opened: &mut Seen, now: Monotonic) -> Option<Monotonic> {
    match opened.writer.work(now) {
        Work::Idle { wake_at } => wake_at,
        other @ (Work::Wrote { .. } | Work::Full { .. } | Work::Poisoned { .. }) => {
            panic!("{other:?}")
        }
    }
}

fn wrote(opened: &mut Seen, now: Monotonic) -> Position {
    match opened.writer.work(now) {
        Work::Wrote { position, .. } => position,
        other @ (Work::Idle { .. } | Work::Full { .. } | Work::Poisoned { .. }) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn a_patient_commit_waits_ten_milliseconds_for_company() {
    let mut opened = open(&SimulatedDisk::new()).unwrap();
    let late = NOW.plus_ms(4);
    assert_eq!(commit(&opened.journal, 10, Urge::No, late), Nudge::Writer, "to set its alarm");
    assert_eq!(idle(&mut opened, late), Some(NOW.plus_ms(14)));
    assert_eq!(commit(&opened.journal, 10, Urge::No, NOW.plus_ms(9)), Nudge::No, "it is set");
    assert_eq!(idle(&mut opened, NOW.plus_ms(13)), Some(NOW.plus_ms(14)));
    assert_eq!(wrote(&mut opened, NOW.plus_ms(14)), Position(1));
    assert_eq!(idle(&mut opened, NOW.plus_ms(14)), None);
}

#[test]
fn an_urged_commit_takes_the_patient_ones_along_at_once() {
    let mut opened = open(&SimulatedDisk::new()).unwrap();
    commit(&opened.journal, 10, Urge::No, NOW);
    idle(&mut opened, NOW);
    assert_eq!(commit(&opened.journal, 10, Urge::Yes, NOW), Nudge::Writer);
    assert_eq!(commit(&opened.journal, 10, Urge::Yes, NOW), Nudge::No, "it is nudged already");
    assert_eq!(wrote(&mut opened, NOW), Position(1));
    assert_eq!(commit(&opened.journal, 10, Urge::Yes, NOW), Nudge::No, "it is awake");
    assert_eq!(wrote(&mut opened, NOW), Position(2));
    assert_eq!(idle(&mut opened, NOW), None);
}

#[test]
fn many_patient_bytes_are_written_at_once() {
    let mut opened = open(&SimulatedDisk::new()).unwrap();
    commit(&opened.journal, 200 << 10, Urge::No, NOW);
    idle(&mut opened, NOW);
    assert_eq!(commit(&opened.journal, 60 << 10, Urge::No, NOW), Nudge::Writer);
    assert_eq!(wrote(&mut opened, NOW), Position(1));
}

#[test]
fn an_empty_commit_is_as_durable_as_what_is_before_it() {
    let mut opened = open(&SimulatedDisk::new()).unwrap();
    let nothing = |opened: &Seen| opened.journal.commit(&mut Staged::default(), NOW).unwrap();
    assert_eq!(nothing(&opened).position, Position(0));
    commit(&opened.journal, 10, Urge::Yes, NOW);
    assert_eq!(nothing(&opened).position, Position(1), "it joins what gathers");
    wrote(&mut opened, NOW);
    assert_eq!(nothing(&opened).position, Position(1));
    assert_eq!(idle(&mut opened, NOW), None, "nothing is written for it");
}

#[test]
fn a_release_that_frees_a_file_is_written_down_before_the_file_goes() {
    let disk = SimulatedDisk::new();
    let mut opened = open_with(&disk, settings(3 * 4096)).unwrap();
    for _ in 0..5 {
        commit(&opened.journal, 10, Urge::Yes, NOW);
        work_until_idle(&mut opened.writer, NOW);
    }
    let names = || disk.files().into_keys().collect::<Vec<_>>();
    assert_eq!(names(), ["journal-0000000001", "journal-0000000002", "journal-0000000003"]);
    assert_eq!(opened.journal.release_before(Position(2)), Nudge::No, "frees nothing");
    assert_eq!(opened.journal.release_before(Position(3)), Nudge::Writer);
    assert_eq!(wrote(&mut opened, NOW), Position(6), "an empty frame carries the word");
    assert_eq!(names().len(), 3, "not while somebody may wait");
    assert_eq!(idle(&mut opened, NOW), None);
    assert_eq!(names(), ["journal-0000000002", "journal-0000000003", "spare-0000000001"]);
    let reopened = open(&disk).unwrap();
    let positions: Vec<u64> = reopened.records.iter().map(|record| record.0).collect();
    assert_eq!(positions, [3, 4, 5]);
    assert_eq!(reopened.journal.durable(), Position(6));
}

#[test]
fn a_file_that_one_huge_frame_made_is_not_kept() {
    let disk = SimulatedDisk::new();
    let mut opened = open_with(&disk, settings(3 * 4096)).unwrap();
    for bytes in [10, 100_000, 10, 10, 10] {
        commit(&opened.journal, bytes, Urge::Yes, NOW);
        work_until_idle(&mut opened.writer, NOW);
    }
    opened.journal.release_before(Position(5));
    work_until_idle(&mut opened.writer, NOW);
    let bytes: Vec<usize> = disk.files().values().map(Vec::len).collect();
    assert!(bytes.iter().all(|bytes| *bytes <= 3 * 4096), "{bytes:?}");
    assert!(disk.files().keys().any(|name| name.starts_with("spare")));
}

#[test]
fn an_idle_journal_takes_next_to_nothing() {
    let disk = SimulatedDisk::new();
    let mut opened = open_with(&disk, settings(64 << 20)).unwrap();
    idle(&mut opened, NOW);
    while let Work::Wrote { .. } = opened.writer.flush(NOW) {}
    assert!(disk.files().is_empty(), "nothing is created before there is something to write");
    commit(&opened.journal, 10, Urge::Yes, NOW);
    work_until_idle(&mut opened.writer, NOW);
    let bytes: usize = disk.files().values().map(Vec::len).sum();
    assert!(bytes <= (1 << 20) + 2 * 4096, "{bytes}");
}

#[test]
fn bytes_since_the_checkpoint_are_known_after_a_restart_too() {
    let disk = SimulatedDisk::new();
    let mut opened = open(&disk).unwrap();
    let page = 4096;
    for _ in 0..3 {
        commit(&opened.journal, 10, Urge::Yes, NOW);
        work_until_idle(&mut opened.writer, NOW);
    }
    assert_eq!(opened.journal.bytes_since_checkpoint(), 3 * page);
    commit(&opened.journal, 2 << 20, Urge::Yes, NOW);
    opened.journal.mark_checkpoint(Position(4));
    work_until_idle(&mut opened.writer, NOW);
    assert_eq!(opened.journal.bytes_since_checkpoint(), 0);
    commit(&opened.journal, 10, Urge::Yes, NOW);
    work_until_idle(&mut opened.writer, NOW);
    assert_eq!(opened.journal.bytes_since_checkpoint(), page);
    let reopened = open(&disk).unwrap();
    reopened.journal.mark_checkpoint(Position(4));
    assert_eq!(reopened.journal.bytes_since_checkpoint(), page);
}
