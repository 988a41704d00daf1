//! Scripts against a queue, and a comparison with a naive model.

use std::collections::BTreeMap;

use super::*;
use crate::run::Redelivery;

fn place(index: u32) -> Place {
    Place { chunk: 0, index }
}

/// Every body weighs ten bytes.
struct Tens;

impl Bodies for Tens {
    fn bytes(&self, run: &Run) -> u64 {
        10 * u64::from(run.count)
    }
}

fn arrival(index: u32, count: u32) -> Arrival {
    Arrival {
        place: place(index),
        count,
        durability: Durability::Journaled,
        deadline: Deadline::NEVER,
        level: 0,
    }
}

/// Runs a script; messages are named by their sequence. `publish N`, `lease N`, `ack A-B`,
/// `release A-B`, `purge`; a lease says what it got, `'` marks a redelivered one.
fn check(script: &str, expected: &str) {
    let mut queue = Queue::new(QueueSettings::default());
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
                queue.enqueue(&arrival(index, count), &Tens);
            }
            "lease" => {
                let mut wanted: u32 = rest.parse().unwrap();
                while wanted > 0
                    && let Some(run) = queue.lease(wanted, &Tens)
                {
                    wanted -= run.count;
                    let mark = if run.label.redelivery == Redelivery::Repeated { "'" } else { "" };
                    said.extend((run.first.0..run.end().0).map(|at| format!("{at}{mark}")));
                }
            }
            "ack" => queue.settle(range(rest).0, range(rest).1, &mut gone),
            "release" => {
                queue.release(range(rest), Return::Released, &Tens, &mut Returned::default());
            }
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

/// A message, written as plainly as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plain {
    leased: bool,
    redelivery: Redelivery,
    deadline: Deadline,
    level: u8,
    failures: u32,
}

/// What a queue is, written as plainly as can be: messages by sequence.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Plain>,
    next: u64,
    now: u64,
}

impl Model {
    /// The ready message that is delivered next.
    fn next_ready(&self) -> Option<u64> {
        let ready = self.messages.iter().filter(|(_, plain)| !plain.leased);
        ready.min_by_key(|(at, plain)| (u8::MAX - plain.level, **at)).map(|(at, _)| *at)
    }
}

fn agree(settings: &QueueSettings, seed: u64) {
    let mut seed = seed;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut queue, mut model) = (Queue::new(settings.clone()), Model::default());
    for step in 0..80 {
        let count = u32::try_from(1 + random(6)).unwrap();
        let first = random(model.next.max(1));
        let span = first..first + u64::from(count);
        let mut gone = Vec::new();
        match random(8) {
            0 | 1 => {
                let index = u32::try_from(model.next).unwrap();
                let deadline = match random(3) {
                    0 => Deadline::NEVER,
                    _ => Deadline(model.now + random(50)),
                };
                let level = settings.level(Some(u8::try_from(random(4)).unwrap()));
                let arrival = Arrival { deadline, level, ..arrival(index, count) };
                queue.enqueue(&arrival, &Tens);
                for _ in 0..count {
                    let redelivery = Redelivery::First;
                    let plain = Plain { leased: false, redelivery, deadline, level, failures: 0 };
                    model.messages.insert(model.next, plain);
                    model.next += 1;
                }
                drop_excess(&mut queue, &mut model);
            }
            2 | 3 => {
                let run = queue.lease(count, &Tens);
                assert_eq!(run.map(|run| run.first.0), model.next_ready());
                for at in run.map_or(0..0, |run| run.first.0..run.end().0) {
                    assert_eq!(model.next_ready(), Some(at));
                    let entry = model.messages.get_mut(&at).unwrap();
                    let label = run.unwrap().label;
                    assert_eq!(entry.redelivery, label.redelivery, "{step}");
                    assert_eq!(entry.failures, label.counts.failures, "{step}");
                    assert_eq!(u64::from(run.unwrap().place.index), run.unwrap().first.0);
                    entry.leased = true;
                }
            }
            4 => {
                queue.settle(Sequence(first), count, &mut gone);
                let settled: Vec<u64> =
                    gone.iter().flat_map(|run| run.first.0..run.end().0).collect();
                let expected: Vec<u64> = (model.messages.range(span.clone()))
                    .filter_map(|(at, plain)| plain.leased.then_some(*at))
                    .collect();
                assert_eq!(settled, expected);
                model.messages.retain(|at, plain| !(span.contains(at) && plain.leased));
            }
            5 => {
                model.now += random(20);
                while let Some(run) = queue.take_due(model.now, count, &Tens) {
                    for at in run.first.0..run.end().0 {
                        let plain = model.messages.remove(&at).unwrap();
                        assert!(!plain.leased && plain.deadline.is_over(model.now));
                    }
                }
                let due = |plain: &Plain| !plain.leased && plain.deadline.is_over(model.now);
                assert!(!model.messages.values().any(due));
            }
            _ => {
                let mut returned = Returned::default();
                queue.release((Sequence(first), count), Return::Failed, &Tens, &mut returned);
                for at in span {
                    let Some(entry) = model.messages.get_mut(&at).filter(|it| it.leased) else {
                        continue;
                    };
                    entry.leased = false;
                    entry.redelivery = Redelivery::Repeated;
                    entry.failures += u32::from(settings.counts_returns());
                    if settings.delivery_limit.is_some_and(|limit| entry.failures > limit) {
                        model.messages.remove(&at);
                    }
                }
            }
        }
        let ready: Vec<&Plain> = model.messages.values().filter(|plain| !plain.leased).collect();
        assert_eq!(queue.leased_messages(), (model.messages.len() - ready.len()) as u64);
        assert_eq!(queue.ready_messages(), ready.len() as u64);
        assert_eq!(queue.ready_bytes, Some(10 * ready.len() as u64));
        let deadline = ready.iter().map(|plain| plain.deadline).min();
        assert_eq!(queue.next_deadline(), deadline.unwrap_or(Deadline::NEVER));
    }
}

/// The front goes until no more are ready than may be.
fn drop_excess(queue: &mut Queue, model: &mut Model) {
    let settings = queue.settings().clone();
    let is_over = |model: &Model| {
        let ready = model.messages.values().filter(|plain| !plain.leased).count() as u64;
        settings.messages_max.is_some_and(|max| ready > max)
            || settings.bytes_max.is_some_and(|max| 10 * ready > max)
    };
    while queue.excess() > 0 {
        let run = queue.take(queue.excess(), &Tens).unwrap();
        for at in run.first.0..run.end().0 {
            assert!(is_over(model), "{at} went without need");
            assert_eq!(model.next_ready(), Some(at));
            model.messages.remove(&at);
        }
    }
    assert!(!is_over(model));
    assert!(!queue.would_overflow(0, 0));
}

#[test]
fn agrees_with_a_naive_model() {
    let bytes_max = Some(u64::MAX);
    let classic = QueueSettings { bytes_max, ..QueueSettings::default() };
    let quorum =
        QueueSettings { queue_type: QueueType::Quorum, delivery_limit: Some(1), ..classic.clone() };
    let short = QueueSettings { messages_max: Some(7), ..classic.clone() };
    let light = QueueSettings { bytes_max: Some(65), ..quorum.clone() };
    for seed in 0..300 {
        agree(&classic, seed);
        agree(&short, seed);
        agree(&light, seed);
        agree(&quorum, seed);
    }
}

/// Publishes `N:P` messages with a priority, takes `N`; says the levels taken.
fn check_cycles(script: &str, expected: &str) {
    let settings = QueueSettings { priority_max: Some(9), ..QueueSettings::default() };
    let mut queue = Queue::new(settings.clone());
    let mut taken = String::new();
    for command in script.split(' ') {
        if let Some((count, priority)) = command.split_once(':') {
            let level = settings.level(priority.parse().ok());
            let index = u32::try_from(queue.next_sequence().0).unwrap();
            queue.enqueue(&Arrival { level, ..arrival(index, count.parse().unwrap()) }, &Tens);
            continue;
        }
        let mut wanted: u32 = command.parse().unwrap();
        while wanted > 0
            && let Some(run) = queue.take(wanted, &Tens)
        {
            wanted -= run.count;
            taken.push_str(&run.label.level.to_string().repeat(run.count as usize));
        }
    }
    assert_eq!(taken, expected, "{script}");
}

#[test]
fn the_highest_priority_first_and_nothing_starves() {
    check_cycles("2:0 2:5 1:9 1:200 1:1 9", "9955100");
    check_cycles("3:1 1 1:5 1 1 1", "1511");
    let highs = levels::OVERTAKERS_MAX as usize;
    // Those that were there first wait for so many, then for no more; then a new cycle begins.
    check_cycles(
        "3:1 1 40:5 40",
        &format!("1{}11{}", "5".repeat(highs), "5".repeat(40 - highs - 2)),
    );
    check_cycles("100:5 2:1 102", &format!("{}11", "5".repeat(100)));
}

#[test]
fn a_requeued_message_returns_to_its_place() {
    check("publish 3, lease 1, release 0, lease 3", "0 0' 1 2; 0 ready, 3 leased");
}
