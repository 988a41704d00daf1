//! Histories of a connection as scripts: what the client sends and what the virtual host says, and
//! what comes of it, operations for the one and frames for the other.

#![expect(clippy::indexing_slicing, reason = "a test may fail that way")]

mod opening;
mod script;

use broker::Event;
use broker::operation::Operation;

use self::script::{Rig, check, client_bytes, frame_bytes, method_bytes, start_ok};
use super::Patience;
use crate::wire::frame;
use crate::wire::method::tests::Random;
use crate::wire::method::{self, connection};

#[test]
fn channels_have_a_life() {
    // What is asked before the answer to channel.open is in order behind it.
    check(
        "opened | open 1; declare 1 a; declare 1 b; !opened 1; !declared 1",
        &[
            "+open 1",
            "+declare 1 a",
            "+declare 1 b",
            "1 channel.open-ok",
            "1 queue.declare-ok 4294967295 2",
        ],
    );
    let expected_open = "+end; 0 connection.close 504 CHANNEL_ERROR - expected 'channel.open'";
    for (script, expected) in [
        ("declare 1 q", format!("{expected_open} (50, 10)")),
        ("close 1", format!("{expected_open} (20, 40)")),
        ("close-ok 1", format!("{expected_open} (20, 41)")),
        (
            "open 11",
            "+end; 0 connection.close 530 NOT_ALLOWED - number of channels opened (10) has \
             reached the negotiated channel_max (10) (20, 10)"
                .to_owned(),
        ),
    ] {
        let expected: Vec<&str> = expected.split("; ").chain(["over"]).collect();
        check(&format!("opened | {script}; !ended; close-ok 0"), &expected);
    }
    for second in ["open 1", "close 1; open 1", "!refused 1; open 1"] {
        let mut rig = Rig::new();
        for step in ["opened", "open 1", "!opened 1"].into_iter().chain(second.split("; ")) {
            rig.step(step);
        }
        rig.step("!ended");
        let told = rig.told();
        let close = "0 connection.close 504 CHANNEL_ERROR - second 'channel.open' seen (20, 10)";
        assert_eq!(told.last().unwrap(), close, "{told:?}");
    }
}

#[test]
fn a_refusal_closes_the_channel_and_the_rest_is_passed_over() {
    let close = "1 channel.close 404 NOT_FOUND - no queue 'n' in vhost '/' (60, 20)";
    let start = "opened; open 1; open 2; !opened 1; !opened 2 |";
    check(
        &format!(
            "{start} !refused 1; declare 1 a; message 1 3; publish 1; !confirmed 1 1 1; \
             !declared 1; !delivered 1 5; declare 2 q; close-ok 1; open 1; !confirmed 1 1 2; \
             !opened 1; !confirmed 1 1 1"
        ),
        &[
            close,
            "+declare 2 q",
            "+close 1 silently",
            "+open 1",
            "1 channel.open-ok",
            "1 basic.ack 1",
        ],
    );
    // The closes cross, before and after the refusal is heard.
    check(
        &format!("{start} !refused 1; close 1; close-ok 1; open 1"),
        &[close, "+close 1 silently", "1 channel.close-ok", "+open 1"],
    );
    check(
        &format!("{start} close 1; !refused 1; !closed 1; close-ok 1; open 1; !opened 1"),
        &["+close 1", close, "1 channel.close-ok", "+open 1", "1 channel.open-ok"],
    );
    // The client is quicker than the broker's answer to the close.
    check(
        &format!("{start} close 1; !refused 1; close-ok 1; open 1; !closed 1; !opened 1"),
        &["+close 1", close, "1 channel.close-ok", "+open 1", "1 channel.open-ok"],
    );
    check(
        &format!("{start} !refused-hard 1; declare 2 q; !confirmed 2 1 1; !ended; close-ok 0"),
        &[
            "+end",
            "2 basic.ack 1",
            "0 connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 'n' (60, 20)",
            "over",
        ],
    );
}

#[test]
fn a_fault_seen_here_is_told_after_everything_asked_before() {
    let close = "1 channel.close 406 PRECONDITION_FAILED - message size 100001 is larger than \
                 configured max size 100000 (60, 40)";
    let start = "opened; open 1; !opened 1 |";
    check(
        &format!(
            "{start} declare 1 a; publish 1; header 1 100001; body 1 4000; body 1 4000; \
             !declared 1; declare 1 b; !closed 1; close-ok 1; open 1"
        ),
        &["+declare 1 a", "+close 1", "1 queue.declare-ok 4294967295 2", close, "+open 1"],
    );
    check(
        &format!("{start} publish 1; header 1 100001; close 1; !closed 1; close-ok 1; open 1"),
        &["+close 1", close, "1 channel.close-ok", "+open 1"],
    );
    // The broker had something against it as well, and was first.
    check(
        &format!("{start} publish 1; header 1 100001; !refused 1; !closed 1; close-ok 1; open 1"),
        &[
            "+close 1",
            "1 channel.close 404 NOT_FOUND - no queue 'n' in vhost '/' (60, 20)",
            "+open 1",
        ],
    );
}

#[test]
fn contents_come_in_pieces() {
    for (steps, expected) in [
        ("message 1 5", "+publish 1 x1"),
        ("message 1 0", "+publish 1 x1"),
        ("message 1 5; message 1 6", "+publish 1 x1; +publish 1 x1"),
        ("publish 1; header 1 0", "+publish 1 x1"),
        ("publish 1; header 1 5; body 1 5", "+publish 1 x1"),
        ("message-copies 1 5", "+publish 1 x1 also a,b,c"),
        ("publish 1; header-copies 1 5; body 1 5", "+publish 1 x1 also a,b,c"),
        ("publish 1; header-copies 1 5; body 1 2; body 1 3", "+publish 1 x1 also a,b,c"),
        ("publish 1; header-copies 1 0", "+publish 1 x1 also a,b,c"),
        ("message 1 5; message-copies 1 5", "+publish 1 x1; +publish 1 x1 also a,b,c"),
        ("publish 1; header 1 5; body 1 2; body 1 0; body 1 3", "+publish 1 x1"),
        ("publish 1; header 1 7000; body 1 4000; body 1 3000", "+publish 1 x1"),
        (
            "publish 1; header 1 100000; publish 2; body 1 4000; header 2 1; body 2 1",
            "+publish 2 x1",
        ),
    ] {
        let expected: Vec<&str> = expected.split("; ").collect();
        check(&format!("opened; open 1; open 2; !opened 1; !opened 2 | {steps}"), &expected);
    }
    for (header, copies) in [("header 1 100000", 0), ("header-copies 1 100000", 3)] {
        let mut rig = Rig::new();
        for step in ["opened", "open 1", "publish 1", header] {
            rig.step(step);
        }
        for _ in 0..25 {
            rig.step("body 1 4000");
        }
        let (operations, chunks, _) = rig.raw();
        let (run, also) = match operations.last() {
            Some(Operation::Publish(run)) => (run, 0),
            Some(Operation::PublishAlso { run, also }) => (run, also.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!((run.count, also), (1, copies));
        let message = chunks[0].message(0).unwrap();
        assert_eq!((message.exchange, message.routing_key), ("x", &b"k"[..]));
        assert_eq!(message.body, vec![b'm'; 100_000]);
        assert!(!message.properties.windows(3).any(|name| name == b"BCC"));
    }
}

#[test]
fn contents_out_of_order_close_the_connection() {
    let no_method = "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead \
                     (0, 0)";
    let no_header = "505 UNEXPECTED_FRAME - expected content header for class 60, got non content \
                     header frame instead (60, 40)";
    let no_body = "505 UNEXPECTED_FRAME - expected content body, got non content body frame \
                   instead (60, 40)";
    let too_long =
        "501 FRAME_ERROR - the content's body is longer than its header announced (60, 40)";
    for (steps, fault) in [
        ("header 1 5", no_method),
        ("body 1 5", no_method),
        ("header 3 5", no_method),
        ("publish 1; declare 1 q", no_header),
        ("publish 1; body 1 5", no_header),
        ("publish 1; publish 1", no_header),
        ("publish 1; close 1", no_header),
        ("publish 1; header 1 5; header 1 5", no_body),
        ("publish 1; header 1 5; declare 1 q", no_body),
        ("publish 1; header 1 50000; header 1 5", no_body),
        ("publish 1; header 1 5; body 1 6", too_long),
        ("publish 1; header 1 5; body 1 3; body 1 3", too_long),
        (
            "publish 1; header 1 33000; body 1 4088; body 1 4088; body 1 4088; body 1 4088; \
             body 1 4088; body 1 4088; body 1 4088; body 1 4088; body 1 297",
            too_long,
        ),
        (
            "publish 1; header-of 1 5 50",
            "505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 \
             instead (60, 40)",
        ),
    ] {
        check(
            &format!("opened; open 1; !opened 1 | {steps}; open 2; !ended; close-ok 0"),
            &["+end", &format!("0 connection.close {fault}"), "over"],
        );
    }
}

#[test]
fn frames_that_make_no_sense_close_the_connection() {
    for (steps, fault) in [
        ("bad-end", "501 FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,0}"),
        ("huge", "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4294967295,4088}"),
        ("frame 0 9 abc", "501 FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame"),
        ("frame 1 9 abc", "501 FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame"),
        ("frame 0 8 abc", "501 FRAME_ERROR - type 8, all octets = <<\"abc\">>: unknown_frame"),
        ("heartbeat 1", "505 UNEXPECTED_FRAME - type 8, all octets = <<>>"),
        ("frame 0 3 x", "505 UNEXPECTED_FRAME - type 3, all octets = <<\"x\">>"),
        ("frame 1 1 x", "501 FRAME_ERROR - type 1, all octets = <<\"x\">>: unknown_frame"),
    ] {
        check(
            &format!("opened; open 1; !opened 1 | {steps}; !ended"),
            &["+end", &format!("0 connection.close {fault} (0, 0)")],
        );
    }
}

#[test]
fn a_request_for_a_direct_reply_needs_its_consumer() {
    let consumer = "+replies 1 t amq.rabbitmq.reply-to.secret";
    let refused = "1 channel.close 406 PRECONDITION_FAILED - fast reply consumer does not exist \
                   (60, 40)";
    for (steps, expected) in [
        ("replies 1 t; publish 1; header-reply 1 0", &[consumer, "+publish 1 x1"][..]),
        ("replies 1 t; publish 1; header-reply 1 5; body 1 5", &[consumer, "+publish 1 x1"]),
        ("publish 1; header-reply 1 5; body 1 5; !closed 1", &["+close 1", refused]),
        (
            "replies 1; cancel 1 amq.ctag-secret; publish 1; header-reply 1 0; !closed 1",
            &[
                "+replies 1 amq.ctag-secret amq.rabbitmq.reply-to.secret",
                "+cancel 1 amq.ctag-secret",
                "+close 1",
                refused,
            ],
        ),
        (
            "replies 1 t; cancel 1 u; publish 1; header-reply 1 0",
            &[consumer, "+cancel 1 u", "+publish 1 x1"],
        ),
    ] {
        check(&format!("opened; open 1; !opened 1 | {steps}"), expected);
    }
}

#[test]
fn transactions_are_asked_for_and_answered() {
    check(
        "opened; open 1; !opened 1 | tx 1; commit 1; rollback 1; !tx 1; !committed 1; !rolled-back 1",
        &[
            "+tx 1",
            "+commit 1",
            "+rollback 1",
            "1 tx.select-ok",
            "1 tx.commit-ok",
            "1 tx.rollback-ok",
        ],
    );
}

#[test]
fn requests_that_are_not_served_close_the_connection() {
    for (steps, fault) in [
        ("flow 1 0", "540 NOT_IMPLEMENTED - active=false (20, 20)"),
        ("publish-immediate 1", "540 NOT_IMPLEMENTED - immediate=true (60, 40)"),
        ("close-ok 1", "503 COMMAND_INVALID - unimplemented method (20, 41)"),
        (
            "close-ok 0",
            "504 CHANNEL_ERROR - unexpected method in connection state running (10, 51)",
        ),
        ("open 0", "504 CHANNEL_ERROR - unexpected method in connection state running (20, 10)"),
        ("enter /", "504 CHANNEL_ERROR - unexpected method in connection state running (10, 40)"),
    ] {
        check(
            &format!("opened; open 1; !opened 1 | {steps}; message 1 5; !ended"),
            &["+end", &format!("0 connection.close {fault}")],
        );
    }
    check("opened; open 1; !opened 1 | flow 1 1", &["1 channel.flow-ok"]);
    check("opened | update-secret guest", &["0 connection.update-secret-ok"]);
    // What comes while it is checked waits, whatever else happens.
    check(
        "opened | update-secret slow; checking?; open 1; open 2; verdict yes",
        &["+open 1", "+open 2", "0 connection.update-secret-ok"],
    );
    check(
        "opened | update-secret slow; open 1; verdict no; open 2; !ended; close-ok 0",
        &[
            "+end",
            "0 connection.close 530 NOT_ALLOWED - New secret was refused by one of the backends \
             (10, 70)",
            "over",
        ],
    );
    check(
        "opened | update-secret slow; open 1; !shutdown; open 2; verdict yes; close-ok 0",
        &[
            "+end",
            "0 connection.close 320 CONNECTION_FORCED - broker forced connection closure with \
             reason 'shutdown' (0, 0)",
            "over",
        ],
    );
    check(
        "opened | update-secret wrong; open 1; !ended; close-ok 0",
        &[
            "+end",
            "0 connection.close 530 NOT_ALLOWED - New secret was refused by one of the backends \
             (10, 70)",
            "over",
        ],
    );
}

#[test]
fn what_the_host_says_becomes_frames() {
    check(
        "opened; open 1; !opened 1 | confirm 1; ack 1 0; !confirmed 1 1 1; !confirmed 1 2 7; \
         !got-nothing 1; !got 1 0; !returned 1 1; !cancelled 1; !delivered 1 5000",
        &[
            "+confirm 1 Unwanted",
            "+ack 1 to 0",
            "1 basic.ack 1",
            "1 basic.ack 7 multiple",
            "1 basic.get-empty",
            "1 basic.get-ok",
            "1 header",
            "1 basic.return",
            "1 header",
            "1 body 1",
            "1 basic.cancel",
            "1 basic.deliver 5 1",
            "1 header",
            "1 body 4088",
            "1 body 912",
            "1 basic.deliver 6 1",
            "1 header",
            "1 body 4088",
            "1 body 912",
        ],
    );
    check("opened; open 1 | !cancelled 1; !got-nothing 1; !got-nothing 7", &[]);
}

#[test]
fn a_client_that_does_not_know_cancels_gets_none() {
    let mut rig = Rig::new();
    rig.step("hello");
    rig.receive(&start_ok("PLAIN", b"\0guest\0guest", false));
    for step in ["tune-ok 0 0 0", "enter /", "open 1", "!opened 1"] {
        rig.step(step);
    }
    rig.told();
    rig.step("!cancelled 1");
    assert_eq!(rig.told(), [""; 0]);
}

#[test]
fn a_shutdown_is_told_at_once() {
    let close = "0 connection.close 320 CONNECTION_FORCED - broker forced connection closure with \
                 reason 'shutdown' (0, 0)";
    let start = "opened; open 1; !opened 1 |";
    check(
        &format!("{start} !shutdown; declare 1 q; !confirmed 1 1 1; !ended; close-ok 0"),
        &["+end", close, "over"],
    );
    check(
        &format!("{start} !shutdown; close 0"),
        &["+end", close, "0 connection.close-ok", "over"],
    );
    check(&format!("{start} !shutdown; silence"), &["+end", close, "over"]);
}

#[test]
fn ends_cross_and_time_runs_out() {
    let fault = "0 connection.close 540 NOT_IMPLEMENTED - active=false (20, 20)";
    let start = "opened; open 1; !opened 1 |";
    check(
        &format!("{start} flow 1 0; close 0; !ended"),
        &["+end", "0 connection.close-ok", "over"],
    );
    check(
        &format!("{start} flow 1 0; !ended; close 0"),
        &["+end", fault, "0 connection.close-ok", "over"],
    );
    check(&format!("{start} flow 1 0; silence"), &["+end", fault, "over"]);
    check(&format!("{start} close 0; silence"), &["+end", "0 connection.close-ok", "over"]);
    check(
        &format!("{start} silence; silence; silence; silence"),
        &["heartbeat", "heartbeat", "heartbeat", "over"],
    );
    let mut rig = Rig::new();
    rig.step("opened");
    assert_eq!(rig.patience(), Patience::Heartbeat(4_000));
}

/// A history with a little of everything.
fn history() -> Vec<u8> {
    let steps = "opened; open 1; open 2; confirm 1; declare 1 q; message 1 5; message 1 0; \
                 publish 2; header 2 9000; body 2 4000; message 1 4088; body 2 4000; heartbeat; \
                 body 2 1000; ack 1 7; flow 1 1; get 2 q; publish 1; header 1 200000; message 1 3; \
                 message 2 9; message-copies 2 7; close 2; update-secret guest; close 0";
    let bytes = steps
        .split(';')
        .filter_map(|step| client_bytes(&step.split_whitespace().collect::<Vec<_>>()));
    bytes.flatten().collect()
}

#[test]
fn it_does_not_matter_how_the_bytes_are_cut() {
    let bytes = history();
    let run = |cuts: &mut dyn FnMut() -> usize| {
        let mut rig = Rig::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts().clamp(1, rest.len()));
            rig.receive(piece);
            rest = after;
        }
        let (operations, chunks, out) = rig.raw();
        // Where a chunk begins depends on the cuts; what is in it does not.
        let bodies: usize = chunks.iter().map(|chunk| chunk.bytes().len()).sum();
        let published: u32 = operations
            .iter()
            .map(|operation| {
                if let Operation::Publish(run) | Operation::PublishAlso { run, .. } = operation {
                    run.count
                } else {
                    0
                }
            })
            .sum();
        (operations.len(), published, bodies, out)
    };
    let whole = run(&mut || usize::MAX);
    assert_eq!(whole.1, 6);
    for size in 1..40 {
        assert_eq!(run(&mut || size), whole, "pieces of {size}");
    }
    let mut random = Random(3);
    for _ in 0..50 {
        let whole_again = run(&mut || usize::try_from(random.below(9_000)).unwrap());
        assert_eq!(whole_again, whole);
    }
}

#[test]
fn damaged_histories_never_panic() {
    let bytes = history();
    let events = [
        "!opened 1",
        "!opened 2",
        "!declared 1",
        "!confirmed 1 1 2",
        "!delivered 1 9",
        "!refused 1",
        "!closed 1",
        "!closed 2",
        "!refused-hard 2",
        "!returned 1 5",
        "silence",
        "!ended",
    ];
    let mut random = Random(4);
    for _ in 0..3_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(6) {
            let at = usize::try_from(random.below(damaged.len() as u64)).unwrap();
            match random.below(4) {
                0 => damaged[at] = u8::try_from(random.below(256)).unwrap(),
                1 => damaged[at] ^= 1 << random.below(8),
                2 => _ = damaged.drain(at..(at + 9).min(damaged.len())),
                _ => _ = damaged.splice(at..at, random.bytes(5)),
            }
        }
        let mut rig = Rig::new();
        let mut rest = damaged.as_slice();
        while !rest.is_empty() {
            let size = usize::try_from(1 + random.below(2_000)).unwrap();
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rig.receive(piece);
            rest = after;
            if random.below(3) == 0 {
                let event = events[usize::try_from(random.below(events.len() as u64)).unwrap()];
                rig.step(event);
            }
        }
        // Whatever came in, whole frames go out.
        rig.told_frames();
    }
}

#[test]
fn a_frame_is_as_large_as_agreed_and_no_larger() {
    let mut rig = Rig::new();
    rig.step("opened");
    rig.step("open 1");
    rig.told();
    // Exactly frame_max and the slack: passed over to the next layer, which knows no such method.
    rig.receive(&frame_bytes(frame::METHOD, 1, &[9; 4_096]));
    rig.event(&Event::Ended);
    assert!(rig.told().iter().any(|told| told.contains("503 COMMAND_INVALID")));
    let mut rig = Rig::new();
    rig.step("opened");
    rig.told();
    rig.receive(&frame_bytes(frame::METHOD, 1, &[9; 4_097])[..7]);
    rig.event(&Event::Ended);
    assert!(rig.told().iter().any(|told| told.contains("{frame_too_large,4097,4088}")));
    // Nothing that follows is understood, and nothing is kept.
    rig.receive(&method_bytes(0, &connection::CloseOk {}));
    assert!(!rig.is_over() && rig.told().is_empty());
    assert_eq!(method::all().count(), 66);
}
