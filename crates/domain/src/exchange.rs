//! An exchange: takes messages and says, by its type and bindings, where they go.

pub mod direct;
pub mod fanout;
pub mod headers;
pub mod topic;

use crate::table::Table;

/// How an exchange chooses among its bindings (AMQP 0-9-1 §3.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeType {
    /// Binding key equals routing key.
    Direct,
    /// Every binding.
    Fanout,
    /// Binding key is a pattern of words.
    Topic,
    /// Binding arguments match the message's headers.
    Headers,
}

/// Every exchange type and its name.
pub const EXCHANGE_TYPES: [(&str, ExchangeType); 4] = [
    ("direct", ExchangeType::Direct),
    ("fanout", ExchangeType::Fanout),
    ("topic", ExchangeType::Topic),
    ("headers", ExchangeType::Headers),
];

impl ExchangeType {
    /// The type of that name.
    pub fn parse(name: &str) -> Option<ExchangeType> {
        EXCHANGE_TYPES.iter().find(|(known, _)| *known == name).map(|(_, found)| *found)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            ExchangeType::Direct => "direct",
            ExchangeType::Fanout => "fanout",
            ExchangeType::Topic => "topic",
            ExchangeType::Headers => "headers",
        }
    }
}

/// What an exchange is declared with.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeSettings {
    /// How it routes.
    pub exchange_type: ExchangeType,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether only exchanges may publish to it.
    pub internal: bool,
    /// Its arguments as they came; `alternate-exchange` acts.
    pub arguments: Table,
}

/// The argument that names where unroutable messages go.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";
