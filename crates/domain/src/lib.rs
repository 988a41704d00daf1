//! The rules: exchanges, bindings, queues, without I/O. Time and randomness are arguments; nothing
//! here locks, waits or reads a clock.
//!
//! The broker owns these structures, asks them for decisions and makes the decisions durable.

pub mod topology;

pub mod exchange;

pub mod queue;

pub mod dead_letter;

pub mod refusal;

pub mod binding;
pub mod credit;
pub mod name;
pub mod run;

pub mod properties;
pub mod table;
