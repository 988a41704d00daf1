//! What is alarming, and since when: it is told when it has lasted for a while, and when it is over.

use std::collections::BTreeMap;

use super::conditions::{Finding, Subject};

/// Most that is on the board. What comes then has to wait until something else is over.
const ALERTS_MAX: usize = 1_000;

/// Minutes in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// Everything that is alarming.
#[derive(Debug)]
pub(super) struct Board {
    /// How long something lasts before it is told; `None`: as its rule says.
    after_ms: Option<u64>,
    alerts: BTreeMap<Subject, Alert>,
}

#[derive(Clone, Debug)]
struct Alert {
    since_ms: u64,
    told: Option<Told>,
}

#[derive(Clone, Debug)]
struct Told {
    summary: String,
    began_wall_ms: u64,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) subject: Subject,
    pub(super) summary: String,
    /// In milliseconds since 1970.
    pub(super) began_wall_ms: u64,
    /// `None`: it goes on.
    pub(super) ended_wall_ms: Option<u64>,
}

impl Board {
    pub(super) fn new(after_ms: Option<u64>) -> Board {
        Board { after_ms, alerts: BTreeMap::new() }
    }

    /// This is what is alarming now. Returns what is to be told.
    pub(super) fn update(
        &mut self,
        findings: &[Finding],
        now_ms: u64,
        wall_ms: u64,
    ) -> Vec<Change> {
        let mut before = std::mem::take(&mut self.alerts);
        let mut changes = Vec::new();
        for finding in findings {
            let known = before.remove(&finding.subject);
            if known.is_none() && self.alerts.len() + before.len() >= ALERTS_MAX {
                continue;
            }
            let mut alert = known.unwrap_or(Alert { since_ms: now_ms, told: None });
            let rule_ms = finding.subject.condition.rule().after_minutes * MINUTE_MS;
            let after_ms = self.after_ms.unwrap_or(rule_ms);
            if alert.told.is_none() && alert.since_ms + after_ms <= now_ms {
                let summary = finding.summary();
                // The wall's clock may have been set meanwhile.
                let began_wall_ms = wall_ms.saturating_sub(now_ms - alert.since_ms);
                alert.told = Some(Told { summary: summary.clone(), began_wall_ms });
                let (subject, ended_wall_ms) = (finding.subject.clone(), None);
                changes.push(Change { subject, summary, began_wall_ms, ended_wall_ms });
            }
            self.alerts.insert(finding.subject.clone(), alert);
        }
        for (subject, alert) in before {
            if let Some(Told { summary, began_wall_ms }) = alert.told {
                let ended_wall_ms = Some(wall_ms);
                changes.push(Change { subject, summary, began_wall_ms, ended_wall_ms });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::super::conditions::Condition;
    use super::*;

    /// At each of these times, in seconds, whether there is an alarming backlog.
    fn check(after_ms: Option<u64>, looks: &[(u64, bool)], expected: &str) {
        let subject = Subject {
            condition: Condition::BacklogWithoutConsumers,
            vhost: Some("/".to_owned()),
            queue: Some("q".to_owned()),
            resource: None,
        };
        let mut board = Board::new(after_ms);
        let mut said = Vec::new();
        for (second, there) in looks {
            let finding = Finding { subject: subject.clone(), value: 1.0 };
            let findings = if *there { vec![finding] } else { Vec::new() };
            for change in board.update(&findings, second * 1_000, 1_000_000 + second * 1_000) {
                let wall = |ms: u64| (ms - 1_000_000) / 1_000;
                let end = change.ended_wall_ms.map_or("on".to_owned(), |ms| wall(ms).to_string());
                said.push(format!("{second}: {}-{end}", wall(change.began_wall_ms)));
            }
        }
        assert_eq!(said.join(", "), expected, "{looks:?}");
    }

    #[test]
    fn what_lasts_is_told_once_and_its_end_too() {
        let looks = [
            (0, false),
            (5, true),
            (100, true),
            (305, true),
            (310, true),
            (315, false),
            (320, true),
        ];
        check(None, &looks, "305: 5-on, 315: 5-315");
        check(Some(0), &looks, "5: 5-on, 315: 5-315, 320: 320-on");
        check(None, &[(5, true), (300, true), (304, false), (310, true), (609, true)], "");
    }
}
