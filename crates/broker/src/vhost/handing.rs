//! How messages are handed out, and how that is counted.

use domain::run::Redelivery;

use crate::operation::Acknowledgement;
use crate::views::counts::MessageCounts;

/// How messages are handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handing {
    pub(crate) redelivery: Redelivery,
    pub(crate) acknowledgement: Acknowledgement,
}

impl Handing {
    pub(crate) fn is_repeated(self) -> bool {
        self.redelivery == Redelivery::Repeated
    }

    /// Counts deliveries to a consumer.
    pub(crate) fn count(self, count: u32, counts: &mut MessageCounts) {
        match self.acknowledgement {
            Acknowledgement::Manual => counts.delivered += u64::from(count),
            Acknowledgement::Automatic => counts.delivered_no_ack += u64::from(count),
        }
        if self.is_repeated() {
            counts.redelivered += u64::from(count);
        }
    }

    /// Counts a message that was got.
    pub(crate) fn count_got(self, counts: &mut MessageCounts) {
        match self.acknowledgement {
            Acknowledgement::Manual => counts.got += 1,
            Acknowledgement::Automatic => counts.got_no_ack += 1,
        }
        counts.redelivered += u64::from(self.is_repeated());
    }
}
