//! The journal against disks that crash, tear, rot, fill up and fail.
//!
//! Which of them catch the planted faults that live in this crate (`POSTROOM_PLANTED_FAULT=… cargo test
//! -p storage --features stdx/planted-faults`):
//!
//! | fault | caught by, among others |
//! | --- | --- |
//! | `confirm-before-sync` | `every_confirmed_record_survives_every_crash` |
//! | `forgotten-directory-sync` | `every_confirmed_record_survives_every_crash` |
//! | `skipped-checksum` | `a_flipped_bit_anywhere_is_harmless_or_found` |
#![expect(clippy::panic, clippy::unwrap_used, reason = "what the tests share fails like a test")]

mod crash;
mod damage;
mod failure;
mod format;
mod faults;
mod full;
mod gathering;
mod repair;
mod round_trip;
mod threads;

mod ledger;
mod support;
