//! The verdict of a run and its JSON line.

use crate::args::Opts;
use crate::consumer::{Consumed, Expect};
use crate::hist::Hist;
use crate::json::{self, Obj};
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::publisher::Published;

/// What happened in a run.
pub(crate) struct Run<'a> {
    pub(crate) opts: &'a Opts,
    pub(crate) server: String,
    /// Messages in the queues before it.
    pub(crate) waiting: u64,
    pub(crate) start_ns: u64,
    pub(crate) published: Vec<Published>,
    pub(crate) consumed: Vec<Consumed>,
    pub(crate) expect: Expect,
    pub(crate) publish_pace: Pace,
    pub(crate) deliver_pace: Pace,
    pub(crate) cost: Obj,
}

impl Run<'_> {
    /// The JSON line, and whether each message arrived exactly once, in order and intact.
    pub(crate) fn report(self) -> (String, bool) {
        let mut all = Ledger::default();
        self.consumed.iter().for_each(|c| all.merge(&c.ledger));
        let errors: Vec<&str> = self
            .published
            .iter()
            .filter_map(|p| p.error.as_deref())
            .chain(self.consumed.iter().filter_map(|c| c.error.as_deref()))
            .collect();
        let missing = self.missing(&all);
        let ok = errors.is_empty()
            && self.confirms_complete()
            && self.sums_match(&all)
            && missing == Missing::default()
            && all.duplicates + all.corrupt + all.out_of_order == 0;

        let mut line = self.head();
        if !self.published.is_empty() {
            line = self.publish_side(line);
        }
        if !self.consumed.is_empty() {
            line = self.consume_side(line, &all, missing);
        }
        let errors: Vec<String> =
            errors.iter().map(|e| format!("\"{}\"", json::escape(e))).collect();
        let line = line
            .raw("cost", &self.cost.build())
            .raw("errors", &format!("[{}]", errors.join(",")))
            .bool("ok", ok);
        (line.build(), ok)
    }

    fn total(&self, of: fn(&Published) -> u64) -> u64 {
        self.published.iter().map(of).sum()
    }

    fn confirms_complete(&self) -> bool {
        self.opts.confirm == 0 || self.total(|p| p.confirmed) == self.total(|p| p.sent)
    }

    fn sent_sum(&self) -> u64 {
        self.published.iter().fold(0, |sum, p| sum.wrapping_add(p.id_sum))
    }

    fn sums_match(&self, all: &Ledger) -> bool {
        match self.expect {
            Expect::AllSent if !self.consumed.is_empty() => {
                all.id_sum == self.sent_sum().wrapping_mul(self.opts.copies())
                    || self.total(|p| p.nacked) > 0
            }
            Expect::AllSent | Expect::Count(_) => true,
        }
    }

    fn missing(&self, all: &Ledger) -> Missing {
        if self.consumed.is_empty() {
            return Missing::default();
        }
        match self.expect {
            Expect::AllSent => {
                let sent: Vec<u64> = self.published.iter().map(|p| p.sent).collect();
                let check = all.check(&sent.repeat(self.opts.copies() as usize));
                Missing { lost: check.lost, unexpected: check.unexpected }
            }
            Expect::Count(n) => Missing {
                lost: n.saturating_sub(all.distinct()),
                unexpected: all.distinct().saturating_sub(n),
            },
        }
    }

    fn head(&self) -> Obj {
        let o = self.opts;
        Obj::new()
            .str("tool", concat!("amqpload ", env!("CARGO_PKG_VERSION")))
            .str("label", &o.label)
            .str("server", &self.server)
            .str("phase", o.phase.name())
            .int("queues", o.queues as u64)
            .int("copies", o.copies())
            .int("publishers", self.published.len() as u64)
            .int("consumers", self.consumed.len() as u64)
            .int("body", o.body as u64)
            .int("confirm_window", o.confirm as u64)
            .bool("persistent", o.persistent)
            .int("prefetch", o.prefetch.into())
            .int("ack", o.ack)
            .str("queue_type", o.queue_type.as_deref().unwrap_or(""))
            .num("rate", o.rate.unwrap_or(0.0))
            .int("waiting_before", self.waiting)
    }

    fn publish_side(&self, line: Obj) -> Obj {
        let (mut confirm, mut lag) = (Hist::default(), Hist::default());
        for p in &self.published {
            confirm.merge(&p.confirm);
            lag.merge(&p.lag);
        }
        let first = self.published.iter().map(|p| p.start_ns).min().unwrap_or(self.start_ns);
        let last = self.published.iter().map(|p| p.end_ns).max().unwrap_or(first);
        let (sent, publish_s) = (self.total(|p| p.sent), seconds(first, last));
        line.int("published", sent)
            .int("confirmed", self.total(|p| p.confirmed))
            .int("nacked", self.total(|p| p.nacked))
            .int("returned", self.total(|p| p.returned))
            .int("blocked", self.total(|p| p.blocked))
            .num("publish_s", publish_s)
            .num("publish_per_s", rate(sent, publish_s))
            .num("publish_mib_per_s", self.mib_per_s(sent, publish_s))
            .raw("publish_tenths", &self.publish_pace.to_json())
            .raw("confirm_us", &confirm.to_json_us())
            .raw("lag_us", &lag.to_json_us())
            .str("sent_id_sum", &format!("{:016x}", self.sent_sum()))
    }

    fn consume_side(&self, line: Obj, all: &Ledger, missing: Missing) -> Obj {
        // A drain is timed from the subscription, a mixed run from its first delivery.
        let first = if self.published.is_empty() { self.start_ns } else { all.first_ns };
        let deliver_s = seconds(first, all.last_ns);
        line.int("delivered", all.received)
            .num("deliver_s", deliver_s)
            .num("deliver_per_s", rate(all.received, deliver_s))
            .num("deliver_mib_per_s", self.mib_per_s(all.received, deliver_s))
            .raw("deliver_tenths", &self.deliver_pace.to_json())
            .raw("latency_us", &all.latency.to_json_us())
            .int("lost", missing.lost)
            .int("unexpected", missing.unexpected)
            .int("duplicates", all.duplicates)
            .int("out_of_order", all.out_of_order)
            .int("corrupt", all.corrupt)
            .int("stale", all.stale)
            .int("redelivered", all.redelivered)
            .str("received_id_sum", &format!("{:016x}", all.id_sum))
    }

    fn mib_per_s(&self, messages: u64, seconds: f64) -> f64 {
        rate(messages * self.opts.body as u64, seconds) / f64::from(1 << 20)
    }
}

/// Messages that should have come and did not, or the other way round.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Missing {
    lost: u64,
    unexpected: u64,
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}

fn rate(messages: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { messages as f64 / seconds } else { 0.0 }
}
