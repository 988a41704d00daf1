//! The ledger must believe an honest broker and catch a lying one: scripts of what was said, with
//! what a restarted broker shows, and the violations that follow.

use super::*;

const GRACE_MS: u64 = 100;

struct Script {
    ledger: Ledger,
    start: Instant,
    now_ms: u64,
}

impl Script {
    fn id(word: &str) -> MessageId {
        let (publisher, number) = word.split_once('-').unwrap_or(("1", word));
        MessageId { publisher: publisher.parse().unwrap(), number: number.parse().unwrap() }
    }

    fn content(id: MessageId, persistent: bool) -> Content {
        Content { length: 16, checksum: u64::from(id.number), persistent }
    }

    /// `7` as published, `7r` redelivered, `7!` damaged, `7t` transient, `?` nameless.
    fn arrival(word: &str) -> Arrival {
        let digits = word.trim_end_matches(['r', '!', 't', '?']);
        let id = (!digits.is_empty()).then(|| Self::id(digits));
        let content = Self::content(id.unwrap_or(Self::id("0")), !word.contains('t'));
        let checksum = content.checksum + u64::from(word.contains('!'));
        Arrival { id, content: Content { checksum, ..content }, redelivered: word.contains('r') }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn step(&mut self, words: &[&str]) {
        let now = self.now();
        let ledger = &mut self.ledger;
        match *words {
            ["queue", name] => {
                ledger.declares_queue(name, true);
                ledger.declared_queue(name);
            }
            ["volatile", name] => {
                ledger.declares_queue(name, false);
                ledger.declared_queue(name);
            }
            ["declares", name] => ledger.declares_queue(name, true),
            ["deletes", name] => ledger.deletes_queue(name),
            ["deleted", name] => ledger.deleted_queue(name),
            ["exchange", name] => {
                ledger.declares_exchange(name, ExchangeType::Direct, true);
                ledger.declared_exchange(name);
            }
            ["binds" | "unbinds", exchange, queue] => {
                ledger.changes_binding(&bound(exchange, queue));
            }
            ["bound", exchange, queue] => {
                ledger.changed_binding(&bound(exchange, queue), Existence::Present);
            }
            ["unbound", exchange, queue] => {
                ledger.changed_binding(&bound(exchange, queue), Existence::Absent);
            }
            ["publish" | "transient", id, ref queues @ ..] => {
                let content = Self::content(Self::id(id), words[0] == "publish");
                let queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
                ledger.publishes(Self::id(id), content, queues);
            }
            ["confirm", ref ids @ ..] => ids.iter().for_each(|id| ledger.confirmed(Self::id(id))),
            ["deliver", queue, arrival] => ledger.delivered(queue, &Self::arrival(arrival), 1, now),
            ["deliver", queue, arrival, consumer] => {
                ledger.delivered(queue, &Self::arrival(arrival), consumer.parse().unwrap(), now);
            }
            ["ack", queue, id] => ledger.settles(queue, Self::id(id)),
            ["known", queue, id] => ledger.settled(queue, &[Self::id(id)], now),
            ["requeue", queue, id] => ledger.requeues(queue, Self::id(id)),
            ["close", queue, id, consumer] => {
                ledger.closes(queue, [Self::id(id)], consumer.parse().unwrap());
            }
            ["purge", queue] => ledger.purges(queue),
            ["purged", queue, count] => ledger.purged(queue, count.parse().unwrap()),
            ["wait", ms] => self.now_ms += ms.parse::<u64>().unwrap(),
            ["restart" | "power"] => {
                let power = words[0] == "power";
                let unmarked = if power { Unmarked::IsCounted } else { Unmarked::IsViolation };
                ledger.restarts(now, Duration::from_millis(GRACE_MS), unmarked);
            }
            ["there", name] => ledger.observe_queue_existence(name, true),
            ["missing", name] => ledger.observe_queue_existence(name, false),
            ["probe", exchange, ref queues @ ..] => {
                let queues: Vec<String> = queues.iter().map(|queue| (*queue).to_owned()).collect();
                ledger.observe_probe(exchange, "key", &queues);
            }
            ["see", queue, ref arrivals @ ..] => {
                let arrivals: Vec<Arrival> =
                    arrivals.iter().map(|word| Self::arrival(word)).collect();
                ledger.observe_queue(queue, arrivals.len() as u64, &arrivals);
            }
            ["front", queue, ref arrivals @ ..] => {
                let arrivals: Vec<Arrival> =
                    arrivals.iter().map(|word| Self::arrival(word)).collect();
                ledger.observe_front(queue, &arrivals);
            }
            ["says", queue, said] => ledger.observe_queue(queue, said.parse().unwrap(), &[]),
            ["counts", queue, said] => ledger.observe_count(queue, said.parse().unwrap()),
            _ => panic!("no such step: {words:?}"),
        }
    }
}

fn bound(exchange: &str, queue: &str) -> Binding {
    Binding { exchange: exchange.into(), queue: queue.into(), key: "key".into() }
}

fn check(script: &str, expected: &str) {
    let mut run = Script { ledger: Ledger::default(), start: Instant::now(), now_ms: 0 };
    for step in script.split(", ") {
        run.step(&step.split_whitespace().collect::<Vec<_>>());
    }
    let found: Vec<String> = run.ledger.violations.iter().map(ToString::to_string).collect();
    assert_eq!(found.join("; "), expected, "after {script}");
}

const TWO: &str = "queue q, publish 1 q, publish 2 q, confirm 1 2";

#[test]
fn an_honest_broker_is_believed() {
    for script in [
        "restart, see q 1 2",
        "publish 3 q, restart, see q 1 2",
        "publish 3 q, restart, see q 1 2 3",
        "deliver q 1, restart, see q 1r 2",
        // Told before the disk knew of it.
        "deliver q 1, wait 99, restart, see q 1 2",
        // The watermark may mark more than was delivered.
        "restart, see q 1r 2r",
        "deliver q 1, ack q 1, restart, see q 2",
        "deliver q 1, ack q 1, restart, see q 1r 2",
        "deliver q 1, ack q 1, wait 500, restart, see q 1r 2",
        "deliver q 1, ack q 1, known q 1, wait 99, restart, see q 1r 2",
        "deliver q 1, ack q 1, known q 1, wait 100, restart, see q 2",
        "deliver q 1, requeue q 1, deliver q 1r, ack q 1, known q 1, wait 100, restart, see q 2",
        "deliver q 1, close q 1 1, deliver q 1r 2",
        "deliver q 1, power, see q 1 2",
        "transient 3 q, confirm 3, restart, see q 1 2",
        "publish 2-1 q, confirm 2-1, restart, see q 2-1 1 2",
        "purge q, restart, see q",
        "purge q, restart, see q 1 2",
        "deliver q 1, purge q, purged q 1, restart, see q 1r",
        "deletes q, restart, missing q",
        "deletes q, restart, there q, see q 1 2",
        "deletes q, deleted q, restart, missing q",
        "volatile v, publish 3 v, confirm 3, restart, missing v, see q 1 2",
        // Counted only, or seen in part: the rest remains as it was, for as long as need be.
        "restart, counts q 2, restart, counts q 2, restart, see q 1 2",
        "publish 3 q, restart, counts q 2, restart, counts q 3, restart, see q 1 2",
        "deliver q 1, ack q 1, restart, counts q 1, restart, counts q 2, restart, see q 2",
        "deliver q 1, wait 100, restart, counts q 2, deliver q 1r",
        "deliver q 1, wait 99, restart, counts q 2, deliver q 1",
        "deliver q 1, wait 100, power, counts q 2, deliver q 1",
        "restart, front q 1, restart, front q 1r 2",
        "publish 3 q, restart, front q 1, restart, see q 1r 2",
        "publish 2-1 q, confirm 2-1, restart, front q 1 2, restart, see q 1r 2-1 2r",
        "publish 3 q, restart, counts q 3, purge q, purged q 3, restart, see q",
        "publish 3 q, restart, counts q 2, purge q, purged q 2, restart, see q",
        "declares n, restart, there n, restart, there n",
        "declares n, restart, missing n",
        "exchange e, binds e q, restart, probe e q, restart, probe e q",
        "exchange e, binds e q, restart, probe e",
        "exchange e, bound e q, unbinds e q, unbound e q, restart, probe e",
    ] {
        check(&format!("{TWO}, {script}"), "");
    }
}

#[test]
fn a_lying_broker_is_caught() {
    for (script, expected) in [
        ("restart, see q 1", "lost: confirmed message 1-2 of q"),
        ("restart, see q 1 2!", "damaged: message 1-2 in q"),
        ("restart, see q 1 2t", "damaged: message 1-2 in q"),
        ("restart, see q 2 1", "reordered: 1-2 came before 1-1 in q"),
        ("restart, see q 1 2 1", "doubled: message 1-1 in q"),
        ("restart, see q 1 2 9", "invented: a message 1-9 of 16 bytes in q"),
        ("restart, see q 1 2 ?", "invented: 16 bytes without a name in q"),
        (
            "restart, says q 2",
            "miscounted: q says 2 messages and holds 0; \
          lost: confirmed message 1-1 of q; lost: confirmed message 1-2 of q",
        ),
        (
            "queue p, publish 3 p, confirm 3, restart, see q 1 2 3, see p 3",
            "invented: message 1-3, which was routed elsewhere, in q",
        ),
        (
            "queue p, publish 3 p q, confirm 3, restart, see q 1 2 3, see p",
            "lost: confirmed message 1-3 of p",
        ),
        (
            "deliver q 1, wait 100, restart, see q 1 2",
            "unmarked: 1-1 of q comes back without the redelivered flag",
        ),
        (
            "deliver q 1, requeue q 1, deliver q 1",
            "unmarked: 1-1 of q comes back without the redelivered flag",
        ),
        ("deliver q 1, close q 1 2, deliver q 1r 2", "doubled: message 1-1 in q"),
        ("restart, counts q 1", "miscounted: q says 1 messages and holds 2"),
        ("publish 3 q, restart, counts q 4", "miscounted: q says 4 messages and holds 3"),
        ("deliver q 1, ack q 1, restart, counts q 0", "miscounted: q says 0 messages and holds 1"),
        ("restart, front q 2", "lost: confirmed message 1-1 of q"),
        ("restart, counts q 2, restart, see q 1", "lost: confirmed message 1-2 of q"),
        (
            "publish 3 q, publish 4 q, confirm 4, restart, front q 1 2 4, restart, see q 1r 2r 3 4r",
            "resurrected: message 1-3 in q, which was found missing before",
        ),
        (
            "deliver q 1, wait 100, restart, counts q 2, deliver q 1",
            "unmarked: 1-1 of q comes back without the redelivered flag",
        ),
        (
            "deliver q 1, ack q 1, restart, counts q 2, purge q, purged q 2, restart, see q 1r",
            "resurrected: message 1-1 in q, which was purged",
        ),
        ("publish 3 q, restart, purge q, purged q 1", "miscounted: q says 1 messages and holds 2"),
        ("deliver q 1, deliver q 1r 2", "doubled: message 1-1 in q"),
        ("deliver q 2, deliver q 1", "reordered: 1-2 came before 1-1 in q"),
        (
            "deliver q 1, ack q 1, known q 1, wait 100, restart, see q 1r 2",
            "resurrected: message 1-1 in q, which was settled",
        ),
        ("deliver q 1, ack q 1, deliver q 1r", "resurrected: message 1-1 in q, which was settled"),
        // What was in doubt and missing once must not come back later.
        (
            "publish 3 q, restart, see q 1 2, restart, see q 1r 2r 3",
            "resurrected: message 1-3 in q, which was found missing before",
        ),
        // What was in doubt and seen once must stay.
        (
            "publish 3 q, restart, see q 1 2 3, restart, see q 1r 2r",
            "lost: confirmed message 1-3 of q",
        ),
        (
            "transient 3 q, confirm 3, restart, see q 1 2 3t",
            "resurrected: message 1-3 in q, which was transient",
        ),
        (
            "purge q, purged q 2, restart, see q 1",
            "resurrected: message 1-1 in q, which was purged",
        ),
        ("purge q, purged q 1", "miscounted: q says 1 messages and holds 2"),
        ("deletes q, deleted q, restart, there q", "resurrected: queue q"),
        (
            "deletes q, deleted q, queue q, restart, there q, see q 1",
            "resurrected: message 1-1 in q, which was in a queue that was deleted",
        ),
        ("volatile v, restart, there v", "resurrected: queue v"),
        ("restart, missing q", "lost: queue q"),
        ("exchange e, bound e q, restart, probe e", "lost: the binding of q to e by key"),
        (
            "exchange e, bound e q, unbinds e q, unbound e q, restart, probe e q",
            "resurrected: a binding of q to e that lets key through",
        ),
    ] {
        check(&format!("{TWO}, {script}"), expected);
    }
}
