//! What the arguments of queues do: deadlines, limits, dead letters, priorities, counts, timeouts.

use crate::script::check;

#[test]
fn messages_go_unread_when_they_are_due() {
    check(
        "a queue q durable x-message-ttl=100
         sync -> a: q has 0, 0 consumers
         a publish - q one
         a publish - q two ttl=30
         a publish - q three ttl=900
         wait 29
         a queue q passive -> a: q has 3, 0 consumers
         wait 1
         a queue q passive -> a: q has 2, 0 consumers
         a get q -> a: got#1 one, 1 left
         wait 90
         a queue q passive -> a: q has 0, 0 consumers
         a requeue 1
         a get q -> a: nothing",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q none ttl=0
         a get q -> a: nothing",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q none ttl=0 + get q -> a: nothing",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q late ttl=50
         a get q -> a: got#1 late, 0 left
         b consume q c -> b: Consuming
         wait 60
         a requeue 1 + publish - q at-once ttl=0 -> b: c#1 at-once",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a consume q c no-ack -> a: Consuming
         a publish - q at-once ttl=0 -> a: c#1 at-once",
    );
}

#[test]
fn deadlines_outlive_the_process() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q short ttl=1000
         a publish - q long ttl=5000
         a publish - q for-ever
         sync
         wait 900
         crash
         a queue q passive -> a: q has 2, 0 consumers
         wait 4000
         a queue q passive -> a: q has 1, 0 consumers",
    );
}

#[test]
fn a_queue_too_long_drops_its_front_or_refuses() {
    check(
        "a queue q x-max-length=2 -> a: q has 0, 0 consumers
         a publish - q a b c d
         a get q -> a: got#1 c, 1 left
         a publish - q e
         a requeue 1
         a get q -> a: got#2 d, 1 left",
    );
    check(
        "a queue q x-max-length=2 x-overflow=reject-publish -> a: q has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a publish - q a b c d -> a: nacked 3; a: nacked 4; a: confirmed 1-2
         a queue q passive -> a: q has 2, 0 consumers",
    );
    check(
        "a queue q x-max-length-bytes=5 -> a: q has 0, 0 consumers
         a publish - q aa bb cc
         a get q -> a: got#1 bb, 1 left
         a publish - q toolong
         a get q -> a: nothing",
    );
    // Who can take a message at once has it before it is too many.
    check(
        "a queue q x-max-length=0 -> a: q has 0, 0 consumers
         a prefetch 1 -> a: PrefetchSet
         a consume q c -> a: Consuming
         a publish - q a b -> a: c#1 a
         a ack 1",
    );
}

#[test]
fn dead_letters_go_where_they_belong_in_one_step() {
    check(
        "a queue dead durable
         a queue q durable x-dead-letter-exchange=- x-dead-letter-routing-key=dead
         sync -> a: dead has 0, 0 consumers; a: q has 0, 0 consumers
         a publish - q one two
         sync
         a get q -> a: got#1 one, 1 left
         a reject 1
         a queue dead passive -> a: dead has 1, 0 consumers
         sync
         crash
         a get dead -> a: got#1 one, 0 left
         a get q -> a: got#2 two, 0 left",
    );
    check(
        "a queue b x-max-length=1 -> a: b has 0, 0 consumers
         a queue q x-message-ttl=10 x-dead-letter-exchange=- x-dead-letter-routing-key=b -> a: q has 0, 0 consumers
         a publish - q one two
         wait 10
         a get b -> a: got#1 two, 0 left",
    );
    // Nobody rejected it: it would go round for ever.
    check(
        "a queue q x-message-ttl=10 x-dead-letter-exchange=- -> a: q has 0, 0 consumers
         a publish - q one
         wait 10
         a queue q passive -> a: q has 0, 0 consumers",
    );
}

#[test]
fn priorities_and_single_active_consumers() {
    check(
        "a queue q x-max-priority=5 -> a: q has 0, 0 consumers
         a publish - q low
         a publish - q high priority=9
         a publish - q middle priority=3
         a get q -> a: got#1 high, 2 left
         a requeue 1
         a get q -> a: got#2 high', 2 left
         a get q -> a: got#3 middle, 1 left",
    );
    check(
        "a queue q x-single-active-consumer=true -> a: q has 0, 0 consumers
         a consume q first -> a: Consuming
         b consume q second x-priority=9 -> b: Consuming
         a publish - q one two -> a: first#1 one two
         a cancel first -> a: Cancelled
         a publish - q three -> b: second#1 three
         a close -> a: ChannelClosed; b: second#2 one' two'",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a consume q low x-priority=-1 -> a: Consuming
         b prefetch 1 -> b: PrefetchSet
         b consume q high x-priority=10 -> b: Consuming
         a publish - q one two -> a: low#1 two; b: high#1 one
         b ack 1
         a publish - q three -> b: high#2 three",
    );
}

#[test]
fn a_quorum_queue_counts_failures_and_gives_up() {
    check(
        "a queue dead durable
         a queue q durable x-queue-type=quorum x-delivery-limit=1 x-dead-letter-exchange=- x-dead-letter-routing-key=dead
         sync -> a: dead has 0, 0 consumers; a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         a publish - q one transient -> a: c#1 one
         sync
         a requeue 1 -> a: c#2 one' (0 failures of 1)
         a fail 2 -> a: c#3 one' (1 failures of 2)
         sync
         crash
         a consume q c -> a: Consuming; a: c#1 one' (1 failures of 2)
         a fail 1
         a get dead -> a: got#2 one, 0 left",
    );
    check("a queue q x-queue-type=quorum -> a: refused InvalidProperty");
}

#[test]
fn unused_queues_and_slow_consumers_lose_their_place() {
    check(
        "a queue q x-expires=100 -> a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         wait 500
         a cancel c -> a: Cancelled
         wait 60
         a queue q x-expires=100 -> a: q has 0, 0 consumers
         wait 60
         a get q -> a: nothing
         wait 99
         a purge q -> a: QueuePurged
         wait 1
         a queue q passive -> a: refused NotFound",
    );
    check(
        "a queue q x-consumer-timeout=100 -> a: q has 0, 0 consumers
         a introduce
         a consume q c -> a: Consuming
         a publish - q one -> a: c#1 one
         wait 100 -> a: cancelled c
         a ack 1
         a get q -> a: got#2 one', 0 left
         a ack 2
         b consume q d -> b: Consuming
         a publish - q two -> b: d#1 two
         wait 100 -> b: refused ConsumerTimedOut
         a get q -> a: got#3 two', 0 left",
    );
}
