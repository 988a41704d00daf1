//! What is alarming: the conditions of the alert rules for Prometheus, which have the same names and
//! mean the same. The two stay alike by a test.

use std::collections::{BTreeMap, BTreeSet};

use broker::Histogram;

use super::look::{Look, QueueLook, VhostLook};
use super::past::{Past, float};

/// What can be alarming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    VhostPoisoned,
    PublishersBlocked,
    DiskFillsUp,
    MemoryFillsUp,
    OldestMessageGrows,
    BacklogWithoutConsumers,
    HotLoop,
    HandlingNearItsLease,
    ConsumersTimedOut,
    DeadLettersDropped,
    DiskIsSlow,
}

/// How alarming it is, when, and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) severity: &'static str,
    /// How long it lasts before it is told.
    pub(super) after_minutes: u64,
    pub(super) description: &'static str,
}

impl Condition {
    #[cfg(test)]
    const ALL: [Condition; 11] = [
        Condition::VhostPoisoned,
        Condition::PublishersBlocked,
        Condition::DiskFillsUp,
        Condition::MemoryFillsUp,
        Condition::OldestMessageGrows,
        Condition::BacklogWithoutConsumers,
        Condition::HotLoop,
        Condition::HandlingNearItsLease,
        Condition::ConsumersTimedOut,
        Condition::DeadLettersDropped,
        Condition::DiskIsSlow,
    ];

    pub(super) fn rule(self) -> Rule {
        let (name, severity, after_minutes, description) = match self {
            Condition::VhostPoisoned => (
                "PostroomVhostPoisoned",
                "critical",
                0,
                "A write or a sync failed. What was confirmed is safe; look at the disk, then start \
                 the broker anew.",
            ),
            Condition::PublishersBlocked => (
                "PostroomPublishersBlocked",
                "critical",
                1,
                "Free memory or disk space, or let consumers drain the queues. It goes on by itself \
                 then.",
            ),
            Condition::DiskFillsUp => (
                "PostroomDiskFillsUp",
                "warning",
                10,
                "Publishers will be blocked. Consume, or free or add disk.",
            ),
            Condition::MemoryFillsUp => (
                "PostroomMemoryFillsUp",
                "warning",
                10,
                "Fewer connections, or a lower --memory-bytes-max.",
            ),
            Condition::OldestMessageGrows => (
                "PostroomOldestMessageGrows",
                "warning",
                5,
                "Consumers are too few, too slow or stuck.",
            ),
            Condition::BacklogWithoutConsumers => (
                "PostroomBacklogWithoutConsumers",
                "warning",
                5,
                "A worker is down, or listens to another name.",
            ),
            Condition::HotLoop => (
                "PostroomHotLoop",
                "warning",
                10,
                "A consumer returns what it can't do. Let it reject into a dead-letter exchange, or \
                 use a delivery limit.",
            ),
            Condition::HandlingNearItsLease => (
                "PostroomHandlingNearItsLease",
                "warning",
                5,
                "Soon they will be taken away and given to another. Make the work shorter, or \
                 x-consumer-timeout longer.",
            ),
            Condition::ConsumersTimedOut => (
                "PostroomConsumersTimedOut",
                "warning",
                0,
                "They lost their place, and what they had comes again elsewhere. They are stuck, or \
                 their work takes too long.",
            ),
            Condition::DeadLettersDropped => (
                "PostroomDeadLettersDropped",
                "warning",
                0,
                "A dead-letter exchange does not exist or leads to no queue. What was given up is \
                 gone.",
            ),
            Condition::DiskIsSlow => (
                "PostroomDiskIsSlow",
                "warning",
                10,
                "Confirms wait for it. Look for what else uses the disk, and at the disk.",
            ),
        };
        Rule { name, severity, after_minutes, description }
    }
}

/// What is alarming where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) condition: Condition,
    pub(super) vhost: Option<String>,
    pub(super) queue: Option<String>,
    pub(super) resource: Option<&'static str>,
}

/// Something that is alarming now, and how much: bytes, seconds, messages, whatever it is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) subject: Subject,
    pub(super) value: f64,
}

impl Finding {
    fn of(condition: Condition, value: f64) -> Finding {
        let subject = Subject { condition, vhost: None, queue: None, resource: None };
        Finding { subject, value }
    }

    fn of_vhost(condition: Condition, vhost: &str, value: f64) -> Finding {
        let mut finding = Finding::of(condition, value);
        finding.subject.vhost = Some(vhost.to_owned());
        finding
    }

    fn of_queue(condition: Condition, vhost: &str, queue: &str, value: f64) -> Finding {
        let mut finding = Finding::of_vhost(condition, vhost, value);
        finding.subject.queue = Some(queue.to_owned());
        finding
    }

    /// A line for people.
    pub(super) fn summary(&self) -> String {
        let Subject { condition, vhost, queue, resource } = &self.subject;
        let vhost = vhost.as_deref().unwrap_or_default();
        let queue = queue.as_deref().unwrap_or_default();
        let value = self.value;
        match condition {
            Condition::VhostPoisoned => format!("virtual host {vhost} takes no more writes"),
            Condition::PublishersBlocked => {
                let resource = resource.unwrap_or_default();
                format!("publishers are blocked, the broker is low on {resource}")
            }
            Condition::DiskFillsUp => {
                format!("{value:.0} bytes are left on the disk, or will be in four hours")
            }
            Condition::MemoryFillsUp => {
                format!("{value:.0} bytes resident, close to where publishers are blocked")
            }
            Condition::OldestMessageGrows => {
                format!("the next message of queue {queue} has waited for {value:.0} seconds")
            }
            Condition::BacklogWithoutConsumers => {
                format!("{value:.0} messages wait in queue {queue}, and nobody consumes")
            }
            Condition::HotLoop => {
                format!("the same messages of queue {queue} come again {value:.1} times a second")
            }
            Condition::HandlingNearItsLease => format!(
                "one delivery in a hundred of virtual host {vhost} is unsettled for {value:.0} seconds"
            ),
            Condition::ConsumersTimedOut => {
                format!("consumers of virtual host {vhost} left deliveries unsettled for too long")
            }
            Condition::DeadLettersDropped => {
                format!("{value:.0} dead letters of virtual host {vhost} went nowhere")
            }
            Condition::DiskIsSlow => {
                format!("one sync in a hundred of virtual host {vhost} takes {value:.1} seconds")
            }
        }
    }
}

/// Older than this, and getting older: nobody keeps up with it. In milliseconds.
const OLD_MS: u64 = 600_000;

/// Slower than this is slow, in seconds.
const SLOW_SECONDS: f64 = 1.0;

/// The share of a lease that is near its end.
const NEAR_SHARE: f64 = 0.8;

/// How far ahead the disk is looked at, in milliseconds.
const AHEAD_MS: u64 = 4 * 3_600_000;

/// Most queues that are suspects at once, and that are alarming in one virtual host.
const SUSPECTS_MAX: usize = 1_000;

/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// Looks at one moment after the other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    past: Past,
    /// How long a delivery may be unsettled, if that is limited.
    lease_ms: Option<u64>,
    /// Queues as they were when they became suspect.
    suspects: BTreeMap<Suspicion, (u64, QueueLook)>,
}

/// Of what, in which virtual host, which queue.
type Suspicion = (Condition, String, String);

impl Watch {
    pub(super) fn new(lease_ms: Option<u64>) -> Watch {
        Watch { lease_ms, ..Watch::default() }
    }

    /// What is alarming.
    pub(super) fn findings(&mut self, look: &Look) -> Vec<Finding> {
        self.past.remember(look);
        let mut findings = self.node(look);
        let mut seen = BTreeSet::new();
        for vhost in &look.vhosts {
            self.vhost(vhost, look.now_ms, &mut findings);
            let mut left = SUSPECTS_MAX;
            for queue in &vhost.queues {
                let before = findings.len();
                if left > 0 && queue.ready > 0 && queue.consumers == 0 {
                    let condition = Condition::BacklogWithoutConsumers;
                    let value = float(queue.ready);
                    findings.push(Finding::of_queue(condition, &vhost.name, &queue.name, value));
                }
                self.suspect(vhost, queue, look.now_ms, &mut seen, &mut findings);
                left -= usize::from(findings.len() > before);
            }
        }
        self.suspects.retain(|suspicion, _| seen.contains(suspicion));
        findings
    }

    fn node(&self, look: &Look) -> Vec<Finding> {
        let mut findings = Vec::new();
        for resource in &look.blocked {
            let mut finding = Finding::of(Condition::PublishersBlocked, 1.0);
            finding.subject.resource = Some(resource);
            findings.push(finding);
        }
        let machine = &look.machine;
        let (free, least) = (float(machine.disk_free_bytes), float(machine.disk_free_bytes_min));
        let foreseen = self.past.disk_free_in(AHEAD_MS);
        // Zeros: nobody has looked yet.
        if machine.disk_free_bytes > 0 && free < 2.0 * least {
            findings.push(Finding::of(Condition::DiskFillsUp, free));
        } else if let Some(foreseen) = foreseen.filter(|foreseen| *foreseen < least) {
            findings.push(Finding::of(Condition::DiskFillsUp, foreseen.max(0.0)));
        }
        let (used, most) = (float(machine.memory_bytes), float(machine.memory_bytes_max));
        if machine.memory_bytes_max > 0 && used > 0.9 * most {
            findings.push(Finding::of(Condition::MemoryFillsUp, used));
        }
        findings
    }

    fn vhost(&self, vhost: &VhostLook, now_ms: u64, findings: &mut Vec<Finding>) {
        let mut find = |condition, value| {
            findings.push(Finding::of_vhost(condition, &vhost.name, value));
        };
        if vhost.poisoned {
            find(Condition::VhostPoisoned, 1.0);
        }
        let quarter = self.past.since(vhost, now_ms, 15);
        if quarter.consumers_timed_out > 0 {
            find(Condition::ConsumersTimedOut, float(quarter.consumers_timed_out));
        }
        if quarter.dead_letters_dropped > 0 {
            find(Condition::DeadLettersDropped, float(quarter.dead_letters_dropped));
        }
        let slowest = |histogram: &Histogram| histogram.quantile(0.99).map(|us| us / MICROS);
        if let (Some(lease_ms), Some(seconds)) = (self.lease_ms, slowest(&quarter.handling))
            && seconds > NEAR_SHARE * float(lease_ms) / 1e3
        {
            find(Condition::HandlingNearItsLease, seconds);
        }
        let lately = self.past.since(vhost, now_ms, 5);
        if let Some(seconds) = slowest(&lately.writes).filter(|seconds| *seconds > SLOW_SECONDS) {
            find(Condition::DiskIsSlow, seconds);
        }
    }

    /// What takes more than one look: it began when the queue was as it was then.
    fn suspect(
        &mut self,
        vhost: &VhostLook,
        queue: &QueueLook,
        now_ms: u64,
        seen: &mut BTreeSet<Suspicion>,
        findings: &mut Vec<Finding>,
    ) {
        let is_hot =
            queue.delivered_rate > 1.0 && queue.redelivered_rate > 0.5 * queue.delivered_rate;
        let suspicions: [(Condition, bool, Judge); 2] = [
            (Condition::OldestMessageGrows, queue.oldest_ms > OLD_MS, grows),
            (Condition::HotLoop, is_hot, comes_again),
        ];
        for (condition, is_suspect, judge) in suspicions {
            let suspicion = (condition, vhost.name.clone(), queue.name.clone());
            let Some((since_ms, then)) = self.suspects.get(&suspicion) else {
                if is_suspect && self.suspects.len() < SUSPECTS_MAX {
                    seen.insert(suspicion.clone());
                    self.suspects.insert(suspicion, (now_ms, queue.clone()));
                }
                continue;
            };
            let elapsed_ms = now_ms.saturating_sub(*since_ms);
            if let Some(value) = judge(then, queue, elapsed_ms) {
                seen.insert(suspicion);
                findings.push(Finding::of_queue(condition, &vhost.name, &queue.name, value));
            }
        }
    }
}

/// Whether a queue that was suspect then, and so many milliseconds later is like this, is alarming.
type Judge = fn(&QueueLook, &QueueLook, u64) -> Option<f64>;

/// How old the next message is, in seconds, if it has become older by half of the time since then.
fn grows(then: &QueueLook, now: &QueueLook, elapsed_ms: u64) -> Option<f64> {
    let grown_ms = now.oldest_ms.saturating_sub(then.oldest_ms);
    (now.oldest_ms > OLD_MS && grown_ms > elapsed_ms / 2).then(|| float(now.oldest_ms) / 1e3)
}

/// How often messages have come again since then, per second, if more than half of those that were
/// delivered had been before, and it is no trickle.
fn comes_again(then: &QueueLook, now: &QueueLook, elapsed_ms: u64) -> Option<f64> {
    let delivered = now.delivered.saturating_sub(then.delivered);
    let redelivered = now.redelivered.saturating_sub(then.redelivered);
    let seconds = float(elapsed_ms) / 1e3;
    (float(delivered) > seconds && redelivered > delivered / 2)
        .then(|| float(redelivered) / seconds.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = include_str!("../../../../deploy/prometheus/alerts.yml");

    #[test]
    fn the_rules_are_those_for_prometheus() {
        for condition in Condition::ALL {
            let Rule { name, severity, after_minutes, description } = condition.rule();
            let begin = format!("- alert: {name}\n");
            let (_, rest) = RULES.split_once(&begin).unwrap_or_else(|| panic!("no {name}"));
            let rule = rest.split("- alert: ").next().unwrap();
            assert!(rule.contains(&format!("description: {description}\n")), "{name}: {rule}");
            assert!(rule.contains(&format!("severity: {severity} ")), "{name}: {rule}");
            let lasts = format!("for: {after_minutes}m\n");
            assert_eq!(rule.contains("for: "), after_minutes > 0, "{name}: {rule}");
            assert!(after_minutes == 0 || rule.contains(&lasts), "{name}: {rule}");
        }
        // One more there: a broker that is down tells nobody.
        assert_eq!(RULES.matches("- alert: ").count(), Condition::ALL.len() + 1);
    }

    /// A queue after so many minutes.
    fn look(minute: u64, queue: QueueLook) -> Look {
        let name = "/".to_owned();
        let vhost = VhostLook { name, queues: vec![queue], ..VhostLook::default() };
        Look { now_ms: minute * 60_000, vhosts: vec![vhost], ..Look::default() }
    }

    fn names(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.subject.condition.rule().name).collect()
    }

    #[test]
    fn a_backlog_is_alarming_if_nobody_consumes() {
        let mut watch = Watch::default();
        for (ready, consumers, expected) in
            [(0, 0, &[][..]), (3, 0, &["PostroomBacklogWithoutConsumers"]), (3, 1, &[])]
        {
            let name = "q".to_owned();
            let queue = QueueLook { name, ready, consumers, ..QueueLook::default() };
            assert_eq!(names(&watch.findings(&look(1, queue))), expected);
        }
    }

    #[test]
    fn age_is_alarming_while_it_grows() {
        let mut watch = Watch::default();
        // Minutes and the age then, in minutes.
        for (minute, age, expected) in [
            (1, 9, &[][..]),
            (2, 11, &[]),
            (3, 12, &["PostroomOldestMessageGrows"]),
            (13, 22, &["PostroomOldestMessageGrows"]),
            // It grows more slowly than half of the time: somebody works on it.
            (33, 25, &[]),
            (34, 5, &[]),
        ] {
            let queue = QueueLook {
                name: "q".to_owned(),
                ready: 1,
                consumers: 1,
                oldest_ms: age * 60_000,
                ..QueueLook::default()
            };
            assert_eq!(names(&watch.findings(&look(minute, queue))), expected, "{minute}");
        }
        assert!(watch.suspects.is_empty());
    }

    #[test]
    fn a_hot_loop_is_more_than_a_trickle() {
        let mut watch = Watch::default();
        for (minute, delivered, redelivered, rates, expected) in [
            (1, 0, 0, (0.0, 0.0), &[][..]),
            (2, 100, 90, (50.0, 45.0), &[]),
            // A sample in which it looks better does not matter.
            (3, 3_100, 3_000, (0.5, 0.5), &["PostroomHotLoop"]),
            (4, 9_100, 3_100, (100.0, 0.0), &[]),
            (5, 9_130, 3_130, (0.5, 0.5), &[]),
        ] {
            let (delivered_rate, redelivered_rate) = rates;
            let queue = QueueLook {
                name: "q".to_owned(),
                consumers: 1,
                delivered,
                redelivered,
                delivered_rate,
                redelivered_rate,
                ..QueueLook::default()
            };
            assert_eq!(names(&watch.findings(&look(minute, queue))), expected, "{minute}");
        }
    }

    #[test]
    fn the_node_and_the_virtual_host_are_looked_at() {
        let mut watch = Watch::new(Some(100_000));
        let mut calm = look(0, QueueLook::default());
        calm.machine.disk_free_bytes = 1_000;
        calm.machine.disk_free_bytes_min = 10;
        calm.machine.memory_bytes = 800;
        calm.machine.memory_bytes_max = 1_000;
        assert_eq!(names(&watch.findings(&calm)), [""; 0]);
        let mut bad = calm.clone();
        bad.now_ms = 60_000;
        bad.blocked = vec!["disk"];
        bad.machine.disk_free_bytes = 19;
        bad.machine.memory_bytes = 901;
        let vhost = &mut bad.vhosts[0];
        vhost.poisoned = true;
        vhost.consumers_timed_out = 1;
        vhost.dead_letters_dropped = 2;
        vhost.handling.record(120_000_000, 1);
        vhost.writes.record(2_000_000, 1);
        let mut found = names(&watch.findings(&bad));
        found.sort_unstable();
        let mut expected: Vec<&str> = Condition::ALL.map(|it| it.rule().name).to_vec();
        expected.retain(|name| {
            !["OldestMessageGrows", "BacklogWithoutConsumers", "HotLoop"]
                .iter()
                .any(|of_queues| name.ends_with(of_queues))
        });
        expected.sort_unstable();
        assert_eq!(found, expected);
        for finding in watch.findings(&bad) {
            assert!(finding.summary().len() > 10);
        }
    }
}
