//! Many threads commit while one writes: no nudge is lost, nobody waits for ever, order holds.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use stdx::clock::{Clock, SystemClock};
use storage::disk::SimulatedDisk;
use storage::{Journal, Nudge, Position, Staged, Work, Writer};

use crate::support::settings;

const THREADS: usize = 4;
const COMMITS: u64 = 400;

/// Who waits: the thread, and which of its commits.
type Waiter = (usize, u64);

fn write(
    mut writer: Writer<Waiter>,
    nudges: &Receiver<()>,
    confirms: &[Sender<u64>],
    clock: &SystemClock,
) -> u64 {
    let mut frames = 0;
    loop {
        let wake_at = match writer.work(clock.monotonic()) {
            Work::Wrote { waiters, .. } => {
                frames += 1;
                for (thread, commit) in waiters {
                    // The thread may be gone already, having seen its last one as durable.
                    let _ = confirms[thread].send(commit);
                }
                loop {
                    let latecomers = writer.latecomers();
                    if latecomers.is_empty() {
                        break;
                    }
                    for (thread, commit) in latecomers {
                        let _ = confirms[thread].send(commit);
                    }
                }
                continue;
            }
            Work::Idle { wake_at } => wake_at,
            Work::Full { shortage, .. } => panic!("{shortage}"),
            Work::Poisoned { poison, .. } => panic!("{poison}"),
        };
        // Without a moment to wake at, only a nudge may end this; ten seconds mean one was lost.
        let patience = wake_at.map_or(Duration::from_secs(10), |at| {
            Duration::from_nanos(at.0.saturating_sub(clock.monotonic().0))
        });
        match nudges.recv_timeout(patience) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => assert!(wake_at.is_some(), "a nudge was lost"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    while let Work::Wrote { .. } = writer.flush(clock.monotonic()) {}
    frames
}

fn commit(
    journal: &Journal<Waiter>,
    thread: usize,
    nudge: &Sender<()>,
    confirmed: &Receiver<u64>,
    clock: &SystemClock,
) {
    let mut staged = Staged::default();
    let mut newest = Position(0);
    for index in 0..COMMITS {
        staged.record(1, |out| out.extend_from_slice(&index.to_le_bytes()));
        // Some urge, some are patient, and some wait afterwards.
        if !index.is_multiple_of(7) {
            staged.urge();
        }
        let late = index.is_multiple_of(3);
        if !late {
            staged.wait((thread, index));
        }
        let committed = journal.commit(&mut staged, clock.monotonic()).unwrap();
        assert!(committed.position >= newest);
        newest = committed.position;
        if committed.nudge == Nudge::Writer {
            nudge.send(()).unwrap();
        }
        let known = if late { journal.when_durable(newest, (thread, index)) } else { None };
        // Sometimes a window of commits is open, sometimes each waits for its own.
        if known.is_none() && index.is_multiple_of(2) {
            while confirmed.recv_timeout(Duration::from_secs(10)).unwrap() != index {}
        }
        assert!(known.is_none() || journal.durable() >= newest);
    }
}

#[test]
fn nobody_is_forgotten() {
    let clock = &SystemClock::start();
    let disk = SimulatedDisk::new();
    let opened =
        storage::open(std::sync::Arc::new(disk.clone()), settings(1 << 20), &mut |_| {}).unwrap();
    let (journal, writer) = (opened.journal, opened.writer);
    let (nudge, nudges) = channel();
    let (confirms, confirmed): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let frames = thread::scope(|scope| {
        let writing = scope.spawn(move || write(writer, &nudges, &confirms, clock));
        for (thread, confirmed) in confirmed.into_iter().enumerate() {
            let (journal, nudge) = (&journal, nudge.clone());
            scope.spawn(move || commit(journal, thread, &nudge, &confirmed, clock));
        }
        drop(nudge);
        writing.join().unwrap()
    });
    let mut records = 0u64;
    storage::open::<Waiter>(std::sync::Arc::new(disk), settings(1 << 20), &mut |_| records += 1)
        .unwrap();
    assert_eq!(records, THREADS as u64 * COMMITS);
    assert!(frames > 1, "{frames}");
}
