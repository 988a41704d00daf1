//! What was told of messages: how far the holders of leases are, and what became of those that are done.

use std::sync::Arc;

use domain::queue::settings::DoneLimits;
use domain::run::Durability;

use super::Recovery;
use crate::journaled::Malformed;
use crate::journaled::done_records::take_done;
use crate::journaled::lease_records::take_progress;
use crate::vhost::leases::Held;

impl Recovery {
    pub(super) fn progress(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (queue, (first, count), text) = take_progress(payload)?;
        let text: Arc<str> = text.into();
        for (first, held) in self.leases.take(queue, first, count) {
            self.leases.hold(queue, first, Held { progress: Some(Arc::clone(&text)), ..held });
        }
        Ok(())
    }

    /// Messages are done, and their queue tells of it for as long as it may; what it had to forget
    /// since is forgotten again by the limits that it has.
    pub(super) fn done(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (queue, messages) = take_done(payload)?;
        let Some(DoneLimits { ttl_ms, .. }) = self.done.limits(queue) else { return Ok(()) };
        for message in messages {
            // However the clock on the wall was set meanwhile.
            let end_wall_ms = message.done_wall_ms.saturating_add(ttl_ms);
            let left_ms = end_wall_ms.saturating_sub(self.now.wall_ms).min(ttl_ms);
            let until_ms = self.now.ms.saturating_add(left_ms);
            self.done.restore(message, Durability::Journaled, until_ms);
        }
        Ok(())
    }
}
