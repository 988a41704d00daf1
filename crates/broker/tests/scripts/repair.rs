//! A damaged directory is looked at without being changed, and repaired without losing anything that
//! can still be read.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use broker::{
    Aside, Bodies, Damages, Detail, Entropy, Field, Inspected, Inspection, Note, OpenError,
    examine_vhost, inspect, repair_vhost,
};
use stdx::clock::ManualClock;
use storage::disk::{Disk, SimulatedDisk};

use crate::world::World;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// So little that everything moves to segments, and so much that nothing does.
pub(crate) const SEALED_BYTES: usize = 64;
const YOUNG_BYTES: usize = 1 << 20;

/// At most so many messages come in one frame.
const FRAME_MESSAGES: usize = 2;

/// Two queues, one with levels, and forty messages in each; some share a place.
fn store(memory_bytes: usize) -> (Files, Vec<String>) {
    let mut world = World::on(SimulatedDisk::new(), memory_bytes);
    world.run("s queue a durable");
    world.run("s queue b durable x-max-priority=3");
    world.run("sync");
    for number in 0..40 {
        let level = number % 3;
        world.run(&format!("s publish - a,b m{number:03} priority={level}"));
        world.run("sync");
    }
    (world.disk.files(), drained(&world.disk.files(), memory_bytes))
}

/// All messages of all queues, in the order in which they come, each with its queue.
fn drained(files: &Files, memory_bytes: usize) -> Vec<String> {
    let mut world = World::on(SimulatedDisk::with_files(files.clone()), memory_bytes);
    let mut found = Vec::new();
    for queue in ["a", "b", "postroom.repaired.queue-0", "postroom.repaired.queue-1"] {
        let session = format!("of-{queue}");
        let mut told = world.run(&format!("{session} consume {queue} t no-ack"));
        for _ in 0..3 {
            told.extend(world.run("sync"));
        }
        for line in told {
            let Some((_, bodies)) = line.split_once("t#") else { continue };
            found.extend(bodies.split(' ').skip(1).map(|body| format!("{queue} {body}")));
        }
        world.run(&format!("{session} leave"));
    }
    found
}

#[derive(Default)]
struct Kept(Files);

struct Keeper<'d> {
    disk: &'d SimulatedDisk,
    kept: &'d mut Kept,
}

impl Aside for Keeper<'_> {
    fn copy(&mut self, file: &str) -> io::Result<()> {
        self.kept.0.insert(file.to_owned(), self.disk.files()[file].clone());
        Ok(())
    }

    fn take(&mut self, file: &str) -> io::Result<()> {
        self.copy(file)?;
        self.disk.remove(file)?;
        self.disk.sync_dir()
    }
}

fn examined(disk: &SimulatedDisk) -> (Damages, Vec<Note>) {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut notes = Vec::new();
    let found = examine_vhost(&shared, &ManualClock::default(), &mut |note| notes.push(note));
    (found.unwrap(), notes)
}

fn repair_on(disk: &SimulatedDisk, kept: &mut Kept) {
    let entropy: Entropy = {
        let draws = std::sync::atomic::AtomicU64::new(1 << 40);
        Arc::new(move || draws.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut keeper = Keeper { disk, kept };
    repair_vhost(&shared, &ManualClock::default(), &entropy, &mut keeper).unwrap();
}

/// Looks, repairs, looks again, and says what was there before and what the repaired files are.
pub(crate) fn repaired(files: &Files, what: &str) -> (Damages, Files) {
    let disk = SimulatedDisk::with_files(files.clone());
    let (found, _) = examined(&disk);
    assert_eq!(disk.files(), *files, "{what}: looking changes nothing");
    if found == Damages::default() {
        return (found, files.clone());
    }
    let mut kept = Kept::default();
    repair_on(&disk, &mut kept);
    for (name, bytes) in files.iter().filter(|(name, _)| !name.starts_with("spare")) {
        let is = disk.files().get(name) == Some(bytes) || kept.0.get(name) == Some(bytes);
        assert!(is, "{what}: the original of {name} is kept");
    }
    // Whatever happens next to the disk.
    let disk = disk.crash(5);
    assert_eq!(examined(&disk).0, Damages::default(), "{what}: nothing is left to do");
    (found, disk.files())
}

/// Whether `some` are of `all`, in their order.
fn is_part(some: &[String], all: &[String]) -> bool {
    let mut all = all.iter();
    some.iter().all(|one| all.any(|other| other == one))
}

/// What is left of a queue's messages, whatever the queue is called now.
fn bodies(drained: &[String], queue: usize) -> Vec<String> {
    let names = [["a ", "postroom.repaired.queue-0 "], ["b ", "postroom.repaired.queue-1 "]];
    let of = |line: &String| {
        names[queue].iter().find_map(|name| line.strip_prefix(name)).map(str::to_owned)
    };
    drained.iter().filter_map(of).collect()
}

#[test]
fn a_segment_damaged_anywhere_loses_what_was_said_and_nothing_else() {
    let (files, all) = store(SEALED_BYTES);
    assert_eq!(all.len(), 80);
    let segments: Vec<&String> = files.keys().filter(|name| name.starts_with("segment")).collect();
    assert!(!segments.is_empty());
    let (mut losses, mut saved) = (0, 0);
    for name in segments {
        for offset in (0..files[name].len()).step_by(47) {
            let mut files = files.clone();
            files.get_mut(name).unwrap()[offset] ^= 4;
            let what = format!("{name}, byte {offset}");
            let (found, after) = repaired(&files, &what);
            let left = drained(&after, SEALED_BYTES);
            assert!(is_part(&left, &all), "{what}: {left:?}");
            assert_eq!((all.len() - left.len()) as u64, found.messages_lost, "{what}");
            losses += found.messages_lost;
            saved += u64::from(found.segments > 0 && found.messages_lost == 0);
        }
    }
    assert!(losses > 0 && saved > 0, "{losses} lost, {saved} times nothing");
}

#[test]
fn a_segment_cut_or_missing_loses_what_was_said_and_nothing_else() {
    let (files, all) = store(SEALED_BYTES);
    let names: Vec<String> =
        files.keys().filter(|name| name.starts_with("segment")).cloned().collect();
    for name in names {
        for cut in (0..files[&name].len()).step_by(113).map(Some).chain([None]) {
            let mut files = files.clone();
            match cut {
                Some(cut) => files.get_mut(&name).unwrap().truncate(cut),
                None => drop(files.remove(&name)),
            }
            let what = format!("{name} cut to {cut:?}");
            let (found, after) = repaired(&files, &what);
            assert_eq!(found.segments, 1, "{what}");
            let left = drained(&after, SEALED_BYTES);
            assert!(is_part(&left, &all), "{what}: {left:?}");
            assert_eq!((all.len() - left.len()) as u64, found.messages_lost, "{what}");
        }
    }
}

#[test]
fn a_journal_damaged_anywhere_loses_one_frame_at_most() {
    for memory_bytes in [YOUNG_BYTES, SEALED_BYTES] {
        let (files, all) = store(memory_bytes);
        let summaries = summaries(&files);
        let mut gaps = 0;
        for name in files.keys().filter(|name| name.starts_with("journal")) {
            for page in 0..files[name].len() / 4096 {
                // The version of a header can't be told from a newer program's.
                for offset in [0, 20, 40, 70, 90].map(|at| page * 4096 + at) {
                    let mut files = files.clone();
                    files.get_mut(name).unwrap()[offset] ^= 8;
                    let what = format!("{memory_bytes}: {name}, byte {offset}");
                    let lost = lost_position(&files);
                    let (found, after) = repaired(&files, &what);
                    gaps += found.journal_gaps;
                    assert!(found.journal_gaps <= 1, "{what}");
                    let left = drained(&after, memory_bytes);
                    let sums_up = lost.is_some_and(|position| summaries.contains(&position));
                    for queue in 0..2 {
                        let (left, all) = (bodies(&left, queue), bodies(&all, queue));
                        assert!(is_fit(&left, &all), "{what}: {left:?}");
                        let lost = all.len() - left.len();
                        assert!(
                            sums_up || lost <= FRAME_MESSAGES,
                            "{what}: {lost} lost of {queue}"
                        );
                    }
                }
            }
        }
        assert!(gaps > 40, "{gaps}");
    }
}

/// The frames that say what was said in others before, which may be gone.
fn summaries(files: &Files) -> Vec<u64> {
    let mut found = Vec::new();
    for note in notes(files, Detail::Frames, Bodies::Hidden).1 {
        let position = number(&note, "position");
        let sums_up = note.text.contains("checkpoint") || note.text.contains(" kept");
        found.extend(position.filter(|_| note.kind == "frame" && sums_up));
    }
    found
}

fn number(note: &Note, name: &str) -> Option<u64> {
    note.fields.iter().find_map(|(field, value)| match value {
        Field::Number(number) if *field == name => Some(*number),
        Field::Number(_) | Field::Text(_) => None,
    })
}

fn text(note: &Note, name: &str) -> Option<String> {
    note.fields.iter().find_map(|(field, value)| match value {
        Field::Text(text) if *field == name => Some(text.clone()),
        Field::Number(_) | Field::Text(_) => None,
    })
}

fn lost_position(files: &Files) -> Option<u64> {
    let (_, notes) = examined(&SimulatedDisk::with_files(files.clone()));
    let note = notes.iter().find(|note| note.kind == "damage")?;
    number(note, "first_lost")
}

/// Whether everything left was there. Levels are lost with the declaration of a queue, and with
/// them the order.
fn is_fit(left: &[String], all: &[String]) -> bool {
    let mut sorted = left.to_vec();
    sorted.sort();
    sorted.dedup();
    sorted.len() == left.len() && left.iter().all(|one| all.contains(one))
}

/// A store without its journal files.
fn without_journal(files: &Files) -> Files {
    files.iter().filter(|(name, _)| !name.starts_with("journal")).map(clone).collect()
}

fn clone((name, bytes): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (name.clone(), bytes.clone())
}

/// The same whether or not they were delivered before.
fn unmarked(drained: Vec<String>) -> Vec<String> {
    drained.into_iter().map(|line| line.trim_end_matches('\'').to_owned()).collect()
}

/// How many messages segments say they have that say anything.
fn in_segments(files: &Files) -> u64 {
    let (_, notes) = notes(files, Detail::Frames, Bodies::Hidden);
    let runs = notes.iter().filter(|note| note.kind == "run");
    runs.filter_map(|note| number(note, "messages")).sum()
}

#[test]
fn without_its_journal_a_store_is_not_taken_for_an_empty_one() {
    let (files, all) = store(SEALED_BYTES);
    let files = without_journal(&files);
    assert!(in_segments(&files) > all.len() as u64 / 4, "much of it is sealed");
    let disk = SimulatedDisk::with_files(files.clone());
    let refusal = World::refusal(&disk).unwrap().to_string();
    for word in ["vhost '/'", "segment-0000000000", "postroom repair --data-dir", "backup"] {
        assert!(refusal.contains(word), "{word}: {refusal}");
    }
    assert_eq!(disk.files(), files, "nothing was changed");
    let (found, after) = repaired(&files, "no journal");
    assert!(found.segments_orphaned > 0 && found.messages_lost == 0, "{found:?}");
    assert_eq!(World::refusal(&SimulatedDisk::with_files(after.clone())).map(drop), None);
    let left = drained(&after, SEALED_BYTES);
    assert_eq!(left.len() as u64, in_segments(&files));
    assert!(left.iter().all(|line| line.ends_with('\'')), "who knows what was delivered before");
    let left = unmarked(left);
    for queue in 0..2 {
        let (left, all) = (bodies(&left, queue), bodies(&all, queue));
        assert!(is_fit(&left, &all), "{left:?}");
    }
    assert!(is_part(&bodies(&left, 0), &bodies(&all, 0)), "in order, but for lost levels");
}

#[test]
fn transient_messages_of_orphaned_segments_come_back_too() {
    let mut world = World::on(SimulatedDisk::new(), SEALED_BYTES);
    world.run("s queue a durable");
    world.run("s publish - a kept");
    world.run("sync");
    for number in 0..10 {
        world.run(&format!("s publish - a t{number:03} transient"));
        world.run("sync");
    }
    let files = world.disk.files();
    assert_eq!(drained(&files, SEALED_BYTES), ["a kept"], "a restart drops them");
    let (found, after) = repaired(&without_journal(&files), "no journal");
    assert!(found.segments_orphaned > 0, "{found:?}");
    let left = unmarked(drained(&after, SEALED_BYTES));
    let transient = left.iter().filter(|line| line.contains(" t0")).count();
    assert!(transient > 0, "{left:?}");
}

#[test]
fn damaged_segments_without_a_journal_lose_only_their_damaged_blocks() {
    let (files, all) = store(SEALED_BYTES);
    let files = without_journal(&files);
    let names: Vec<&String> = files.keys().filter(|name| name.starts_with("segment")).collect();
    let (mut lost, mut unknown) = (0, 0);
    for name in names {
        for offset in (40..files[name].len()).step_by(61) {
            let mut files = files.clone();
            let before = in_segments(&files);
            files.get_mut(name).unwrap()[offset] ^= 4;
            let what = format!("{name}, byte {offset}");
            let (found, after) = repaired(&files, &what);
            let left = unmarked(drained(&after, SEALED_BYTES));
            // Without an index nobody knows whose the messages are.
            let known = in_segments(&files);
            unknown += before - known;
            assert_eq!(left.len() as u64, known - found.messages_lost, "{what}");
            lost += found.messages_lost;
            assert!(is_part(&bodies(&left, 0), &bodies(&all, 0)), "{what}");
            assert!(is_fit(&bodies(&left, 1), &bodies(&all, 1)), "{what}");
        }
    }
    assert!(lost > 0 && unknown > 0, "{lost} lost, {unknown} nobody's");
}

#[test]
fn a_lost_checkpoint_takes_names_and_no_messages() {
    let (files, all) = store(SEALED_BYTES);
    let mut world = World::on(SimulatedDisk::with_files(files), SEALED_BYTES);
    world.run("sync");
    world.run("stop");
    world.run("sync");
    world.run("s publish - a,b last");
    world.run("sync");
    let files = world.disk.files();
    let frames = notes(&files, Detail::Frames, Bodies::Hidden).1;
    let checkpoints: Vec<(String, usize)> = (frames.iter())
        .filter(|note| note.kind == "frame" && note.text.contains("checkpoint"))
        .map(|note| {
            (text(note, "file").unwrap(), usize::try_from(number(note, "offset").unwrap()).unwrap())
        })
        .collect();
    let mut damaged = files.clone();
    for (file, offset) in &checkpoints {
        damaged.get_mut(file).unwrap()[offset + 70] ^= 1;
    }
    assert!(frames.iter().all(|note| number(note, "position") != Some(1)), "the beginning is gone");
    let disk = SimulatedDisk::with_files(damaged.clone());
    assert!(matches!(World::refusal(&disk), Some(OpenError::Journal { .. })));
    let (found, after) = repaired(&damaged, "a lost checkpoint");
    assert!(found.segments_orphaned > 0, "{found:?}");
    let left = unmarked(drained(&after, SEALED_BYTES));
    for queue in 0..2 {
        let (left, mut all) = (bodies(&left, queue), bodies(&all, queue));
        all.push("last".to_owned());
        assert!(is_fit(&left, &all), "{left:?}");
        assert_eq!(left.len(), all.len(), "{left:?}");
    }
}

#[test]
fn a_repair_that_was_cut_short_is_not_taken_for_a_whole_one() {
    let (files, _) = store(SEALED_BYTES);
    let mut files = without_journal(&files);
    // What is left of a journal whose basis is lost: a frame that stands for lost ones.
    let (_, repaired) = repaired(&files, "no journal");
    files.extend(repaired.iter().filter(|(name, _)| name.starts_with("journal")).map(clone));
    assert_eq!(World::refusal(&SimulatedDisk::with_files(files.clone())).map(drop), None);
    files.insert("segment-0000000099".to_owned(), files["segment-0000000000"].clone());
    let refusal = World::refusal(&SimulatedDisk::with_files(files));
    assert!(matches!(refusal, Some(OpenError::Orphaned { segments: 1, .. })), "{refusal:?}");
}

#[test]
fn what_the_disk_does_not_give_back_is_damage_like_any_other() {
    for memory_bytes in [YOUNG_BYTES, SEALED_BYTES] {
        let (files, all) = store(memory_bytes);
        let summaries = summaries(&files);
        let mut unreadable = 0;
        for (name, bytes) in files.iter().filter(|(name, _)| !name.starts_with("spare")) {
            for page in 0..bytes.len().div_ceil(4096) {
                let what = format!("{memory_bytes}: {name}, page {page}");
                let disk = SimulatedDisk::with_files(files.clone());
                disk.spoil(name, page * 4096 + 100..page * 4096 + 101);
                let (found, notes) = examined(&disk);
                assert_eq!(disk.files(), files, "{what}: looking changes nothing");
                if found == Damages::default() {
                    continue;
                }
                unreadable += found.unreadable;
                let lost = notes.iter().find_map(|note| number(note, "first_lost"));
                let mut kept = Kept::default();
                repair_on(&disk, &mut kept);
                assert_eq!(kept.0.get(name), Some(bytes), "{what}: the original is kept");
                assert_eq!(examined(&disk).0, Damages::default(), "{what}: nothing is left to do");
                let left = drained(&disk.files(), memory_bytes);
                let sums_up = lost.is_some_and(|position| summaries.contains(&position));
                for queue in 0..2 {
                    let (left, all) = (bodies(&left, queue), bodies(&all, queue));
                    assert!(is_fit(&left, &all), "{what}: {left:?}");
                    let missing = (all.len() - left.len()) as u64;
                    let in_frame = FRAME_MESSAGES as u64;
                    assert!(sums_up || missing <= in_frame + found.messages_lost, "{what}");
                }
            }
        }
        assert!(unreadable > 10, "{unreadable}");
    }
}

#[test]
fn what_is_whole_is_left_alone() {
    for memory_bytes in [YOUNG_BYTES, SEALED_BYTES] {
        let (files, _) = store(memory_bytes);
        let (found, notes) = examined(&SimulatedDisk::with_files(files));
        assert_eq!(found, Damages::default());
        let said: Vec<String> = notes.iter().map(Note::to_string).collect();
        assert_eq!(said, ["2 queues with 80 messages can be read"]);
    }
}

fn notes(files: &Files, detail: Detail, bodies: Bodies) -> (Inspected, Vec<Note>) {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::with_files(files.clone()));
    let inspection = Inspection { detail, bodies, files: Vec::new() };
    let mut notes = Vec::new();
    let found = inspect(&disk, &inspection, &mut |note| notes.push(note));
    (found.unwrap_or_default(), notes)
}

fn inspected(files: &Files, bodies: Bodies) -> (Inspected, String) {
    let (found, notes) = notes(files, Detail::Records, bodies);
    let lines: Vec<String> = notes.iter().map(Note::to_string).collect();
    (found, lines.join("\n"))
}

#[test]
fn everything_is_told_and_bodies_only_to_who_asks() {
    let (files, _) = store(SEALED_BYTES);
    let (found, told) = inspected(&files, Bodies::Hidden);
    assert_eq!(found, Inspected::default(), "{told}");
    for word in [": 1 messages, ", "queue declared: 0 is 'a'", "kept: ", "block: offset"] {
        assert!(told.contains(word), "{word}\n{told}");
    }
    assert!(!told.contains("m007"));
    let (_, told) = inspected(&files, Bodies::Shown);
    assert!(told.contains("4 bytes: \"m007\""), "{told}");
}

#[test]
fn any_damage_is_told_without_a_panic() {
    let (files, _) = store(SEALED_BYTES);
    let mut state = 5u64;
    let mut draw = move |end: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end.max(1)
    };
    let names: Vec<String> = files.keys().cloned().collect();
    for round in 0..300 {
        let mut files = files.clone();
        for _ in 0..=draw(5) {
            let bytes = files.get_mut(&names[draw(names.len())]).unwrap();
            let (at, len) = (draw(bytes.len()), draw(bytes.len()));
            let end = (at + len).min(bytes.len());
            match draw(3) {
                0 => bytes.truncate(at),
                1 => bytes[at..end].fill_with(|| u8::try_from(draw(256)).unwrap()),
                _ => bytes.extend((0..draw(5_000)).map(|byte| byte.to_le_bytes()[0])),
            }
        }
        let (_, told) = inspected(&files, Bodies::Shown);
        assert!(round > 0 || !told.is_empty());
    }
}
