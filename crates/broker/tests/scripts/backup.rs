//! A copy of a virtual host's directory, made behind the back of a broker that goes on meanwhile; of a
//! damaged one; onto a disk that fails, fills up or loses its power.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's own code")]

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

use broker::{OpenError, ReplayError};
use storage::disk::{Disk, DiskFile, Faults, SimulatedDisk};
use storage::{BackedUp, BackupError, Placed, Taken, back_up_disk};

use crate::world::World;

/// So little memory that everything moves to segments.
const SEALED_BYTES: usize = 64;

/// A broker's disk on which the broker does something whenever somebody looks at it.
struct BusyDisk {
    disk: SimulatedDisk,
    work: Mutex<Work>,
    looks: AtomicU64,
    /// The broker works at one of so many looks.
    works_every: u64,
}

/// What the broker does: `kept` only grows; `flow` loses as much as it gets, so that segments and
/// journal files come and go.
struct Work {
    world: World,
    published: u64,
    taken: u64,
}

/// That many are in `flow` once it has begun to flow.
const FLOWING: u64 = 12;

impl Work {
    fn on(disk: &SimulatedDisk) -> Work {
        let mut world = World::on(disk.clone(), SEALED_BYTES);
        for line in ["s queue kept durable", "s queue flow durable", "sync"] {
            world.run(line);
        }
        Work { world, published: 0, taken: 0 }
    }

    fn go_on(&mut self) {
        let number = self.published;
        self.world.run(&format!("s publish - kept k{number}"));
        let filler = "x".repeat(6_000);
        self.world.run(&format!("s publish - flow {number}.{filler} {number}.{filler}"));
        self.published += 1;
        self.world.run("sync");
        if self.published > FLOWING {
            for _ in 0..2 {
                self.world.run("s get flow");
                self.world.run("sync");
            }
            self.taken += 1;
            self.world.run(&format!("s ack-up-to {}", 2 * self.taken));
            self.world.run("sync");
        }
        self.world.run("wait 1000");
        self.world.run("sync");
    }
}

impl BusyDisk {
    fn work(&self) {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        if !looks.is_multiple_of(self.works_every) {
            return;
        }
        match self.work.try_lock() {
            Ok(mut work) => work.go_on(),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Poisoned(_)) => panic!("the broker panicked"),
        }
    }
}

impl fmt::Debug for BusyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusyDisk")
    }
}

impl Disk for BusyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let listed = self.disk.list();
        self.work();
        listed
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let opened = self.disk.open(name);
        self.work();
        opened
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

fn back_up(original: &Arc<dyn Disk>, copy: &SimulatedDisk) -> Result<BackedUp, BackupError> {
    let target: Arc<dyn Disk> = Arc::new(copy.clone());
    let from = Placed { path: Path::new("original"), disk: original };
    let to = Placed { path: Path::new("copy"), disk: &target };
    back_up_disk(from, to, &mut |name| take(&**original, copy, name))
}

/// Copies a file as it is.
fn take(original: &dyn Disk, copy: &SimulatedDisk, name: &str) -> io::Result<Taken> {
    let file = original.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.bytes()?).unwrap()];
    let read = file.read_at(&mut bytes, 0)?;
    let target = copy.create(name)?;
    let mut rest = &bytes[..read];
    while !rest.is_empty() {
        let offset = read - rest.len();
        let written = target.write_vectored_at(&[IoSlice::new(rest)], offset as u64)?;
        rest = &rest[written..];
    }
    target.sync()?;
    Ok(Taken::Copied)
}

/// The numbers of a queue's messages, in order.
fn numbers(disk: &SimulatedDisk, queue: &str) -> Vec<u64> {
    let mut world = World::on(SimulatedDisk::with_files(disk.files()), SEALED_BYTES);
    let mut told = world.run(&format!("s consume {queue} t no-ack"));
    (0..3).for_each(|_| told.extend(world.run("sync")));
    let bodies = told.iter().filter_map(|line| line.split_once("t#"));
    let bodies = bodies.flat_map(|(_, bodies)| bodies.split(' ').skip(1));
    let number = |body: &str| body.trim_start_matches('k').split(['.', '\'']).next()?.parse().ok();
    bodies.map(|body| number(body).unwrap()).collect()
}

/// Whether whoever made the copy would make another, because the broker was too quick for it.
fn is_to_be_repeated(disk: &SimulatedDisk) -> bool {
    match World::rehearsed(disk) {
        Ok(_) => false,
        Err(OpenError::Replay { error: ReplayError::Segment { .. }, .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_copy_of_a_busy_directory_is_the_state_of_one_moment() {
    let (mut copied, mut repeated, mut retired, mut removed) = (0, 0, false, false);
    for (works_every, warm) in [(1, 40), (2, 14), (3, 40), (5, 3), (9, 60)] {
        let disk = SimulatedDisk::new();
        let mut work = Work::on(&disk);
        (0..warm).for_each(|_| work.go_on());
        let names = disk.files();
        let busy = BusyDisk { disk, work: Mutex::new(work), looks: AtomicU64::new(0), works_every };
        let (busy, mut attempts) = (Arc::new(busy), 0);
        let original: Arc<dyn Disk> = Arc::clone(&busy) as _;
        while attempts < 10 {
            attempts += 1;
            let what = format!("works at every {works_every}th look, {warm} before, {attempts}");
            let before = busy.work.lock().unwrap().published;
            let copy = SimulatedDisk::new();
            match back_up(&original, &copy) {
                Ok(_) => {}
                Err(error) if error.may_pass() => {
                    repeated += 1;
                    continue;
                }
                Err(error) => panic!("{what}: {error}"),
            }
            let (after, taken) = {
                let work = busy.work.lock().unwrap();
                (work.published, work.taken)
            };
            // What counts as done is durable.
            let copy = copy.crash(warm);
            if is_to_be_repeated(&copy) {
                repeated += 1;
                continue;
            }
            copied += 1;
            let kept = numbers(&copy, "kept");
            assert!(kept.iter().copied().eq(0..kept.len() as u64), "{what}: {kept:?}");
            assert!((before..=after).contains(&(kept.len() as u64)), "{what}: {kept:?}");
            let flow = numbers(&copy, "flow");
            // The copy may end between the two of a number, and between the steps of a turn.
            let mut twice: Vec<u64> = flow.clone();
            twice.dedup();
            let (first, last) = (twice[0], twice[twice.len() - 1]);
            assert!(twice.iter().copied().eq(first..=last), "{what}: {flow:?}");
            assert!(first <= taken && last + 1 >= before && last < after, "{what}: {flow:?}");
            let is_whole = |number: &u64| flow.iter().filter(|it| *it == number).count() == 2;
            let inner = twice.iter().skip(1).rev().skip(1);
            assert!(inner.clone().all(is_whole), "{what}: {flow:?}");
        }
        let now = busy.disk.files();
        let gone =
            |kind| names.keys().any(|name| name.starts_with(kind) && !now.contains_key(name));
        retired |= gone("journal");
        removed |= gone("segment");
    }
    assert!(copied > 10 && retired && removed, "{copied} of {repeated}, {retired}, {removed}");
}

/// A store at rest, with segments and a journal.
fn store() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let mut work = Work::on(&disk);
    (0..30).for_each(|_| work.go_on());
    drop(work);
    let kinds = ["journal", "segment"];
    assert!(kinds.iter().all(|kind| disk.files().keys().any(|name| name.starts_with(kind))));
    disk
}

#[test]
fn a_copy_onto_a_disk_that_fails_is_none() {
    let disk = store();
    let (files, original): (_, Arc<dyn Disk>) = (disk.files(), Arc::new(disk.clone()));
    let (kept, flow) = (numbers(&disk, "kept"), numbers(&disk, "flow"));
    let whole = SimulatedDisk::new();
    back_up(&original, &whole).unwrap();
    let counts = whole.counts();
    let all_bytes: u64 = whole.files().values().map(|bytes| bytes.len() as u64).sum();
    let none = Faults::default();
    let mut failed = 0;
    for nth in 1..=counts.operations + 1 {
        let part = all_bytes * nth / (counts.operations + 1);
        let faults = [
            (nth <= counts.writes, Faults { fail_write: Some(nth), ..none.clone() }),
            (nth <= counts.syncs, Faults { fail_sync: Some(nth), ..none.clone() }),
            (nth <= counts.entry_changes, Faults { fail_entry_change: Some(nth), ..none.clone() }),
            (
                nth <= counts.directory_syncs,
                Faults { fail_directory_sync: Some(nth), ..none.clone() },
            ),
            (nth <= counts.operations, Faults { power_out: Some(nth), ..none.clone() }),
            (part < all_bytes, Faults { capacity_bytes: Some(part), ..none.clone() }),
        ];
        for (fails, faults) in faults {
            let copy = SimulatedDisk::new();
            copy.set_faults(faults.clone());
            let outcome = back_up(&original, &copy);
            assert_eq!(disk.files(), files, "{faults:?}: the original is left alone");
            match outcome {
                Err(BackupError::Io { path, .. }) => {
                    assert!(fails && path.starts_with("copy"), "{faults:?}: {}", path.display());
                    failed += 1;
                }
                Err(error) => panic!("{faults:?}: {error}"),
                Ok(_) => {
                    assert!(!fails, "{faults:?} is not told");
                    let copy = copy.crash(nth);
                    assert_eq!(World::rehearsed(&copy).unwrap().len(), 1, "{faults:?}");
                    assert_eq!(numbers(&copy, "kept"), kept, "{faults:?}");
                    assert_eq!(numbers(&copy, "flow"), flow, "{faults:?}");
                }
            }
        }
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn a_copy_of_a_damaged_directory_is_none_or_unharmed_or_told_when_it_is_read() {
    let disk = store();
    let files = disk.files();
    let (kept, flow) = (numbers(&disk, "kept"), numbers(&disk, "flow"));
    let newest = files.keys().rfind(|name| name.starts_with("journal")).unwrap();
    let (mut refused, mut unharmed, mut in_blocks) = (0, 0, 0);
    for (name, bytes) in files.iter().filter(|(name, _)| !name.starts_with("spare")) {
        for offset in (0..bytes.len()).step_by(1_171) {
            let what = format!("{name}, byte {offset}");
            let harmed = SimulatedDisk::with_files(files.clone());
            assert!(harmed.flip_bit(name, offset, 5));
            let (original, copy): (Arc<dyn Disk>, _) = (Arc::new(harmed), SimulatedDisk::new());
            let read_back = match back_up(&original, &copy) {
                Ok(_) => World::rehearsed(&copy).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(said) = read_back {
                // Of a frame that nothing vouches for only what it made possible is missed.
                let followed = name == newest && said.contains("segment-");
                assert!(said.contains(name.as_str()) || followed, "{what}: {said}");
                refused += 1;
                continue;
            }
            // Blocks are not read: they are as they were, and whoever reads one will be told.
            if copy
                .files()
                .get(name)
                .is_some_and(|copied| name.starts_with("seg") && copied != bytes)
            {
                in_blocks += 1;
                continue;
            }
            let (kept_there, flow_there) = (numbers(&copy, "kept"), numbers(&copy, "flow"));
            if name != newest {
                assert_eq!((&kept_there, &flow_there), (&kept, &flow), "{what}");
            }
            assert!(kept.starts_with(&kept_there) && kept.len() <= kept_there.len() + 1, "{what}");
            unharmed += 1;
        }
    }
    assert!(refused > 10 && unharmed > 10, "{refused}, {unharmed}, {in_blocks}");
}

#[test]
fn what_is_in_the_way_is_not_written_over() {
    let disk = store();
    let original: Arc<dyn Disk> = Arc::new(disk);
    let copy = SimulatedDisk::new();
    back_up(&original, &copy).unwrap();
    let before = copy.files();
    let refused = back_up(&original, &copy).unwrap_err();
    assert!(
        matches!(&refused, BackupError::Io { error, .. }
            if error.kind() == io::ErrorKind::AlreadyExists),
        "{refused}"
    );
    assert_eq!(copy.files(), before);
}
