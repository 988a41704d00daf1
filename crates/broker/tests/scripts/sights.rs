//! What there is to see: depths, counts, rates, who is connected.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's own code")]

use std::net::IpAddr;

use broker::connections::Connection;
use broker::views::{BindingEnd, MessageCounts, MessageState, MessageView, QueueView};
use broker::{Begin, Broker, Browse, Message, Onward, Viewer};
use domain::name::Name;
use domain::run::Direction;

use crate::script::check_what_matters as check;

/// Says what there is: `queue Q`, `messages Q`, `newest Q`, `queues`, `exchange X`, `bindings`, `channels`, `consumers`,
/// `connections`, `totals`; counts of zero are left out.
pub(crate) fn see(broker: &Broker, what: &[&str]) -> Vec<String> {
    let said = say(broker, what);
    let parts = said.iter().flat_map(|line| line.split(';')).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn say(broker: &Broker, what: &[&str]) -> Vec<String> {
    let sight = broker.sight("/").unwrap();
    match *what {
        ["queue", name] => {
            sight.queue(name).map_or(vec!["none".to_owned()], |queue| vec![of_queue(&queue)])
        }
        ["rates", name] => {
            let traffic = sight.queue(name).unwrap().traffic();
            let depth =
                format!("ready {:+}, unacked {:+}", traffic.ready_rate, traffic.unacked_rate);
            vec![format!("{}; {depth}", counts(&traffic.rates))]
        }
        ["messages", queue] => messages(broker, queue, Direction::OldestFirst),
        ["newest", queue] => messages(broker, queue, Direction::NewestFirst),
        ["queues"] => sight.queues().iter().map(of_queue).collect(),
        ["exchange", name] => {
            let name = if name == "-" { "" } else { name };
            let exchange = sight.exchange(name).unwrap();
            let (counts, rates) = (exchange.counts, exchange.rates);
            vec![format!(
                "in {}, out {}, {}/s in",
                counts.published_in, counts.published_out, rates.published_in
            )]
        }
        ["exchanges"] => {
            let all = sight.exchanges();
            let named =
                all.iter().map(|it| it.name.as_str()).filter(|name| !name.starts_with("amq."));
            named
                .map(|name| if name.is_empty() { "(default)".to_owned() } else { name.to_owned() })
                .collect()
        }
        ["bindings"] => {
            let all = sight.bindings();
            let shown = all.iter().map(|it| {
                let end = match &it.destination {
                    BindingEnd::Queue(name) => format!("queue {name}"),
                    BindingEnd::Exchange(name) => format!("exchange {name}"),
                };
                let key = String::from_utf8_lossy(&it.routing_key).into_owned();
                format!("'{}' {key} {end}", it.source)
            });
            shown.collect()
        }
        ["channels"] => sight.channels().iter().map(of_channel).collect(),
        ["consumers"] => {
            let all = sight.consumers();
            let shown = all.iter().map(|it| {
                let active = if it.active { "" } else { ", stands by" };
                let (tag, queue, held) = (&it.consumer_tag, &it.queue, it.unacked);
                format!(
                    "{} {tag} of {queue}: prefetch {}, unacked {held}{active}",
                    who(&it.connection),
                    it.prefetch
                )
            });
            shown.collect()
        }
        ["connections"] => {
            broker.connections().iter().map(|it| format!("{} as {}", it.name, it.user)).collect()
        }
        ["totals"] => {
            let totals = sight.totals();
            vec![format!("{}; {} samples", counts(&totals.counts), totals.samples.len())]
        }
        _ => panic!("{what:?}"),
    }
}

/// Shows messages two at a time.
struct Two(Vec<String>);

impl Viewer for Two {
    fn wants(&mut self, _view: &MessageView<'_>) -> bool {
        true
    }

    fn look(&mut self, view: &MessageView<'_>, message: &Message<'_>) -> Onward {
        let state = match view.state {
            MessageState::Ready => "ready".to_owned(),
            MessageState::Leased(lease) => format!("leased by {}", lease.holder),
            MessageState::Delivered => "delivered".to_owned(),
            MessageState::Delayed { .. } => "delayed".to_owned(),
        };
        let body = String::from_utf8_lossy(message.body);
        let times = if view.attempts == 0 { String::new() } else { format!(" {}x", view.attempts) };
        self.0.push(format!("{body} {state}{times}"));
        if self.0.len().is_multiple_of(2) { Onward::Stop } else { Onward::GoOn }
    }
}

fn messages(broker: &Broker, queue: &str, direction: Direction) -> Vec<String> {
    let user = broker.authenticate_external("guest", IpAddr::from([127, 0, 0, 1])).unwrap();
    let mut two = Two(Vec::new());
    let mut begin = Begin::End(direction);
    loop {
        let queue = Name::new(queue).unwrap();
        let browse = Browse { queue, begin, until: None, messages_max: 100, bytes_max: 1 << 20 };
        match broker.browse(&user, "/", &browse, &mut two).unwrap().next {
            Some(cursor) => begin = Begin::Behind(cursor),
            None => return two.0,
        }
    }
}

#[test]
fn messages_are_seen_in_order_of_arrival_and_stay_as_they_are() {
    check(
        "a queue q
         a publish - q one two three four five transient
         see messages q -> one ready; two ready; three ready; four ready; five ready
         a get q -> a: got#1 one, 4 left
         b lease q 2 60000 -> b: leased two three
         see messages q -> one delivered 1x; two leased by guest 1x; three leased by guest 1x; four ready; five ready
         see newest q -> five ready; four ready; three leased by guest 1x; two leased by guest 1x; one delivered 1x
         a requeue 1
         see messages q -> one ready 1x; two leased by guest 1x; three leased by guest 1x; four ready; five ready
         a get q -> a: got#2 one', 2 left
         see messages q -> one delivered 2x; two leased by guest 1x; three leased by guest 1x; four ready; five ready
         a ack 2
         see newest q -> five ready; four ready; three leased by guest 1x; two leased by guest 1x
         b lease-ack two
         sync -> b: done
         see messages q -> three leased by guest 1x; four ready; five ready",
    );
}

#[test]
fn messages_on_disk_are_seen_where_they_are() {
    check(
        "a queue q durable
         a publish - q one two three four five
         rest
         b lease q 2 60000
         sync
         see messages q -> one leased by guest 1x; two leased by guest 1x; three ready; four ready; five ready
         see newest q -> five ready; four ready; three ready; two leased by guest 1x; one leased by guest 1x
         b lease-ack one
         b publish - q six
         sync
         see messages q -> two leased by guest 1x; three ready; four ready; five ready; six ready
         rest
         see newest q -> six ready; five ready; four ready; three ready; two leased by guest 1x",
    );
}

fn who(connection: &Connection) -> &str {
    connection.client_provided_name().unwrap()
}

fn of_queue(queue: &QueueView) -> String {
    let oldest = queue.oldest_ms.map_or(String::new(), |ms| format!(", oldest {ms} ms"));
    let owner = queue.owner.as_ref().map_or(String::new(), |it| format!(", of {}", who(it)));
    format!(
        "{}: {}+{}, {} consumers{oldest}{owner}; {}",
        queue.name,
        queue.ready,
        queue.unacked,
        queue.consumers,
        counts(&queue.traffic().counts)
    )
}

fn of_channel(channel: &broker::views::ChannelView) -> String {
    let confirms = if channel.confirms {
        format!(", unconfirmed {}", channel.unconfirmed)
    } else {
        String::new()
    };
    let (publishes, settlements) = (channel.uncommitted, channel.uncommitted_settlements);
    let transaction = if channel.transactional {
        format!(", uncommitted {publishes} and {settlements}")
    } else {
        String::new()
    };
    format!(
        "{} {}: unacked {}, {} consumers, prefetch {}{confirms}{transaction}; {}",
        who(&channel.connection),
        channel.number,
        channel.unacked,
        channel.consumers,
        channel.prefetch,
        counts(&channel.counts)
    )
}

/// Those that are not zero.
fn counts<N: std::fmt::Debug + Copy>(counts: &MessageCounts<N>) -> String {
    let all = format!("{counts:?}");
    let fields = all.split_once('{').unwrap().1.trim_end_matches('}').trim().to_owned();
    let some =
        fields.split(", ").filter(|field| !field.ends_with(": 0") && !field.ends_with(": 0.0"));
    some.map(|field| field.replace(": ", " ")).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_happens_to_messages_is_counted() {
    check(
        "a queue q
         see queue q -> q: 0+0, 0 consumers;
         a confirms
         a publish - q one two three transient
         see queue q -> q: 3+0, 0 consumers, oldest 0 ms; published 3
         wait 70
         a publish - q four transient
         wait 30
         see queue q -> q: 4+0, 0 consumers, oldest 100 ms; published 4
         a get q -> a: got#1 one, 3 left
         a consume q c
         see queue q -> q: 0+4, 1 consumers; published 4 delivered 3 got 1
         a ack-up-to 2
         a requeue 3 -> a: c#5 three'
         a reject 5
         see queue q -> q: 0+1, 1 consumers; published 4 delivered 4 got 1 redelivered 1 \
                        acknowledged 2 requeued 1 rejected 1
         a cancel c
         a get q -> a: nothing
         a recover
         a purge q
         see queue q -> q: 0+0, 0 consumers; published 4 delivered 4 got 1 got_nothing 1 redelivered 1 \
                        acknowledged 2 requeued 2 rejected 1 purged 1
         see totals -> published 4 confirmed 4 delivered 4 got 1 got_nothing 1 redelivered 1 \
                       acknowledged 2 requeued 2 rejected 1 purged 1; 0 samples
         a publish - nowhere five transient
         a publish - nowhere six mandatory transient
         see channels -> a 1: unacked 0, 0 consumers, prefetch 0, unconfirmed 0; published 6 \
                         confirmed 6 returned 1 unroutable_dropped 1 delivered 4 got 1 got_nothing 1 \
                         redelivered 1 acknowledged 2 requeued 1 rejected 1
         see exchange - -> in 6, out 4, 0/s in",
    );
}

#[test]
fn rates_are_of_the_time_between_two_samples() {
    check(
        "a queue q
         a exchange x fanout
         a bind x q -
         a consume q c no-ack
         sample
         wait 5000
         a publish x - one two three four five transient
         see rates q -> ; ready +0, unacked +0
         sample
         see rates q -> published 1.0 delivered_no_ack 1.0; ready +0, unacked +0
         see exchange x -> in 5, out 5, 1/s in
         wait 2000
         a cancel c
         a publish x - six seven transient
         sample
         see rates q -> published 1.0; ready +1, unacked +0
         wait 1000
         sample
         see rates q -> ; ready +0, unacked +0
         see totals -> published 7 delivered_no_ack 5; 4 samples",
    );
}

#[test]
fn what_a_queue_gives_up_is_counted() {
    check(
        "a queue dead
         a queue short x-max-length=1 x-dead-letter-exchange=- x-dead-letter-routing-key=dead
         a queue full x-max-length=1 x-overflow=reject-publish
         a confirms
         a publish - short one two transient
         a publish - full one two transient
         see queues -> dead: 1+0, 0 consumers, oldest 0 ms; published 1; \
                       full: 1+0, 0 consumers, oldest 0 ms; published 1 refused 1; \
                       short: 1+0, 0 consumers, oldest 0 ms; published 2 overflowed 1 dead_lettered 1
         a publish - dead three transient ttl=10
         wait 20
         a publish - short four transient
         see queue dead -> dead: 2+0, 0 consumers, oldest 20 ms; published 3 expired 1",
    );
}

#[test]
fn channels_consumers_and_connections_are_there_to_see() {
    check(
        "a queue q durable x-single-active-consumer=true
         b queue mine exclusive
         see connections -> 127.0.0.1:97 -> 127.0.0.1:5672 as guest; \
                            127.0.0.1:98 -> 127.0.0.1:5672 as guest
         see queue mine -> mine: 0+0, 0 consumers, of b;
         a prefetch 2
         a consume q first
         a prefetch 0
         b consume q second
         a confirms
         a publish - q one two three
         see consumers -> a first of q: prefetch 2, unacked 2; b second of q: prefetch 0, unacked 0, stands by
         see channels -> a 1: unacked 2, 1 consumers, prefetch 0, unconfirmed 3; published 3 confirmed 3 \
                         delivered 2; b 1: unacked 0, 1 consumers, prefetch 0;
         sync
         a leave
         see connections -> 127.0.0.1:98 -> 127.0.0.1:5672 as guest
         see consumers -> b second of q: prefetch 0, unacked 3
         b cancel second
         b recover
         kick b -> b: closing: kicked
         b leave
         see queue mine -> none
         c tx
         c publish - q four five
         c get q -> c: got#1 one', 2 left
         c ack 1
         see channels -> c 1: unacked 0, 0 consumers, prefetch 0, uncommitted 2 and 1; got 1 redelivered 1",
    );
}

#[test]
fn everything_is_listed_in_order() {
    check(
        "a queue b
         a queue a
         a exchange x topic
         a bind x b k.#
         a bind x a k.#
         a bind x a a.#
         see exchanges -> (default); x
         see bindings -> '' a queue a; '' b queue b; 'x' a.# queue a; 'x' k.# queue a; 'x' k.# queue b",
    );
}

#[test]
fn ages_are_known_again_from_a_restart_on() {
    check(
        "a queue q durable
         a confirms
         a publish - q one
         wait 1000
         sync
         see queue q -> q: 1+0, 0 consumers, oldest 1100 ms; published 1
         stop
         wait 300
         see queue q -> q: 1+0, 0 consumers, oldest 300 ms;
         a publish - q two
         wait 100
         see queue q -> q: 2+0, 0 consumers, oldest 400 ms; published 1",
    );
}
