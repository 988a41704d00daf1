//! One consuming thread: takes deliveries from its queues, checks and acks them.

use crate::amqp::{self, Conn, Error, Result};
use crate::args::Opts;
use crate::ledger::Ledger;
use crate::net::Wait;
use crate::publisher::Shared;
use crate::stamp;
use std::sync::Barrier;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Consumed {
    pub(crate) ledger: Ledger,
    pub(crate) error: Option<String>,
}

/// What the run is to receive in all.
#[derive(Clone, Copy)]
pub(crate) enum Expect {
    /// As much as the publishers send.
    AllSent,
    Count(u64),
}

/// A delivery being put together from its frames.
#[derive(Default)]
struct Partial {
    tag: u64,
    lane: usize,
    redelivered: bool,
    want: usize,
    body: Vec<u8>,
}

pub(crate) fn run(
    opts: &Opts,
    shared: &Shared,
    me: usize,
    ready: &Barrier,
    expect: Expect,
    run_start_ns: u64,
) -> Consumed {
    let mut c = Consumed::default();
    c.ledger.fanout_publishers = if opts.fanout { opts.publishers } else { 0 };
    let made = Conn::open(&opts.target).and_then(|mut conn| {
        if opts.ack > 0 && opts.prefetch > 0 {
            conn.qos(opts.prefetch)?;
        }
        Ok(conn)
    });
    ready.wait();
    let r =
        made.and_then(|conn| consume(opts, shared, me, conn, expect, run_start_ns, &mut c.ledger));
    c.error = r.err().map(|e| e.to_string());
    c
}

fn consume(
    o: &Opts,
    shared: &Shared,
    me: usize,
    mut conn: Conn,
    expect: Expect,
    run_start_ns: u64,
    ledger: &mut Ledger,
) -> Result<()> {
    let fill = stamp::template(o.body);
    for q in Opts::share(me, o.consumers, o.read_queues()) {
        conn.consume(&o.queue(q), &q.to_string(), o.ack == 0);
    }
    conn.wire.flush()?;
    let mut cur = Partial::default();
    let mut in_delivery = false;
    let (mut unacked, mut last_tag) = (0u64, 0u64);
    let mut last_progress = (Instant::now(), 0u64);
    loop {
        // Done, or stuck?
        let all = match expect {
            Expect::Count(n) => Some(n),
            Expect::AllSent if shared.publishers_left.load(Relaxed) == 0 => {
                Some(shared.sent.load(Relaxed) * o.copies())
            }
            Expect::AllSent => None,
        };
        let received = shared.received.load(Relaxed);
        if all.is_some_and(|n| received >= n) || shared.stop.load(Relaxed) {
            break;
        }
        let moved = received + shared.sent.load(Relaxed);
        if moved != last_progress.1 {
            last_progress = (Instant::now(), moved);
        } else if last_progress.0.elapsed().as_secs_f64() > o.timeout {
            return Err(Error::Protocol(format!("no progress for {} s", o.timeout)));
        }
        // A flush may have buffered deliveries already.
        let buffered = amqp::peek(conn.wire.input())?.is_some();
        let wait = if buffered { Wait::No } else { Wait::For(Duration::from_millis(20)) };
        let came = conn.wire.fill(wait)? || buffered;
        let now = stamp::now_ns();
        let mut got = 0;
        while let Some(f) = amqp::peek(conn.wire.input())? {
            let size = f.size;
            match f.kind {
                amqp::FRAME_METHOD => {
                    let (id, mut a) = f.method()?;
                    if id == amqp::BASIC_DELIVER {
                        let lane = a.shortstr();
                        cur.lane = std::str::from_utf8(lane)
                            .ok()
                            .and_then(|s| s.parse().ok())
                            .unwrap_or(0);
                        cur.tag = a.u64();
                        cur.redelivered = a.u8() & 1 == 1;
                    } else {
                        amqp::closed(id, a)?;
                    }
                }
                amqp::FRAME_HEADER => {
                    let mut a = amqp::Args::new(f.payload);
                    a.u32();
                    cur.want = a.u64() as usize;
                    cur.body.clear();
                    in_delivery = true;
                }
                amqp::FRAME_BODY => {
                    // The usual body comes whole in one frame: no copy then.
                    let whole = cur.body.is_empty() && f.payload.len() == cur.want;
                    if !whole {
                        cur.body.extend_from_slice(f.payload);
                    }
                    if whole || cur.body.len() >= cur.want {
                        let body = if whole { f.payload } else { &cur.body };
                        let before = ledger.received;
                        ledger.book(cur.lane, body, &fill, now, run_start_ns, cur.redelivered);
                        got += ledger.received - before; // leftovers of an earlier run do not count
                        in_delivery = false;
                        unacked += 1;
                        last_tag = cur.tag;
                    }
                }
                amqp::FRAME_HEARTBEAT => {}
                k => return Err(Error::Protocol(format!("frame type {k}"))),
            }
            conn.wire.consume(size);
            if o.ack > 0 && unacked >= o.ack && !in_delivery {
                put_ack(&mut conn, last_tag);
                unacked = 0;
            }
        }
        if o.ack > 0 && unacked > 0 && !came {
            put_ack(&mut conn, last_tag);
            unacked = 0;
        }
        if !conn.wire.out.is_empty() {
            conn.wire.flush()?;
        }
        if got > 0 {
            shared.received.fetch_add(got, Relaxed);
        }
    }
    if o.ack > 0 && unacked > 0 {
        put_ack(&mut conn, last_tag);
    }
    conn.close()
}

fn put_ack(conn: &mut Conn, tag: u64) {
    amqp::put_method(&mut conn.wire.out, amqp::CH, amqp::BASIC_ACK, |a| {
        a.extend_from_slice(&tag.to_be_bytes());
        a.push(1); // multiple
    });
}
