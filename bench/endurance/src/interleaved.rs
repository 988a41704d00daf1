//! Many queues filled in turns: what they cost while they lie there, and whether reading one of them
//! reads the others too.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::args::{Interleaved, Place};
use crate::broker::Site;
use crate::failure::Failure;
use crate::load::Load;
use crate::proc::mib;
use crate::report::{Bar, Report};

/// Resident at rest, in MiB.
const REST_MIB: f64 = 100.0;

/// What draining one queue may read for each byte of its bodies: properties, ids and the
/// acknowledgements that come in through the socket are not free.
const READ_PER_OWN_BYTE: f64 = 3.0;

pub(crate) fn run(place: &Place, wanted: &Interleaved) -> Result<Report, Failure> {
    let site = Site::new(place, &place.broker)?;
    let mut report = Report::new("interleaved");
    report.detail("queues", json!(wanted.queues));
    report.detail("each", json!(wanted.each));
    report.detail("body", json!(wanted.body));
    let broker = site.start()?;
    broker.wait(0)?;

    let count = wanted.queues * wanted.each;
    let all = Load::new("publish-only").with("queues", wanted.queues).with("body", wanted.body);
    let watch = broker.watch();
    let published = broker.load(&all.with("count", count))?;
    report.demand_right("publishing", &published);
    report.figure("publish_per_s", published.number("publish_per_s"));
    report.detail("publish_tenths", published.part("publish_tenths"));
    sleep(Duration::from_secs(wanted.rest));
    report.figure("publish_resident_mib_max", watch.end().resident_mib_max());
    let rest = broker.sight()?;
    report.barred("rest_resident_mib", rest.resident_mib(), Bar::AtMost(REST_MIB));
    report.figure("rest_disk_mib", rest.disk_mib());

    let one = Load::new("drain-only").with("body", wanted.body).with("count", wanted.each);
    let one = broker.load(&one)?;
    let after = broker.sight()?;
    report.demand_right("draining one", &one);
    let read = after.read_chars - rest.read_chars;
    report.figure("one_drain_per_s", one.number("deliver_per_s"));
    report.figure("one_read_mib", mib(read));
    let own = (wanted.each * wanted.body) as f64;
    report.barred("one_read_per_own_byte", read as f64 / own, Bar::AtMost(READ_PER_OWN_BYTE));

    let others = Load::new("drain-only").with("body", wanted.body).with("first", 1);
    let others = others.with("queues", wanted.queues - 1).with("count", count - wanted.each);
    let watch = broker.watch();
    let others = broker.load(&others)?;
    report.demand_right("draining the others", &others);
    report.figure("others_drain_per_s", others.number("deliver_per_s"));
    report.figure("others_resident_mib_max", watch.end().resident_mib_max());
    let received = [&one, &others].map(|drained| drained.id_sum("received_id_sum"));
    let received = received.into_iter().flatten().fold(0, u64::wrapping_add);
    report.demand_equal("the sum of all ids", (Some(received), published.id_sum("sent_id_sum")));
    broker.stop()?;
    report.detail("warnings", json!(site.warnings()));
    Ok(report)
}
