//! Direct: a message goes where the binding key equals its routing key, byte for byte.

use hashbrown::HashMap;

use crate::binding::Target;

/// Binding keys and where they lead.
#[derive(Debug, Default)]
pub struct Direct {
    by_key: HashMap<Box<[u8]>, Vec<Target>, foldhash::fast::FixedState>,
}

impl Direct {
    /// Adds a pair that is not there.
    pub fn add(&mut self, key: &[u8], target: Target) {
        self.by_key.entry(key.into()).or_default().push(target);
    }

    /// Removes a pair.
    pub fn remove(&mut self, key: &[u8], target: Target) {
        if let Some(targets) = self.by_key.get_mut(key) {
            targets.retain(|known| *known != target);
            if targets.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    /// Where a message with this routing key goes.
    pub fn route(&self, routing_key: &[u8], found: &mut Vec<Target>) {
        found.extend(self.by_key.get(routing_key).into_iter().flatten());
    }
}
