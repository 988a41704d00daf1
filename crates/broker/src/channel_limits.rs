//! How many channels one user has open, over all its connections, and may have. A channel takes its
//! place when it is opened and gives it back when it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::own_limits::Max;

/// No limit: more than there can be.
const NO_LIMIT: u64 = u64::MAX;

/// The channels of a user.
#[derive(Debug)]
pub(crate) struct UserChannels {
    open: AtomicU32,
    max: AtomicU64,
}

impl Default for UserChannels {
    fn default() -> UserChannels {
        UserChannels { open: AtomicU32::new(0), max: AtomicU64::new(NO_LIMIT) }
    }
}

impl UserChannels {
    /// From now on; what is open stays.
    pub(crate) fn limit(&self, max: Max) {
        self.max.store(max.map_or(NO_LIMIT, u64::from), Ordering::Relaxed);
    }

    /// One more, or how many there may be.
    pub(crate) fn open(self: &Arc<UserChannels>) -> Result<ChannelPlace, u32> {
        let max = self.max.load(Ordering::Relaxed);
        // Owners of several virtual hosts may do so at once.
        let more = |open: u32| (u64::from(open) < max).then(|| open.saturating_add(1));
        match self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_before) => Ok(ChannelPlace(Arc::clone(self))),
            Err(_full) => Err(u32::try_from(max).unwrap_or(u32::MAX)),
        }
    }
}

/// A channel's place; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct ChannelPlace(Arc<UserChannels>);

impl Drop for ChannelPlace {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
