//! Metrics under the names of RabbitMQ's Prometheus plugin, as its stock boards read them: what has a
//! meaning here, and no more.

use std::collections::BTreeSet;

use broker::connections::Connection;
use broker::views::{ChannelView, MessageCounts, QueueView};

use super::exposition::{Kind, Page, float};
use super::house::House;

/// How finely it is told.
pub(super) enum Scope {
    /// Added up over all objects of a kind.
    Together,
    /// Object by object.
    Each,
    /// Object by object, under names that begin with `rabbitmq_detailed_`, and of these only what
    /// belongs to families that were asked for.
    Families(BTreeSet<String>),
}

impl Scope {
    fn prefix(&self) -> &'static str {
        match self {
            Scope::Together | Scope::Each => "rabbitmq_",
            Scope::Families(_) => "rabbitmq_detailed_",
        }
    }

    fn wants(&self, families: &[&str]) -> bool {
        match self {
            Scope::Together | Scope::Each => true,
            Scope::Families(asked) => families.iter().any(|family| asked.contains(*family)),
        }
    }

    fn adds_up(&self) -> bool {
        matches!(self, Scope::Together)
    }
}

/// Something that is measured of an object: the families it belongs to, its name without prefix, what
/// it is, and how to get at it.
struct Measure<T> {
    families: &'static [&'static str],
    name: &'static str,
    kind: Kind,
    help: &'static str,
    of: fn(&T) -> u64,
}

const fn gauge<T>(
    families: &'static [&'static str],
    name: &'static str,
    help: &'static str,
    of: fn(&T) -> u64,
) -> Measure<T> {
    Measure { families, name, kind: Kind::Gauge, help, of }
}

const fn counter<T>(
    families: &'static [&'static str],
    name: &'static str,
    help: &'static str,
    of: fn(&T) -> u64,
) -> Measure<T> {
    Measure { families, name, kind: Kind::Counter, help, of }
}

const COARSE: &[&str] = &["queue_coarse_metrics"];
const DELIVERY: &[&str] = &["queue_delivery_metrics"];

const QUEUE: &[Measure<QueueView>] = &[
    gauge(COARSE, "queue_messages_ready", "Messages ready to be delivered.", |it| it.ready),
    gauge(COARSE, "queue_messages_unacked", "Messages delivered and not settled.", |it| it.unacked),
    gauge(COARSE, "queue_messages", "Ready and unsettled messages.", QueueView::messages),
    gauge(
        &["queue_consumer_count", "queue_metrics"],
        "queue_consumers",
        "Consumers of the queue.",
        |it| it.consumers.into(),
    ),
    counter(DELIVERY, "queue_messages_published", "Messages that came in.", |it| {
        counts(it).published
    }),
    counter(DELIVERY, "queue_messages_delivered_ack", "Delivered, to be acknowledged.", |it| {
        counts(it).delivered
    }),
    counter(DELIVERY, "queue_messages_delivered", "Delivered, settled by that.", |it| {
        counts(it).delivered_no_ack
    }),
    counter(DELIVERY, "queue_messages_redelivered", "Delivered again.", |it| {
        counts(it).redelivered
    }),
    counter(DELIVERY, "queue_messages_acked", "Acknowledged.", |it| counts(it).acknowledged),
    counter(DELIVERY, "queue_get_ack", "Got, to be acknowledged.", |it| counts(it).got),
    counter(DELIVERY, "queue_get", "Got, settled by that.", |it| counts(it).got_no_ack),
    counter(DELIVERY, "queue_get_empty", "Asked for, and there was none.", |it| {
        counts(it).got_nothing
    }),
];

fn counts(queue: &QueueView) -> MessageCounts {
    queue.traffic().counts
}

const CHANNEL: &[&str] = &["channel_metrics"];
const PUBLISH: &[&str] = &["channel_exchange_metrics"];
const TAKE: &[&str] = &["channel_queue_metrics"];

/// How channels stand; added up over those there are.
const CHANNEL_STATES: &[Measure<ChannelView>] = &[
    gauge(CHANNEL, "channel_consumers", "Consumers on the channel.", |it| it.consumers.into()),
    gauge(CHANNEL, "channel_messages_unacked", "Delivered and not settled.", |it| it.unacked),
    gauge(CHANNEL, "channel_messages_unconfirmed", "Published and not confirmed.", |it| {
        it.unconfirmed
    }),
    gauge(CHANNEL, "channel_messages_uncommitted", "Published and not committed.", |it| {
        it.uncommitted
    }),
    gauge(CHANNEL, "channel_acks_uncommitted", "Settled and not committed.", |it| {
        it.uncommitted_settlements
    }),
    gauge(
        CHANNEL,
        "consumer_prefetch",
        "Unsettled deliveries that each new consumer may have.",
        |it| it.prefetch.into(),
    ),
    gauge(CHANNEL, "channel_prefetch", "Unsettled deliveries that all consumers may have.", |it| {
        it.prefetch_global.into()
    }),
];

/// What happened on channels; added up over all there ever were.
const CHANNEL_COUNTS: &[Measure<MessageCounts>] = &[
    counter(PUBLISH, "channel_messages_published", "Published.", |it| it.published),
    counter(PUBLISH, "channel_messages_confirmed", "Confirmed.", |it| it.confirmed),
    counter(PUBLISH, "channel_messages_unroutable_returned", "Returned, unroutable.", |it| {
        it.returned
    }),
    counter(PUBLISH, "channel_messages_unroutable_dropped", "Dropped, unroutable.", |it| {
        it.unroutable_dropped
    }),
    counter(TAKE, "channel_get_ack", "Got, to be acknowledged.", |it| it.got),
    counter(TAKE, "channel_get", "Got, settled by that.", |it| it.got_no_ack),
    counter(TAKE, "channel_get_empty", "Asked for, and there was none.", |it| it.got_nothing),
    counter(TAKE, "channel_messages_delivered_ack", "Delivered, to be acknowledged.", |it| {
        it.delivered
    }),
    counter(TAKE, "channel_messages_delivered", "Delivered, settled by that.", |it| {
        it.delivered_no_ack
    }),
    counter(TAKE, "channel_messages_redelivered", "Delivered again.", |it| it.redelivered),
    counter(TAKE, "channel_messages_acked", "Acknowledged.", |it| it.acknowledged),
];

const TRAFFIC: &[&str] = &["connection_coarse_metrics"];
const PACKETS: &[&str] = &["connection_metrics"];

const CONNECTION: &[Measure<Connection>] = &[
    counter(TRAFFIC, "connection_incoming_bytes", "Bytes read.", |it| it.traffic().read_bytes),
    counter(TRAFFIC, "connection_outgoing_bytes", "Bytes written.", |it| {
        it.traffic().written_bytes
    }),
    counter(PACKETS, "connection_incoming_packets", "Reads.", |it| it.traffic().reads),
    counter(PACKETS, "connection_outgoing_packets", "Writes.", |it| it.traffic().writes),
];

/// All counts of one virtual host under the names of RabbitMQ's global counters. One implementation
/// serves all types of queues, so there is no label for the type.
const GLOBAL: &[Measure<MessageCounts>] = &[
    counter(&[], "messages_received", "Published.", |it| it.published),
    counter(&[], "messages_confirmed", "Confirmed.", |it| it.confirmed),
    counter(&[], "messages_routed", "Published, and a queue took them.", |it| {
        it.published.saturating_sub(it.returned + it.unroutable_dropped)
    }),
    counter(&[], "messages_unroutable_dropped", "Dropped, unroutable.", |it| it.unroutable_dropped),
    counter(&[], "messages_unroutable_returned", "Returned, unroutable.", |it| it.returned),
    counter(&[], "messages_delivered", "Delivered or got.", MessageCounts::handed_out),
    counter(&[], "messages_delivered_consume_manual_ack", "Delivered, to be acknowledged.", |it| {
        it.delivered
    }),
    counter(&[], "messages_delivered_consume_auto_ack", "Delivered, settled by that.", |it| {
        it.delivered_no_ack
    }),
    counter(&[], "messages_delivered_get_manual_ack", "Got, to be acknowledged.", |it| it.got),
    counter(&[], "messages_delivered_get_auto_ack", "Got, settled by that.", |it| it.got_no_ack),
    counter(&[], "messages_get_empty", "Asked for, and there was none.", |it| it.got_nothing),
    counter(&[], "messages_redelivered", "Delivered again.", |it| it.redelivered),
    counter(&[], "messages_acknowledged", "Acknowledged.", |it| it.acknowledged),
    counter(&[], "messages_dead_lettered", "Left their queue as dead letters.", |it| {
        it.dead_lettered
    }),
];

pub(super) fn write(house: &House, scope: &Scope, page: &mut Page) {
    node(house, scope, page);
    queues(house, scope, page);
    channels(house, scope, page);
    connections(house, scope, page);
    if matches!(scope, Scope::Together | Scope::Each) {
        identity(page);
        totals(house, page);
        alarms(house, page);
    }
    if let Scope::Families(_) = scope {
        vhosts(house, scope, page);
    }
}

fn node(house: &House, scope: &Scope, page: &mut Page) {
    let machine = &house.node.machine;
    let (used, limits) = (&["node_coarse_metrics"][..], &["node_metrics"][..]);
    let sockets = house.connections.len() as u64;
    let gauges = [
        (used, "process_open_fds", "Open file descriptors.", machine.open_files),
        (used, "process_open_tcp_sockets", "Connections.", sockets),
        (used, "process_resident_memory_bytes", "Resident memory.", machine.memory_bytes),
        (used, "disk_space_available_bytes", "Free disk space.", machine.disk_free_bytes),
        (limits, "process_max_fds", "Limit of file descriptors.", machine.open_files_max),
        (limits, "process_max_tcp_sockets", "Limit of sockets.", machine.open_files_max),
        (limits, "resident_memory_limit_bytes", "Memory watermark.", machine.memory_bytes_max),
        (
            limits,
            "disk_space_available_limit_bytes",
            "Disk watermark.",
            machine.disk_free_bytes_min,
        ),
        (limits, "erlang_uptime_seconds", "Time since the start.", house.node.uptime_ms / 1_000),
    ];
    for (families, name, help, value) in gauges {
        if scope.wants(families) {
            let name = format!("{}{name}", scope.prefix());
            page.family(&name, Kind::Gauge, help).sample(&[], value);
        }
    }
    let seen = &house.connections_seen;
    let stats = |of: fn(&broker::Stats) -> u64| house.vhosts.iter().map(|it| of(&it.stats)).sum();
    let churn = [
        ("connections_opened", "Connections opened.", seen.opened),
        ("connections_closed", "Connections closed.", seen.closed),
        ("channels_opened", "Channels opened.", stats(|it| it.channels_opened)),
        ("channels_closed", "Channels closed.", stats(|it| it.channels_closed)),
        ("queues_declared", "Queues declared.", stats(|it| it.queues_declared)),
        ("queues_created", "Queues made.", stats(|it| it.queues_created)),
        ("queues_deleted", "Queues deleted.", stats(|it| it.queues_deleted)),
    ];
    if scope.wants(&["connection_churn_metrics"]) {
        for (name, help, value) in churn {
            let name = format!("{}{name}", scope.prefix());
            page.family(&name, Kind::Counter, help).sample(&[], value);
        }
    }
    if scope.wants(&["node_persister_metrics"]) {
        disk(house, scope, page);
    }
}

fn disk(house: &House, scope: &Scope, page: &mut Page) {
    let (mut writes, mut micros, mut bytes) = (0, 0, 0);
    for room in &house.vhosts {
        writes += room.journal.times.writes.count();
        micros += room.journal.times.writes.sum();
        bytes += room.journal.written_bytes + room.stats.sealed_bytes;
    }
    let read = house.vhosts.iter().map(|room| room.stats.read_back_bytes).sum::<u64>();
    let prefix = scope.prefix();
    page.family(&format!("{prefix}io_write_bytes"), Kind::Counter, "Bytes written to disk.")
        .sample(&[], bytes);
    page.family(&format!("{prefix}io_read_bytes"), Kind::Counter, "Bytes read from disk.")
        .sample(&[], read);
    page.family(
        &format!("{prefix}io_sync_ops"),
        Kind::Counter,
        "Journal frames written and synced.",
    )
    .sample(&[], writes);
    page.family(&format!("{prefix}io_sync_time_seconds"), Kind::Counter, "Time that took.")
        .sample(&[], float(micros) / 1e6);
}

fn queues(house: &House, scope: &Scope, page: &mut Page) {
    for measure in QUEUE.iter().filter(|measure| scope.wants(measure.families)) {
        let name = format!("{}{}", scope.prefix(), measure.name);
        let mut family = page.family(&name, measure.kind, measure.help);
        let others: u64 = house.other_queues().map(measure.of).sum();
        let shown = house.shown_queues();
        if scope.adds_up() {
            let sum = shown.map(|(_, queue)| (measure.of)(queue)).sum::<u64>() + others;
            family.sample(&[], sum);
            continue;
        }
        for (vhost, queue) in shown {
            let labels = [("vhost", vhost), ("queue", queue.name.as_str())];
            family.sample(&labels, (measure.of)(queue));
        }
        if house.other_queues().next().is_some() {
            family.sample(&[("vhost", ""), ("queue", "")], others);
        }
    }
}

fn channels(house: &House, scope: &Scope, page: &mut Page) {
    let all = || house.vhosts.iter().flat_map(|room| room.channels.iter());
    let names: Vec<String> =
        all().map(|it| format!("{} ({})", it.connection.name, it.number)).collect();
    let each = || all().zip(&names);
    for measure in CHANNEL_STATES.iter().filter(|measure| scope.wants(measure.families)) {
        let name = format!("{}{}", scope.prefix(), measure.name);
        let mut family = page.family(&name, measure.kind, measure.help);
        if scope.adds_up() {
            family.sample(&[], all().map(measure.of).sum::<u64>());
            continue;
        }
        for (channel, name) in each() {
            let vhost = channel.connection.vhost.as_str();
            family.sample(&[("channel", name), ("vhost", vhost)], (measure.of)(channel));
        }
    }
    for measure in CHANNEL_COUNTS.iter().filter(|measure| scope.wants(measure.families)) {
        let name = format!("{}{}", scope.prefix(), measure.name);
        let mut family = page.family(&name, measure.kind, measure.help);
        if scope.adds_up() {
            let all = house.vhosts.iter().map(|room| (measure.of)(&room.totals.counts));
            family.sample(&[], all.sum::<u64>());
            continue;
        }
        for (channel, name) in each() {
            let vhost = channel.connection.vhost.as_str();
            family.sample(&[("channel", name), ("vhost", vhost)], (measure.of)(&channel.counts));
        }
    }
}

fn connections(house: &House, scope: &Scope, page: &mut Page) {
    for measure in CONNECTION.iter().filter(|measure| scope.wants(measure.families)) {
        let name = format!("{}{}", scope.prefix(), measure.name);
        let mut family = page.family(&name, measure.kind, measure.help);
        if scope.adds_up() {
            family.sample(&[], house.connections.iter().map(|it| (measure.of)(it)).sum::<u64>());
            continue;
        }
        for connection in &house.connections {
            let labels = [("connection", &*connection.name), ("vhost", connection.vhost.as_str())];
            family.sample(&labels, (measure.of)(connection));
        }
    }
}

fn identity(page: &mut Page) {
    let labels = [
        ("rabbitmq_node", NODE),
        ("rabbitmq_cluster", NODE),
        ("rabbitmq_cluster_permanent_id", NODE),
    ];
    page.family("rabbitmq_identity_info", Kind::Gauge, "Always 1; who this is, is in the labels.")
        .sample(&labels, 1);
    let version = env!("CARGO_PKG_VERSION");
    let labels = [("rabbitmq_version", version), ("product_name", "Postroom")];
    page.family("rabbitmq_build_info", Kind::Gauge, "Always 1; the version is in the labels.")
        .sample(&labels, 1);
}

/// What stands for the node where RabbitMQ has its name.
const NODE: &str = "postroom";

fn totals(house: &House, page: &mut Page) {
    let rooms = &house.vhosts;
    let objects = [
        ("connections", "Connections.", house.connections.len()),
        ("channels", "Channels.", rooms.iter().map(|room| room.channels.len()).sum()),
        ("consumers", "Consumers.", rooms.iter().map(|room| room.consumers.len()).sum()),
        ("queues", "Queues.", rooms.iter().map(|room| room.queues.len()).sum()),
    ];
    for (name, help, count) in objects {
        page.family(&format!("rabbitmq_{name}"), Kind::Gauge, help).sample(&[], count);
    }
    let publishing = |it: &&ChannelView| it.counts.published > 0;
    let channels = || rooms.iter().flat_map(|room| room.channels.iter());
    let users = [
        ("publishers", "Channels that have published.", channels().filter(publishing).count()),
        ("consumers", "Consumers.", rooms.iter().map(|room| room.consumers.len()).sum()),
    ];
    let protocol = [("protocol", "amqp091")];
    for (name, help, count) in users {
        page.family(&format!("rabbitmq_global_{name}"), Kind::Gauge, help).sample(&protocol, count);
    }
    for measure in GLOBAL {
        let sum: u64 = rooms.iter().map(|room| (measure.of)(&room.totals.counts)).sum();
        let name = format!("rabbitmq_global_{}", measure.name);
        page.family(&name, measure.kind, measure.help).sample(&protocol, sum);
    }
}

fn alarms(house: &House, page: &mut Page) {
    let raised = house.alarms.to_string();
    for (name, help, resource) in [
        ("memory_used_watermark", "1 while memory is low.", "memory"),
        ("free_disk_space_watermark", "1 while the disk is nearly full.", "disk"),
    ] {
        page.family(&format!("rabbitmq_alarms_{name}"), Kind::Gauge, help)
            .sample(&[], u8::from(raised.contains(resource)));
    }
    let machine = &house.node.machine;
    let none_left = machine.open_files_max > 0 && machine.open_files >= machine.open_files_max;
    page.family(
        "rabbitmq_alarms_file_descriptor_limit",
        Kind::Gauge,
        "1 while no more files can be opened.",
    )
    .sample(&[], u8::from(none_left));
}

fn vhosts(house: &House, scope: &Scope, page: &mut Page) {
    if !scope.wants(&["vhost_status"]) {
        return;
    }
    let mut family = page.family(
        "rabbitmq_cluster_vhost_status",
        Kind::Gauge,
        "1 if the virtual host takes requests.",
    );
    for room in &house.vhosts {
        family.sample(&[("vhost", &room.name)], u8::from(!room.poisoned));
    }
}
