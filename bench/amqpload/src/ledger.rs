//! Exactly-once ledger: which ids arrived, how often, in which order.

use crate::hist::Hist;
use crate::stamp::{self, SEQ_BITS, SEQ_MASK};

/// One consumer's view; merge all of them at the end.
#[derive(Default, Clone)]
pub(crate) struct Ledger {
    seen: Vec<Vec<u64>>, // bitmap per publisher
    /// How many publishers there are if each queue gets a copy of each message; 0 if each message
    /// goes to one queue.
    pub(crate) fanout_publishers: usize,
    last: Vec<Vec<u64>>, // last sequence + 1 per lane (queue) and publisher, to check FIFO
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    pub(crate) corrupt: u64,
    pub(crate) stale: u64,
    pub(crate) redelivered: u64,
    pub(crate) id_sum: u64,
    pub(crate) latency: Hist,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    pub(crate) lost: u64,
    pub(crate) unexpected: u64,
}

impl Ledger {
    /// Books a body that arrived at `now_ns`. Bodies stamped before `run_start_ns`
    /// (0 to accept all) are leftovers of an earlier run and only counted.
    /// `lane` is the queue it came from: order is checked per lane and publisher.
    /// `redelivered` deliveries may repeat and may be out of order.
    #[inline]
    pub(crate) fn book(
        &mut self,
        lane: usize,
        body: &[u8],
        fill: &[u8],
        now_ns: u64,
        run_start_ns: u64,
        redelivered: bool,
    ) {
        let Some((at, id)) = stamp::read_head(body) else {
            self.corrupt += 1;
            return;
        };
        if at < run_start_ns {
            self.stale += 1;
            return;
        }
        if !fill.is_empty()
            && (body.len() != fill.len() || body[stamp::HEAD..] != fill[stamp::HEAD..])
        {
            self.corrupt += 1;
            return;
        }
        let publisher = (id >> SEQ_BITS) as usize + lane * self.fanout_publishers;
        let seq = id & SEQ_MASK;
        if publisher >= self.seen.len() {
            self.seen.resize(publisher + 1, Vec::new());
        }
        if lane >= self.last.len() {
            self.last.resize(lane + 1, Vec::new());
        }
        let last = &mut self.last[lane];
        if publisher >= last.len() {
            last.resize(publisher + 1, 0);
        }
        let bits = &mut self.seen[publisher];
        let (w, m) = ((seq / 64) as usize, 1u64 << (seq % 64));
        if w >= bits.len() {
            bits.resize((w + 1).next_power_of_two(), 0);
        }
        self.received += 1;
        if redelivered {
            self.redelivered += 1;
        }
        if bits[w] & m != 0 {
            self.duplicates += 1;
        } else {
            bits[w] |= m;
            self.id_sum = self.id_sum.wrapping_add(stamp::mix(id));
        }
        if seq < last[publisher] && !redelivered {
            self.out_of_order += 1;
        }
        last[publisher] = last[publisher].max(seq + 1);
        self.latency.record(now_ns.saturating_sub(at));
        if self.first_ns == 0 {
            self.first_ns = now_ns;
        }
        self.last_ns = now_ns;
    }

    pub(crate) fn merge(&mut self, o: &Ledger) {
        self.fanout_publishers = o.fanout_publishers;
        if o.seen.len() > self.seen.len() {
            self.seen.resize(o.seen.len(), Vec::new());
        }
        for (p, ob) in o.seen.iter().enumerate() {
            let b = &mut self.seen[p];
            if ob.len() > b.len() {
                b.resize(ob.len(), 0);
            }
            for (w, ow) in ob.iter().enumerate() {
                let mut both = b[w] & ow;
                self.duplicates += u64::from(both.count_ones());
                while both != 0 {
                    let bit = u64::from(both.trailing_zeros());
                    let publisher = p.checked_rem(self.fanout_publishers).unwrap_or(p);
                    let dup = stamp::mix(stamp::id(publisher, w as u64 * 64 + bit));
                    self.id_sum = self.id_sum.wrapping_sub(dup);
                    both &= both - 1;
                }
                b[w] |= ow;
            }
        }
        self.received += o.received;
        self.duplicates += o.duplicates;
        self.out_of_order += o.out_of_order;
        self.corrupt += o.corrupt;
        self.stale += o.stale;
        self.redelivered += o.redelivered;
        self.id_sum = self.id_sum.wrapping_add(o.id_sum);
        self.latency.merge(&o.latency);
        if o.first_ns != 0 && (self.first_ns == 0 || o.first_ns < self.first_ns) {
            self.first_ns = o.first_ns;
        }
        self.last_ns = self.last_ns.max(o.last_ns);
    }

    /// Compares with what the publishers had accepted: `sent[p]` ids `0..sent[p]`, and the same
    /// again for each further copy.
    pub(crate) fn check(&self, sent: &[u64]) -> Check {
        let (mut lost, mut unexpected) = (0u64, 0u64);
        for (p, &n) in sent.iter().enumerate() {
            let bits: &[u64] = self.seen.get(p).map_or(&[], |b| b);
            let total: u64 = bits.iter().map(|w| u64::from(w.count_ones())).sum();
            let full = (n / 64) as usize;
            let mut inside: u64 = bits.iter().take(full).map(|w| u64::from(w.count_ones())).sum();
            if let Some(w) = bits.get(full) {
                inside += u64::from((w & ((1u64 << (n % 64)) - 1)).count_ones());
            }
            lost += n - inside;
            unexpected += total - inside;
        }
        for b in self.seen.iter().skip(sent.len()) {
            unexpected += b.iter().map(|w| u64::from(w.count_ones())).sum::<u64>();
        }
        Check { lost, unexpected }
    }

    /// Distinct ids received.
    pub(crate) fn distinct(&self) -> u64 {
        self.seen.iter().flatten().map(|w| u64::from(w.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(p: usize, s: u64) -> Vec<u8> {
        let mut b = stamp::template(20);
        stamp::write_head(&mut b, 5, stamp::id(p, s));
        b
    }

    #[test]
    fn finds_lost_duplicate_unexpected_and_disorder() {
        let fill = stamp::template(20);
        let (mut a, mut b) = (Ledger::default(), Ledger::default());
        for s in [0u64, 1, 2, 4, 3, 70] {
            a.book(0, &body(0, s), &fill, 9, 0, false);
        }
        for s in [3u64, 5] {
            b.book(0, &body(0, s), &fill, 9, 0, false);
        }
        a.merge(&b);
        let c = a.check(&[8]);
        assert_eq!((c.lost, c.unexpected, a.duplicates), (2, 1, 1)); // 6,7 lost; 70 too many; 3 twice
        assert_eq!(a.out_of_order, 1);
        assert_eq!(a.distinct(), 7);
        let want = [0u64, 1, 2, 3, 4, 5, 70]
            .iter()
            .fold(0u64, |s, &i| s.wrapping_add(stamp::mix(stamp::id(0, i))));
        assert_eq!(a.id_sum, want);
    }

    #[test]
    fn finds_corruption() {
        let fill = stamp::template(20);
        let mut l = Ledger::default();
        let mut x = body(0, 0);
        x[18] ^= 1;
        l.book(0, &x, &fill, 9, 0, false);
        l.book(0, &x[..19], &fill, 9, 0, false);
        assert_eq!((l.corrupt, l.received), (2, 0));
    }
}
