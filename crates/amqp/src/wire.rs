//! Bytes: frames, methods, property lists, as AMQP 0-9-1 lays them out (chapter 4). Borrowed where
//! they lie; nothing here knows a connection or the broker. Public for the fuzz targets; no other
//! crate speaks in these types.

pub mod frame;
pub mod method;
pub mod properties;

pub mod field;
