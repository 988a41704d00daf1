//! The preloaded library, in a child process that carries scripts out.

#![expect(unsafe_code, reason = "some calls have no safe form in std")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests and their child processes")]

mod power_loss;
mod small_disk;

mod library;
