//! Fanout: a message goes to everything that is bound, whatever the keys say.

use hashbrown::HashMap;

use crate::binding::Target;

/// What is bound, and by how many keys.
#[derive(Debug, Default)]
pub struct Fanout {
    targets: HashMap<Target, u32, foldhash::fast::FixedState>,
}

impl Fanout {
    /// Adds a pair of key and target that is not there.
    pub fn add(&mut self, target: Target) {
        *self.targets.entry(target).or_default() += 1;
    }

    /// Removes a pair of key and target.
    pub fn remove(&mut self, target: Target) {
        if let Some(keys) = self.targets.get_mut(&target) {
            *keys -= 1;
            if *keys == 0 {
                self.targets.remove(&target);
            }
        }
    }

    /// Where a message goes.
    pub fn route(&self, found: &mut Vec<Target>) {
        found.extend(self.targets.keys());
    }
}
