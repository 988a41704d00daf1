//! What the tests with lapin stand on: a broker to test, a client with few words, and a link that
//! can be stalled or cut.
//!
//!     cargo test -p conformance-lapin --features live
//!
//! `POSTROOM_BINARY` names the binary; otherwise it is `target/release/postroom`, then
//! `target/debug/postroom`. `CONFORMANCE_URL=amqp://…` tests a broker that runs already, without the
//! tests that kill it.

pub mod broker;
pub mod client;
pub mod link;

use std::error::Error;
use std::fmt;

/// What a test returns: whatever went wrong, it ends the test.
pub type Outcome<T = ()> = Result<T, Failed>;

/// Any error. The test runner shows how it prints for debugging, so that is made to be read.
pub struct Failed(Box<dyn Error + Send + Sync>);

impl<E: Error + Send + Sync + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// Something a test counts on was not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Missing(pub &'static str);
