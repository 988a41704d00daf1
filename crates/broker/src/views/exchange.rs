//! Exchanges and bindings as they were at some moment.

use domain::binding::BindingArguments;
use domain::exchange::ExchangeSettings;
use domain::name::Name;

use super::counts::ExchangeCounts;

/// An exchange.
#[derive(Clone, Debug)]
pub struct ExchangeView {
    /// Its name; empty: the default exchange.
    pub name: Name,
    /// What it was declared with.
    pub settings: ExchangeSettings,
    /// What went through it since the start.
    pub counts: ExchangeCounts,
    /// Per second, lately.
    pub rates: ExchangeCounts<f64>,
}

/// A binding.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingView {
    /// The exchange that messages come from; empty: the default exchange.
    pub source: Name,
    /// Where they go.
    pub destination: BindingEnd,
    /// The binding key.
    pub routing_key: Box<[u8]>,
    /// Its arguments.
    pub arguments: BindingArguments,
}

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BindingEnd {
    /// An exchange.
    Exchange(Name),
    /// A queue.
    Queue(Name),
}

impl BindingEnd {
    /// Its name.
    pub fn name(&self) -> &Name {
        match self {
            BindingEnd::Exchange(name) | BindingEnd::Queue(name) => name,
        }
    }
}
