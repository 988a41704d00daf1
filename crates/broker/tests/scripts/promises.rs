//! What is promised: confirms, crashes, places in queues, what belongs to a session.

use crate::script::{check, check_with_plenty};

#[test]
fn a_confirm_waits_for_the_sync_and_a_delivery_does_not() {
    check(
        "a queue q durable ->
         sync -> a: q has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a consume q c -> a: Consuming
         a publish - q one two -> a: c#1 one two
         sync -> a: confirmed 1-2
         a ack-up-to 2
         a publish - q three transient -> a: c#3 three; a: confirmed 3-3",
    );
}

#[test]
fn a_queue_takes_one_copy_however_many_keys_lead_to_it() {
    check(
        "a queue q durable
         a queue r
         a exchange x topic
         a bind x q k.*
         a bind x r l.#
         sync -> a: q has 0, 0 consumers; a: r has 0, 0 consumers; a: ExchangeDeclared; \
                 a: QueueBound; a: QueueBound
         a confirms -> a: ConfirmsSelected
         a publish - nowhere,q,r,q one mandatory
         a publish x k.1,k.2,l.1 two
         a publish x k.1 three
         a publish x k.1,l large-enough
         a publish x m,n four mandatory -> a: returned four
         sync -> a: confirmed 1-5
         a get q -> a: got#1 one, 3 left
         a get q -> a: got#2 two, 2 left
         a get q -> a: got#3 three, 1 left
         a get q -> a: got#4 large-enough, 0 left
         a get r -> a: got#5 one, 2 left
         a get r -> a: got#6 two, 1 left
         a get r -> a: got#7 large-enough, 0 left
         a publish missing q,r five -> a: refused NotFound
         a close -> a: ChannelClosed
         sync
         crash
         b get q -> b: got#1 one', 3 left",
    );
}

#[test]
fn what_no_queue_takes_is_returned_before_it_is_confirmed() {
    check(
        "a confirms -> a: ConfirmsSelected
         a publish - nowhere one mandatory -> a: returned one; a: confirmed 1-1
         a publish - nowhere two -> a: confirmed 2-2
         a publish missing key three -> a: refused NotFound
         a publish - nowhere four
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened",
    );
}

#[test]
fn a_confirm_that_needs_no_disk_never_overtakes_one_that_does() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a publish - q kept
         a publish - nowhere dropped
         sync -> a: confirmed 1-2",
    );
}

#[test]
fn confirmed_messages_and_their_topology_survive_a_crash() {
    check(
        "a queue q durable
         a queue gone
         a exchange x topic durable
         a bind x q k.*
         sync -> a: q has 0, 0 consumers; a: gone has 0, 0 consumers; a: ExchangeDeclared; a: QueueBound
         a confirms -> a: ConfirmsSelected
         a publish x k.1 one two three
         a publish x k.2 fleeting transient
         sync -> a: confirmed 1-4
         a get q -> a: got#1 one, 3 left
         a ack 1
         a get q -> a: got#2 two, 2 left
         sync
         crash
         b queue q passive -> b: q has 2, 0 consumers
         b get q -> b: got#1 two', 1 left
         b get q -> b: got#2 three, 0 left
         b publish x k.3 four
         b get q -> b: got#3 four, 0 left
         b queue gone passive -> b: refused NotFound",
    );
}

#[test]
fn a_clean_stop_marks_exactly_what_was_delivered() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two three
         a prefetch 2 -> a: PrefetchSet
         a consume q c -> a: Consuming; a: c#1 one two
         a ack 1 -> a: c#3 three
         a requeue 3 -> a: c#4 three'
         stop
         b consume q c -> b: Consuming; b: c#1 two' three'",
    );
}

#[test]
fn requeued_messages_return_to_their_place_and_consumers_take_turns() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q 1 2 3 4
         a get q -> a: got#1 1, 3 left
         a get q -> a: got#2 2, 2 left
         a requeue 1
         a get q -> a: got#3 1', 2 left
         a requeue 3
         a requeue 2
         b prefetch 1 -> b: PrefetchSet
         b consume q b -> b: Consuming; b: b#1 1'
         c prefetch 2 -> c: PrefetchSet
         c consume q c -> c: Consuming; c: c#1 2'; c: c#2 3
         b ack 1 -> b: b#2 4
         a publish - q 5 6
         c ack-up-to 2 -> c: c#3 5 6
         c leave
         b ack 2 -> b: b#3 5'
         b cancel b -> b: Cancelled
         a queue q passive -> a: q has 1, 0 consumers
         b ack 3
         b ack 3 -> b: refused UnknownDeliveryTag",
    );
}

#[test]
fn what_belongs_to_a_session_goes_with_it() {
    check(
        "a queue mine exclusive -> a: mine has 0, 0 consumers
         a queue auto auto -> a: auto has 0, 0 consumers
         b consume mine c -> b: refused Locked
         b close -> b: ChannelClosed
         b open -> b: ChannelOpened
         b consume auto c -> b: Consuming
         a consume auto c -> a: Consuming
         b cancel c -> b: Cancelled
         a queue auto passive -> a: auto has 0, 1 consumers
         a leave
         b queue auto passive -> b: refused NotFound
         b close -> b: ChannelClosed
         b open -> b: ChannelOpened
         b queue mine passive -> b: refused NotFound",
    );
}

#[test]
fn deleting_a_queue_tells_its_consumers_and_their_late_acks_are_harmless() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         b publish - q 1 -> a: c#1 1
         a queue other -> a: other has 0, 0 consumers
         b delete q -> a: cancelled c; b: QueueDeleted
         a ack 1
         a queue - -> a: generated has 0, 0 consumers
         a consume - d exclusive -> a: Consuming
         a cancel d -> a: Cancelled
         a cancel d -> a: Cancelled
         b delete q -> b: QueueDeleted",
    );
}

#[test]
fn purged_and_deleted_stays_gone_after_a_crash() {
    check(
        "a queue q durable
         a queue r durable
         sync -> a: q has 0, 0 consumers; a: r has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a publish - q 1 2
         a publish - r 3
         sync -> a: confirmed 1-3
         a get q -> a: got#1 1, 1 left
         a purge q
         a delete r
         sync -> a: QueuePurged; a: QueueDeleted
         crash
         b get q -> b: got#1 1', 0 left
         b queue r durable
         sync -> b: r has 0, 0 consumers",
    );
}

#[test]
fn settlements_need_the_reserve_of_a_full_disk() {
    // What is held in reserve; what is then still told; what a crash leaves.
    let with = (2 << 20, "b: confirmed 1-12", "c: q has 0, 0 consumers");
    let without = (0, "", "c: q has 5, 0 consumers");
    for (reserve_bytes, told, left) in [with, without] {
        check_with_plenty(&format!(
            "a queue q durable
             a queue big durable
             sync -> a: q has 0, 0 consumers; a: big has 0, 0 consumers
             a publish - q 1 2 3 4 5
             a flood big 250
             sync
             a consume q c -> a: Consuming; a: c#1 1 2 3 4 5
             full 0 {reserve_bytes}
             b confirms -> b: ConfirmsSelected
             b flood big 12
             sync
             sync -> {told}
             a ack-up-to 5
             sync
             crash
             c queue q passive -> {left}"
        ));
    }
}
