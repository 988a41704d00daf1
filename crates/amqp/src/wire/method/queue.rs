//! Class 50: queues.

#![expect(missing_docs, reason = "the fields and flags have the specification's names")]

use domain::table::Table;

use crate::wire::field::ShortString;

methods! {
    50 "queue"
    /// Makes a queue, or compares it with the one that exists.
    10 "declare" Declare<'a> {
        ticket: u16,
        queue: ShortString<'a>,
        flags: u8,
        arguments: Table,
    } flags { PASSIVE = 0, DURABLE = 1, EXCLUSIVE = 2, AUTO_DELETE = 3, NO_WAIT = 4 }
    /// Done.
    11 "declare-ok" DeclareOk<'a> {
        queue: ShortString<'a>,
        message_count: u32,
        consumer_count: u32,
    }
    /// Binds a queue to an exchange.
    20 "bind" Bind<'a> {
        ticket: u16,
        queue: ShortString<'a>,
        exchange: ShortString<'a>,
        routing_key: ShortString<'a>,
        flags: u8,
        arguments: Table,
    } flags { NO_WAIT = 0 }
    /// Done.
    21 "bind-ok" BindOk {}
    /// Drops the ready messages.
    30 "purge" Purge<'a> { ticket: u16, queue: ShortString<'a>, flags: u8 } flags { NO_WAIT = 0 }
    /// So many.
    31 "purge-ok" PurgeOk { message_count: u32 }
    /// Deletes a queue.
    40 "delete" Delete<'a> { ticket: u16, queue: ShortString<'a>, flags: u8 }
        flags { IF_UNUSED = 0, IF_EMPTY = 1, NO_WAIT = 2 }
    /// With so many messages.
    41 "delete-ok" DeleteOk { message_count: u32 }
    /// Removes a binding.
    50 "unbind" Unbind<'a> {
        ticket: u16,
        queue: ShortString<'a>,
        exchange: ShortString<'a>,
        routing_key: ShortString<'a>,
        arguments: Table,
    }
    /// Done.
    51 "unbind-ok" UnbindOk {}
}
