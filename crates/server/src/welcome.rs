//! What a person sees at the start: where the broker listens, and what to try next.

use std::net::SocketAddr;

use broker::Broker;

use crate::config::{LogFormat, Settings, Sync};
use crate::doors::Doors;
use crate::listeners::Listeners;

/// Prints it to standard output, where no log line goes; where a program reads, it is a log line.
#[expect(clippy::print_stdout, reason = "it is for the person who started the broker")]
pub(crate) fn show(settings: &Settings, doors: &Doors, broker: &Broker) {
    match settings.sight.log_format {
        LogFormat::Text => print!("{}", text(settings, doors, Login::of(broker))),
        LogFormat::Json => tracing::info!(
            amqp = listed(&doors.amqp.plain),
            amqps = doors.amqp.encrypted.as_ref().map(listed),
            http = listed(&doors.http.plain),
            https = doors.http.encrypted.as_ref().map(listed),
            "ready"
        ),
    }
}

/// Whose name a first try needs.
#[derive(Clone, Copy, Debug)]
enum Login {
    Guest,
    Named,
}

impl Login {
    fn of(broker: &Broker) -> Login {
        if broker.has_guest() { Login::Guest } else { Login::Named }
    }
}

/// Prints what an import of definitions would do.
#[expect(clippy::print_stdout, reason = "it is for the person who asked")]
pub(crate) fn print_plan(plan: &str) {
    print!("{plan}");
}

fn addresses(listeners: &Listeners) -> Vec<SocketAddr> {
    listeners.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
}

fn listed(listeners: &Listeners) -> String {
    addresses(listeners).iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// A protocol's line, or nothing if it is not spoken.
fn line(name: &str, listeners: Option<&Listeners>) -> String {
    listeners.map(|found| format!("  {name:<13}{}\n", listed(found))).unwrap_or_default()
}

fn text(settings: &Settings, doors: &Doors, login: Login) -> String {
    let (login, user) = match login {
        Login::Guest => ("guest, password guest, from this machine", ""),
        Login::Named => ("by name and password", "NAME:PASSWORD@"),
    };
    let plain = &doors.amqp.plain;
    let listening = [
        line("AMQP 0-9-1", Some(plain)),
        line("AMQP, TLS", doors.amqp.encrypted.as_ref()),
        line("HTTP", Some(&doors.http.plain)),
        line("HTTP, TLS", doors.http.encrypted.as_ref()),
    ]
    .concat();
    let sync = match settings.storage.sync {
        Sync::Always => "a confirm leaves after the sync".to_owned(),
        Sync::Interval => format!("synced every {} ms", settings.storage.sync_interval_ms),
        Sync::Never => "synced when the operating system likes".to_owned(),
    };
    let host = addresses(plain).first().map_or_else(
        || "127.0.0.1".to_owned(),
        |first| match first {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        },
    );
    format!(
        "\
Postroom {version} is ready.

{listening}  data         {data_dir} ({sync})
  login        {login}

A first message, in another terminal (pip install pika):

  python3 -c \"import pika; ch = pika.BlockingConnection(pika.URLParameters('amqp://{user}{host}:{port}'))\\
  .channel(); ch.queue_declare('hello', durable=True); ch.basic_publish('', 'hello', b'Hello!'); \\
  print(ch.basic_get('hello', auto_ack=True)[2])\"

Every setting: postroom serve --help. Ctrl-C stops it.
",
        version = env!("CARGO_PKG_VERSION"),
        port = plain.port,
        data_dir = settings.storage.data_dir.display(),
    )
}
