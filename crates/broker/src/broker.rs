//! The handle that protocols hold.

use std::net::IpAddr;
use std::sync::Arc;

use domain::name::Name;

use crate::outbox::Wake;
use crate::session::Session;
