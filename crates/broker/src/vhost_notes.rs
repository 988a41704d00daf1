//! What is noted of a virtual host for those who look after it. Nothing of it acts.

use std::sync::Arc;

/// Notes on a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostNotes {
    /// What it is for.
    pub description: Box<str>,
    /// Words to find it by.
    pub tags: Arc<[Box<str>]>,
}
