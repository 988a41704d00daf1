//! `ports.json`, and one process for each data directory.

use std::net::{Ipv6Addr, TcpListener, TcpStream};

use rustix::process::Signal;

use crate::amqp_client::AmqpClient;
use crate::running::{Running, output};

#[test]
fn ports_json_names_the_chosen_port_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ports.json"), r#"{"amqp":1,"http":2}"#).unwrap();
    let running = Running::start(&folder, &[]);
    let port = running.port();
    let ports: serde_json::Value = serde_json::from_str(&running.ports_json().unwrap()).unwrap();
    let http = ports["http"].as_u64().unwrap();
    assert!(http > 2, "a new one is chosen");
    let expected = serde_json::json!({ "amqp": port, "amqps": null, "http": http, "https": null });
    assert_eq!(ports, expected);
    AmqpClient::open(("127.0.0.1", port));
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        AmqpClient::open((Ipv6Addr::LOCALHOST, port));
    }
    let path = running.ports_path();
    running.signal(Signal::TERM);
    let (_, said, log) = running.end();
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}\n{log}");
    assert!(said.contains("import pika"), "{said}");
    assert!(!path.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn only_the_addresses_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&folder, &["--bind", "127.0.0.2"]);
    AmqpClient::open(("127.0.0.2", running.port()));
    assert!(TcpStream::connect(("127.0.0.1", running.port())).is_err());
}

#[test]
fn the_second_process_refuses_and_leaves_the_first_alone() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&folder, &[]);
    let ports = running.ports_json();
    let path = folder.path().to_str().unwrap();
    let second = output(&["serve", "--amqp-port", "0", "--http-port", "0", "--data-dir", path]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another Postroom (pid "), "{said}");
    assert!(said.contains(path), "{said}");
    assert_eq!(running.ports_json(), ports);
    AmqpClient::open(("127.0.0.1", running.port()));
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let path = folder.path().to_str().unwrap();
    let refused = output(&["serve", "--amqp-port", &port, "--data-dir", path]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains(&format!("127.0.0.1:{port} is in use")), "{said}");
    assert!(said.contains("--amqp-port"), "{said}");
    assert!(!folder.path().join("ports.json").exists());
}
