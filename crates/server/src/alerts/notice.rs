//! What is posted: JSON as Prometheus' Alertmanager posts it to a webhook (version 4), so that
//! whatever takes its alerts takes these.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use serde_json::{Value as Json, json};
use x509_cert::der::DateTime;

use super::board::Change;
use super::conditions::Subject;

/// The time of an end that nobody knows yet.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// A post with these changes; so many more were lost.
pub(super) fn body(changes: &[Change], lost: u64) -> Vec<u8> {
    let is_over = changes.iter().all(|change| change.ended_wall_ms.is_some());
    let alerts: Vec<Json> = changes.iter().map(alert).collect();
    let notice = json!({
        "version": "4",
        "groupKey": "postroom",
        "truncatedAlerts": lost,
        "status": status(is_over.then_some(())),
        "receiver": "postroom",
        "groupLabels": {},
        "commonLabels": { "job": "postroom" },
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": alerts,
    });
    notice.to_string().into_bytes()
}

fn status(end: Option<()>) -> &'static str {
    if end.is_some() { "resolved" } else { "firing" }
}

fn alert(change: &Change) -> Json {
    let labels = labels(&change.subject);
    let fingerprint = BuildHasherDefault::<DefaultHasher>::default().hash_one(&labels);
    json!({
        "status": status(change.ended_wall_ms.map(|_| ())),
        "labels": labels,
        "annotations": {
            "summary": change.summary,
            "description": change.subject.condition.rule().description,
        },
        "startsAt": time(change.began_wall_ms),
        "endsAt": change.ended_wall_ms.map_or_else(|| NO_END.to_owned(), time),
        "generatorURL": "",
        "fingerprint": format!("{fingerprint:016x}"),
    })
}

fn labels(subject: &Subject) -> BTreeMap<&'static str, &str> {
    let rule = subject.condition.rule();
    let named = [
        ("alertname", Some(rule.name)),
        ("job", Some("postroom")),
        ("severity", Some(rule.severity)),
        ("vhost", subject.vhost.as_deref()),
        ("queue", subject.queue.as_deref()),
        ("resource", subject.resource),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// As RFC 3339 has it.
fn time(wall_ms: u64) -> String {
    let time = DateTime::from_unix_duration(Duration::from_secs(wall_ms / 1_000));
    // Only times behind the year 9999 have none.
    time.map_or_else(|_too_late| NO_END.to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::conditions::Condition;
    use super::*;

    #[test]
    fn a_notice_is_as_alertmanagers() {
        let subject = Subject {
            condition: Condition::PublishersBlocked,
            vhost: None,
            queue: None,
            resource: Some("disk"),
        };
        let began_wall_ms = 1_795_560_000_000;
        let goes_on =
            Change { subject, summary: "it is".to_owned(), began_wall_ms, ended_wall_ms: None };
        let over = Change { ended_wall_ms: Some(began_wall_ms + 61_000), ..goes_on.clone() };
        let notice: Json = serde_json::from_slice(&body(&[goes_on, over.clone()], 3)).unwrap();
        assert_eq!(notice["status"], "firing");
        assert_eq!(notice["truncatedAlerts"], 3);
        let (first, second) = (&notice["alerts"][0], &notice["alerts"][1]);
        assert_eq!(first["status"], "firing");
        assert_eq!(first["labels"]["alertname"], "PostroomPublishersBlocked");
        assert_eq!(first["labels"]["resource"], "disk");
        assert_eq!(first["labels"].get("queue"), None);
        assert_eq!(first["startsAt"], "2026-11-24T22:40:00Z");
        assert_eq!(first["endsAt"], NO_END);
        assert_eq!(second["status"], "resolved");
        assert_eq!(second["endsAt"], "2026-11-24T22:41:01Z");
        assert_eq!(first["fingerprint"], second["fingerprint"]);
        let notice: Json = serde_json::from_slice(&body(&[over], 0)).unwrap();
        assert_eq!(notice["status"], "resolved");
    }
}
