//! What a repair does with messages that are leased without a connection: those that can be read stay
//! with whoever has their token, and of those that are lost the token says so.

use std::collections::BTreeMap;

use broker::lease::LeaseToken;
use storage::disk::SimulatedDisk;

use crate::repair::{Files, SEALED_BYTES, repaired};
use crate::world::World;

/// Longer than anything here takes.
const LEASE_MS: u64 = 10_000_000;

const MESSAGES: usize = 40;

/// What is leased in the store.
const LEASED: [&str; 5] = ["m000", "m002", "m003", "m005", "m007"];

/// What had been, and is settled.
const SETTLED: [&str; 2] = ["m001", "m004"];

/// What is settled after the repair.
const SETTLED_AFTER: [&str; 2] = ["m000", "m003"];

struct Store {
    files: Files,
    tokens: BTreeMap<String, Vec<LeaseToken>>,
    body: Body,
}

/// The body of a message of this name.
type Body = fn(&str) -> String;

fn short(name: &str) -> String {
    name.to_owned()
}

/// A few of them fill a block.
fn long(name: &str) -> String {
    format!("{name}{}", "x".repeat(9_000))
}

/// One queue whose messages lie in segments; of its first eight some are leased, two settled and one
/// given back.
fn store(body: Body) -> Store {
    let mut world = World::on(SimulatedDisk::new(), SEALED_BYTES);
    world.run("s queue a durable");
    world.run("sync");
    for number in 0..MESSAGES {
        world.run(&format!("s publish - a {}", body(&format!("m{number:03}"))));
        world.run("sync");
    }
    for _ in 0..8 {
        world.run(&format!("w lease a 1 {LEASE_MS}"));
        world.run("sync");
    }
    world.run(&format!("w lease-ack {}", SETTLED.map(body).join(" ")));
    world.run(&format!("w lease-release {}", body("m006")));
    // Until the messages are where they are to stay.
    (0..5).for_each(|_| drop(world.run("sync")));
    Store { files: world.disk.files(), tokens: world.tokens, body }
}

/// What becomes of the messages after a repair.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fate {
    /// Delivered to a consumer at once.
    ready: Vec<String>,
    /// What is said to tokens.
    told: BTreeMap<&'static str, String>,
    /// Delivered when the time of the leases is over.
    late: Vec<String>,
}

/// Somebody consumes; who has the tokens settles some of the leased messages, and forgets the rest.
fn fate(store: &Store, files: Files) -> Fate {
    let mut world = World::on(SimulatedDisk::with_files(files), SEALED_BYTES);
    world.tokens = store.tokens.clone();
    let mut fate = Fate::default();
    let mut told = Vec::new();
    // If the declaration is lost, the queue has another name.
    for queue in ["a", "postroom.repaired.queue-0"] {
        told.extend(world.run(&format!("of-{queue} consume {queue} t no-ack")));
        (0..3).for_each(|_| told.extend(world.run("sync")));
    }
    fate.ready = bodies(&std::mem::take(&mut told));
    for body in SETTLED_AFTER {
        let mut answer = world.run(&format!("w lease-ack {}", (store.body)(body)));
        answer.extend(world.run("sync"));
        fate.told.insert(body, answer.join("; ").trim_start_matches("w: ").to_owned());
    }
    world.run(&format!("wait {}", LEASE_MS + 1)).into_iter().for_each(|line| told.push(line));
    (0..3).for_each(|_| told.extend(world.run("sync")));
    fate.late = bodies(&told);
    fate
}

fn bodies(told: &[String]) -> Vec<String> {
    let bodies = told.iter().filter_map(|line| line.split_once("t#"));
    let bodies = bodies.flat_map(|(_, bodies)| bodies.split(' ').skip(1));
    // Some tell behind it how often they were delivered.
    let bodies = bodies.filter(|word| word.starts_with('m'));
    bodies.map(|body| body[..4].to_owned()).collect()
}

impl Fate {
    /// Everything that came of the store, each once or it would be there twice.
    fn all(&self) -> Vec<&str> {
        let told = self.told.iter().filter(|(_, told)| *told == "done").map(|(body, _)| *body);
        let delivered = self.ready.iter().chain(&self.late).map(String::as_str);
        let mut all: Vec<&str> = delivered.chain(told).collect();
        all.sort_unstable();
        all
    }
}

#[test]
fn a_damaged_segment_takes_no_lease_but_those_of_its_lost_messages() {
    let store = store(long);
    let (files, before) = (&store.files, fate(&store, store.files.clone()));
    assert_eq!(before.all().len(), MESSAGES - SETTLED.len(), "{before:?}");
    assert_eq!(before.late, ["m002", "m005", "m007"], "what is leased waits");
    assert!(before.told.values().all(|told| told == "done"), "{before:?}");
    let (mut lost_leased, mut kept_leased) = (0, 0);
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("segment")) {
        for offset in (0..bytes.len()).step_by(3_989) {
            let mut files = files.clone();
            files.get_mut(name).expect("it is there")[offset] ^= 4;
            let what = format!("{name}, byte {offset}");
            let (found, after) = repaired(&files, &what);
            let after = fate(&store, after);
            let lost = before.all().len() - after.all().len();
            assert_eq!(lost as u64, found.messages_lost, "{what}: {after:?}");
            assert!(after.all().iter().all(|body| before.all().contains(body)), "{what}");
            for (some, all) in [(&after.ready, &before.ready), (&after.late, &before.late)] {
                assert!(is_part(some, all), "{what}: {some:?} of {all:?}");
            }
            for body in LEASED {
                let held = after.late.iter().any(|late| late == body)
                    || after.told.get(body).is_some_and(|told| told == "done");
                kept_leased += u64::from(found.segments > 0 && held);
                lost_leased += u64::from(!held);
            }
            assert!(after.told.values().all(|told| told == "done" || told == "gone"), "{after:?}");
        }
    }
    assert!(lost_leased > 0 && kept_leased > 0, "{lost_leased} lost, {kept_leased} kept");
}

#[test]
fn a_damaged_journal_hands_nothing_out_twice_at_once() {
    let store = store(short);
    let (files, before) = (&store.files, fate(&store, store.files.clone()));
    let (mut back_early, mut as_before) = (0, 0);
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("journal")) {
        for page in 0..bytes.len() / 4096 {
            let mut files = files.clone();
            files.get_mut(name).expect("it is there")[page * 4096 + 70] ^= 8;
            let what = format!("{name}, page {page}");
            let (_, after) = repaired(&files, &what);
            let after = fate(&store, after);
            let all = after.all();
            assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{what}: {after:?}");
            let known = |body: &&str| before.all().contains(body) || SETTLED.contains(body);
            assert!(all.iter().all(known), "{what}: {after:?}");
            // Whose lease is lost comes again, and its old token says that it is not held.
            for (body, told) in &after.told {
                let is_back = after.ready.iter().any(|ready| ready == body);
                back_early += u32::from(is_back);
                assert!(!is_back || told != "done", "{what}: {after:?}");
            }
            as_before += u32::from(after == before);
        }
    }
    assert!(back_early > 0 && as_before > 0, "{back_early}, {as_before}");
}

/// Whether `some` are of `all`, in their order.
fn is_part(some: &[String], all: &[String]) -> bool {
    let mut all = all.iter();
    some.iter().all(|one| all.any(|other| other == one))
}
