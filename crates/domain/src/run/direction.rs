//! Which way messages are looked at.

use super::Run;

/// Which way somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a message on, towards those that came later.
    OldestFirst,
    /// From before a message on, towards those that came earlier.
    NewestFirst,
}

/// Runs in the order of a direction.
pub(crate) type Lane<'q> = Box<dyn Iterator<Item = &'q Run> + 'q>;
