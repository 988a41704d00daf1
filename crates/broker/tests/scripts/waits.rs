//! What happens while somebody waits for the disk: returns and confirms while it takes no writes; and
//! messages that expire, go or are no longer wanted while they are read back.

use crate::script::{check, check_sealed};

#[test]
fn a_return_comes_before_its_confirm_and_waits_for_no_disk() {
    check(
        "a queue q durable
         a exchange x fanout durable
         sync -> a: q has 0, 0 consumers; a: ExchangeDeclared
         a confirms -> a: ConfirmsSelected
         a publish - nowhere 1 mandatory -> a: returned 1; a: confirmed 1-1
         a publish - q 2
         a publish - nowhere 3 mandatory -> a: returned 3
         a publish x key 4 mandatory -> a: returned 4
         a publish - q,nowhere 5 mandatory
         a publish - nowhere large-enough mandatory -> a: returned large-enough
         sync -> a: confirmed 2-6
         b tx -> b: TransactionsSelected
         b publish - q 6
         b publish - nowhere 7 mandatory
         b commit
         sync -> b: returned 7; b: Committed",
    );
}

#[test]
fn what_expires_while_it_is_read_back_is_not_delivered() {
    check_sealed(
        "a queue q durable x-dead-letter-exchange=- x-dead-letter-routing-key=dead
         a queue dead durable
         sync -> a: q has 0, 0 consumers; a: dead has 0, 0 consumers
         a publish - q one ttl=1000
         sync
         a publish - q two
         sync
         stall
         a get q
         wait 1500
         resume -> a: got#1 two, 0 left
         sync
         b get dead -> b: got#1 one, 0 left",
    );
    check_sealed(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one ttl=1000
         sync
         stall
         a consume q c -> a: Consuming
         b get q
         wait 1500
         a publish - q two -> a: c#1 two; b: nothing
         resume",
    );
}

#[test]
fn what_is_purged_or_deleted_while_it_is_read_back_is_not_delivered() {
    check_sealed(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two
         sync
         stall
         a get q
         b purge q -> a: nothing
         sync -> b: QueuePurged
         a publish - q three
         resume
         a get q -> a: got#1 three, 0 left",
    );
    check_sealed(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two
         sync
         stall
         a get q
         b delete q -> a: refused NotFound
         sync -> b: QueueDeleted
         resume",
    );
}

#[test]
fn who_leaves_while_it_is_read_back_leaves_it_where_it_was() {
    // Requests are done in their order: it was handed out first, and nobody knows whether it arrived.
    check_sealed(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two
         sync
         stall
         a get q
         a leave
         resume
         b get q -> b: got#1 one', 1 left
         b get q -> b: got#2 two, 0 left",
    );
    check_sealed(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two
         sync
         stall
         a get q
         a close
         resume -> a: got#1 one, 1 left; a: ChannelClosed
         b get q -> b: got#1 one', 1 left
         b get q -> b: got#2 two, 0 left",
    );
    // Who consumes was given nothing yet.
    check_sealed(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two
         sync
         stall
         a consume q c -> a: Consuming
         a leave
         resume
         b get q -> b: got#1 one, 1 left
         b get q -> b: got#2 two, 0 left",
    );
}
