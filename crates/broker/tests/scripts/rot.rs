//! Bits of a small store that flip, wherever they are: in a journal with its checkpoints, or in a
//! segment. A broker either has every message as it was, or does not start and names the file, or stops
//! the virtual host where it meets the damage; and what it hands out before that is right.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

use storage::disk::SimulatedDisk;

use crate::repair::{Files, SEALED_BYTES};
use crate::world::World;

/// Queues whose messages lie in segments, one with levels, one with a lease; journals with the
/// checkpoints of two starts.
fn store() -> Files {
    let mut world = World::on(SimulatedDisk::new(), SEALED_BYTES);
    for line in
        ["s queue a durable", "s queue b durable x-max-priority=3", "s queue c durable", "sync"]
    {
        world.run(line);
    }
    for number in 0..12 {
        world.run(&format!("s publish - a,b,c m{number:03} priority={}", number % 3));
        world.run("sync");
    }
    world.run("w lease c 1 10000000");
    world.run("sync");
    world.run("stop");
    world.run("s get a");
    world.run("sync");
    world.run("s ack 1");
    world.run("s publish - a last");
    world.run("sync");
    world.run("stop");
    world.run("sync");
    world.disk.files()
}

/// What consumers are given and told.
fn drained(files: Files) -> Vec<String> {
    let mut world = World::on(SimulatedDisk::with_files(files), SEALED_BYTES);
    let mut told = Vec::new();
    for queue in ["a", "b", "c"] {
        // Where somebody has met the damage, nobody else is let in.
        if let Some(refusal) = world.entry_refusal() {
            told.push(format!("{queue}: closing: {refusal}"));
            continue;
        }
        told.extend(world.run(&format!("{queue} consume {queue} t no-ack")));
        (0..3).for_each(|_| told.extend(world.run("try-sync")));
    }
    told
}

fn of(queue: &str, told: &[String]) -> Vec<String> {
    let deliveries = told.iter().filter_map(|line| line.strip_prefix(queue)?.split_once("t#"));
    deliveries.flat_map(|(_, bodies)| bodies.split(' ').skip(1).map(str::to_owned)).collect()
}

/// Everything that is not padding of a page, and some of that.
fn places(name: &str, bytes: &[u8]) -> Vec<usize> {
    let every = if name.starts_with("segment") { 3 } else { 11 };
    let is_padding = |at: usize| bytes[at] == 0 && at % 97 != 0;
    (0..bytes.len()).filter(|at| at.is_multiple_of(every) && !is_padding(*at)).collect()
}

#[test]
fn a_flipped_bit_anywhere_is_harmless_or_told_and_never_wrong() {
    let files = store();
    let before = drained(files.clone());
    assert_eq!(of("a", &before).len(), 12, "{before:?}");
    let (mut refused, mut stopped, mut harmless) = (0, 0, 0);
    for (name, bytes) in files.iter().filter(|(name, _)| !name.starts_with("spare")) {
        for offset in places(name, bytes) {
            let what = format!("{name}, byte {offset}");
            let mut harmed = files.clone();
            harmed.get_mut(name).unwrap()[offset] ^= 1 << (offset % 8);
            if let Some(refusal) = World::refusal(&SimulatedDisk::with_files(harmed.clone())) {
                let told = refusal.to_string();
                // Of a frame that nothing vouches for only what it made possible is missed.
                assert!(
                    told.contains(name.as_str()) || told.contains("segment-"),
                    "{what}: {told}"
                );
                refused += 1;
                continue;
            }
            let told = drained(harmed);
            if told == before {
                harmless += 1;
                continue;
            }
            assert!(told.iter().any(|line| line.contains("closing")), "{what}: {told:?}");
            for queue in ["a", "b", "c"] {
                let (some, all) = (of(queue, &told), of(queue, &before));
                assert!(all.starts_with(&some), "{what}: {some:?} of {all:?}");
            }
            stopped += 1;
        }
    }
    assert!(
        refused > 100 && stopped > 10 && harmless > 100,
        "{refused} refused, {stopped} stopped, {harmless} harmless"
    );
}
