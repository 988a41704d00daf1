//! Scripts against a queue, and a comparison with a naive model.

use std::collections::BTreeMap;

use super::*;

fn place(index: u32) -> Place {
    Place { chunk: 0, index }
}

/// Runs a script; messages are named by their sequence. `publish N`, `lease N`, `ack A-B`,
/// `release A-B`, `purge`; a lease says what it got, `'` marks a redelivered one.
fn check(script: &str, expected: &str) {
    let mut queue = Queue::default();
    let mut said = Vec::new();
    for command in script.split(',').map(str::trim) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let range = |rest: &str| {
            let (first, last) = rest.split_once('-').unwrap_or((rest, rest));
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            (Sequence(first), u32::try_from(last - first + 1).unwrap())
        };
        let mut gone = Vec::new();
        match verb {
            "publish" => {
                let count = rest.parse().unwrap();
                let index = u32::try_from(queue.next_sequence().0).unwrap();
                queue.enqueue(place(index), count, Durability::Journaled);
            }
            "lease" => {
                let mut wanted: u32 = rest.parse().unwrap();
                while wanted > 0
                    && let Some(run) = queue.lease(wanted)
                {
                    wanted -= run.count;
                    let mark = if run.redelivery == Redelivery::Repeated { "'" } else { "" };
                    said.extend((run.first.0..run.end().0).map(|at| format!("{at}{mark}")));
                }
            }
            "ack" => queue.settle(range(rest).0, range(rest).1, &mut gone),
            "release" => queue.release(range(rest).0, range(rest).1),
            "purge" => queue.purge(&mut gone),
            _ => panic!("{command}"),
        }
    }
    let left = format!("{} ready, {} leased", queue.ready_messages(), queue.leased_messages());
    assert_eq!(format!("{}; {left}", said.join(" ")), expected, "{script}");
}

#[test]
fn scripts() {
    check("publish 3, lease 2, ack 0-1", "0 1; 1 ready, 0 leased");
    check("publish 5, lease 3, release 1, lease 9", "0 1 2 1' 3 4; 0 ready, 5 leased");
    check(
        "publish 4, lease 4, release 2-3, release 0, publish 1, lease 9",
        "0 1 2 3 0' 2' 3' 4; 0 ready, 5 leased",
    );
    check("publish 2, lease 1, purge, release 0, lease 2", "0 0'; 0 ready, 1 leased");
    check("publish 1, lease 1, ack 0, release 0, ack 0, lease 1", "0; 0 ready, 0 leased");
    check("publish 6, lease 6, ack 0-5", "0 1 2 3 4 5; 0 ready, 0 leased");
}

/// What a queue is, written as plainly as can be.
#[derive(Default)]
struct Model {
    /// By sequence: leased or ready, and whether returned before.
    messages: BTreeMap<u64, (bool, Redelivery)>,
    next: u64,
}

#[test]
fn agrees_with_a_naive_model() {
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..300 {
        let (mut queue, mut model) = (Queue::default(), Model::default());
        for step in 0..80 {
            let count = u32::try_from(1 + random(6)).unwrap();
            let first = random(model.next.max(1));
            let span = first..first + u64::from(count);
            let mut gone = Vec::new();
            match random(6) {
                0 | 1 => {
                    let index = u32::try_from(model.next).unwrap();
                    queue.enqueue(place(index), count, Durability::InMemory);
                    for _ in 0..count {
                        model.messages.insert(model.next, (false, Redelivery::First));
                        model.next += 1;
                    }
                }
                2 | 3 => {
                    let run = queue.lease(count);
                    let oldest = model.messages.iter().find(|(_, (leased, _))| !leased);
                    assert_eq!(run.map(|run| run.first.0), oldest.map(|(at, _)| *at));
                    for at in run.map_or(0..0, |run| run.first.0..run.end().0) {
                        let entry = model.messages.get_mut(&at).unwrap();
                        assert_eq!(*entry, (false, run.unwrap().redelivery), "{round} {step}");
                        assert_eq!(u64::from(run.unwrap().place.index), run.unwrap().first.0);
                        entry.0 = true;
                    }
                }
                4 => {
                    queue.settle(Sequence(first), count, &mut gone);
                    let settled: Vec<u64> =
                        gone.iter().flat_map(|run| run.first.0..run.end().0).collect();
                    let expected: Vec<u64> = (model.messages.range(span.clone()))
                        .filter_map(|(at, (leased, _))| leased.then_some(*at))
                        .collect();
                    assert_eq!(settled, expected);
                    model.messages.retain(|at, (leased, _)| !(span.contains(at) && *leased));
                }
                _ => {
                    queue.release(Sequence(first), count);
                    for (_, entry) in model.messages.range_mut(span).filter(|(_, entry)| entry.0) {
                        *entry = (false, Redelivery::Repeated);
                    }
                }
            }
            let leased = model.messages.values().filter(|(leased, _)| *leased).count() as u64;
            assert_eq!(queue.leased_messages(), leased);
            assert_eq!(queue.ready_messages(), model.messages.len() as u64 - leased);
        }
    }
}

#[test]
fn a_requeued_message_returns_to_its_place() {
    check("publish 3, lease 1, release 0, lease 3", "0 0' 1 2; 0 ready, 3 leased");
}
