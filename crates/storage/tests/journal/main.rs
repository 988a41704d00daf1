//! The journal against disks that crash, tear, rot, fill up and fail.
#![expect(clippy::panic, clippy::unwrap_used, reason = "what the tests share fails like a test")]

mod crash;
mod damage;
mod failure;
mod format;
mod gathering;
mod round_trip;
mod threads;

mod ledger;
mod support;
