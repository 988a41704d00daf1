//! The functions that stand before the C library's: what changes bytes, what changes names, what
//! makes either durable. Their names and types are the C library's own.

mod names;

mod bytes;

mod sync;

mod room;
