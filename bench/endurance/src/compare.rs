//! The early speed figures of two binaries, alternately: what a change costs, as a ratio.

use std::path::Path;

use serde_json::json;

use crate::args::{Compare, Place};
use crate::broker::Site;
use crate::failure::Failure;
use crate::load::{Load, Outcome};
use crate::report::{Bar, Report, median};

/// How much may be lost.
const RATIO: f64 = 0.95;

/// A name, the load generator's words, and how many messages.
const SCENARIOS: [(&str, &str, u64); 4] = [
    ("16B", "--body 16", 6_000_000),
    ("1KiB", "--body 1024", 2_000_000),
    ("1KiB-1000-queues", "--body 1024 --queues 1000", 1_000_000),
    ("1KiB-paced-5000", "--body 1024 --rate 5000 --confirm 1 --stamp send", 50_000),
];

pub(crate) fn run(place: &Place, wanted: &Compare) -> Result<Report, Failure> {
    let mut report = Report::new("compare");
    for (name, words, count) in SCENARIOS {
        let count = if wanted.short { count / 10 } else { count };
        let load = Load::new("both").words(words).with("count", count).switch("cleanup");
        let mut outcomes: [Vec<Outcome>; 2] = Default::default();
        for _ in 0..wanted.rounds {
            for (binary, outcomes) in [&wanted.old, &wanted.new].into_iter().zip(&mut outcomes) {
                let outcome = once(place, binary, &load)?;
                report.demand_right(name, &outcome);
                outcomes.push(outcome);
            }
        }
        let [old, new] = &outcomes;
        let rate = |outcome: &Outcome| outcome.number("deliver_per_s");
        let confirm = |outcome: &Outcome| outcome.quantile_us("confirm_us", "p50");
        let cpu = |outcome: &Outcome| {
            let spent = outcome.0.pointer("/cost/broker_cpu_s").and_then(serde_json::Value::as_f64);
            spent.unwrap_or(f64::NAN) * 1e6 / outcome.number("published")
        };
        let middle =
            |of: &[Outcome], f: &dyn Fn(&Outcome) -> f64| median(of.iter().map(f).collect());
        report.detail(
            name,
            json!({
                "old_per_s": middle(old, &rate).round(),
                "new_per_s": middle(new, &rate).round(),
                "old_confirm_us_p50": middle(old, &confirm),
                "new_confirm_us_p50": middle(new, &confirm),
                "cpu_ratio": middle(new, &cpu) / middle(old, &cpu),
            }),
        );
        if words.contains("--rate") {
            let ratio = middle(old, &confirm) / middle(new, &confirm);
            report.barred(&format!("{name}_confirm_ratio"), ratio, Bar::AtLeast(RATIO));
        } else {
            let ratio = middle(new, &rate) / middle(old, &rate);
            report.barred(&format!("{name}_ratio"), ratio, Bar::AtLeast(RATIO));
        }
    }
    Ok(report)
}

/// One run on a fresh directory.
fn once(place: &Place, binary: &Path, load: &Load) -> Result<Outcome, Failure> {
    let site = Site::new(place, binary)?;
    let broker = site.start()?;
    broker.wait(0)?;
    let outcome = broker.load(&load.clone().with("pid", broker.pid()))?;
    broker.stop()?;
    Ok(outcome)
}
