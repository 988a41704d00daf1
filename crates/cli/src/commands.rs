//! One file for each command.

pub(crate) mod bindings;
pub(crate) mod connections;
pub(crate) mod consume;
pub(crate) mod definitions;
pub(crate) mod exchanges;
pub(crate) mod health;
pub(crate) mod message;
pub(crate) mod peek;
pub(crate) mod publish;
pub(crate) mod queues;
pub(crate) mod search;
pub(crate) mod status;
pub(crate) mod tasks;
pub(crate) mod tokens;
pub(crate) mod users;
pub(crate) mod vhosts;

mod messages;

mod filter;
mod limits;
mod listing;
mod values;
