//! Class 40: exchanges.

#![expect(missing_docs, reason = "the fields and flags have the specification's names")]

use domain::table::Table;

use crate::wire::field::ShortString;

methods! {
    40 "exchange"
    /// Makes an exchange, or compares it with the one that exists.
    10 "declare" Declare<'a> {
        ticket: u16,
        exchange: ShortString<'a>,
        exchange_type: ShortString<'a>,
        flags: u8,
        arguments: Table,
    } flags { PASSIVE = 0, DURABLE = 1, AUTO_DELETE = 2, INTERNAL = 3, NO_WAIT = 4 }
    /// Done.
    11 "declare-ok" DeclareOk {}
    /// Deletes an exchange.
    20 "delete" Delete<'a> { ticket: u16, exchange: ShortString<'a>, flags: u8 }
        flags { IF_UNUSED = 0, NO_WAIT = 1 }
    /// Done.
    21 "delete-ok" DeleteOk {}
    /// Binds an exchange to an exchange (RabbitMQ).
    30 "bind" Bind<'a> {
        ticket: u16,
        destination: ShortString<'a>,
        source: ShortString<'a>,
        routing_key: ShortString<'a>,
        flags: u8,
        arguments: Table,
    } flags { NO_WAIT = 0 }
    /// Done.
    31 "bind-ok" BindOk {}
    /// Removes such a binding (RabbitMQ).
    40 "unbind" Unbind<'a> {
        ticket: u16,
        destination: ShortString<'a>,
        source: ShortString<'a>,
        routing_key: ShortString<'a>,
        flags: u8,
        arguments: Table,
    } flags { NO_WAIT = 0 }
    /// Done.
    51 "unbind-ok" UnbindOk {}
}
