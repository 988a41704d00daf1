//! How a connection opens: headers, logins, limits; and when its publishers are not read.

use broker::LoginRefusal;

use super::super::Patience;
use super::script::{Rig, check, client_bytes, start_ok};
use crate::wire::frame::PROTOCOL_HEADER;

#[test]
fn a_connection_opens_works_and_closes() {
    check(
        "hello; login; tune-ok 0 0 0; enter /; open 1; !opened 1; declare 1 q; !declared 1; \
         close 1; !closed 1; close 0; !ended",
        &[
            "0 connection.start",
            "0 connection.tune 2047 131072 60",
            "0 connection.open-ok",
            "+open 1",
            "1 channel.open-ok",
            "+declare 1 q",
            "1 queue.declare-ok 4294967295 2",
            "+close 1",
            "1 channel.close-ok",
            "+end",
            "0 connection.close-ok",
            "over",
        ],
    );
}

#[test]
fn wrong_protocol_headers_are_answered_with_the_right_one() {
    check("junk", &["protocol header", "over"]);
    let mut rig = Rig::new();
    rig.receive(b"AMQP");
    rig.receive(b"\0\0\x09");
    assert_eq!(rig.raw().2, b"");
    rig.receive(b"\0");
    assert_eq!(rig.raw().2, PROTOCOL_HEADER);
}

#[test]
fn logins_are_refused_aloud_or_in_silence() {
    let refused = "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication \
                   mechanism PLAIN. For details see the broker logfile. (0, 0)";
    let amqplain = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest";
    for (mechanism, response, capable, expected) in [
        ("PLAIN", &b"\0guest\0guest"[..], true, &["0 connection.tune 2047 131072 60"][..]),
        ("AMQPLAIN", amqplain, true, &["0 connection.tune 2047 131072 60"]),
        ("PLAIN", b"\0guest\0wrong", true, &[refused]),
        ("PLAIN", b"\0guest\0wrong", false, &[]),
        ("PLAIN", b"guest", true, &[refused]),
        ("PLAIN", b"\0guest\0guest\0", true, &[refused]),
        ("PLAIN", b"root\0guest\0guest", true, &[refused]),
        ("AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest", true, &[&refused.replace("PLAIN", "AMQPLAIN")]),
        ("AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest", false, &[]),
        (
            "EXTERNAL",
            b"",
            true,
            &["0 connection.close 503 COMMAND_INVALID - unknown authentication mechanism \
               'EXTERNAL' (10, 11)"],
        ),
    ] {
        let mut rig = Rig::new();
        rig.step("hello");
        rig.told();
        rig.receive(&start_ok(mechanism, response, capable));
        assert_eq!(rig.told(), expected, "{mechanism} {response:?} {capable}");
        if expected.is_empty() {
            assert_eq!(rig.patience(), Patience::Mute(1_000));
        }
    }
}

#[test]
fn a_password_is_checked_while_the_client_waits() {
    let tune = "0 connection.tune 2047 131072 60";
    let refused = "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication \
                   mechanism PLAIN. For details see the broker logfile. (0, 0)";
    // What a client says without waiting for the verdict is taken after it, however it was cut.
    let login = start_ok("PLAIN", b"\0slow\0secret", true);
    let rest = [client_bytes(&["tune-ok", "0", "0", "0"]), client_bytes(&["enter", "/"])];
    let said: Vec<u8> = login.into_iter().chain(rest.into_iter().flatten().flatten()).collect();
    for cut in 0..=said.len() {
        for (verdict, expected) in [
            (Ok(()), vec![tune, "0 connection.open-ok"]),
            (Err(LoginRefusal::BadCredentials), vec![refused]),
        ] {
            let mut rig = Rig::new();
            rig.step("hello");
            rig.told();
            rig.receive(&said[..cut]);
            rig.receive(&said[cut..]);
            assert!(rig.told().is_empty(), "nothing is said before the verdict");
            assert_eq!(rig.patience(), Patience::Opening(10_000));
            rig.verdict(verdict);
            assert_eq!(rig.told(), expected, "cut at {cut}");
        }
    }
    // A verdict that nobody waits for is none.
    let mut rig = Rig::new();
    rig.step("opened");
    rig.told();
    rig.verdict(Err(LoginRefusal::BadCredentials));
    assert!(rig.told().is_empty() && !rig.is_over());
}

#[test]
fn certificates_log_in_where_they_are_announced() {
    let mechanisms = |rig: &mut Rig| {
        rig.step("hello");
        let (_, _, start) = rig.raw();
        String::from_utf8_lossy(&start).contains("PLAIN AMQPLAIN EXTERNAL")
    };
    let refused = "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication \
                   mechanism EXTERNAL. For details see the broker logfile. (0, 0)";
    for (certified_name, expected) in
        [(Some("CN=x"), "0 connection.tune 2047 131072 60"), (Some("CN=y"), refused)]
    {
        let mut rig = Rig::new();
        rig.gate.certified_name = certified_name;
        assert!(mechanisms(&mut rig));
        rig.receive(&start_ok("EXTERNAL", b"", true));
        assert_eq!(rig.told(), [expected]);
    }
    assert!(!mechanisms(&mut Rig::new()));
}

#[test]
fn who_comes_too_many_is_told_which_limit_is_reached() {
    for (vhost, text) in [
        (
            "full",
            "access to vhost 'full' refused for user 'guest': connection limit (3) is reached",
        ),
        ("busy-user", "connection refused for user 'guest': user connection limit (2) is reached"),
        ("busy-node", "connection refused: node connection limit (1) is reached"),
    ] {
        let close = format!("0 connection.close 530 NOT_ALLOWED - {text} (10, 40)");
        let script = format!("hello; login; tune-ok 0 0 0 | enter {vhost}; close-ok 0");
        check(&script, &[&close, "over"]);
    }
}

#[test]
fn publishers_are_blocked_while_an_alarm_lasts() {
    let start = "opened; open 1; !opened 1 |";
    // Only by what is published during the alarm; the first alarm is told, and the end of the last.
    check(
        &format!(
            "{start} message 1 3; alarms disk; unblocked?; declare 1 q; unblocked?; message 1 3; \
             blocked?; alarms disk memory; blocked?; alarms memory; message 1 3; blocked?; \
             alarms; unblocked?; message 1 3; unblocked?; alarms memory disk; publish 1; blocked?; \
             alarms; unblocked?; alarms disk; alarms; unblocked?"
        ),
        &[
            "+publish 1 x1",
            "+declare 1 q",
            "+publish 1 x1",
            "0 connection.blocked low on disk",
            "+publish 1 x1",
            "0 connection.unblocked",
            "+publish 1 x1",
            "0 connection.blocked low on memory & disk",
            "0 connection.unblocked",
        ],
    );
    // Who did not ask to be told is blocked all the same, and who is told to go is read again.
    check(
        "hello; login-deaf; tune-ok 0 0 0; enter /; open 1; !opened 1; alarms disk | message 1 3; \
         blocked?; alarms; unblocked?; alarms disk; message 1 3; blocked?; !shutdown; unblocked?; \
         alarms; close-ok 0",
        &[
            "+publish 1 x1",
            "+publish 1 x1",
            "+end",
            "0 connection.close 320 CONNECTION_FORCED - broker forced connection closure with \
             reason 'shutdown' (0, 0)",
            "over",
        ],
    );
    // Known from the start.
    check("opened; alarms disk | alarms disk; unblocked?; heartbeat 0", &[]);
}

#[test]
fn limits_are_agreed_on() {
    let higher = "is higher than the maximum allowed value";
    for (tune_ok, expected) in [
        ("2047 131072 60", None),
        ("0 0 0", None),
        ("1 4096 65535", None),
        ("2048 131072 60", Some(format!("channel_max = 2048 {higher} (2047)"))),
        ("2047 131073 60", Some(format!("frame_max = 131073 {higher} (131072)"))),
        (
            "2047 4095 60",
            Some("frame_max = 4095 is lower than the minimum allowed value (4096)".to_owned()),
        ),
    ] {
        let expected = match expected {
            None => vec!["0 connection.open-ok".to_owned()],
            Some(text) => {
                vec![format!("0 connection.close 530 NOT_ALLOWED - negotiated {text} (10, 30)")]
            }
        };
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&format!("hello; login | tune-ok {tune_ok}; enter /"), &expected);
    }
    check(
        "hello; login; tune-ok 0 0 0 | enter nowhere; close-ok 0",
        &["0 connection.close 530 NOT_ALLOWED - vhost nowhere not found (10, 40)", "over"],
    );
}

#[test]
fn the_handshake_has_an_order() {
    let unexpected = |state: &str, method: &str| {
        format!(
            "0 connection.close 504 CHANNEL_ERROR - unexpected method in connection state {state} \
             ({method})"
        )
    };
    for (script, state, method) in [
        ("hello | tune-ok 0 0 0", "starting", "10, 31"),
        ("hello; login | enter /", "tuning", "10, 40"),
        ("hello; login; tune-ok 0 0 0 | login", "opening", "10, 11"),
    ] {
        check(&format!("{script}; login; close-ok 0"), &[&unexpected(state, method), "over"]);
    }
    check("hello | heartbeat; login", &["0 connection.tune 2047 131072 60"]);
    check("hello; login | close 0", &["0 connection.close-ok", "over"]);
    check(
        "hello | open 1",
        &["0 connection.close 505 UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>> (0, 0)"],
    );
    let mut rig = Rig::new();
    assert_eq!(rig.patience(), Patience::Opening(10_000));
    rig.step("hello");
    rig.step("silence");
    assert!(rig.told().len() == 1 && rig.is_over());
}
