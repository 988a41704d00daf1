//! One run: declares the queues, lets publishers and consumers work, reports.

use std::sync::Barrier;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::ScopedJoinHandle;

use crate::amqp::{self, Conn, Field};
use crate::args::{Opts, Phase};
use crate::consumer::{self, Consumed, Expect};
use crate::die;
use crate::pace::Pace;
use crate::proc::Meter;
use crate::publisher::{self, Published, Shared};
use crate::report::Run;
use crate::stamp;

/// Runs it and prints the result; whether everything arrived once and intact.
pub(crate) fn run(o: &Opts) -> bool {
    let (server, waiting) = prepare(o).unwrap_or_else(|e| die(&format!("{}: {e}", o.target.addr)));
    let publishers = if o.phase == Phase::DrainOnly { 0 } else { o.publishers };
    let consumers = if o.phase == Phase::PublishOnly { 0 } else { o.consumers };
    let expect = match o.phase {
        Phase::DrainOnly => Expect::Count(o.count.unwrap_or(waiting)),
        Phase::Both | Phase::PublishOnly | Phase::Counts | Phase::Idle | Phase::Churn => {
            Expect::AllSent
        }
    };
    // With --keep or drain-only older messages are welcome.
    let run_start_ns = if o.phase == Phase::Both && !o.keep { stamp::now_ns() } else { 0 };

    let shared = Shared::default();
    shared.publishers_left.store(publishers as u64, Relaxed);
    let ready = Barrier::new(publishers + consumers);
    let meter = Meter::start(&o.pids);
    let start_ns = stamp::now_ns();
    let (published, consumed, publish_pace, deliver_pace) = std::thread::scope(|s| {
        let (shared, ready) = (&shared, &ready);
        let sent = s.spawn(|| Pace::watch(&shared.sent, &shared.over));
        let received = s.spawn(|| Pace::watch(&shared.received, &shared.over));
        let c: Vec<_> = (0..consumers)
            .map(|i| s.spawn(move || consumer::run(o, shared, i, ready, expect, run_start_ns)))
            .collect();
        let p: Vec<_> =
            (0..publishers).map(|i| s.spawn(move || publisher::run(o, shared, i, ready))).collect();
        let (published, consumed) = (outcomes::<Published>(p), outcomes::<Consumed>(c));
        shared.over.store(true, Relaxed);
        (published, consumed, outcome(sent), outcome(received))
    });
    let cost = meter.stop();
    if o.cleanup {
        cleanup(o).unwrap_or_else(|e| eprintln!("amqpload: cleanup: {e}"));
    }
    let run = Run {
        opts: o,
        server,
        waiting,
        start_ns,
        published,
        consumed,
        expect,
        publish_pace,
        deliver_pace,
        cost,
    };
    let (line, ok) = run.report();
    println!("{line}");
    ok
}

/// What the threads came to. A panic of one of them is ours to pass on.
fn outcomes<T>(threads: Vec<ScopedJoinHandle<'_, T>>) -> Vec<T> {
    threads.into_iter().map(outcome).collect()
}

fn outcome<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Declares the queues; returns the broker's name and how many messages wait.
fn prepare(o: &Opts) -> amqp::Result<(String, u64)> {
    let mut c = Conn::open(&o.target)?;
    let qtype: Vec<(&str, Field)> =
        o.queue_type.iter().map(|t| ("x-queue-type", Field::Str(t))).collect();
    let mut waiting = 0;
    if o.fanout && o.phase != Phase::DrainOnly {
        if !o.keep {
            c.delete_exchange(o.exchange())?;
        }
        c.declare_fanout(o.exchange(), o.durable)?;
    }
    for i in 0..o.queues {
        let q = o.queue(i);
        if o.phase == Phase::DrainOnly {
            waiting += c.declare(&q, true, o.durable, &[])?;
            continue;
        }
        if !o.keep {
            c.delete(&q)?;
        }
        waiting += c.declare(&q, false, o.durable, &qtype)?;
        if o.fanout {
            c.bind(&q, o.exchange())?;
        }
    }
    let server = c.server.clone();
    c.close()?;
    Ok((server, waiting))
}

fn cleanup(o: &Opts) -> amqp::Result<()> {
    let mut c = Conn::open(&o.target)?;
    for i in 0..o.queues {
        c.delete(&o.queue(i))?;
    }
    if o.fanout {
        c.delete_exchange(o.exchange())?;
    }
    c.close()
}
