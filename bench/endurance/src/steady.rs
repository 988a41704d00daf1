//! Messages that come and go at an even rate, for minutes: disk use stays flat, old journal files
//! go, and a byte published is a byte written.

use serde_json::json;

use crate::args::{Place, Steady};
use crate::broker::Site;
use crate::failure::Failure;
use crate::load::Load;
use crate::proc::Sight;
use crate::report::{Bar, Report};
use crate::watch::Seen;

/// How much more the second half may take of the disk than the first at its most.
const GROWTH: f64 = 1.1;

/// What may be written for each byte of a body, properties and padding included.
const WRITTEN_PER_BODY_BYTE: f64 = 1.5;

/// Before that a young broker still gets its files.
const WARM_UP_PART: usize = 10;

pub(crate) fn run(place: &Place, wanted: &Steady) -> Result<Report, Failure> {
    let site = Site::new(place, &place.broker)?;
    let mut report = Report::new("steady");
    report.detail("seconds", json!(wanted.seconds));
    report.detail("rate", json!(wanted.rate));
    report.detail("body", json!(wanted.body));
    let broker = site.start()?;
    broker.wait(0)?;
    let before = broker.sight()?;
    let load = Load::new("both").with("seconds", wanted.seconds).with("rate", wanted.rate);
    let watch = broker.watch();
    let outcome = broker.load(&load.with("body", wanted.body))?;
    let seen = watch.end();
    let after = broker.sight()?;
    report.demand_right("publishing and consuming", &outcome);
    report.figure("deliver_per_s", outcome.number("deliver_per_s"));
    report.figure("latency_us_p50", outcome.quantile_us("latency_us", "p50"));
    report.figure("latency_us_p99", outcome.quantile_us("latency_us", "p99"));
    let bodies = outcome.number("published") * wanted.body as f64;
    let written = (after.written_chars - before.written_chars) as f64;
    let by_all = (after.device_written_bytes - before.device_written_bytes) as f64;
    report.figure("device_written_per_body_byte", by_all / bodies);
    report.barred("written_per_body_byte", written / bodies, Bar::AtMost(WRITTEN_PER_BODY_BYTE));
    report.barred("disk_second_to_first_half", growth(&seen, Sight::disk_mib), Bar::AtMost(GROWTH));
    let memory = growth(&seen, Sight::resident_mib);
    report.barred("resident_second_to_first_half", memory, Bar::AtMost(GROWTH));
    report.figure("disk_mib_max", seen.disk_mib_max());
    report.figure("resident_mib_max", seen.resident_mib_max());
    report.detail("moments_s_mib_diskmib_journals_segments", seen.moments());
    broker.stop()?;
    report.detail("warnings", json!(site.warnings()));
    Ok(report)
}

/// The most of the second half with the most of the first as one.
fn growth(seen: &Seen, of: fn(&Sight) -> f64) -> f64 {
    let warm = &seen.0[seen.0.len() / WARM_UP_PART..];
    let (first, second) = warm.split_at(warm.len() / 2);
    let most = |half: &[(f64, Sight)]| half.iter().map(|(_, s)| of(s)).fold(0.0, f64::max);
    most(second) / most(first)
}
