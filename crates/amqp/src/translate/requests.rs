//! Requests of a client, from wire words into the broker's.

use broker::operation::{
    Acknowledgement, Answer, BindingChange, ChannelId, Consume, Declare, Destination, Operation,
    Outcome, PrefetchScope, Sharing, Tags, Unroutable, Verb,
};
use domain::binding::BindingArguments;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::table::Table;

use super::garbled;
use crate::reply_code::{Fault, MethodId, ReplyCode};
use crate::wire::field::{Malformed, ShortString};
use crate::wire::method::{self, Method, access, basic, channel, confirm, exchange, queue, tx};

/// What a method on a channel asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Something for the virtual host.
    Operation(Operation),
    /// `channel.flow` that asks for nothing but an answer.
    Flow,
    /// A ticket of AMQP 0-8.
    Ticket,
}

/// A publish, as its method tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a [u8],
    pub(crate) unroutable: Unroutable,
}

/// `basic.publish`, as a number.
pub(crate) const PUBLISH: MethodId = (basic::CLASS, basic::Publish::ID);

/// Reads `basic.publish`; the content follows in frames of its own.
#[inline]
pub(crate) fn publish(channel: ChannelId, fields: &[u8]) -> Result<Publish<'_>, Fault> {
    Fields { channel, id: PUBLISH, bytes: fields }.publish()
}

/// Reads any other method that a client may send on an open channel; opening and closing are the
/// connection's business.
pub(crate) fn read(channel: ChannelId, id: MethodId, fields: &[u8]) -> Result<Request, Fault> {
    let (class, method) = id;
    let read = Fields { channel, id, bytes: fields };
    match class {
        basic::CLASS => read.basic(method).map(Request::Operation),
        queue::CLASS => read.queue(method).map(Request::Operation),
        exchange::CLASS => read.exchange(method).map(Request::Operation),
        confirm::CLASS if method == confirm::Select::ID => read.confirm().map(Request::Operation),
        channel::CLASS if method == channel::Flow::ID => read.flow(),
        access::CLASS if method == access::Request::ID => {
            read.whole::<access::Request<'_>>().map(|_request| Request::Ticket)
        }
        tx::CLASS => read.transaction(method).map(Request::Operation),
        _unknown => Err(read.unimplemented()),
    }
}

/// The fields of one method, on their way to a request.
#[derive(Clone, Copy)]
struct Fields<'a> {
    channel: ChannelId,
    id: MethodId,
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn whole<M: Method<'a>>(self) -> Result<M, Fault> {
        method::read(self.bytes).map_err(|malformed| self.malformed(malformed))
    }

    fn malformed(self, malformed: Malformed) -> Fault {
        garbled::fields(self.id, self.bytes, malformed)
    }

    fn not_implemented(self, text: impl std::fmt::Display) -> Fault {
        Fault::new(ReplyCode::NotImplemented, self.id, text)
    }

    /// A method that no client sends, or that nobody knows.
    fn unimplemented(self) -> Fault {
        Fault::new(ReplyCode::CommandInvalid, self.id, "unimplemented method")
    }

    fn name(self, text: ShortString<'_>) -> Result<Name, Fault> {
        let text = text.text().map_err(|malformed| self.malformed(malformed))?;
        Name::new(text).map_err(|_too_long| self.malformed(Malformed::Trailing))
    }

    fn flow(self) -> Result<Request, Fault> {
        let flow: channel::Flow = self.whole()?;
        if flow.flags & channel::Flow::ACTIVE == 0 {
            return Err(self.not_implemented("active=false"));
        }
        Ok(Request::Flow)
    }

    fn confirm(self) -> Result<Operation, Fault> {
        let select: confirm::Select = self.whole()?;
        let answer = answer(select.flags & confirm::Select::NO_WAIT);
        Ok(Operation::SelectConfirms { channel: self.channel, answer })
    }

    fn transaction(self, method: u16) -> Result<Operation, Fault> {
        let channel = self.channel;
        Ok(match method {
            tx::Select::ID => {
                let tx::Select {} = self.whole()?;
                Operation::SelectTransactions { channel }
            }
            tx::Commit::ID => {
                let tx::Commit {} = self.whole()?;
                Operation::Commit { channel }
            }
            tx::Rollback::ID => {
                let tx::Rollback {} = self.whole()?;
                Operation::Rollback { channel }
            }
            _unknown => return Err(self.unimplemented()),
        })
    }

    fn basic(self, method: u16) -> Result<Operation, Fault> {
        let channel = self.channel;
        Ok(match method {
            basic::Ack::ID => {
                let ack: basic::Ack = self.whole()?;
                let tags = tags(ack.delivery_tag, ack.flags & basic::Ack::MULTIPLE);
                let outcome = Outcome::Acknowledged;
                Operation::Settle { channel, tags, outcome, verb: Verb::Ack }
            }
            basic::Nack::ID => {
                let nack: basic::Nack = self.whole()?;
                let tags = tags(nack.delivery_tag, nack.flags & basic::Nack::MULTIPLE);
                let outcome = returned(nack.flags & basic::Nack::REQUEUE, Outcome::Requeued);
                Operation::Settle { channel, tags, outcome, verb: Verb::Nack }
            }
            basic::Reject::ID => {
                let reject: basic::Reject = self.whole()?;
                let tags = Tags::One(reject.delivery_tag);
                let outcome = returned(reject.flags & basic::Reject::REQUEUE, Outcome::Failed);
                Operation::Settle { channel, tags, outcome, verb: Verb::Reject }
            }
            basic::Qos::ID => self.qos()?,
            basic::Consume::ID => self.consume()?,
            basic::Cancel::ID => {
                let cancel: basic::Cancel<'_> = self.whole()?;
                Operation::Cancel {
                    channel,
                    consumer_tag: self.name(cancel.consumer_tag)?,
                    answer: answer(cancel.flags & basic::Cancel::NO_WAIT),
                }
            }
            basic::Get::ID => {
                let get: basic::Get<'_> = self.whole()?;
                let acknowledgement = acknowledgement(get.flags & basic::Get::NO_ACK);
                Operation::Get { channel, queue: self.name(get.queue)?, acknowledgement }
            }
            basic::Recover::ID => {
                let recover: basic::Recover = self.whole()?;
                self.recover(recover.flags & basic::Recover::REQUEUE, Answer::Wanted)?
            }
            basic::RecoverAsync::ID => {
                let recover: basic::RecoverAsync = self.whole()?;
                self.recover(recover.flags & basic::RecoverAsync::REQUEUE, Answer::Unwanted)?
            }
            _unknown => return Err(self.unimplemented()),
        })
    }

    #[inline]
    fn publish(self) -> Result<Publish<'a>, Fault> {
        let publish: basic::Publish<'a> = self.whole()?;
        if publish.flags & basic::Publish::IMMEDIATE != 0 {
            return Err(self.not_implemented("immediate=true"));
        }
        let exchange = publish.exchange.text().map_err(|malformed| self.malformed(malformed))?;
        let unroutable = if publish.flags & basic::Publish::MANDATORY == 0 {
            Unroutable::Dropped
        } else {
            Unroutable::Returned
        };
        Ok(Publish { exchange, routing_key: publish.routing_key.0, unroutable })
    }

    fn qos(self) -> Result<Operation, Fault> {
        let qos: basic::Qos = self.whole()?;
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(self.not_implemented(text));
        }
        let scope = if qos.flags & basic::Qos::GLOBAL == 0 {
            PrefetchScope::Consumer
        } else {
            PrefetchScope::Channel
        };
        Ok(Operation::SetPrefetch { channel: self.channel, count: qos.prefetch_count, scope })
    }

    fn consume(self) -> Result<Operation, Fault> {
        let consume: basic::Consume<'_> = self.whole()?;
        let sharing = if consume.flags & basic::Consume::EXCLUSIVE == 0 {
            Sharing::Shared
        } else {
            Sharing::Exclusive
        };
        Ok(Operation::Consume {
            channel: self.channel,
            consume: Box::new(Consume {
                queue: self.name(consume.queue)?,
                consumer_tag: self.name(consume.consumer_tag)?,
                acknowledgement: acknowledgement(consume.flags & basic::Consume::NO_ACK),
                sharing,
                arguments: consume.arguments,
            }),
            answer: answer(consume.flags & basic::Consume::NO_WAIT),
        })
    }

    fn recover(self, requeue: u8, answer: Answer) -> Result<Operation, Fault> {
        if requeue == 0 {
            return Err(self.not_implemented("requeue=false"));
        }
        Ok(Operation::Recover { channel: self.channel, answer })
    }

    fn queue(self, method: u16) -> Result<Operation, Fault> {
        let channel = self.channel;
        Ok(match method {
            queue::Declare::ID => self.declare_queue()?,
            queue::Bind::ID => {
                let bind: queue::Bind<'_> = self.whole()?;
                let destination = Destination::Queue(self.name(bind.queue)?);
                let answer = answer(bind.flags & queue::Bind::NO_WAIT);
                let route = (bind.exchange, bind.routing_key, bind.arguments);
                self.bind(BindingChange::Add, destination, route, answer)?
            }
            queue::Unbind::ID => {
                let unbind: queue::Unbind<'_> = self.whole()?;
                let destination = Destination::Queue(self.name(unbind.queue)?);
                let route = (unbind.exchange, unbind.routing_key, unbind.arguments);
                self.bind(BindingChange::Remove, destination, route, Answer::Wanted)?
            }
            queue::Purge::ID => {
                let purge: queue::Purge<'_> = self.whole()?;
                let answer = answer(purge.flags & queue::Purge::NO_WAIT);
                Operation::PurgeQueue { channel, queue: self.name(purge.queue)?, answer }
            }
            queue::Delete::ID => {
                let delete: queue::Delete<'_> = self.whole()?;
                Operation::DeleteQueue {
                    channel,
                    queue: self.name(delete.queue)?,
                    only_if_unused: delete.flags & queue::Delete::IF_UNUSED != 0,
                    only_if_empty: delete.flags & queue::Delete::IF_EMPTY != 0,
                    answer: answer(delete.flags & queue::Delete::NO_WAIT),
                }
            }
            _unknown => return Err(self.unimplemented()),
        })
    }

    fn declare_queue(self) -> Result<Operation, Fault> {
        let declare: queue::Declare<'_> = self.whole()?;
        Ok(Operation::DeclareQueue {
            channel: self.channel,
            queue: self.name(declare.queue)?,
            declare: passive_or_active(declare.flags & queue::Declare::PASSIVE),
            declaration: Box::new(QueueDeclaration {
                durable: declare.flags & queue::Declare::DURABLE != 0,
                exclusive: declare.flags & queue::Declare::EXCLUSIVE != 0,
                auto_delete: declare.flags & queue::Declare::AUTO_DELETE != 0,
                arguments: declare.arguments,
            }),
            answer: answer(declare.flags & queue::Declare::NO_WAIT),
        })
    }

    fn exchange(self, method: u16) -> Result<Operation, Fault> {
        Ok(match method {
            exchange::Declare::ID => self.declare_exchange()?,
            exchange::Delete::ID => {
                let delete: exchange::Delete<'_> = self.whole()?;
                Operation::DeleteExchange {
                    channel: self.channel,
                    exchange: self.name(delete.exchange)?,
                    only_if_unused: delete.flags & exchange::Delete::IF_UNUSED != 0,
                    answer: answer(delete.flags & exchange::Delete::NO_WAIT),
                }
            }
            exchange::Bind::ID => {
                let bind: exchange::Bind<'_> = self.whole()?;
                let destination = Destination::Exchange(self.name(bind.destination)?);
                let answer = answer(bind.flags & exchange::Bind::NO_WAIT);
                let route = (bind.source, bind.routing_key, bind.arguments);
                self.bind(BindingChange::Add, destination, route, answer)?
            }
            exchange::Unbind::ID => {
                let unbind: exchange::Unbind<'_> = self.whole()?;
                let destination = Destination::Exchange(self.name(unbind.destination)?);
                let answer = answer(unbind.flags & exchange::Unbind::NO_WAIT);
                let route = (unbind.source, unbind.routing_key, unbind.arguments);
                self.bind(BindingChange::Remove, destination, route, answer)?
            }
            _unknown => return Err(self.unimplemented()),
        })
    }

    fn declare_exchange(self) -> Result<Operation, Fault> {
        let declared: exchange::Declare<'_> = self.whole()?;
        let declare = passive_or_active(declared.flags & exchange::Declare::PASSIVE);
        let exchange_type = declared.exchange_type.text().ok().and_then(ExchangeType::parse);
        let exchange_type = match (exchange_type, declare) {
            (Some(known), _) => known,
            // Whoever only asks need not know the type; many clients send an empty one.
            (None, Declare::Passive) => ExchangeType::Direct,
            (None, Declare::Active) => {
                let found = String::from_utf8_lossy(declared.exchange_type.0);
                let text = format!("unknown exchange type '{found}'");
                return Err(Fault::new(ReplyCode::CommandInvalid, self.id, text));
            }
        };
        Ok(Operation::DeclareExchange {
            channel: self.channel,
            exchange: self.name(declared.exchange)?,
            declare,
            settings: Box::new(ExchangeSettings {
                exchange_type,
                durable: declared.flags & exchange::Declare::DURABLE != 0,
                auto_delete: declared.flags & exchange::Declare::AUTO_DELETE != 0,
                internal: declared.flags & exchange::Declare::INTERNAL != 0,
                arguments: declared.arguments,
            }),
            answer: answer(declared.flags & exchange::Declare::NO_WAIT),
        })
    }

    fn bind(
        self,
        change: BindingChange,
        destination: Destination,
        (source, routing_key, arguments): (ShortString<'_>, ShortString<'_>, Table),
        answer: Answer,
    ) -> Result<Operation, Fault> {
        Ok(Operation::Bind {
            channel: self.channel,
            change,
            source: self.name(source)?,
            destination,
            routing_key: routing_key.0.into(),
            arguments: BindingArguments(arguments),
            answer,
        })
    }
}

fn answer(no_wait: u8) -> Answer {
    if no_wait == 0 { Answer::Wanted } else { Answer::Unwanted }
}

fn tags(tag: u64, multiple: u8) -> Tags {
    if multiple == 0 { Tags::One(tag) } else { Tags::UpTo(tag) }
}

fn returned(requeue: u8, how: Outcome) -> Outcome {
    if requeue == 0 { Outcome::Rejected } else { how }
}

fn acknowledgement(no_ack: u8) -> Acknowledgement {
    if no_ack == 0 { Acknowledgement::Manual } else { Acknowledgement::Automatic }
}

fn passive_or_active(passive: u8) -> Declare {
    if passive == 0 { Declare::Active } else { Declare::Passive }
}
