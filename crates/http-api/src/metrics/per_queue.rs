//! Metrics under our own names that are many series for each queue or consumer: on a page of their
//! own, for whoever wants so many.

use broker::Histogram;
use broker::views::{ConsumerCounts, MessageLives};

use super::exposition::{Kind, Page};
use super::house::House;

/// Microseconds in a second.
const MICROS: f64 = 1e6;

pub(super) fn write(house: &House, page: &mut Page) {
    queues(house, page);
    consumers(house, page);
}

/// A name, what it tells, how much of its numbers make one of its unit, and where they are.
type LivesFamily = (&'static str, &'static str, f64, fn(&MessageLives) -> &Histogram);

const FAMILIES: [LivesFamily; 3] = [
    (
        "postroom_queue_queued_seconds",
        "From coming into the queue to the first delivery.",
        MICROS,
        |lives| &lives.queued,
    ),
    ("postroom_queue_handling_seconds", "From delivery to settlement.", MICROS, |lives| {
        &lives.handling
    }),
    (
        "postroom_queue_attempts",
        "Deliveries that an acknowledged message took; in classic queues 2 stands for more than one.",
        1.0,
        |lives| &lives.attempts,
    ),
];

fn queues(house: &House, page: &mut Page) {
    for (name, help, scale, of) in FAMILIES {
        let mut family = page.histograms(name, help);
        for (vhost, queue) in house.shown_queues() {
            let Some(lives) = &queue.lives else { continue };
            let labels = [("vhost", vhost), ("queue", queue.name.as_str())];
            family.histogram(&labels, of(lives), scale);
        }
    }
}

fn consumers(house: &House, page: &mut Page) {
    let mut family = page.family(
        "postroom_consumer_events",
        Kind::Counter,
        "What became of messages that the consumer was handed.",
    );
    let all = house.vhosts.iter().flat_map(|room| room.consumers.iter().map(move |it| (room, it)));
    for (room, consumer) in all.take(house.queues_max) {
        let channel = consumer.channel.to_string();
        for (event, count) in events(&consumer.counts) {
            family.sample(
                &[
                    ("vhost", &room.name),
                    ("queue", consumer.queue.as_str()),
                    ("consumer", consumer.consumer_tag.as_str()),
                    ("connection", &consumer.connection.name),
                    ("channel", &channel),
                    ("event", event),
                ],
                count,
            );
        }
    }
}

fn events(counts: &ConsumerCounts) -> [(&'static str, u64); 5] {
    [
        ("delivered", counts.delivered),
        ("redelivered", counts.redelivered),
        ("acknowledged", counts.acknowledged),
        ("requeued", counts.requeued),
        ("rejected", counts.rejected),
    ]
}
