//! Waits for a broker that is just starting, and asks how many messages wait in its queues.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::amqp::{Conn, Error, Result};
use crate::args::Opts;
use crate::json::Obj;

/// How often it knocks.
const PAUSE: Duration = Duration::from_millis(2);

/// What was found.
struct Found {
    connected_s: f64,
    messages: u64,
}

/// Knocks until it is let in; whether the queues answered.
pub(crate) fn run(o: &Opts) -> bool {
    let start = Instant::now();
    let found = count(o, start);
    let line = Obj::new()
        .str("tool", concat!("amqpload ", env!("CARGO_PKG_VERSION")))
        .str("label", &o.label)
        .str("phase", "counts")
        .num("answered_s", start.elapsed().as_secs_f64());
    let line = match &found {
        Ok(found) => line
            .num("connected_s", found.connected_s)
            .int("messages", found.messages)
            .raw("errors", "[]"),
        Err(e) => line.raw("errors", &format!("[\"{}\"]", crate::json::escape(&e.to_string()))),
    };
    println!("{}", line.bool("ok", found.is_ok()).build());
    found.is_ok()
}

fn count(o: &Opts, start: Instant) -> Result<Found> {
    let mut conn = loop {
        match Conn::open(&o.target) {
            Ok(conn) => break conn,
            Err(Error::Io(_)) if start.elapsed().as_secs_f64() < o.timeout => sleep(PAUSE),
            Err(e) => return Err(e),
        }
    };
    let connected_s = start.elapsed().as_secs_f64();
    let mut messages = 0;
    for i in 0..o.queues {
        messages += conn.declare(&o.queue(i), true, o.durable, &[])?;
    }
    conn.close()?;
    Ok(Found { connected_s, messages })
}
