//! One publishing thread: writes pre-encoded frames, takes confirms in between.

use crate::amqp::{self, Args, Conn, Error, MethodId, Result};
use crate::args::Opts;
use crate::hist::Hist;
use crate::net::Wait;
use crate::stamp;
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Published {
    pub(crate) sent: u64,
    pub(crate) confirmed: u64,
    pub(crate) nacked: u64,
    pub(crate) returned: u64,
    pub(crate) blocked: u64,
    pub(crate) id_sum: u64,
    pub(crate) confirm: Hist,
    /// How far behind schedule sends were (with --rate).
    pub(crate) lag: Hist,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) error: Option<String>,
}

/// Progress that consumers watch.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) publishers_left: AtomicU64,
    pub(crate) stop: AtomicBool,
    /// Everybody is done.
    pub(crate) over: AtomicBool,
}

const FLUSH_AT: usize = 64 * 1024;

struct Publisher<'a> {
    opts: &'a Opts,
    shared: &'a Shared,
    conn: Conn,
    /// Publish time by delivery tag, a ring of `confirm` entries.
    sent_at: Vec<u64>,
    /// Delivery tags at or below this have been confirmed by a `multiple`.
    low: u64,
    /// Confirmed singly, above `low`.
    ahead: BTreeSet<u64>,
    p: Published,
}

pub(crate) fn run(opts: &Opts, shared: &Shared, me: usize, ready: &Barrier) -> Published {
    let mut start_ns = 0;
    let made = Conn::open(&opts.target).and_then(|mut c| {
        if opts.confirm > 0 {
            c.confirm_select()?;
        }
        Ok(c)
    });
    ready.wait();
    let mut out = match made {
        Ok(conn) => {
            let mut w = Publisher {
                opts,
                shared,
                conn,
                sent_at: vec![0; opts.confirm.max(1)],
                low: 0,
                ahead: BTreeSet::default(),
                p: Published::default(),
            };
            start_ns = stamp::now_ns();
            let r = w.publish(me);
            w.p.end_ns = stamp::now_ns();
            let r = r.and_then(|()| w.conn.close());
            if opts.confirm == 0 {
                w.p.end_ns = stamp::now_ns(); // the broker has taken everything
            }
            w.p.error = r.err().map(|e| e.to_string());
            w.p
        }
        Err(e) => Published { error: Some(e.to_string()), ..Default::default() },
    };
    out.start_ns = start_ns;
    shared.publishers_left.fetch_sub(1, Relaxed);
    out
}

impl Publisher<'_> {
    fn publish(&mut self, me: usize) -> Result<()> {
        let o = self.opts;
        // One message to the exchange is one to each queue.
        let queues = if o.fanout { vec![0] } else { Opts::share(me, o.publishers, o.queues) };
        let body = stamp::template(o.body);
        let mut frames: Vec<(Vec<u8>, usize)> = queues
            .iter()
            .map(|&q| {
                amqp::publish_frames(
                    amqp::CH,
                    o.exchange(),
                    &o.queue(q),
                    o.persistent,
                    &body,
                    self.conn.frame_max,
                )
            })
            .collect();
        // The total is split evenly; the first publishers take the remainder.
        let mine = o
            .total()
            .map(|t| t / o.publishers as u64 + u64::from((me as u64) < t % o.publishers as u64));
        let step = o.rate.map(|r| o.publishers as f64 * 1e9 / r);
        let start_ns = stamp::now_ns();
        // Publishers take turns within one step.
        let phase = step.map_or(0.0, |s| s * me as f64 / o.publishers as f64);
        let deadline = o.seconds.filter(|_| mine.is_none()).map(|s| start_ns + (s * 1e9) as u64);
        if step.is_some() {
            crate::proc::tight_timers();
        }
        let mut told = 0;
        let mut next = 0;
        loop {
            if mine.is_some_and(|m| self.p.sent >= m) || self.shared.stop.load(Relaxed) {
                break;
            }
            let mut now = stamp::now_ns();
            if deadline.is_some_and(|d| now >= d) {
                break;
            }
            let mut at = now;
            if let Some(s) = step {
                let due = start_ns + (s * self.p.sent as f64 + phase) as u64;
                while now < due {
                    self.flush()?;
                    self.take_confirms(Wait::For(Duration::from_nanos(due - now)))?;
                    now = stamp::now_ns();
                }
                self.p.lag.record(now - due);
                at = if o.stamp_send { now } else { due };
            }
            if o.confirm > 0 && self.outstanding() >= o.confirm as u64 {
                self.flush()?;
                // Let some room build up, so that a broker which confirms one by
                // one does not cost a system call per message here.
                let low = o.confirm - (o.confirm / 8).max(1);
                while self.outstanding() > low as u64 {
                    if !self.take_confirms(Wait::For(Duration::from_secs_f64(o.timeout)))? {
                        return Err(Error::Protocol(format!("no confirm for {} s", o.timeout)));
                    }
                }
                if step.is_none() || o.stamp_send {
                    at = stamp::now_ns();
                }
            }
            let id = stamp::id(me, self.p.sent);
            let (f, body_at) = &mut frames[next];
            next = (next + 1) % queues.len();
            stamp::write_head(&mut f[*body_at..*body_at + stamp::HEAD], at, id);
            self.conn.wire.out.extend_from_slice(f);
            self.p.id_sum = self.p.id_sum.wrapping_add(stamp::mix(id));
            self.p.sent += 1;
            if o.confirm > 0 {
                let ring = self.sent_at.len() as u64;
                self.sent_at[(self.p.sent % ring) as usize] = at;
            }
            if self.conn.wire.out.len() >= FLUSH_AT {
                self.flush()?;
                self.take_confirms(Wait::No)?;
                self.shared.sent.fetch_add(self.p.sent - told, Relaxed);
                told = self.p.sent;
            }
        }
        self.flush()?;
        self.shared.sent.fetch_add(self.p.sent - told, Relaxed);
        while o.confirm > 0 && self.outstanding() > 0 {
            if !self.take_confirms(Wait::For(Duration::from_secs_f64(o.timeout)))? {
                return Err(Error::Protocol(format!("{} confirms missing", self.outstanding())));
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.conn.wire.out.is_empty() {
            self.conn.wire.flush()?;
        }
        Ok(())
    }

    fn outstanding(&self) -> u64 {
        self.p.sent - self.p.confirmed - self.p.nacked
    }

    /// Handles what has come in; waits for it if there is nothing yet. False if
    /// the wait ended with nothing.
    fn take_confirms(&mut self, wait: Wait) -> Result<bool> {
        // A flush may have buffered confirms already.
        let wait = if amqp::peek(self.conn.wire.input())?.is_some() { Wait::No } else { wait };
        let came = self.conn.wire.fill(wait)? || wait == Wait::No;
        let now = stamp::now_ns();
        loop {
            let Some(f) = amqp::peek(self.conn.wire.input())? else { return Ok(came) };
            let size = f.size;
            let mut confirm = None;
            if f.kind == amqp::FRAME_METHOD {
                let (id, mut a) = f.method()?;
                match id {
                    amqp::BASIC_ACK | amqp::BASIC_NACK => {
                        confirm = Some((id, a.u64(), a.u8() & 1 == 1));
                    }
                    _ => other(&mut self.p, id, a)?,
                }
            }
            self.conn.wire.consume(size);
            if let Some((id, tag, multiple)) = confirm {
                self.settle(id, tag, multiple, now)?;
            }
        }
    }

    fn settle(&mut self, id: MethodId, tag: u64, multiple: bool, now: u64) -> Result<()> {
        if tag > self.p.sent {
            return Err(Error::Protocol(format!(
                "confirm of tag {tag}, only {} sent",
                self.p.sent
            )));
        }
        let one = |p: &mut Published, t: u64| {
            if id == amqp::BASIC_ACK {
                p.confirmed += 1;
            } else {
                p.nacked += 1;
            }
            p.confirm
                .record(now.saturating_sub(self.sent_at[(t % self.sent_at.len() as u64) as usize]));
        };
        if multiple {
            for t in self.low + 1..=tag {
                if !self.ahead.remove(&t) {
                    one(&mut self.p, t);
                }
            }
            self.low = self.low.max(tag);
        } else if tag <= self.low || (tag != self.low + 1 && !self.ahead.insert(tag)) {
            return Err(Error::Protocol(format!("tag {tag} confirmed twice")));
        } else {
            one(&mut self.p, tag);
            if tag == self.low + 1 {
                self.low = tag;
            }
        }
        while !self.ahead.is_empty() && self.ahead.remove(&(self.low + 1)) {
            self.low += 1;
        }
        Ok(())
    }
}

fn other(p: &mut Published, id: MethodId, a: Args<'_>) -> Result<()> {
    match id {
        amqp::BASIC_RETURN => p.returned += 1,
        amqp::CONNECTION_BLOCKED => p.blocked += 1,
        amqp::CONNECTION_UNBLOCKED | amqp::CHANNEL_FLOW => {}
        _ => amqp::closed(id, a)?,
    }
    Ok(())
}
