//! Where a message goes: from its exchange along bindings, through other exchanges, to queues; each
//! queue once, however many ways lead to it. What matches no binding of an exchange goes on to its
//! alternate exchange.

use super::bindings::Index;
use super::{Exchange, Topology};
use crate::binding::{ExchangeId, QueueId, Target};
use crate::name::Name;
use crate::properties::Properties;
use crate::refusal::{Kind, Refusal};
use crate::table::Table;

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'a> {
    /// The exchange it was published to; empty: the default exchange.
    pub exchange: &'a str,
    /// Its routing key.
    pub routing_key: &'a [u8],
    /// Further keys that it is routed by as well.
    pub also: &'a [Box<[u8]>],
    /// Its properties.
    pub properties: Properties<'a>,
    /// Who sends it there.
    pub sender: Sender,
}

/// Who sends a message to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client; an internal exchange takes nothing from it.
    Client,
    /// A queue that gave it up.
    Queue,
}

/// How many targets may be found more than once before they are told apart.
const REPEATED_TARGETS_MAX: usize = 1024;

/// Whether messages alike in exchange and routing key go the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// Yes.
    ByKey,
    /// No: headers were looked at.
    ByHeaders,
}

/// One routing decision in the making; kept between messages for its buffers.
#[derive(Debug, Default)]
pub struct Route {
    /// The queues found.
    pub queues: Vec<QueueId>,
    /// The exchange that was asked; `None`: the default exchange.
    pub source: Option<ExchangeId>,
    targets: Vec<Target>,
    visited: Vec<ExchangeId>,
    /// Read when the first headers exchange asks.
    headers: Option<Table>,
}

impl Topology {
    /// Finds the queues for a message; `route.queues` has them afterwards, each once.
    ///
    /// Refuses what can't be published to: an exchange that does not exist or is internal.
    pub fn route(&self, message: &Routed<'_>, route: &mut Route) -> Result<Sameness, Refusal> {
        route.queues.clear();
        route.source = None;
        if message.exchange.is_empty() {
            // The default exchange: every queue is bound by its name (AMQP 0-9-1 §3.1.3.1).
            let named = |key| std::str::from_utf8(key).ok().and_then(|name| self.queue(name));
            route.queues.extend(named(message.routing_key));
            route.queues.extend(message.also.iter().filter_map(|key| named(key)));
            each_once(&mut route.queues);
            return Ok(Sameness::ByKey);
        }
        let found = self.exchange_ids.get(message.exchange).copied();
        let Some((id, exchange)) = found.and_then(|id| Some((id, self.exchanges.get(&id)?))) else {
            return Err(named(message.exchange, |name| Refusal::NotFound(Kind::Exchange, name)));
        };
        if exchange.settings.internal && message.sender == Sender::Client {
            return Err(Refusal::InternalExchange(exchange.name.clone()));
        }
        route.source = Some(id);
        route.headers = None;
        route.visited.clear();
        self.follow(id, message, route);
        each_once(&mut route.queues);
        let by_headers = route.headers.take().is_some();
        Ok(if by_headers { Sameness::ByHeaders } else { Sameness::ByKey })
    }

    fn alternate(&self, exchange: &Exchange) -> Option<ExchangeId> {
        self.exchange_ids.get(exchange.alternate.as_ref()?).copied()
    }

    /// Follows bindings, and alternates where no binding matches, until only queues are left.
    fn follow(&self, from: ExchangeId, message: &Routed<'_>, route: &mut Route) {
        let mut waiting = vec![from];
        while let Some(id) = waiting.pop() {
            if route.visited.contains(&id) {
                continue;
            }
            route.visited.push(id);
            let Some(exchange) = self.exchanges.get(&id) else {
                continue;
            };
            exchange.find(message, route);
            if route.targets.is_empty() {
                // Each exchange on the way decides for itself (RabbitMQ `rabbit_exchange:route`): what
                // matches none of its bindings goes on to its own alternate.
                waiting.extend(self.alternate(exchange));
            }
            for target in route.targets.drain(..) {
                match target {
                    Target::Queue(queue) => route.queues.push(queue),
                    Target::Exchange(next) => waiting.push(next),
                }
            }
        }
    }
}

impl Exchange {
    fn find(&self, message: &Routed<'_>, route: &mut Route) {
        match self.bindings.index() {
            Index::Direct(direct) => {
                by_keys(message, &mut route.targets, |key, found| direct.route(key, found));
            }
            Index::Fanout(fanout) => fanout.route(&mut route.targets),
            Index::Topic(topic) => {
                by_keys(message, &mut route.targets, |key, found| topic.route(key, found));
            }
            Index::Headers(headers) => {
                // Properties were checked when they came in; damaged ones match nothing.
                let read = || message.properties.headers().unwrap_or_default();
                headers.route(route.headers.get_or_insert_with(read), &mut route.targets);
            }
        }
    }
}

/// What is found by any of the message's keys.
fn by_keys(message: &Routed<'_>, found: &mut Vec<Target>, find: impl Fn(&[u8], &mut Vec<Target>)) {
    find(message.routing_key, found);
    let mut limit = REPEATED_TARGETS_MAX;
    for key in message.also {
        find(key, found);
        // Thousands of keys that all lead to the same targets must not take memory for each.
        if found.len() > limit {
            each_once(found);
            limit = found.len() + REPEATED_TARGETS_MAX;
        }
    }
}

fn each_once<T: Ord>(found: &mut Vec<T>) {
    if found.len() > 1 {
        found.sort_unstable();
        found.dedup();
    }
}

fn named(name: &str, refusal: impl FnOnce(Name) -> Refusal) -> Refusal {
    match Name::new(name) {
        Ok(name) => refusal(name),
        Err(_too_long) => Refusal::DefaultExchange,
    }
}
