//! Segments against a naive model, and against disks that crash, rot, fill up and fail.
#![expect(clippy::unwrap_used, reason = "what the tests share fails like a test")]

mod crash;
mod damage;
mod round_trip;
mod survey;

mod model;
