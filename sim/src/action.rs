//! What clients do: requests chosen at random, most of them sensible, some of them wrong.

use broker::Persistence;
use broker::operation::{
    Acknowledgement, Answer, BindingChange, ChannelId, Consume, Declare, Destination, Operation,
    Outcome, PrefetchScope, Sharing, Tags, Unroutable, Verb,
};
use domain::binding::BindingArguments;
use domain::table::Table;

use crate::checker::topology::headers_fit;
use crate::checker::{ChannelKey, Checker, SessionKey, named};
use crate::life::{Request, Size};
use crate::message::Content;
use crate::random::Random;
use crate::vocabulary::{self, BINDING_KEYS, KEYS, PREDECLARED};

const CHANNELS_MAX: ChannelId = 3;
const CONSUMERS_MAX: usize = 4;

/// Somebody about to ask for something.
pub(crate) struct Client<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) checker: &'a mut Checker,
    pub(crate) session: SessionKey,
    pub(crate) flavour: Flavour,
}

/// What is special about a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flavour {
    /// What exchanges are like.
    pub(crate) settings: u64,
    /// How many messages in a hundred are large.
    pub(crate) large_percent: u64,
    pub(crate) depth: Depth,
    /// What rules queues keep, if any.
    pub(crate) rules: Option<u64>,
}

/// How long queues get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Mostly empty.
    Shallow,
    /// Much more comes than goes.
    Deep,
}

/// Whether a batch may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    More,
    /// A get is a batch's last request: what it takes depends on what went before it. So is what
    /// makes the broker deliver at once: what is asked behind it would depend on who took what.
    Enough,
}

impl Client<'_> {
    /// The next requests of a batch, which belong together.
    pub(crate) fn requests(&mut self) -> (Vec<Request>, Next) {
        let Some(state) = self.checker.sessions.get(&self.session) else {
            return (Vec::new(), Next::Enough);
        };
        let channels: Vec<(ChannelId, ChannelKey)> =
            state.asked.iter().map(|(number, key)| (*number, *key)).collect();
        if state.end_asked {
            // Whatever it asks now must not be heard.
            let channel = self.random.one_of([1, 2]);
            let requests = self.publish(channel);
            let open = operation(Operation::OpenChannel { channel });
            return ([vec![open], requests].concat(), Next::Enough);
        }
        let failed = channels.iter().find(|(_, key)| !self.is_open(*key)).copied();
        if let Some((number, _)) = failed
            && self.random.chance(60)
        {
            return (self.close(number), Next::More);
        }
        let few = channels.len() < usize::from(CHANNELS_MAX);
        if channels.is_empty() || (few && self.random.chance(5)) {
            let free = (1..=CHANNELS_MAX).find(|number| channels.iter().all(|(n, _)| n != number));
            let channel = free.unwrap_or(1);
            return (vec![operation(Operation::OpenChannel { channel })], Next::More);
        }
        let Some((number, key)) = self.random.pick(&channels).copied() else {
            return (Vec::new(), Next::Enough);
        };
        self.on_channel(number, key)
    }

    fn is_open(&self, key: ChannelKey) -> bool {
        self.checker.channels.get(&key).is_some_and(|channel| channel.open)
    }

    fn is_held(&self) -> bool {
        self.checker.sessions.get(&self.session).is_some_and(|session| session.held.is_some())
    }

    fn on_channel(&mut self, channel: ChannelId, key: ChannelKey) -> (Vec<Request>, Next) {
        if let Some(state) = self.checker.channels.get(&key)
            && state.transaction.is_some()
            && self.random.chance(15)
        {
            let next = if self.flavour.rules.is_some() { Next::Enough } else { Next::More };
            return (vec![self.end_of_transaction(channel)], next);
        }
        let requests = match self.random.below(1000) {
            0..330 => {
                let requests = self.publish(channel);
                let next = if self.delivers_at_once(&requests) { Next::Enough } else { Next::More };
                return (requests, next);
            }
            330..560 => {
                let requests = self.settle(channel, key);
                let next = if self.delivers_at_once(&requests) { Next::Enough } else { Next::More };
                return (requests, next);
            }
            560..630 => return (vec![self.get(channel)], Next::Enough),
            // Who consumes a deep queue is rare, or it would not be deep.
            630..690 if self.is_deep() => return (vec![self.get(channel)], Next::Enough),
            630..710 => self.consume(channel, key),
            710..730 => self.cancel(channel, key),
            730..770 => self.prefetch(channel),
            770..825 => vec![self.declare_queue(channel)],
            825..860 => vec![self.declare_exchange(channel)],
            860..925 => vec![self.bind(channel)],
            925..932 => vec![self.delete_queue(channel)],
            932..937 => vec![self.delete_exchange(channel)],
            937..945 => vec![self.purge(channel)],
            945..965 => {
                vec![operation(Operation::SelectConfirms { channel, answer: Answer::Wanted })]
            }
            965..974 => vec![operation(Operation::SelectTransactions { channel })],
            974 => return (vec![self.end_of_transaction(channel)], Next::Enough),
            975..985 => self.recover(channel),
            985..997 => self.close(channel),
            _open => vec![operation(Operation::OpenChannel { channel })],
        };
        (self.quietly(channel, requests), Next::More)
    }

    /// Now and then nobody wants an answer; then a request that has one follows, so that what the
    /// journal holds back belongs to this batch.
    fn quietly(&mut self, channel: ChannelId, mut requests: Vec<Request>) -> Vec<Request> {
        let may_be_quiet = matches!(
            requests.last(),
            Some(Request::Operation(
                Operation::DeclareExchange { .. }
                    | Operation::DeleteExchange { .. }
                    | Operation::DeleteQueue { .. }
                    | Operation::PurgeQueue { .. }
                    | Operation::Bind { .. }
            ))
        );
        if !may_be_quiet || !self.random.chance(15) {
            return requests;
        }
        if let Some(Request::Operation(
            Operation::DeclareExchange { answer, .. }
            | Operation::DeleteExchange { answer, .. }
            | Operation::DeleteQueue { answer, .. }
            | Operation::PurgeQueue { answer, .. }
            | Operation::Bind { answer, .. },
        )) = requests.last_mut()
        {
            *answer = Answer::Unwanted;
        }
        requests.extend(self.prefetch(channel));
        requests
    }

    fn end_of_transaction(&mut self, channel: ChannelId) -> Request {
        operation(if self.random.chance(75) {
            Operation::Commit { channel }
        } else {
            Operation::Rollback { channel }
        })
    }

    fn is_deep(&self) -> bool {
        self.flavour.depth == Depth::Deep
    }

    fn publish(&mut self, channel: ChannelId) -> Vec<Request> {
        let many_percent = if self.is_deep() { 30 } else { 5 };
        let many = self.random.chance(many_percent);
        let count = if many { self.random.between(20, 120) } else { self.random.between(1, 6) };
        let persistence =
            if self.random.chance(80) { Persistence::Persistent } else { Persistence::Transient };
        let unroutable =
            if self.random.chance(30) { Unroutable::Returned } else { Unroutable::Dropped };
        let (exchange, key) = self.route();
        let headers = self.random.pick(&vocabulary::header_samples()).cloned();
        let mut content = Content {
            exchange: named(&exchange),
            routing_key: key.as_bytes().into(),
            also: Box::default(),
            persistence,
            headers: headers.unwrap_or_default(),
            priority: None,
            body_bytes: 0,
            expiration_ms: None,
        };
        let medium_percent = match self.flavour.depth {
            Depth::Deep if count < 20 => 40,
            Depth::Deep => self.random.one_of([0, 5, 50]),
            Depth::Shallow => 5,
        };
        let mut requests = Vec::new();
        for _ in 0..count {
            let large = count < 5 && self.random.chance(self.flavour.large_percent);
            let medium = self.random.chance(medium_percent);
            let (size, body_bytes) = match (large, medium) {
                (true, _) => (Size::Large, self.random.between(50_000, 400_000)),
                (false, true) => (Size::Small, self.random.between(1_000, 9_000)),
                (false, false) => (Size::Small, self.random.between(0, 60)),
            };
            content.priority = self.priority();
            content.expiration_ms = self.expiration_ms();
            content.body_bytes = u32::try_from(body_bytes).unwrap_or(0);
            if self.random.chance(10) {
                let headers = self.random.pick(&vocabulary::header_samples()).cloned();
                content.headers = headers.unwrap_or_default();
            }
            if self.random.chance(5) {
                let further = [self.queue_there(), self.random.one_of(KEYS).to_owned()];
                content.also = further.into_iter().map(|key| key.into_bytes().into()).collect();
            }
            if self.random.chance(5) {
                let other = [Persistence::Persistent, Persistence::Transient];
                content.persistence = self.random.one_of(other);
            }
            let message = self.checker.messages.add(content.clone());
            requests.push(Request::Publish { channel, unroutable, message, size });
        }
        requests
    }

    /// What may not wait goes to whoever can take it while the batch is being applied.
    fn delivers_at_once(&self, requests: &[Request]) -> bool {
        requests.iter().any(|request| {
            let Request::Publish { message, .. } = request else {
                // Dead letters come when the batch is over.
                let Request::Operation(Operation::Settle { outcome, .. }) = request else {
                    return false;
                };
                return self.flavour.rules.is_some() && *outcome == Outcome::Rejected;
            };
            let content = self.checker.messages.content(*message);
            content.is_some_and(|content| content.expiration_ms == Some(0))
        })
    }

    /// Only where queues keep rules.
    fn priority(&mut self) -> Option<u8> {
        let some = self.flavour.rules.is_some() && self.random.chance(30);
        some.then(|| self.random.one_of([0, 1, 2, 4, 9]))
    }

    /// Only where queues keep rules.
    fn expiration_ms(&mut self) -> Option<u64> {
        let rare = self.flavour.rules.is_some() && self.random.chance(15);
        rare.then(|| self.random.one_of([0, 1, 5, 20, 100, 1_000]))
    }

    /// Where a publish goes: an exchange and a routing key.
    fn route(&mut self) -> (String, String) {
        let key = self.random.one_of(KEYS);
        match self.random.below(100) {
            0..50 => (String::new(), self.queue_there()),
            50..65 => (self.random.one_of(PREDECLARED).to_owned(), key.to_owned()),
            65..70 => (String::new(), key.to_owned()),
            70..72 => (vocabulary::exchange_name(self.random).to_owned(), key.to_owned()),
            _there => {
                let there: Vec<String> = (self.checker.topology.exchanges.iter())
                    .filter(|(_, settings)| !settings.internal)
                    .map(|(name, _)| name.clone())
                    .collect();
                let exchange = self.random.pick(&there).cloned();
                (exchange.unwrap_or_default(), key.to_owned())
            }
        }
    }

    fn settle(&mut self, channel: ChannelId, key: ChannelKey) -> Vec<Request> {
        let held = self.is_held();
        let Some(state) = self.checker.channels.get(&key) else { return Vec::new() };
        let tags: Vec<u64> = state.unsettled.keys().copied().collect();
        let unknown = state.last_tag + 1_000;
        let outcome = match self.random.below(100) {
            0..65 => Outcome::Acknowledged,
            65..80 => Outcome::Requeued,
            80..90 => Outcome::Failed,
            _rejected => Outcome::Rejected,
        };
        let verb = match outcome {
            Outcome::Acknowledged => Verb::Ack,
            Outcome::Requeued | Outcome::Rejected => Verb::Nack,
            Outcome::Failed => Verb::Reject,
        };
        let tag = self.random.pick(&tags).copied();
        let tags = match (self.random.below(100), tag) {
            (0..2, _) => Tags::One(unknown),
            (2..10, _) if !held => Tags::UpTo(0),
            (10..40, Some(tag)) => Tags::UpTo(tag),
            (_, Some(tag)) => Tags::One(tag),
            (_, None) => return Vec::new(),
        };
        vec![operation(Operation::Settle { channel, tags, outcome, verb })]
    }

    fn get(&mut self, channel: ChannelId) -> Request {
        let queue = named(&self.queue_there());
        operation(Operation::Get { channel, queue, acknowledgement: self.acknowledgement() })
    }

    /// Mostly a queue that is there; now and then none, or the one declared last.
    fn queue_there(&mut self) -> String {
        let there: Vec<String> = self.checker.names.keys().cloned().collect();
        match self.random.below(100) {
            0..2 => vocabulary::queue_name(self.random).to_owned(),
            2..4 => String::new(),
            _there => {
                let name = self.random.pick(&there).cloned();
                // What the broker has not named yet can't be named.
                let name = name.filter(|name| !name.starts_with('?'));
                name.unwrap_or_else(|| vocabulary::queue_name(self.random).to_owned())
            }
        }
    }

    fn acknowledgement(&mut self) -> Acknowledgement {
        let manual_percent = if self.is_deep() { 92 } else { 75 };
        if self.random.chance(manual_percent) {
            Acknowledgement::Manual
        } else {
            Acknowledgement::Automatic
        }
    }

    fn consume(&mut self, channel: ChannelId, key: ChannelKey) -> Vec<Request> {
        let Some(state) = self.checker.channels.get(&key) else { return Vec::new() };
        if state.consumers.len() >= CONSUMERS_MAX {
            return Vec::new();
        }
        let taken = state.consumers.keys().find(|tag| !tag.starts_with('?')).cloned();
        let consumer_tag = match (self.random.below(100), taken) {
            (0..3, Some(taken)) => taken,
            (0..15, _) => String::new(),
            (_, _) => format!("c{}", self.random.next() % 1_000_000),
        };
        let answer = if !consumer_tag.is_empty() && self.random.chance(10) {
            Answer::Unwanted
        } else {
            Answer::Wanted
        };
        let sharing = if self.random.chance(4) { Sharing::Exclusive } else { Sharing::Shared };
        let consume = Consume {
            queue: named(&self.queue_there()),
            consumer_tag: named(&consumer_tag),
            acknowledgement: self.acknowledgement(),
            sharing,
            arguments: Table::default(),
        };
        vec![operation(Operation::Consume { channel, consume: consume.into(), answer })]
    }

    fn cancel(&mut self, channel: ChannelId, key: ChannelKey) -> Vec<Request> {
        let Some(state) = self.checker.channels.get(&key) else { return Vec::new() };
        let tags: Vec<String> =
            state.consumers.keys().filter(|tag| !tag.starts_with('?')).cloned().collect();
        let tag = self.random.pick(&tags).cloned().unwrap_or_else(|| "nobody".to_owned());
        let answer = self.random.one_of([Answer::Wanted, Answer::Wanted, Answer::Unwanted]);
        vec![operation(Operation::Cancel { channel, consumer_tag: named(&tag), answer })]
    }

    fn prefetch(&mut self, channel: ChannelId) -> Vec<Request> {
        let count = self.random.one_of([0, 1, 1, 2, 3, 10]);
        let scope = self.random.one_of([PrefetchScope::Consumer, PrefetchScope::Channel]);
        vec![operation(Operation::SetPrefetch { channel, count, scope })]
    }

    fn declare(&mut self) -> Declare {
        if self.random.chance(6) { Declare::Passive } else { Declare::Active }
    }

    fn declare_queue(&mut self, channel: ChannelId) -> Request {
        let rules = self.flavour.rules;
        let answer = Answer::Wanted;
        let (name, mut declaration) = match self.random.below(100) {
            0..2 => ("amq.reserved", vocabulary::declaration("orders", rules)),
            // Named by the broker.
            2..8 => ("", vocabulary::declaration("mine", rules)),
            _named => {
                let name = vocabulary::queue_name(self.random);
                (name, vocabulary::declaration(name, rules))
            }
        };
        if !name.is_empty() && self.random.chance(3) {
            declaration.auto_delete ^= true;
        }
        let declare = if name.is_empty() { Declare::Active } else { self.declare() };
        let (queue, declaration) = (named(name), declaration.into());
        operation(Operation::DeclareQueue { channel, queue, declare, declaration, answer })
    }

    fn declare_exchange(&mut self, channel: ChannelId) -> Request {
        let answer = Answer::Wanted;
        let name = match self.random.below(100) {
            0..2 => "amq.reserved",
            2 => "",
            _named => vocabulary::exchange_name(self.random),
        };
        let mut settings = vocabulary::settings(name, self.flavour.settings);
        if self.random.chance(3) {
            settings.auto_delete ^= true;
        }
        let (declare, exchange) = (self.declare(), named(name));
        let settings = settings.into();
        operation(Operation::DeclareExchange { channel, exchange, declare, settings, answer })
    }

    /// Mostly an exchange that is there.
    fn exchange_there(&mut self) -> String {
        let there: Vec<String> = self.checker.topology.exchanges.keys().cloned().collect();
        match self.random.below(100) {
            0..2 => vocabulary::exchange_name(self.random).to_owned(),
            2 => String::new(),
            _there => self.random.pick(&there).cloned().unwrap_or_default(),
        }
    }

    fn bind(&mut self, channel: ChannelId) -> Request {
        let known = self.random.pick(&self.checker.topology.bindings).cloned();
        if let Some(binding) = known
            && self.random.chance(25)
            && !matches!(&binding.goal, crate::checker::topology::Goal::Queue(name)
                if name.starts_with('?'))
        {
            return operation(crate::inspect::unbind(channel, &binding));
        }
        let source = self.exchange_there();
        let target = self.exchange_there();
        // Nothing leads from a predeclared exchange to another one, so that their bindings show.
        let to_exchange = self.random.chance(30) && !source.starts_with("amq.");
        let destination = if to_exchange {
            Destination::Exchange(named(&target))
        } else {
            Destination::Queue(named(&self.queue_there()))
        };
        let mut arguments = if self.random.chance(50) {
            vocabulary::binding_arguments(self.random)
        } else {
            Table::default()
        };
        // Nor does a binding of theirs that no message meets.
        if source.starts_with("amq.") && !headers_fit(&arguments, &arguments) {
            arguments = Table::default();
        }
        operation(Operation::Bind {
            channel,
            change: if self.random.chance(95) { BindingChange::Add } else { BindingChange::Remove },
            source: named(&source),
            destination,
            routing_key: self.random.one_of(BINDING_KEYS).as_bytes().into(),
            arguments: BindingArguments(arguments),
            answer: Answer::Wanted,
        })
    }

    fn delete_queue(&mut self, channel: ChannelId) -> Request {
        let name = self.queue_there();
        let only_if_unused = self.random.chance(20);
        // Only where it is known whether it is empty.
        let only_if_empty = self.random.chance(30) && self.checker.knows_depth_of(&name);
        let queue = named(&name);
        let answer = Answer::Wanted;
        operation(Operation::DeleteQueue { channel, queue, only_if_unused, only_if_empty, answer })
    }

    fn delete_exchange(&mut self, channel: ChannelId) -> Request {
        let exchange = named(&self.exchange_there());
        let (only_if_unused, answer) = (self.random.chance(30), Answer::Wanted);
        operation(Operation::DeleteExchange { channel, exchange, only_if_unused, answer })
    }

    fn purge(&mut self, channel: ChannelId) -> Request {
        let (queue, answer) = (named(&self.queue_there()), Answer::Wanted);
        operation(Operation::PurgeQueue { channel, queue, answer })
    }

    /// Not while deliveries may be on their way unseen: which of them return would be anybody's
    /// guess.
    fn recover(&mut self, channel: ChannelId) -> Vec<Request> {
        if self.is_held() {
            return Vec::new();
        }
        let answer = self.random.one_of([Answer::Wanted, Answer::Unwanted]);
        vec![operation(Operation::Recover { channel, answer })]
    }

    /// A close without an answer is followed by an opening, whose answer shows that it happened.
    fn close(&mut self, channel: ChannelId) -> Vec<Request> {
        if self.random.chance(70) {
            let answer = Answer::Wanted;
            return vec![operation(Operation::CloseChannel { channel, answer })];
        }
        let answer = Answer::Unwanted;
        vec![
            operation(Operation::CloseChannel { channel, answer }),
            operation(Operation::OpenChannel { channel }),
        ]
    }
}

fn operation(operation: Operation) -> Request {
    Request::Operation(operation)
}
