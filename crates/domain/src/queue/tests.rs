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
    place: Place,
}

/// What a queue is, written as plainly as can be: messages by sequence.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Plain>,
    next: u64,
    now: u64,
}

impl Model {
    /// The ready message that is delivered next, where the highest level always is.
    fn next_ready(&self) -> Option<u64> {
        let ready = self.messages.iter().filter(|(_, plain)| !plain.leased);
        ready.min_by_key(|(at, plain)| (u8::MAX - plain.level, **at)).map(|(at, _)| *at)
    }
}

/// The message of a run with the sequence `at`, as the model has it.
fn plain(run: &Run, at: u64, leased: bool) -> Plain {
    let index = run.place.index + u32::try_from(at - run.first.0).unwrap();
    Plain {
        leased,
        redelivery: run.label.redelivery,
        deadline: run.label.deadline,
        level: run.label.level,
        failures: run.label.counts.failures,
        place: Place { index, ..run.place },
    }
}

/// The messages of runs, each with what it is.
fn messages(runs: &[Run]) -> impl Iterator<Item = (u64, &Run)> {
    runs.iter().flat_map(|run| (run.first.0..run.end().0).map(move |at| (at, run)))
}

/// A pseudo-random number below a bound.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn publish(queue: &mut Queue, model: &mut Model, count: u32, random: &mut Random) {
    let index = u32::try_from(model.next).unwrap();
    let deadline = match random.below(3) {
        0 => Deadline::NEVER,
        _ => Deadline(model.now + random.below(50)),
    };
    let level = queue.settings().level(Some(u8::try_from(random.below(4)).unwrap()));
    let arrival = Arrival { deadline, level, ..arrival(index, count) };
    let run = queue.enqueue(&arrival, &Tens);
    for (at, run) in messages(&[run]) {
        assert_eq!(at, model.next);
        model.messages.insert(at, plain(run, at, false));
        model.next += 1;
    }
    drop_excess(queue, model);
}

fn lease(queue: &mut Queue, model: &mut Model, count: u32) {
    let front = queue.front();
    let run = queue.lease(count, &Tens);
    let cut = front.map(|front| front.split(count).0);
    assert_eq!(run, cut, "what was in front was leased");
    // Where levels take turns, whose it is is tested elsewhere.
    let cycles = queue.settings().priority_max.is_some();
    assert_eq!(run.is_some(), model.next_ready().is_some());
    for (at, run) in messages(run.as_slice()) {
        assert!(cycles || model.next_ready() == Some(at));
        let entry = model.messages.get_mut(&at).unwrap();
        assert_eq!(*entry, plain(run, at, false));
        entry.leased = true;
    }
}

/// What is over at the model's time is taken out.
fn expire(queue: &mut Queue, model: &mut Model, count: u32) {
    loop {
        let front = queue.front_due(model.now);
        let run = queue.take_due(model.now, count, &Tens);
        assert_eq!(run, front.map(|front| front.split(count).0));
        let Some(run) = run else { break };
        for (at, run) in messages(&[run]) {
            let was = model.messages.remove(&at).unwrap();
            assert_eq!(was, plain(run, at, false));
            assert!(was.deadline.is_over(model.now));
        }
    }
    let due = |plain: &Plain| !plain.leased && plain.deadline.is_over(model.now);
    assert!(!model.messages.values().any(due));
}

/// Some messages, a few of them long gone, are moved to a new chunk.
fn relocate(queue: &mut Queue, model: &mut Model, chunk: u32, random: &mut Random) {
    let (mut moves, mut new_places, mut index) = (Vec::new(), BTreeMap::new(), 0);
    let mut first = random.below(model.next + 1);
    while first < model.next && random.below(8) > 0 {
        let count = u32::try_from(1 + random.below(6)).unwrap();
        moves.push(Move { first: Sequence(first), count, place: Place { chunk, index } });
        for at in first..first + u64::from(count) {
            new_places.insert(at, Place { chunk, index });
            index += 1;
        }
        // The next message may not be the next in the chunk.
        index += u32::from(random.below(3) == 0);
        first += u64::from(count) + random.below(2) * random.below(4);
    }
    let mut old = Vec::new();
    queue.relocate(&moves, &mut old);
    let mut said = BTreeMap::new();
    for (at, run) in messages(&old) {
        assert!(said.insert(at, plain(run, at, model.messages[&at].leased)).is_none());
    }
    let mut expected = model.messages.clone();
    expected.retain(|at, _| new_places.contains_key(at));
    assert_eq!(said, expected);
    for at in expected.keys() {
        model.messages.get_mut(at).unwrap().place = new_places[at];
    }
}

fn fail(queue: &mut Queue, model: &mut Model, first: u64, count: u32) {
    let settings = queue.settings().clone();
    let how = if first.is_multiple_of(2) { Return::Failed } else { Return::LeaseFailed };
    let counts = settings.counts_returns() || how == Return::LeaseFailed;
    queue.release((Sequence(first), count), how, &Tens, &mut Returned::default());
    for at in first..first + u64::from(count) {
        let Some(entry) = model.messages.get_mut(&at).filter(|it| it.leased) else { continue };
        entry.leased = false;
        entry.redelivery = Redelivery::Repeated;
        entry.failures += u32::from(counts);
        if settings.delivery_limit.is_some_and(|limit| entry.failures > limit) {
            model.messages.remove(&at);
        }
    }
}

/// Set aside they are leased still; brought back they are counted no more.
fn fail_later(queue: &mut Queue, model: &mut Model, first: u64, count: u32) {
    let span = (Sequence(first), count);
    queue.set_aside(span, Return::LeaseFailed, &mut Returned::default());
    for at in first..first + u64::from(count) {
        let Some(entry) = model.messages.get_mut(&at).filter(|it| it.leased) else { continue };
        entry.redelivery = Redelivery::Repeated;
        entry.failures += 1;
        if queue.settings().delivery_limit.is_some_and(|limit| entry.failures > limit) {
            model.messages.remove(&at);
        }
    }
    if first.is_multiple_of(2) {
        queue.release(span, Return::Rested, &Tens, &mut Returned::default());
        for at in first..first + u64::from(count) {
            model.messages.entry(at).and_modify(|entry| entry.leased = false);
        }
    }
}

fn settle(queue: &mut Queue, model: &mut Model, first: u64, count: u32) {
    let mut gone = Vec::new();
    queue.settle(Sequence(first), count, &mut gone);
    let span = first..first + u64::from(count);
    let settled: Vec<u64> = messages(&gone).map(|(at, _)| at).collect();
    let leased = model.messages.range(span.clone()).filter(|(_, plain)| plain.leased);
    assert_eq!(settled, leased.map(|(at, _)| *at).collect::<Vec<u64>>());
    model.messages.retain(|at, plain| !(span.contains(at) && plain.leased));
}

fn agree(settings: &QueueSettings, seed: u64) {
    let mut random = Random(seed);
    let (mut queue, mut model) = (Queue::new(settings.clone()), Model::default());
    for step in 1..=80 {
        let count = u32::try_from(1 + random.below(6)).unwrap();
        let first = random.below(model.next.max(1));
        match random.below(43) {
            40..=42 => fail_later(&mut queue, &mut model, first, count),
            0..=9 => publish(&mut queue, &mut model, count, &mut random),
            10..=18 => lease(&mut queue, &mut model, count),
            19..=23 => settle(&mut queue, &mut model, first, count),
            24..=27 => {
                model.now += random.below(20);
                expire(&mut queue, &mut model, count);
            }
            28..=32 => relocate(&mut queue, &mut model, step, &mut random),
            33 => {
                let mut gone = Vec::new();
                queue.purge(&mut gone);
                let ready = model.messages.values().filter(|plain| !plain.leased).count();
                assert_eq!(messages(&gone).count(), ready);
                model.messages.retain(|_, plain| plain.leased);
            }
            _ => fail(&mut queue, &mut model, first, count),
        }
        agree_now(&queue, &model);
    }
}

/// What the queue says of itself is what the model has.
fn agree_now(queue: &Queue, model: &Model) {
    let ready: Vec<&Plain> = model.messages.values().filter(|plain| !plain.leased).collect();
    assert_eq!(queue.leased_messages(), (model.messages.len() - ready.len()) as u64);
    assert_eq!(queue.ready_messages(), ready.len() as u64);
    assert_eq!(queue.ready_bytes, Some(10 * ready.len() as u64));
    let deadline = ready.iter().map(|plain| plain.deadline).min();
    assert_eq!(queue.next_deadline(), deadline.unwrap_or(Deadline::NEVER));
    let mut shown = Vec::new();
    queue.collect(&mut |_| Look::Take, &mut shown);
    let kept: BTreeMap<u64, Plain> = messages(&shown)
        .map(|(at, run)| (at, plain(run, at, model.messages[&at].leased)))
        .collect();
    assert_eq!(kept, model.messages);
    for at in 0..=model.next {
        assert_eq!(queue.has(Sequence(at)), model.messages.contains_key(&at));
    }
    assert_eq!(messages(&shown).count(), kept.len(), "each is shown once");
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
    let cycles = QueueSettings { priority_max: Some(3), ..classic.clone() };
    for seed in 0..300 {
        agree(&classic, seed);
        agree(&short, seed);
        agree(&light, seed);
        agree(&quorum, seed);
        agree(&cycles, seed);
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

/// A queue of `count` fresh messages, each in a chunk of its own.
fn scattered_over_chunks(count: u32) -> Queue {
    let mut queue = Queue::new(QueueSettings::default());
    for chunk in 1..=count {
        queue.enqueue(&Arrival { place: Place { chunk, index: 7 }, ..arrival(0, 1) }, &Tens);
    }
    queue
}

#[test]
fn a_long_queue_whose_messages_were_put_together_is_a_few_runs() {
    let mut queue = scattered_over_chunks(10_000);
    let moved_to =
        |first: u64, index: u32| Place { chunk: 0, index: index + u32::try_from(first).unwrap() };
    for first in (0..9_000).step_by(1_000) {
        let moves = [400, 600].map(|count| {
            let at = if count == 400 { first } else { first + 400 };
            Move { first: Sequence(at), count, place: moved_to(at, 50) }
        });
        let mut old = Vec::new();
        queue.relocate(&moves, &mut old);
        assert_eq!(old.len(), 1_000);
        assert!(old.iter().all(|run| u64::from(run.place.chunk) == run.first.0 + 1));
    }
    let front = queue.front().unwrap();
    assert_eq!((front.count, front.place), (9_000, moved_to(0, 50)));
    let Backlog::Plain(ready) = &queue.backlog else { panic!("a plain queue") };
    assert_eq!(ready.fresh().count(), 1_001);
    assert!(ready.room() < 5_000, "room for {} runs is kept", ready.room());
}

#[test]
fn what_is_not_wanted_is_not_looked_at() {
    let mut queue = scattered_over_chunks(1_000);
    for _ in 0..20 {
        queue.lease(1, &Tens);
    }
    queue.release((Sequence(0), 10), Return::Released, &Tens, &mut Returned::default());
    let (mut looks, mut out) = (0, Vec::new());
    let mut look = |_: &Run| {
        looks += 1;
        Look::Stop
    };
    queue.collect(&mut look, &mut out);
    assert_eq!((looks, out.len()), (3, 0));
    let mut look = |run: &Run| match run.place.chunk {
        ..13 if run.place.chunk % 2 == 1 => Look::Skip,
        ..13 => Look::Take,
        _ => Look::Stop,
    };
    queue.collect(&mut look, &mut out);
    let wanted: Vec<u64> = out.iter().map(|run| run.first.0).collect();
    assert_eq!(wanted, [1, 3, 5, 7, 9, 11]);
}
