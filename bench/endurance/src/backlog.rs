//! A backlog in one queue: how fast it is written, what it costs while it lies there, how soon a
//! restarted broker serves with it, and how fast it is read.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::args::{Backlog, Place};
use crate::broker::{Broker, Site};
use crate::failure::Failure;
use crate::load::{Load, Outcome};
use crate::proc::{Sight, mib};
use crate::report::{Bar, Report};

/// Up to here a restart has a second, beyond ten.
const SECOND_RESTART_COUNT: u64 = 10_000_000;

/// Resident at rest, in MiB.
const REST_MIB: f64 = 100.0;

/// What may be left on the disk after everything was read, in MiB: the reserve, and a few more.
const DRAINED_MIB: f64 = 16.0 + 8.0;

pub(crate) fn run(place: &Place, backlog: &Backlog) -> Result<Report, Failure> {
    let site = Site::new(place, &place.broker)?;
    let mut report = Report::new("backlog");
    report.detail("count", json!(backlog.count));
    report.detail("body", json!(backlog.body));
    let broker = site.start()?;
    broker.wait(0)?;
    report.figure("idle_resident_mib", broker.sight()?.resident_mib());

    let in_memory = short(&broker, backlog, &mut report)?;
    let published = publish(&broker, backlog, &mut report)?;
    let broker = restart(&site, broker, backlog.count, &mut report)?;
    drain(&broker, backlog, &published, in_memory, &mut report)?;
    sleep(Duration::from_secs(backlog.settle));
    let empty = broker.sight()?;
    report.barred("drained_disk_mib", empty.disk_mib(), Bar::AtMost(DRAINED_MIB));
    report.figure("drained_resident_mib", empty.resident_mib());
    broker.stop()?;
    report.detail("warnings", json!(site.warnings()));
    Ok(report)
}

/// A backlog that never leaves memory: what the drain of the long one is measured against.
fn short(broker: &Broker<'_>, backlog: &Backlog, report: &mut Report) -> Result<f64, Failure> {
    let with = |phase| Load::new(phase).with("count", backlog.short).with("body", backlog.body);
    report.demand_right("the short publish", &broker.load(&with("publish-only"))?);
    let drained = broker.load(&with("drain-only").switch("cleanup"))?;
    report.demand_right("the short drain", &drained);
    let rate = drained.number("deliver_per_s");
    report.figure("short_drain_per_s", rate);
    Ok(rate)
}

fn publish(
    broker: &Broker<'_>,
    backlog: &Backlog,
    report: &mut Report,
) -> Result<Outcome, Failure> {
    let before = broker.sight()?;
    let watch = broker.watch();
    let load = Load::new("publish-only").with("count", backlog.count).with("body", backlog.body);
    let published = broker.load(&load)?;
    report.demand_right("publishing", &published);
    report.figure("publish_per_s", published.number("publish_per_s"));
    report.figure("publish_last_to_first_tenth", published.last_to_first_tenth("publish_tenths"));
    report.detail("publish_tenths", published.part("publish_tenths"));
    sleep(Duration::from_secs(backlog.rest));
    let seen = watch.end();
    let rest = broker.sight()?;
    report.figure("publish_resident_mib_max", seen.resident_mib_max());
    report.detail("moments_s_mib_diskmib_journals_segments", seen.moments());
    report.barred("rest_resident_mib", rest.resident_mib(), Bar::AtMost(REST_MIB));
    report.figure("rest_anonymous_mib", rest.anonymous_kib as f64 / 1024.0);
    report.figure("rest_disk_mib", rest.disk_mib());
    let bodies = backlog.count * backlog.body;
    let per_byte = |bytes: u64| bytes as f64 / bodies as f64;
    report.figure("disk_per_body_byte", per_byte(rest.disk_bytes));
    let written = rest.written_chars - before.written_chars;
    report.figure("written_per_body_byte", per_byte(written));
    let by_all = rest.device_written_bytes - before.device_written_bytes;
    report.figure("device_written_per_body_byte", per_byte(by_all));
    report.figure("cpu_us_per_message", cpu_us(&before, &rest, backlog.count));
    Ok(published)
}

/// Stops it once by a signal and once in the middle of its life.
fn restart<'a>(
    site: &'a Site,
    broker: Broker<'a>,
    count: u64,
    report: &mut Report,
) -> Result<Broker<'a>, Failure> {
    let bar = Bar::AtMost(if count > SECOND_RESTART_COUNT { 10.0 } else { 1.0 });
    report.figure("stop_s", broker.stop()?);
    let broker = site.start()?;
    let (seconds, messages) = broker.wait(1)?;
    report.barred("restart_s", seconds, bar);
    report.demand_equal("messages after a stop", (messages, count));
    report.figure("restart_resident_mib", broker.sight()?.resident_mib());
    broker.kill();
    let broker = site.start()?;
    let (seconds, messages) = broker.wait(1)?;
    report.barred("restart_after_kill_s", seconds, bar);
    report.demand_equal("messages after kill -9", (messages, count));
    Ok(broker)
}

fn drain(
    broker: &Broker<'_>,
    backlog: &Backlog,
    published: &Outcome,
    in_memory: f64,
    report: &mut Report,
) -> Result<(), Failure> {
    let before = broker.sight()?;
    let watch = broker.watch();
    let load = Load::new("drain-only").with("count", backlog.count).with("body", backlog.body);
    let drained = broker.load(&load)?;
    let seen = watch.end();
    let after = broker.sight()?;
    report.demand_right("draining", &drained);
    let sums = (drained.id_sum("received_id_sum"), published.id_sum("sent_id_sum"));
    report.demand_equal("the sum of all ids", sums);
    let rate = drained.number("deliver_per_s");
    report.figure("drain_per_s", rate);
    report.barred("drain_to_short_drain", rate / in_memory, Bar::AtLeast(0.5));
    report.figure("drain_to_publish", rate / published.number("publish_per_s"));
    report.figure("drain_last_to_first_tenth", drained.last_to_first_tenth("deliver_tenths"));
    report.detail("drain_tenths", drained.part("deliver_tenths"));
    report.figure("drain_resident_mib_max", seen.resident_mib_max());
    report.figure("drain_read_from_device_mib", mib(after.read_bytes - before.read_bytes));
    report.figure("drain_cpu_us_per_message", cpu_us(&before, &after, backlog.count));
    Ok(())
}

fn cpu_us(before: &Sight, after: &Sight, messages: u64) -> f64 {
    (after.cpu_s - before.cpu_s) * 1e6 / messages as f64
}
