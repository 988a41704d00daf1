//! Both languages side by side: the only place that names wire types and the broker's words in one
//! breath. A request of a client becomes an operation, an event of the broker becomes frames, a
//! refusal becomes a reply code with RabbitMQ's words.

pub(crate) mod events;
pub(crate) mod requests;

pub(crate) mod garbled;
pub(crate) mod refusals;
