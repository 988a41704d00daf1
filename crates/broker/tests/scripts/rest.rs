//! What a busy time took of the disk is given back when little is written.

use crate::script::{check_sealed, check_with_plenty};

#[test]
fn a_drained_broker_takes_little_of_the_disk() {
    check_with_plenty(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         disk -> 1 journals, 0 spares, 0 segments, 1 MiB
         a flood q 400
         sync
         disk -> 2 journals, 0 spares, 0 segments, 26 MiB
         a purge q
         sync -> a: QueuePurged
         rest
         disk -> 1 journals, 0 spares, 0 segments, 1 MiB
         a flood q 10
         sync
         a purge q
         sync -> a: QueuePurged
         crash
         a get q -> a: nothing",
    );
}

#[test]
fn what_still_lives_moves_out_of_the_way() {
    check_with_plenty(
        "a queue q durable
         a queue kept durable
         a confirms
         sync -> a: q has 0, 0 consumers; a: kept has 0, 0 consumers; a: ConfirmsSelected
         a publish - kept one
         a flood q 100
         a publish - kept two three
         sync -> a: confirmed 1-103
         a get kept -> a: got#1 one, 2 left
         a purge q
         sync -> a: QueuePurged
         rest
         disk -> 1 journals, 0 spares, 1 segments, 1 MiB
         a ack 1
         sync
         crash
         a get kept -> a: got#1 two, 1 left
         a get kept -> a: got#2 three, 0 left
         a ack-up-to 2
         sync
         rest
         disk -> 1 journals, 1 spares, 0 segments, 2 MiB",
    );
}

#[test]
fn segments_come_after_a_journal() {
    // Nothing of this would be journaled by itself, and all of it moves to segments.
    check_sealed(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q one two transient
         a publish - q three transient
         disk -> 0 journals, 0 spares, 0 segments, 0 MiB
         sync
         wait 100
         disk -> 1 journals, 0 spares, 1 segments, 0 MiB
         a get q -> a: got#1 one, 2 left
         crash
         a queue q -> a: q has 0, 0 consumers",
    );
}

#[test]
fn where_there_is_little_room_less_moves_at_once() {
    check_sealed(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         stall
         a publish - q first
         sync
         a flood q 40
         sync
         full 1500000 0
         resume
         sync
         disk -> 3 journals, 0 spares, 1 segments, 2 MiB
         wait 1100
         sync
         disk -> 2 journals, 1 spares, 2 segments, 3 MiB
         a get q -> a: got#1 first, 40 left",
    );
}
