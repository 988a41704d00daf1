//! Opens and closes connections, one after the other on each of some threads: the whole handshake
//! with a password, and the whole goodbye.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::amqp::Conn;
use crate::args::Opts;
use crate::hist::Hist;
use crate::json::Obj;
use crate::proc::Meter;

/// Room for input: what the broker says in a handshake.
const INPUT_ROOM: usize = 4096;

/// What one thread has seen.
#[derive(Default)]
struct Seen {
    done: u64,
    latency: Hist,
    server: String,
    error: String,
}

/// Opens and closes `--connections` in all.
pub(crate) fn run(o: &Opts) -> bool {
    let left = AtomicU64::new(o.connections as u64);
    let meter = Meter::start(&o.pids);
    let t = Instant::now();
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..o.publishers).map(|_| scope.spawn(|| come_and_go(o, &left))).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let wall_s = t.elapsed().as_secs_f64();
    let cost = meter.stop();
    let mut latency = Hist::default();
    let mut done = 0;
    for one in &seen {
        latency.merge(&one.latency);
        done += one.done;
    }
    let error = seen.iter().map(|one| one.error.as_str()).find(|e| !e.is_empty()).unwrap_or("");
    let ok = done == o.connections as u64;
    let j = Obj::new()
        .str("tool", concat!("amqpload ", env!("CARGO_PKG_VERSION")))
        .str("label", &o.label)
        .str("server", seen.first().map_or("", |one| &one.server))
        .str("phase", "churn")
        .int("connections", done)
        .num("connections_per_s", done as f64 / wall_s)
        .raw("open_and_close_us", &latency.to_json_us())
        .raw("cost", &cost.build())
        .str("error", error)
        .bool("ok", ok);
    println!("{}", j.build());
    ok
}

fn come_and_go(o: &Opts, left: &AtomicU64) -> Seen {
    let mut seen = Seen::default();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        let t = Instant::now();
        let outcome = Conn::shake_hands(&o.target, INPUT_ROOM).and_then(|mut conn| {
            conn.part()?;
            Ok(conn.server)
        });
        match outcome {
            Ok(server) => seen.server = server,
            Err(e) => {
                seen.error = e.to_string();
                break;
            }
        }
        seen.latency.record(t.elapsed().as_nanos() as u64);
        seen.done += 1;
    }
    seen
}
