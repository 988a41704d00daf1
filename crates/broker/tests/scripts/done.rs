//! What became of messages: told by queues that were declared for it, for a time, and never of a message
//! that comes back.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

use std::collections::BTreeMap;

use broker::done::{DoneAnswer, DoneReply, DoneRequest, DoneWish, KeptMessage, LastWords};
use broker::lease::LeaseToken;
use broker::operation::Operation;
use domain::run::Direction;
use domain::table::Value;

use crate::requests::{name, table};
use crate::script::{check, check_sealed, check_with_plenty};

/// `done QUEUE [newest] [max=N] [behind=BODY]`, `what BODY` (by its last token), `forget QUEUE`.
pub(crate) fn operation(
    tokens: &BTreeMap<String, Vec<LeaseToken>>,
    verb: &str,
    arguments: &[&str],
) -> Operation {
    let id = |body: &str| tokens[body].last().unwrap().message_id();
    let options = table(arguments);
    let wish = match verb {
        "done" => DoneWish::Page {
            queue: name(arguments[0]),
            behind: options.get("behind").and_then(Value::as_text).map(id),
            direction: if arguments.contains(&"newest") {
                Direction::NewestFirst
            } else {
                Direction::OldestFirst
            },
            messages_max: options
                .get("max")
                .and_then(Value::as_integer)
                .map_or(100, |max| max.try_into().unwrap()),
        },
        "what" => DoneWish::One(id(arguments[0])),
        _ => DoneWish::Forget(name(arguments[0])),
    };
    Operation::Done(Box::new(DoneRequest { ticket: 0, wish }))
}

/// `SEQUENCE OUTCOME xATTEMPTS`, `dead` if it went on as a dead letter, and what was said.
fn kept(kept: &KeptMessage) -> String {
    let message = &kept.message;
    let id = format!("{:?}", message.id);
    let sequence = id.rsplit_once("Sequence(").unwrap().1.split_once(')').unwrap().0;
    let mut text = format!("{sequence} {:?} x{}", message.outcome, message.attempts);
    if message.dead_lettered {
        text += " dead";
    }
    let LastWords { progress, result, error } = &message.said;
    for (what, said) in [
        ("progress", progress.as_deref()),
        ("result", result.as_deref()),
        ("error", error.as_ref().map(|error| &*error.kind)),
    ] {
        if let Some(said) = said {
            text.extend([" ", what, "=", said]);
        }
    }
    text
}

pub(crate) fn text(answer: &DoneAnswer) -> String {
    match &answer.outcome {
        Ok(DoneReply::One(found)) => found
            .as_ref()
            .map_or("nobody knows".to_owned(), |(queue, it)| format!("{queue} {}", kept(it))),
        Ok(DoneReply::Page { messages, goes_on }) => {
            let mut texts: Vec<String> = messages.iter().map(kept).collect();
            if texts.is_empty() {
                texts.push("none".to_owned());
            }
            texts.extend(goes_on.then(|| "and more".to_owned()));
            format!("done: {}", texts.join(", "))
        }
        Ok(DoneReply::OnItsWay) => "on its way".to_owned(),
        Ok(DoneReply::OtherQueue) => "another queue".to_owned(),
        Ok(DoneReply::Forgotten(count)) => format!("forgot {count}"),
        Err(refusal) => format!("refused {refusal:?}"),
    }
}

#[test]
fn a_queue_tells_what_became_of_its_messages() {
    check(
        "a queue q durable x-done-max-length=10 x-max-length=6
         sync -> a: q has 0, 0 consumers
         a publish - q over one two three four five six
         sync
         a lease q 5 10000
         sync -> a: leased one two three four five
         a lease-extend one for=9000 progress=50
         sync -> a: done
         a lease-ack one result={\"url\":1} + lease-ack two
         sync -> a: done; a: done
         a lease-reject three error=Timeout
         sync -> a: done
         a what one -> a: q 1 Acknowledged x1 progress=50 result={\"url\":1}
         a what four -> a: nobody knows
         a lease-release four
         sync -> a: done
         a get q -> a: got#1 four', 1 left
         a ack 1
         a purge q
         sync -> a: QueuePurged
         a done q -> a: done: 0 Overflowed x0, 1 Acknowledged x1 progress=50 result={\"url\":1}, 2 Acknowledged x1, 3 Rejected x1 error=Timeout, 4 Acknowledged x2, 6 Purged x0
         a done q newest max=2 -> a: done: 6 Purged x0, 4 Acknowledged x2, and more
         a done q newest behind=three -> a: done: 2 Acknowledged x1, 1 Acknowledged x1 progress=50 result={\"url\":1}, 0 Overflowed x0
         a done other -> a: refused NotFound(Queue, \"other\")",
    );
}

#[test]
fn a_queue_that_was_not_asked_tells_nothing() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one
         a lease q 1 10000
         sync -> a: leased one
         a lease-ack one result=1
         sync -> a: done
         a what one -> a: nobody knows
         a done q -> a: done: none
         a forget q -> a: forgot 0",
    );
}

#[test]
fn an_end_and_what_is_told_of_it_are_one_commit() {
    for end in ["crash", "stop"] {
        check(&format!(
            "a queue q durable x-done-ttl=60000
             sync -> a: q has 0, 0 consumers
             a publish - q one two three four
             a lease q 2 50000
             sync -> a: leased one two
             a lease-ack one result=[1,2]
             sync -> a: done
             {end}
             a what one -> a: q 0 Acknowledged x1 result=[1,2]
             a done q -> a: done: 0 Acknowledged x1 result=[1,2]
             a lease-ack two result=lost
             a what two
             crash
             a what two -> a: nobody knows
             a lease-ack two result=2
             a what two
             sync -> a: done; a: q 1 Acknowledged x1 result=2
             a forget q
             a get q
             sync -> a: forgot 2; a: got#1 three, 1 left
             a ack 1
             sync
             {end}
             a done q -> a: done: 2 Acknowledged x1"
        ));
    }
}

#[test]
fn a_checkpoint_says_again_what_is_told() {
    check_with_plenty(
        "a queue q durable x-done-ttl=600000
         a queue big durable
         sync -> a: q has 0, 0 consumers; a: big has 0, 0 consumers
         a publish - q one two
         a lease q 2 600000
         sync -> a: leased one two
         a lease-extend two for=600000 progress=7
         a lease-ack one result=42
         sync -> a: done; a: done
         a flood big 400
         sync
         a purge big
         sync -> a: QueuePurged
         rest
         disk -> 1 journals, 0 spares, 1 segments, 1 MiB
         crash
         a what one -> a: q 0 Acknowledged x1 result=42
         a lease-ack two
         sync -> a: done
         a what two -> a: q 1 Acknowledged x1 progress=7",
    );
}

#[test]
fn what_is_told_is_forgotten_in_time() {
    check(
        "a queue q durable x-done-ttl=1000
         sync -> a: q has 0, 0 consumers
         a publish - q one two three
         a lease q 3 50000
         sync -> a: leased one two three
         a lease-ack one
         sync -> a: done
         wait 500
         a lease-ack two
         sync -> a: done
         wait 299
         a done q -> a: done: 0 Acknowledged x1, 1 Acknowledged x1
         wait 1
         a done q -> a: done: 1 Acknowledged x1
         crash
         a done q -> a: done: 1 Acknowledged x1
         wait 600
         a done q -> a: done: none
         crash
         a what two -> a: nobody knows",
    );
}

#[test]
fn a_dead_letter_is_done_where_it_was() {
    check(
        "a queue graves durable x-done-max-length=5
         a queue q durable x-done-max-length=5 x-dead-letter-exchange=- x-dead-letter-routing-key=graves x-queue-type=quorum x-delivery-limit=0
         sync -> a: graves has 0, 0 consumers; a: q has 0, 0 consumers
         a publish - q one two
         a lease q 2 50000
         sync -> a: leased one two
         a lease-extend two for=40000 progress=9
         sync -> a: done
         a lease-fail one two error=Broken
         sync -> a: done done
         a done q -> a: done: 0 Failed x1 dead error=Broken, 1 Failed x1 dead progress=9 error=Broken
         crash
         a done q -> a: done: 0 Failed x1 dead error=Broken, 1 Failed x1 dead progress=9 error=Broken
         a move graves q one
         sync -> a: out 1, gone 0, stay 0
         a done graves -> a: done: 0 Moved x0
         a lease q 9 50000
         sync -> a: leased one
         a lease-ack one result=9
         sync -> a: done
         a done q -> a: done: 0 Failed x1 dead error=Broken, 1 Failed x1 dead progress=9 error=Broken, 2 Acknowledged x1 result=9
         a delete q
         sync -> a: QueueDeleted
         a what one -> a: nobody knows",
    );
}

#[test]
fn what_does_not_survive_is_told_as_long_as_it_could_have() {
    check(
        "a queue q durable x-done-max-length=2
         sync -> a: q has 0, 0 consumers
         a publish - q one two three transient
         a lease q 3 50000 -> a: leased one two three
         a lease-ack one two three result=1
         sync -> a: done done done
         a done q -> a: done: 1 Acknowledged x1 result=1, 2 Acknowledged x1 result=1
         crash
         a done q -> a: done: none",
    );
}

#[test]
fn what_waits_for_the_disk_on_its_way_out_is_not_unknown() {
    check_sealed(
        "a queue graves durable
         a queue q durable x-done-max-length=5 x-dead-letter-exchange=- x-dead-letter-routing-key=graves
         sync -> a: graves has 0, 0 consumers; a: q has 0, 0 consumers
         a publish - q one two
         a lease q 1 5000000
         sync -> a: leased one
         rest
         crash
         a lease-reject one error=Broken + what one
         sync -> a: done; a: on its way
         a what one -> a: q 0 Rejected x1 dead error=Broken",
    );
}
