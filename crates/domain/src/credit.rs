//! Credit: how many more deliveries a consumer or a channel may hold unsettled.

/// A limit on unsettled deliveries and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// At most this many unsettled; 0 means no limit (AMQP 0-9-1 `basic.qos`).
    limit: u16,
    unsettled: u32,
}

impl Credit {
    /// No deliveries yet, at most `limit` (0: no limit).
    pub fn new(limit: u16) -> Credit {
        Credit { limit, unsettled: 0 }
    }

    /// A new limit for what is already unsettled too.
    #[must_use]
    pub fn with_limit(self, limit: u16) -> Credit {
        Credit { limit, ..self }
    }

    /// Whether there is a limit.
    pub fn is_limited(self) -> bool {
        self.limit > 0
    }

    /// At most so many unsettled; 0: no limit.
    pub fn limit(self) -> u16 {
        self.limit
    }

    /// Deliveries that went out and were not settled.
    pub fn unsettled(self) -> u32 {
        self.unsettled
    }

    /// How many more deliveries fit.
    pub fn available(self) -> u32 {
        match self.limit {
            0 => u32::MAX,
            limit => u32::from(limit).saturating_sub(self.unsettled),
        }
    }

    /// `count` deliveries went out.
    pub fn take(&mut self, count: u32) {
        self.unsettled = self.unsettled.saturating_add(count);
    }

    /// `count` deliveries were settled.
    pub fn give(&mut self, count: u32) {
        self.unsettled = self.unsettled.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_limit_and_a_lower_limit_waits_until_enough_is_settled() {
        let mut credit = Credit::new(0);
        credit.take(1_000);
        assert_eq!(credit.available(), u32::MAX);
        credit = credit.with_limit(10);
        assert_eq!(credit.available(), 0);
        credit.give(995);
        assert_eq!(credit.available(), 5);
    }
}
