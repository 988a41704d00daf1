//! Everything that a crash can meet, one after the other: a fixed scenario whose power fails at its
//! first disk operation, then at its second, and so on, each time with several kinds of damage.

use storage::SyncMode;
use storage::disk::{Faults, SimulatedDisk};

use crate::checker::Checker;
use crate::checker::snapshot::Snapshot;
use crate::life::{Life, Loss};
use crate::message::Messages;
use crate::process::{Process, Setup};
use crate::restart::{Restart, restart};
use crate::script::Player;
use crate::trace::{Lines, Trace};
use crate::violation::{Violation, broken};

/// The lives of the scenario: between two of them the broker stops and starts again. Files are so
/// small that a few frames fill one, and checkpoints so frequent that old files are used again.
const LIVES: [&str; 3] = [
    "
    A: queue orders; queue mails; exchange x.one direct; exchange x.two topic
    step
    A: bind x.one orders a; bind x.one x.two b; bind x.two mails #
    step
    A: publish x.one a 3; publish x.one b 2; publish - nobody 1
    step
    B: consume orders c1
    A: publish - orders 4; publish - orders 2 transient; publish x.one b 3
    B: ack 1; requeue-up-to 3
    step
    B: ack-up-to 5; reject 7
    wait 20
    step
    A: publish x.one a 30
    step
    A: purge mails
    lose B
    step
    A: publish x.two c 5
    step
    A: get mails
    A: queue audit; bind amq.fanout audit a; publish amq.fanout a 2
    step
    A: unbind x.one x.two b; publish x.one b 1
    settle
    ",
    "
    A: consume orders c1
    A: ack-up-to 20
    step
    A: publish - mails 3; delete-queue audit; queue audit; publish - audit 2
    A: publish - audit 1; delete-queue audit; publish - orders 1; queue audit; publish - audit 1
    step
    A: delete-exchange x.two; publish - mails 2
    step
    A: exchange x.fleeting fanout auto-delete; exchange x.fickle fanout auto-delete
    A: exchange x.three fanout; queue news transient
    A: bind x.fleeting news a; bind x.fleeting audit a
    A: bind x.fickle news a; bind x.fickle x.three a
    step
    A: delete-exchange x.three; delete-queue audit
    step
    A: queue audit; publish - audit 1
    step
    B: consume mails c2
    B: ack 2; ack 4
    A: cancel c1
    wait 20
    step
    B: requeue-up-to 1
    A: queue jobs; bind amq.direct jobs a; publish amq.direct a 2; publish - audit 1
    step
    A: purge orders; publish - orders 6
    step
    A: publish - orders 40
    step
    T: consume orders t; publish - mails 2; publish amq.direct a 2; publish - orders 1
    T: ack-up-to 3; reject 4
    step
    T: commit; publish - jobs 9; ack-up-to 20; rollback
    T: ack-up-to 8; publish - jobs 3; commit; publish - jobs 1; ack 9
    step
    T: commit; ack 10
    step
    lose T
    ",
    "
    A: consume orders c1; consume mails c2
    A: ack-up-to 30
    step
    A: publish - orders 3; publish - jobs 3
    step
    settle
    ",
];

/// How the disk is used while the scenario is played.
#[derive(Clone, Copy, Debug)]
struct Shape {
    file_bytes: u64,
    /// A write takes no more at a time, so that a frame can be cut between two of its writes.
    write_bytes_max: Option<usize>,
}

const SHAPES: [Shape; 2] = [
    Shape { file_bytes: 8 << 10, write_bytes_max: None },
    Shape { file_bytes: 16 << 10, write_bytes_max: Some(1_500) },
];

/// What an enumeration came to.
#[derive(Clone, Debug)]
pub struct Enumerated {
    /// Disk operations of the undisturbed scenario, in all its shapes.
    pub operations: u64,
    /// Crashes tried.
    pub crashes: u64,
    /// Where a promise was broken: the operation, the seed of the damage, the violation.
    pub violations: Vec<(u64, u64, Violation)>,
}

/// Crashes the scenario at every disk operation, each `damages` times.
pub fn crash_at_every_operation(damages: u64) -> Enumerated {
    let mut enumerated = Enumerated { operations: 0, crashes: 0, violations: Vec::new() };
    for shape in &SHAPES {
        let operations = match crash_at(shape, None, 0) {
            Ok(operations) => operations,
            Err(violation) => {
                enumerated.violations.push((0, 0, violation));
                continue;
            }
        };
        enumerated.operations += operations;
        for operation in 1..=operations {
            for damage in 0..damages {
                enumerated.crashes += 1;
                if let Err(violation) = crash_at(shape, Some(operation), damage) {
                    enumerated.violations.push((operation, damage, violation));
                }
            }
        }
    }
    enumerated
}

/// Plays the scenario until the power fails at a disk operation; says how many there were.
fn crash_at(shape: &Shape, operation: Option<u64>, damage: u64) -> Result<u64, Violation> {
    let mut disk = SimulatedDisk::new();
    let write_bytes_max = shape.write_bytes_max;
    let faults = Faults { power_out: operation, write_bytes_max, ..Faults::default() };
    disk.set_faults(faults.clone());
    let (mut start, mut messages) = (Snapshot::default(), Messages::default());
    let mut now_ms = 0;
    for (number, script) in LIVES.iter().enumerate() {
        let setup = Setup {
            sync: SyncMode::Always,
            file_bytes: shape.file_bytes,
            checkpoint_bytes: 24 << 10,
            memory_bytes: 1 << 20,
            seed: 1_000 * (number as u64 + 1),
            began_ms: now_ms,
        };
        let process = match Process::start(&disk, &setup) {
            Ok((process, _)) => process,
            Err(error) if operation.is_none() => return broken!(Starts, "{error}"),
            Err(_power_is_out) => {
                let (disk, outcomes) = (&disk.crash(damage), &[start][..]);
                let messages = &messages;
                return restart(&Restart { disk, setup: &setup, messages, outcomes }).map(|_| 0);
            }
        };
        let checker = Checker::restored(messages, &start, now_ms);
        let trace = Trace::new(Lines::Hashed);
        let mut life = Life::begin(process, checker, trace, setup.sync, (&disk, &faults), start);
        Player::default().play(&mut life, script)?;
        if !life.is_poisoned() {
            life.stop()?;
        }
        let (crashed, outcomes) = (life.is_poisoned(), life.outcomes(Loss::Unsynced));
        messages = std::mem::take(&mut life.checker.messages);
        now_ms = life.checker.now_ms;
        let setup = Setup { began_ms: now_ms, ..setup };
        drop(life);
        let left = if crashed { disk.crash(damage) } else { disk.clone() };
        let restarted = restart(&Restart {
            disk: &left,
            setup: &setup,
            messages: &messages,
            outcomes: &outcomes,
        })?;
        if crashed {
            return Ok(disk.counts().operations);
        }
        start = restarted.0;
        disk = left;
    }
    Ok(disk.counts().operations)
}
