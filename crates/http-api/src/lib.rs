//! HTTP: the native API under `/v1`, RabbitMQ's management API under `/api`, health.
//!
//! [`serve`] is the entrance: a socket in, answers out. What may be asked, and by whom, stands in one
//! table, [`routes`]; everything is asked of the broker in the name of a user, whose rights are the
//! same as with any other protocol.

mod serve;

mod door;

mod house;

mod health;
mod metrics;
mod management;
mod native;

mod routes;

mod gate;

mod asked;

mod tenancy;

mod body;
mod query;
mod visit;
mod looking;

mod once;

mod waited;

pub mod definitions;

mod binding_key;
mod json_table;
mod trace_headers;
mod refusals;

mod auth;

mod hall;
mod repeats;
mod tasks;
mod certificate_end;
mod listener;

mod need;
mod peer;
mod problem;

pub use certificate_end::CertificateEnd;
pub use door::HttpDoor;
pub use hall::HttpSettings;
pub use listener::Listener;
pub use need::Need;
pub use peer::Peer;
pub use routes::Route;
pub use serve::{Stream, serve};
