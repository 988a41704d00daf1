//! Signals: the first asks, the second insists.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::amqp_client::AmqpClient;
use crate::running::Running;

#[test]
fn clients_are_told_and_the_exit_is_clean() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(&folder, &[]);
        let mut client = AmqpClient::open(("127.0.0.1", running.port()));
        let asked = Instant::now();
        running.signal(signal);
        let (code, text) = client.wait_for_close();
        assert_eq!(code, 320);
        assert!(text.starts_with("CONNECTION_FORCED"), "{text}");
        client.send_close_ok();
        let (status, _, log) = running.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_client_that_does_not_answer_delays_the_exit_only_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&folder, &[]);
    let mut client = AmqpClient::open(("127.0.0.1", running.port()));
    let asked = Instant::now();
    running.signal(Signal::TERM);
    assert_eq!(client.wait_for_close().0, 320);
    let (status, _, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&folder, &[]);
    let mut client = AmqpClient::open(("127.0.0.1", running.port()));
    running.signal(Signal::TERM);
    assert_eq!(client.wait_for_close().0, 320);
    let insisted = Instant::now();
    running.signal(Signal::TERM);
    let (status, _, log) = running.end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(insisted.elapsed() < Duration::from_secs(2));
}
