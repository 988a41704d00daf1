//! Metrics under our own names.

use broker::Stats;
use broker::connections::ConnectionState;
use broker::views::{MessageCounts, QueueView};

use super::exposition::{Kind, Page, float};
use super::house::{House, Room};

/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// The queue's name in the series of all queues that have none of their own.
const OTHERS: &str = "";

pub(super) fn write(house: &House, page: &mut Page) {
    node(house, page);
    queues(house, page);
    errors(house, page);
    vhosts(house, page);
    lives(house, page);
}

fn node(house: &House, page: &mut Page) {
    let version = env!("CARGO_PKG_VERSION");
    page.family("postroom_build_info", Kind::Gauge, "Always 1; the version is in the label.")
        .sample(&[("version", version)], 1);
    page.family("postroom_uptime_seconds", Kind::Gauge, "Time since the broker started.")
        .sample(&[], float(house.node.uptime_ms) / 1e3);
    let mut alarms = page.family(
        "postroom_alarm",
        Kind::Gauge,
        "1 while publishers are blocked because it is low.",
    );
    let raised = house.alarms.to_string();
    for resource in ["memory", "disk"] {
        alarms.sample(&[("resource", resource)], u8::from(raised.contains(resource)));
    }
    let mut states =
        page.family("postroom_connections", Kind::Gauge, "Connections by how they stand.");
    for state in ConnectionState::ALL {
        let count = house.connections.iter().filter(|it| it.state() == state).count();
        states.sample(&[("state", state.as_str())], count);
    }
    let gauges = [
        (
            "messages_memory_bytes",
            "What messages take of the memory.",
            house.messages_memory.used_bytes,
        ),
        (
            "messages_memory_max_bytes",
            "What messages may take of the memory.",
            house.messages_memory.max_bytes,
        ),
        ("memory_bytes", "Resident memory.", house.node.machine.memory_bytes),
        (
            "memory_max_bytes",
            "Publishers are blocked above it.",
            house.node.machine.memory_bytes_max,
        ),
        ("disk_free_bytes", "What is free on the disk.", house.node.machine.disk_free_bytes),
        (
            "disk_free_min_bytes",
            "Publishers are blocked below it.",
            house.node.machine.disk_free_bytes_min,
        ),
        ("open_files", "Open files and sockets.", house.node.machine.open_files),
        ("open_files_max", "As many there may be.", house.node.machine.open_files_max),
    ];
    for (name, help, value) in gauges {
        page.family(&format!("postroom_{name}"), Kind::Gauge, help).sample(&[], value);
    }
    let mut spans = page.family("postroom_spans", Kind::Counter, "Spans of traces, by their fate.");
    spans.sample(&[("outcome", "exported")], house.spans.exported);
    spans.sample(&[("outcome", "dropped")], house.spans.dropped);
}

/// What is added up of the queues that have no series of their own.
#[derive(Default)]
struct Others {
    queues: u64,
    ready: u64,
    unacked: u64,
    consumers: u64,
    oldest_ms: u64,
    without_consumers: u64,
    counts: MessageCounts,
}

impl Others {
    fn of(house: &House) -> Others {
        let mut others = Others::default();
        for queue in house.other_queues() {
            others.queues += 1;
            others.ready += queue.ready;
            others.unacked += queue.unacked;
            others.consumers += u64::from(queue.consumers);
            others.oldest_ms = others.oldest_ms.max(queue.oldest_ms.unwrap_or(0));
            others.without_consumers += u64::from(queue.consumers == 0 && queue.ready > 0);
            others.counts.add(&queue.traffic().counts);
        }
        others
    }
}

fn queues(house: &House, page: &mut Page) {
    let others = Others::of(house);
    page.family(
        "postroom_queues_without_series",
        Kind::Gauge,
        "Queues that are only added up in the series with an empty name, because there are too many.",
    )
    .sample(&[], others.queues);
    let mut family =
        page.family("postroom_queue_messages", Kind::Gauge, "Messages in the queue by state.");
    for (vhost, queue) in house.shown_queues() {
        let at = |state| [("vhost", vhost), ("queue", queue.name.as_str()), ("state", state)];
        family.sample(&at("ready"), queue.ready);
        family.sample(&at("unacked"), queue.unacked);
    }
    if others.queues > 0 {
        let at = |state| [("vhost", OTHERS), ("queue", OTHERS), ("state", state)];
        family.sample(&at("ready"), others.ready);
        family.sample(&at("unacked"), others.unacked);
    }
    each_queue(
        house,
        page,
        &others,
        &QueueFamily {
            name: "postroom_queue_consumers",
            kind: Kind::Gauge,
            help: "Consumers of the queue.",
            of: |queue| float(queue.consumers.into()),
            of_others: |others| float(others.consumers),
        },
    );
    each_queue(
        house,
        page,
        &others,
        &QueueFamily {
            name: "postroom_queue_oldest_message_seconds",
            kind: Kind::Gauge,
            help: "How long the next message to go has waited; 0 if none waits.",
            of: |queue| float(queue.oldest_ms.unwrap_or(0)) / 1e3,
            of_others: |others| float(others.oldest_ms) / 1e3,
        },
    );
    each_queue(
        house,
        page,
        &others,
        &QueueFamily {
            name: "postroom_queue_backlog_without_consumers",
            kind: Kind::Gauge,
            help: "1 while messages wait and nobody consumes.",
            of: |queue| if queue.consumers == 0 && queue.ready > 0 { 1.0 } else { 0.0 },
            of_others: |others| float(others.without_consumers),
        },
    );
    let mut family = page.family(
        "postroom_queue_events",
        Kind::Counter,
        "What happened to messages of the queue. Queues to whose messages nothing happened have no series.",
    );
    for (vhost, queue) in house.shown_queues() {
        let Some(traffic) = &queue.traffic else { continue };
        for (event, count) in events(&traffic.counts) {
            family.sample(
                &[("vhost", vhost), ("queue", queue.name.as_str()), ("event", event)],
                count,
            );
        }
    }
    if others.queues > 0 {
        for (event, count) in events(&others.counts) {
            family.sample(&[("vhost", OTHERS), ("queue", OTHERS), ("event", event)], count);
        }
    }
}

/// What those who lease say went wrong, queue by queue; there are series only of what went wrong.
fn errors(house: &House, page: &mut Page) {
    let mut family = page.family(
        "postroom_queue_errors",
        Kind::Counter,
        "Leases that ended with an error, by its class.",
    );
    for (vhost, queue) in house.shown_queues() {
        for (class, count) in &queue.errors {
            let labels = [("vhost", vhost), ("queue", queue.name.as_str()), ("class", &**class)];
            family.sample(&labels, count);
        }
    }
    let others: u64 = house.other_queues().flat_map(|it| &it.errors).map(|(_, count)| count).sum();
    if others > 0 {
        family.sample(&[("vhost", OTHERS), ("queue", OTHERS), ("class", OTHERS)], others);
    }
}

struct QueueFamily {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    of: fn(&QueueView) -> f64,
    of_others: fn(&Others) -> f64,
}

fn each_queue(house: &House, page: &mut Page, others: &Others, wanted: &QueueFamily) {
    let mut family = page.family(wanted.name, wanted.kind, wanted.help);
    for (vhost, queue) in house.shown_queues() {
        let labels = [("vhost", vhost), ("queue", queue.name.as_str())];
        family.sample(&labels, (wanted.of)(queue));
    }
    if others.queues > 0 {
        family.sample(&[("vhost", OTHERS), ("queue", OTHERS)], (wanted.of_others)(others));
    }
}

/// What happens in a queue.
fn events(counts: &MessageCounts) -> [(&'static str, u64); 13] {
    [
        ("entered", counts.published),
        ("delivered", counts.delivered + counts.delivered_no_ack),
        ("got", counts.got + counts.got_no_ack),
        ("redelivered", counts.redelivered),
        ("acknowledged", counts.acknowledged),
        ("requeued", counts.requeued),
        ("rejected", counts.rejected),
        ("expired", counts.expired),
        ("overflowed", counts.overflowed),
        ("failed", counts.failed),
        ("refused", counts.refused),
        ("dead_lettered", counts.dead_lettered),
        ("purged", counts.purged),
    ]
}

fn vhosts(house: &House, page: &mut Page) {
    let mut family = page.family(
        "postroom_vhost_events",
        Kind::Counter,
        "What happened to messages in the virtual host.",
    );
    for room in &house.vhosts {
        let counts = &room.totals.counts;
        let publishers = [
            ("published", counts.published),
            ("confirmed", counts.confirmed),
            ("returned", counts.returned),
            ("unroutable_dropped", counts.unroutable_dropped),
        ];
        // What enters a queue is counted queue by queue.
        for (event, count) in publishers.into_iter().chain(events(counts).into_iter().skip(1)) {
            family.sample(&[("vhost", &room.name), ("event", event)], count);
        }
    }
    each_vhost(
        house,
        page,
        &[
            ("postroom_vhost_queues", Kind::Gauge, "Queues.", |room| room.queues.len() as u64),
            ("postroom_vhost_channels", Kind::Gauge, "Channels.", |room| {
                room.channels.len() as u64
            }),
            ("postroom_vhost_consumers", Kind::Gauge, "Consumers.", |room| {
                room.consumers.len() as u64
            }),
            (
                "postroom_journal_bytes",
                Kind::Gauge,
                "What the journal takes of the disk.",
                |room| room.journal.live_bytes + room.journal.spare_bytes,
            ),
            ("postroom_journal_written_bytes", Kind::Counter, "Written to the journal.", |room| {
                room.journal.written_bytes
            }),
            ("postroom_segment_bytes", Kind::Gauge, "What segments take of the disk.", |room| {
                room.stats.segment_file_bytes
            }),
            (
                "postroom_segment_live_bytes",
                Kind::Gauge,
                "Of that, about so much is of messages.",
                |room| room.stats.segment_live_bytes,
            ),
            (
                "postroom_vhost_memory_bytes",
                Kind::Gauge,
                "What messages take of the memory.",
                |room| room.stats.memory_bytes,
            ),
            (
                "postroom_vhost_done_bytes",
                Kind::Gauge,
                "What is told of done messages, in memory.",
                |room| room.stats.done_bytes,
            ),
            (
                "postroom_dead_letters_dropped",
                Kind::Counter,
                "Dead letters that no queue took.",
                |room| room.stats.dead_lettered_dropped,
            ),
            (
                "postroom_consumers_timed_out",
                Kind::Counter,
                "Consumers that left deliveries unsettled for too long.",
                |room| room.stats.consumers_timed_out,
            ),
        ],
    );
    let mut family = page.family(
        "postroom_lease_events",
        Kind::Counter,
        "What happened to leases without a connection.",
    );
    for room in &house.vhosts {
        let Stats { leased, leases_failed, leases_expired, leases_lost, .. } = room.stats;
        for (event, count) in [
            ("leased", leased),
            ("failed", leases_failed),
            ("expired", leases_expired),
            ("settled_late", leases_lost),
        ] {
            family.sample(&[("vhost", &room.name), ("event", event)], count);
        }
    }
    let mut family = page.family(
        "postroom_vhost_poisoned",
        Kind::Gauge,
        "1 if the virtual host can't write any more and takes nothing.",
    );
    for room in &house.vhosts {
        family.sample(&[("vhost", &room.name)], u8::from(room.poisoned));
    }
}

type VhostFamily = (&'static str, Kind, &'static str, fn(&Room) -> u64);

fn each_vhost(house: &House, page: &mut Page, families: &[VhostFamily]) {
    for (name, kind, help, of) in families {
        let mut family = page.family(name, *kind, help);
        for room in &house.vhosts {
            family.sample(&[("vhost", &room.name)], of(room));
        }
    }
}

fn lives(house: &House, page: &mut Page) {
    let mut each = |name: &str, help: &str, scale: f64, of: fn(&Room) -> &broker::Histogram| {
        let mut family = page.histograms(name, help);
        for room in &house.vhosts {
            family.histogram(&[("vhost", &room.name)], of(room), scale);
        }
    };
    each(
        "postroom_message_queued_seconds",
        "From coming into a queue to the first delivery.",
        MICROS,
        |room| &room.totals.lives.queued,
    );
    each("postroom_message_handling_seconds", "From delivery to settlement.", MICROS, |room| {
        &room.totals.lives.handling
    });
    each(
        "postroom_message_attempts",
        "Deliveries that an acknowledged message took; in classic queues 2 stands for more than one.",
        1.0,
        |room| &room.totals.lives.attempts,
    );
    each(
        "postroom_confirm_seconds",
        "From taking a durable publish to its confirm.",
        MICROS,
        |room| &room.journal.times.confirms,
    );
    each(
        "postroom_journal_write_seconds",
        "To write a frame of the journal and, as far as the sync mode wants it, to sync it.",
        MICROS,
        |room| &room.journal.times.writes,
    );
}
