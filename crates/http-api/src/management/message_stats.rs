//! What happened to messages, in RabbitMQ's words: `message_stats`, each count with its rate.

use broker::views::{ExchangeCounts, MessageCounts};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// How fast something grows.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Details {
    pub(super) rate: f64,
}

/// Counts with their rates; nothing at all is left out by whoever shows them.
#[derive(Clone, Debug)]
pub(super) struct MessageStats(Vec<(&'static str, &'static str, u64, f64)>);

impl Serialize for MessageStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len() * 2))?;
        for (name, details, count, rate) in &self.0 {
            map.serialize_entry(name, count)?;
            map.serialize_entry(details, &Details { rate: *rate })?;
        }
        map.end()
    }
}

/// Rows of names, counts and rates.
macro_rules! rows {
    ($counts:expr, $rates:expr, { $($name:literal: $field:ident,)+ }) => {
        [$(($name, concat!($name, "_details"), $counts.$field, $rates.$field),)+]
    };
}

/// What a queue has to do with.
fn queue_rows(
    counts: &MessageCounts,
    rates: &MessageCounts<f64>,
) -> Vec<(&'static str, &'static str, u64, f64)> {
    let rows = rows!(counts, rates, {
        "publish": published,
        "deliver": delivered,
        "deliver_no_ack": delivered_no_ack,
        "get": got,
        "get_no_ack": got_no_ack,
        "get_empty": got_nothing,
        "ack": acknowledged,
        "redeliver": redelivered,
    });
    let mut rows = rows.to_vec();
    let (handed, rate) = (counts.handed_out(), rates.handed_out());
    rows.push(("deliver_get", "deliver_get_details", handed, rate));
    rows
}

impl MessageStats {
    /// Of a queue; `None`: nothing ever happened.
    pub(super) fn of_queue(
        counts: &MessageCounts,
        rates: &MessageCounts<f64>,
    ) -> Option<MessageStats> {
        (*counts != MessageCounts::default()).then(|| MessageStats(queue_rows(counts, rates)))
    }

    /// Of a channel or a whole virtual host; `None`: nothing ever happened.
    pub(super) fn of_channel(
        counts: &MessageCounts,
        rates: &MessageCounts<f64>,
    ) -> Option<MessageStats> {
        if *counts == MessageCounts::default() {
            return None;
        }
        let mut rows = queue_rows(counts, rates);
        rows.extend(rows!(counts, rates, {
            "confirm": confirmed,
            "return_unroutable": returned,
            "drop_unroutable": unroutable_dropped,
        }));
        Some(MessageStats(rows))
    }

    /// Of an exchange; `None`: nothing ever happened.
    pub(super) fn of_exchange(
        counts: &ExchangeCounts,
        rates: &ExchangeCounts<f64>,
    ) -> Option<MessageStats> {
        let rows = rows!(counts, rates, {
            "publish_in": published_in,
            "publish_out": published_out,
        });
        (*counts != ExchangeCounts::default()).then(|| MessageStats(rows.to_vec()))
    }
}
