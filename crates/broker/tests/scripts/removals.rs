//! Messages are taken out of the middle of a queue: `drop Q BODIES` and `move Q TO BODIES` look for
//! messages of these bodies, and have them taken out by what was seen.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

use std::net::IpAddr;

use broker::operation::Operation;
use broker::removal::{Moving, Removal, RemovalAnswer};
use broker::views::MessageView;
use broker::{Begin, Broker, Browse, Message, MessageId, Onward, Viewer};
use domain::name::Name;
use domain::run::Direction;

use crate::script::{check, check_what_matters};

/// Looks for messages by their bodies.
struct Sought<'b> {
    bodies: &'b [&'b str],
    ids: Vec<MessageId>,
    moving: Moving,
}

impl Viewer for Sought<'_> {
    fn wants(&mut self, _view: &MessageView<'_>) -> bool {
        true
    }

    fn look(&mut self, view: &MessageView<'_>, message: &Message<'_>) -> Onward {
        if self.bodies.iter().any(|body| body.as_bytes() == message.body) {
            self.ids.push(view.id);
            self.moving.add(view.id, message);
        }
        Onward::GoOn
    }
}

pub(crate) fn operations(broker: &Broker, verb: &str, arguments: &[&str]) -> Vec<Operation> {
    let name = |text: &str| Name::new(text).unwrap();
    let queue = name(arguments[0]);
    let bodies = if verb == "drop" { &arguments[1..] } else { &arguments[2..] };
    let mut sought = Sought { bodies, ids: Vec::new(), moving: Moving::default() };
    let user = broker.authenticate_external("guest", IpAddr::from([127, 0, 0, 1])).unwrap();
    let begin = Begin::End(Direction::OldestFirst);
    let browse =
        Browse { queue: queue.clone(), begin, until: None, messages_max: 100, bytes_max: 1 << 20 };
    broker.browse(&user, "/", &browse, &mut sought).unwrap();
    if verb == "drop" {
        return vec![remove(Removal::drop(0, queue, sought.ids))];
    }
    let removals = sought.moving.into_removals(&queue, &name(arguments[1]));
    removals.into_iter().map(remove).collect()
}

fn remove(removal: Removal) -> Operation {
    Operation::Remove(Box::new(removal))
}

pub(crate) fn text(answer: &RemovalAnswer) -> String {
    match &answer.outcome {
        Ok(removed) => {
            format!("out {}, gone {}, stay {}", removed.removed, removed.gone, removed.refused)
        }
        Err(refusal) => format!("refused {refusal:?}"),
    }
}

#[test]
fn what_is_dropped_goes_from_wherever_it_is() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two three four five six
         a drop q two three five nothing
         sync -> a: out 3, gone 0, stay 0
         see messages q -> one ready; four ready; six ready
         crash
         see messages q -> one ready; four ready; six ready
         rest
         a drop q six one
         sync -> a: out 2, gone 0, stay 0
         crash
         a get q -> a: got#1 four, 0 left",
    );
}

#[test]
fn what_somebody_holds_stays_his() {
    check_what_matters(
        "a queue q
         a publish - q one two three four transient
         a get q -> a: got#1 one, 3 left
         b lease q 1 60000 -> b: leased two
         c drop q one two three
         sync -> c: out 1, gone 2, stay 0
         see messages q -> one delivered 1x; two leased by guest 1x; four ready
         a requeue 1
         c drop q one four
         sync -> c: out 2, gone 0, stay 0
         see queue q -> q: 0+1, 0 consumers; published 4 delivered 1 got 1 requeued 1 purged 3",
    );
}

#[test]
fn what_moves_is_in_one_of_both_whatever_happens() {
    check(
        "a queue q durable
         a queue r durable
         a publish - q one two three
         a publish - q four transient
         sync -> a: q has 0, 0 consumers; a: r has 0, 0 consumers
         a move q r two four
         see messages q -> one ready; three ready
         see messages r -> two ready; four ready
         crash
         see messages q -> one ready; two ready; three ready
         see messages r
         a move q r two three
         sync -> a: out 2, gone 0, stay 0
         crash
         see messages q -> one ready
         see messages r -> two ready; three ready
         rest
         a move r q two
         sync -> a: out 1, gone 0, stay 0
         rest
         crash
         see messages q -> one ready; two ready
         see messages r -> three ready",
    );
}

#[test]
fn a_full_queue_takes_what_it_has_room_for() {
    check(
        "a queue q durable
         a queue small durable x-max-length=2 x-overflow=reject-publish
         a queue new durable x-max-length=2
         sync -> a: q has 0, 0 consumers; a: small has 0, 0 consumers; a: new has 0, 0 consumers
         a publish - q one two three four five six
         a move q small one two three
         sync -> a: out 2, gone 0, stay 1
         see messages small -> one ready; two ready
         a move q new four five six
         sync -> a: out 3, gone 0, stay 0
         see messages new -> five ready; six ready
         see messages q -> three ready
         a move q q three
         sync -> a: out 0, gone 1, stay 0",
    );
}

#[test]
fn whoever_waits_has_what_moves_at_once() {
    check(
        "a queue q durable
         a queue r durable
         sync -> a: q has 0, 0 consumers; a: r has 0, 0 consumers
         b consume r c -> b: Consuming
         a publish - q one two
         a move q r two -> b: c#1 two
         sync -> a: out 1, gone 0, stay 0",
    );
}
