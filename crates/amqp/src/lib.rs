//! AMQP 0-9-1 as RabbitMQ speaks it.
//!
//! [`serve`] is the entrance: a socket in, a session of the broker behind it. Between the two
//! stands [`Connection`], which knows neither sockets nor clocks; the bytes themselves are in
//! [`wire`].

mod serve;

pub mod connection;

mod channel;
mod translate;

mod reply_code;
pub mod settings;

pub mod wire;

pub use connection::{Admission, Connection, Gate, Told};
pub use serve::{Peer, Stream, serve};
pub use settings::AmqpSettings;
