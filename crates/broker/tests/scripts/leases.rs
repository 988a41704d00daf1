//! Leases without a connection: what they promise to whoever has their token.

use crate::script::check;

#[test]
fn a_lease_is_told_when_it_is_on_disk_and_ends_with_its_token() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two three four
         b lease q 3 1000
         sync -> b: leased one two three
         b lease-ack one
         sync -> b: done
         c lease-ack one two -> 
         sync -> c: gone done
         d lease-release three
         sync -> d: done
         d lease q 9 1000
         sync -> d: leased three'2 four
         b lease-ack three@1 three four
         sync -> b: lost done done
         a get q -> a: nothing",
    );
}

#[test]
fn whoever_finds_nothing_waits_or_does_not() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         b lease q 3 1000 -> b: leased
         b lease q 3 1000 wait=50
         wait 49
         c lease q 3 1000 wait=5
         wait 1 -> b: leased
         wait 4 -> c: leased
         d lease q 3 1000 wait=60000
         e lease q 3 1000 wait=60000
         a publish - q one two three four five transient -> d: leased one two three; e: leased four five
         d lease-ack one two three four five
         sync -> d: done done done done done
         d lease q 3 1000 wait=60000
         e lease q 3 1000 wait=60000
         a publish - q six transient -> d: leased six
         a delete q -> a: QueueDeleted; e: refused Refused(NotFound(Queue, \"q\"))
         d lease-ack six
         sync -> d: gone
         d lease q 1 1 -> d: refused Refused(NotFound(Queue, \"q\"))",
    );
}

#[test]
fn who_leaves_waits_no_more_and_keeps_what_it_has() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         b lease q 1 1000 -> b: leased
         c lease q 1 1000 wait=60000
         c leave
         a publish - q one transient
         b lease q 1 1000 -> b: leased one
         b leave
         d lease q 1 1000 -> d: leased
         d lease-ack one
         sync -> d: done",
    );
}

#[test]
fn waiting_and_consuming_take_turns() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         b lease q 1 1000 wait=60000
         d lease q 1 1000 wait=60000
         a publish - q one two three four transient -> a: c#1 one; a: c#2 three; b: leased two; d: leased four",
    );
}

#[test]
fn time_ends_a_lease_and_counts_as_a_failure() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two three
         b lease q 2 1000
         sync -> b: leased one two
         wait 400
         b lease-extend two for=1000
         sync -> b: done
         wait 500
         c lease q 9 1000
         sync -> c: leased one'2 three
         b lease-ack one@1 two
         sync -> b: lost done
         c lease-ack one
         sync -> c: done",
    );
}

#[test]
fn a_restart_ends_no_lease_and_hands_nothing_out_twice() {
    for end in ["crash", "stop"] {
        check(&format!(
            "a queue q durable
             sync -> a: q has 0, 0 consumers
             a publish - q one two three four
             a lease q 1 10000
             sync -> a: leased one
             a lease q 2 20000
             sync -> a: leased two three
             a lease-ack two
             sync -> a: done
             {end}
             b lease q 9 1000
             sync -> b: leased four
             b lease-extend three for=30000
             sync -> b: done
             wait 10001
             c lease q 9 100
             sync -> c: leased one'2 four'2
             wait 11000
             {end}
             c lease q 9 1000
             sync -> c: leased one'3 four'3
             c lease-ack two three three@1 one@1 four
             sync -> c: gone done gone lost done"
        ));
    }
}

#[test]
fn an_answer_that_never_left_is_none() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a publish - q one
         sync -> a: confirmed 1-1
         a lease q 1 1000
         crash
         b lease q 1 1000
         sync -> b: leased one
         b lease-ack one
         crash
         c lease-ack one
         sync -> c: done",
    );
}

#[test]
fn failing_counts_and_the_limit_holds() {
    check(
        "a queue q durable x-queue-type=quorum x-delivery-limit=1 x-dead-letter-exchange=- \
             x-dead-letter-routing-key=dead
         a queue dead durable
         sync -> a: q has 0, 0 consumers; a: dead has 0, 0 consumers
         a publish - q one two
         b lease q 1 1000
         sync -> b: leased one
         b lease-release one
         sync -> b: done
         b lease q 1 1000
         sync -> b: leased one'2
         b lease-fail one
         sync -> b: done
         b lease q 2 1000
         sync -> b: leased one'3 two
         b lease-fail one
         sync -> b: done
         b lease-reject two
         sync -> b: done
         b lease q 1 1000 -> b: leased
         b lease dead 1 1000
         sync -> b: leased one
         b lease dead 1 1000
         sync -> b: leased two
         crash
         b lease-ack one two
         sync -> b: done done",
    );
}

#[test]
fn what_a_queue_loses_is_no_longer_leased() {
    check(
        "a queue q durable x-message-ttl=100
         sync -> a: q has 0, 0 consumers
         a publish - q one two
         b lease q 1 500
         sync -> b: leased one
         a purge q -> a: QueuePurged
         wait 600
         b lease-ack one
         sync -> b: gone
         b lease q 9 500 -> b: leased",
    );
}

#[test]
fn what_is_given_back_for_later_comes_when_its_delay_is_over() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two three
         b lease q 3 1000
         sync -> b: leased one two three
         b lease-fail one delay=50000
         sync -> b: done
         b lease-release two delay=400
         sync -> b: done
         b lease-ack one two three
         sync -> b: lost lost done
         c lease q 9 1000 wait=60000
         wait 399
         wait 1
         sync -> c: leased two'2
         c lease-extend two for=90000
         sync -> c: done
         c lease q 9 1000 wait=60000
         wait 50000
         sync -> c: leased one'2
         c lease-ack one two
         sync -> c: done done
         a get q -> a: nothing",
    );
}

#[test]
fn a_delay_goes_on_over_a_restart() {
    for end in ["crash", "stop"] {
        check(&format!(
            "a queue q durable
             sync -> a: q has 0, 0 consumers
             a publish - q one two
             b lease q 2 1000
             sync -> b: leased one two
             b lease-fail one delay=20000
             sync -> b: done
             b lease-release two
             sync -> b: done
             {end}
             c lease q 9 100000
             sync -> c: leased two'2
             c lease q 9 1000 -> c: leased
             wait 20001
             c lease q 9 100000
             sync -> c: leased one'2
             {end}
             d lease q 9 1000 -> d: leased
             d lease-ack one two
             sync -> d: done done"
        ));
    }
}

#[test]
fn what_came_back_after_its_delay_does_not_rest_again() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one
         b lease q 1 1000
         sync -> b: leased one
         b lease-release one delay=100
         sync -> b: done
         wait 100
         a consume q c -> a: Consuming; a: c#1 one' (0 failures of 1)
         a ack 1
         sync
         crash
         d get q -> d: nothing",
    );
}

#[test]
fn a_failure_too_many_is_given_up_at_once() {
    check(
        "a queue q durable x-queue-type=quorum x-delivery-limit=1 x-dead-letter-exchange=- \
             x-dead-letter-routing-key=dead
         a queue dead durable
         sync -> a: q has 0, 0 consumers; a: dead has 0, 0 consumers
         a publish - q one
         b lease q 1 1000
         sync -> b: leased one
         b lease-fail one delay=100
         sync -> b: done
         wait 100
         b lease q 1 1000
         sync -> b: leased one'2
         b lease-fail one delay=60000
         sync -> b: done
         b lease dead 1 1000
         sync -> b: leased one",
    );
}

#[test]
fn a_queue_that_goes_takes_along_what_waits() {
    check(
        "a queue q durable x-message-ttl=100
         sync -> a: q has 0, 0 consumers
         a publish - q one two
         b lease q 2 1000
         sync -> b: leased one two
         b lease-release one two delay=500
         sync -> b: done done
         wait 200
         a purge q -> a: QueuePurged
         wait 300
         b lease q 9 1000 -> b: leased
         a publish - q three
         b lease q 1 1000
         sync -> b: leased three
         b lease-release three delay=500
         sync -> b: done
         a delete q
         sync -> a: QueueDeleted
         wait 500
         b lease-ack three
         sync -> b: gone",
    );
}
