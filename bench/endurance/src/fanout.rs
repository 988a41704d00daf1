//! One message to many queues, the last of which nobody reads: do the others notice?

use serde_json::json;

use crate::args::{Fanout, Place};
use crate::broker::Site;
use crate::failure::Failure;
use crate::load::Load;
use crate::report::{Bar, Report, median};
use crate::watch::Seen;

/// Threads that consume, each from several queues.
const CONSUMERS: u64 = 3;

/// How much slower the others may get.
const RATIO: f64 = 0.9;

pub(crate) fn run(place: &Place, wanted: &Fanout) -> Result<Report, Failure> {
    let site = Site::new(place, &place.broker)?;
    let mut report = Report::new("fanout");
    report.detail("queues", json!(wanted.queues));
    report.detail("count", json!(wanted.count));
    report.detail("body", json!(wanted.body));
    let broker = site.start()?;
    broker.wait(0)?;
    let load = |phase| Load::new(phase).with("count", wanted.count).with("body", wanted.body);
    let to_all = || load("both").switch("fanout").with("consumers", CONSUMERS);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut seen_without, mut seen_with) = (Seen::default(), Seen::default());
    for _ in 0..wanted.rounds {
        let read_only = to_all().with("queues", wanted.queues - 1).switch("cleanup");
        let watch = broker.watch();
        let outcome = broker.load(&read_only)?;
        seen_without.0.extend(watch.end().0);
        report.demand_right("every queue read", &outcome);
        without.push(outcome.number("deliver_per_s"));

        let one_unread = to_all().with("queues", wanted.queues).with("unread", 1);
        let watch = broker.watch();
        let outcome = broker.load(&one_unread)?;
        seen_with.0.extend(watch.end().0);
        report.demand_right("one queue unread", &outcome);
        with.push(outcome.number("deliver_per_s"));
        let unread = load("drain-only").with("first", wanted.queues - 1).switch("cleanup");
        let drained = broker.load(&unread)?;
        report.demand_right("the unread queue afterwards", &drained);
        let sums = (drained.id_sum("received_id_sum"), outcome.id_sum("sent_id_sum"));
        report.demand_equal("the sum of all ids in the unread queue", sums);
    }
    let (without, with) = (median(without), median(with));
    report.figure("all_read_deliveries_per_s", without);
    report.figure("one_unread_deliveries_per_s", with);
    report.barred("ratio", with / without, Bar::AtLeast(RATIO));
    report.figure("all_read_resident_mib_max", seen_without.resident_mib_max());
    report.figure("one_unread_resident_mib_max", seen_with.resident_mib_max());
    report.detail("moments_s_mib_diskmib_journals_segments", seen_with.moments());
    broker.stop()?;
    report.detail("warnings", json!(site.warnings()));
    Ok(report)
}
