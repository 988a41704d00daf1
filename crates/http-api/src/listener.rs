//! Where the broker can be reached.

use std::net::IpAddr;

/// An open port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there, in RabbitMQ's words: `amqp`, `amqp/ssl`, `http`, `https`.
    pub protocol: &'static str,
    /// Where it is bound.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}
