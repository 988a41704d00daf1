//! Class 30: access tickets of AMQP 0-8, which some clients still ask for. RabbitMQ hands out
//! ticket 1 to everybody.

#![expect(missing_docs, reason = "the fields and flags have the specification's names")]

use crate::wire::field::ShortString;

methods! {
    30 "access"
    /// Asks for a ticket.
    10 "request" Request<'a> { realm: ShortString<'a>, flags: u8 }
    /// Here it is.
    11 "request-ok" RequestOk { ticket: u16 }
}
