//! Who may do what: the rights that each request needs, as RabbitMQ asks for them. One table for
//! requests, one rule for publishes; what it forbids is refused before anything else is looked at.

use domain::exchange::{ALTERNATE_EXCHANGE, ExchangeType};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::refusal::{Kind, Refusal};
use domain::table::Table;
use domain::topology::routing::Routed;

use super::Vhost;
use crate::limits;
use crate::operation::{Declare, Destination, Operation, Verb};
use crate::permissions::{Access, Right};
use crate::session_id::SessionId;

/// Something that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The exchange it is about.
    Exchange,
    /// The queue it is about.
    Queue,
    /// Where a binding leads.
    Destination,
    /// Where a binding comes from.
    Source,
    /// The routing key of a binding from a topic exchange.
    Topic,
    /// Of an exchange that is to be made and shall have an alternate: the exchange itself.
    WithAlternate,
    /// That alternate.
    Alternate,
    /// Of a queue that is to be made and shall dead-letter: the queue itself.
    DeadLettering,
    /// The exchange it dead-letters to.
    DeadLetterExchange,
}

/// The rights that a request needs, in the order in which they are looked at.
fn rights(verb: Verb) -> &'static [(Right, Part)] {
    use Right::{Configure, Read, Write};
    match verb {
        Verb::DeclareExchange => {
            &[(Configure, Part::Exchange), (Read, Part::WithAlternate), (Write, Part::Alternate)]
        }
        Verb::DeleteExchange => &[(Configure, Part::Exchange)],
        Verb::DeclareQueue => &[
            (Configure, Part::Queue),
            (Read, Part::DeadLettering),
            (Write, Part::DeadLetterExchange),
        ],
        Verb::DeleteQueue => &[(Configure, Part::Queue)],
        Verb::PurgeQueue | Verb::Consume | Verb::Get => &[(Read, Part::Queue)],
        Verb::BindQueue | Verb::UnbindQueue | Verb::BindExchange | Verb::UnbindExchange => {
            &[(Write, Part::Destination), (Read, Part::Source), (Read, Part::Topic)]
        }
        Verb::Publish => &[(Write, Part::Exchange), (Write, Part::Topic)],
        Verb::Unasked
        | Verb::OpenChannel
        | Verb::CloseChannel
        | Verb::SelectConfirms
        | Verb::SelectTransactions
        | Verb::Commit
        | Verb::Rollback
        | Verb::SetPrefetch
        | Verb::Ack
        | Verb::Nack
        | Verb::Reject
        | Verb::Recover
        | Verb::RecoverAsync
        | Verb::Cancel => &[],
    }
}

/// The name that stands for the default exchange in patterns, as in RabbitMQ.
const DEFAULT_EXCHANGE: &str = "amq.default";

const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

impl Access {
    fn demand(&self, right: Right, kind: Kind, name: &Name) -> Result<(), Refusal> {
        let known_as = match kind {
            Kind::Exchange if name.is_empty() => DEFAULT_EXCHANGE,
            Kind::Exchange | Kind::Queue => name.as_str(),
        };
        if self.allows(right, known_as) {
            return Ok(());
        }
        Err(Refusal::NoPermission { kind, name: name.clone(), user: self.user.clone() })
    }

    /// Taking messages is more than looking at them.
    fn demand_taking(&self, right: Right, queue: &Name) -> Result<(), Refusal> {
        if self.may_take() {
            return self.demand(right, Kind::Queue, queue);
        }
        let (kind, name) = (Kind::Queue, queue.clone());
        Err(Refusal::NoPermission { kind, name, user: self.user.clone() })
    }

    fn demand_topic(&self, right: Right, exchange: &Name, key: &[u8]) -> Result<(), Refusal> {
        if self.allows_topic(right, exchange.as_str(), key) {
            return Ok(());
        }
        Err(Refusal::NoTopicPermission {
            exchange: exchange.clone(),
            routing_key: key.into(),
            user: self.user.clone(),
        })
    }
}

impl Vhost {
    /// Refuses a request for which the session's user lacks a right.
    pub(super) fn permit(
        &self,
        session: SessionId,
        operation: &Operation,
        verb: Verb,
    ) -> Result<(), Refusal> {
        let Some(state) = self.sessions.get(session.index()) else { return Ok(()) };
        if state.access.is_everything() {
            return Ok(());
        }
        for (right, part) in rights(verb) {
            self.demand(session, &state.access, *right, *part, operation)?;
        }
        Ok(())
    }

    /// Refuses leases of a queue's messages to whoever may not get them.
    pub(super) fn permit_lease(&self, session: SessionId, queue: &Name) -> Result<(), Refusal> {
        let Some(state) = self.sessions.get(session.index()) else { return Ok(()) };
        rights(Verb::Get)
            .iter()
            .try_for_each(|(right, _queue)| state.access.demand(*right, Kind::Queue, queue))
    }

    /// Refuses to take messages out of a queue to whoever may not take them in turn.
    pub(super) fn permit_removal(&self, session: SessionId, queue: &Name) -> Result<(), Refusal> {
        let Some(state) = self.sessions.get(session.index()) else { return Ok(()) };
        state.access.demand_taking(Right::Read, queue)
    }

    /// Refuses to put messages into queues to whoever may not publish to them.
    pub(super) fn permit_move(&self, session: SessionId) -> Result<(), Refusal> {
        let Some(state) = self.sessions.get(session.index()) else { return Ok(()) };
        state.access.demand(Right::Write, Kind::Exchange, &Name::default())
    }

    /// A queue's name that was made up just now must be one that the user may configure.
    pub(super) fn permit_made_up(
        &self,
        session: SessionId,
        queue: &Name,
        declaration: &QueueDeclaration,
    ) -> Result<(), Refusal> {
        let Some(state) = self.sessions.get(session.index()) else { return Ok(()) };
        if state.access.is_everything() {
            return Ok(());
        }
        for (right, part) in rights(Verb::DeclareQueue) {
            self.demand_for_queue(&state.access, *right, *part, queue, &declaration.arguments)?;
        }
        Ok(())
    }

    fn demand(
        &self,
        session: SessionId,
        access: &Access,
        right: Right,
        part: Part,
        operation: &Operation,
    ) -> Result<(), Refusal> {
        use Operation as O;
        match operation {
            O::DeclareExchange { exchange, declare: Declare::Active, settings, .. } => {
                self.demand_for_exchange(access, right, part, exchange, &settings.arguments)
            }
            // Those of the broker can't go at all.
            O::DeleteExchange { exchange, .. } if !exchange.is_reserved() => {
                self.demand_for_exchange(access, right, part, exchange, &Table::default())
            }
            // One without a name gets one first.
            O::DeclareQueue { queue, declare: Declare::Active, declaration, .. }
                if !queue.is_empty() =>
            {
                // A name that can't be had is the other news.
                if queue.is_reserved() && self.topology.queue(queue.as_str()).is_none() {
                    return Ok(());
                }
                self.demand_for_queue(access, right, part, queue, &declaration.arguments)
            }
            O::DeleteQueue { channel, queue, .. } => match self.named(session, *channel, queue) {
                Some(queue) => access.demand(right, Kind::Queue, &queue),
                None => Ok(()),
            },
            O::PurgeQueue { channel, queue, .. } | O::Get { channel, queue, .. } => {
                match self.named(session, *channel, queue) {
                    Some(queue) => access.demand_taking(right, &queue),
                    None => Ok(()),
                }
            }
            O::Consume { channel, consume, .. } => {
                match self.named(session, *channel, &consume.queue) {
                    Some(queue) => access.demand_taking(right, &queue),
                    None => Ok(()),
                }
            }
            O::Bind { channel, source, destination, routing_key, .. } => {
                let (kind, destination, key) = match destination {
                    Destination::Exchange(name) => (Kind::Exchange, name.clone(), &**routing_key),
                    Destination::Queue(name) => {
                        let Some(queue) = self.named(session, *channel, name) else {
                            return Ok(());
                        };
                        (Kind::Queue, queue, &**routing_key)
                    }
                };
                let unnamed = key.is_empty()
                    && matches!(operation, O::Bind { destination: Destination::Queue(name), .. }
                                if name.is_empty());
                let key = if unnamed { destination.as_str().as_bytes() } else { key };
                self.demand_for_binding(access, right, part, (kind, &destination), source, key)
            }
            O::DeclareExchange { .. }
            | O::DeleteExchange { .. }
            | O::DeclareQueue { .. }
            | O::Publish(_)
            | O::PublishAlso { .. }
            | O::Settle { .. }
            | O::OpenChannel { .. }
            | O::CloseChannel { .. }
            | O::Lease(_)
            | O::SettleLeases(_)
            | O::Remove(_)
            | O::Done(_)
            | O::SelectConfirms { .. }
            | O::SelectTransactions { .. }
            | O::Commit { .. }
            | O::Rollback { .. }
            | O::ConsumeReplies { .. }
            | O::Introduce(_)
            | O::SetPrefetch { .. }
            | O::Cancel { .. }
            | O::Recover { .. }
            | O::ResumeDeliveries
            | O::End => Ok(()),
        }
    }

    /// The queue that a request means; `None`: none was declared yet, which is the other news.
    fn named(&self, session: SessionId, channel: u16, queue: &Name) -> Option<Name> {
        if !queue.is_empty() {
            return Some(queue.clone());
        }
        self.sessions.get(session.index())?.channels.get(&channel)?.last_queue.clone()
    }

    fn demand_for_exchange(
        &self,
        access: &Access,
        right: Right,
        part: Part,
        exchange: &Name,
        arguments: &Table,
    ) -> Result<(), Refusal> {
        if exchange.is_empty() {
            return Ok(());
        }
        if part == Part::Exchange {
            return access.demand(right, Kind::Exchange, exchange);
        }
        if self.topology.exchange(exchange.as_str()).is_some() {
            return Ok(());
        }
        match (part, named_exchange(arguments, ALTERNATE_EXCHANGE)) {
            (Part::WithAlternate, Some(_)) => access.demand(right, Kind::Exchange, exchange),
            (Part::Alternate, Some(alternate)) => access.demand(right, Kind::Exchange, &alternate),
            _nothing_else => Ok(()),
        }
    }

    fn demand_for_queue(
        &self,
        access: &Access,
        right: Right,
        part: Part,
        queue: &Name,
        arguments: &Table,
    ) -> Result<(), Refusal> {
        if part == Part::Queue {
            return access.demand(right, Kind::Queue, queue);
        }
        if self.topology.queue(queue.as_str()).is_some() {
            return Ok(());
        }
        match (part, named_exchange(arguments, DEAD_LETTER_EXCHANGE)) {
            (Part::DeadLettering, Some(_)) => access.demand(right, Kind::Queue, queue),
            (Part::DeadLetterExchange, Some(exchange)) => {
                access.demand(right, Kind::Exchange, &exchange)
            }
            _nothing_else => Ok(()),
        }
    }

    fn demand_for_binding(
        &self,
        access: &Access,
        right: Right,
        part: Part,
        (kind, destination): (Kind, &Name),
        source: &Name,
        key: &[u8],
    ) -> Result<(), Refusal> {
        let default = source.is_empty() || (kind == Kind::Exchange && destination.is_empty());
        match part {
            Part::Destination => access.demand(right, kind, destination),
            _source_or_topic if default => Ok(()),
            Part::Source => access.demand(right, Kind::Exchange, source),
            Part::Topic if self.is_topic(source.as_str()) => {
                access.demand_topic(right, source, key)
            }
            Part::Topic
            | Part::Exchange
            | Part::Queue
            | Part::WithAlternate
            | Part::Alternate
            | Part::DeadLettering
            | Part::DeadLetterExchange => Ok(()),
        }
    }

    fn is_topic(&self, exchange: &str) -> bool {
        let found = self.topology.exchange(exchange);
        found.is_some_and(|found| found.settings.exchange_type == ExchangeType::Topic)
    }

    /// Refuses a publish for which the session's user lacks a right.
    #[inline]
    pub(super) fn permit_publish(
        &mut self,
        session: SessionId,
        message: &Routed<'_>,
    ) -> Result<(), Refusal> {
        match self.sessions.get(session.index()) {
            Some(state) if !state.access.is_everything() => self.look_up(session, message),
            Some(_) | None => Ok(()),
        }
    }

    #[cold]
    fn look_up(&mut self, session: SessionId, message: &Routed<'_>) -> Result<(), Refusal> {
        let Some(state) = self.sessions.get_mut(session.index()) else { return Ok(()) };
        let granted = state.granted.iter().any(|name| name.as_str() == message.exchange);
        if !granted {
            let Ok(exchange) = Name::new(message.exchange) else { return Ok(()) };
            state.access.demand(Right::Write, Kind::Exchange, &exchange)?;
            if state.granted.len() == limits::GRANTED_EXCHANGES_MAX {
                state.granted.remove(0);
            }
            state.granted.push(exchange);
        }
        let Some(state) = self.sessions.get(session.index()) else { return Ok(()) };
        let Some(exchange) = self.topology.exchange(message.exchange) else { return Ok(()) };
        if state.access.has_topics()
            && exchange.settings.exchange_type == ExchangeType::Topic
            && !exchange.settings.internal
        {
            let key = message.routing_key;
            return state.access.demand_topic(Right::Write, &exchange.name, key);
        }
        Ok(())
    }
}

/// The exchange that an argument names.
fn named_exchange(arguments: &Table, argument: &str) -> Option<Name> {
    Name::new(arguments.get(argument)?.as_text()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every request and what it needs.
    const EXPECTED: &[(Verb, &str)] = &[
        (Verb::Unasked, ""),
        (Verb::OpenChannel, ""),
        (Verb::CloseChannel, ""),
        (Verb::SelectConfirms, ""),
        (Verb::SelectTransactions, ""),
        (Verb::Commit, ""),
        (Verb::Rollback, ""),
        (Verb::SetPrefetch, ""),
        (Verb::Publish, "Write Exchange, Write Topic"),
        (Verb::Ack, ""),
        (Verb::Nack, ""),
        (Verb::Reject, ""),
        (Verb::Recover, ""),
        (Verb::RecoverAsync, ""),
        (Verb::Consume, "Read Queue"),
        (Verb::Cancel, ""),
        (Verb::Get, "Read Queue"),
        (Verb::DeclareExchange, "Configure Exchange, Read WithAlternate, Write Alternate"),
        (Verb::DeleteExchange, "Configure Exchange"),
        (Verb::DeclareQueue, "Configure Queue, Read DeadLettering, Write DeadLetterExchange"),
        (Verb::DeleteQueue, "Configure Queue"),
        (Verb::PurgeQueue, "Read Queue"),
        (Verb::BindQueue, "Write Destination, Read Source, Read Topic"),
        (Verb::UnbindQueue, "Write Destination, Read Source, Read Topic"),
        (Verb::BindExchange, "Write Destination, Read Source, Read Topic"),
        (Verb::UnbindExchange, "Write Destination, Read Source, Read Topic"),
    ];

    #[test]
    fn the_table_is_total() {
        let verbs: Vec<Verb> = EXPECTED.iter().map(|(verb, _)| *verb).collect();
        assert_eq!(verbs, Verb::ALL, "a row for each, in order");
        for (verb, expected) in EXPECTED {
            let found: Vec<String> =
                rights(*verb).iter().map(|(right, part)| format!("{right:?} {part:?}")).collect();
            assert_eq!(found.join(", "), *expected, "{verb:?}");
        }
    }
}
