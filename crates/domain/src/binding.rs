//! A binding: the rule that messages of an exchange go on to a queue or another exchange.

use crate::table::Table;

/// The number of a queue: given at its declaration, never given twice in a virtual host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// The number of an exchange while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// What a binding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A queue.
    Queue(QueueId),
    /// Another exchange.
    Exchange(ExchangeId),
}

/// A binding's arguments; two bindings that differ in them only are two bindings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindingArguments(pub Table);
