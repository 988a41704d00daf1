//! Opens many connections with a channel each and holds them.

use std::time::{Duration, Instant};

use crate::amqp::Conn;
use crate::args::Opts;
use crate::json::Obj;
use crate::proc::Meter;

/// Opens many connections with a channel each and holds them.
pub(crate) fn run(o: &Opts) -> bool {
    let meter = Meter::start(&o.pids);
    let t = Instant::now();
    let mut held = Vec::with_capacity(o.connections);
    let mut error = String::new();
    for _ in 0..o.connections {
        match Conn::open(&o.target) {
            Ok(c) => held.push(c),
            Err(e) => {
                error = e.to_string();
                break;
            }
        }
    }
    let open_s = t.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs_f64(o.hold));
    let cost = meter.stop();
    let ok = held.len() == o.connections;
    let j = Obj::new()
        .str("tool", concat!("amqpload ", env!("CARGO_PKG_VERSION")))
        .str("label", &o.label)
        .str("server", held.first().map_or("", |c| &c.server))
        .str("phase", "idle")
        .int("connections", held.len() as u64)
        .num("open_s", open_s)
        .num("opens_per_s", held.len() as f64 / open_s)
        .raw("cost", &cost.build())
        .str("error", &error)
        .bool("ok", ok);
    println!("{}", j.build());
    ok
}
