//! Scripts against a topology.

use super::routing::{Route, Routed, Sender};
use super::*;
use crate::properties::Properties;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Runs a script of lines and compares what each says.
///
/// `exchange NAME TYPE [auto] [internal] [ae=NAME]`, `queue NAME`, `bind SOURCE [x:]TARGET KEY`,
/// `unbind …`, `delete-exchange NAME [if-unused]`, `delete-queue NAME`, `publish EXCHANGE KEY [ALSO…]`.
fn check(script: &str, expected: &[&str]) {
    let mut topology = Topology::with_predeclared_exchanges();
    let mut queues = Vec::new();
    let said: Vec<String> = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| run(&mut topology, &mut queues, line))
        .collect();
    assert_eq!(said, expected, "\n{script}");
}

fn run(topology: &mut Topology, queues: &mut Vec<Name>, line: &str) -> String {
    let words: Vec<&str> =
        line.split_whitespace().map(|word| if word == "-" { "" } else { word }).collect();
    let outcome = match words[..] {
        ["exchange", exchange, exchange_type, ref rest @ ..] => {
            let mut arguments = Table::default();
            if let Some(alternate) = rest.iter().find_map(|word| word.strip_prefix("ae=")) {
                arguments.push(ALTERNATE_EXCHANGE, Value::text(alternate));
            }
            let settings = ExchangeSettings {
                exchange_type: ExchangeType::parse(exchange_type).unwrap(),
                durable: true,
                auto_delete: rest.contains(&"auto"),
                internal: rest.contains(&"internal"),
                arguments,
            };
            topology
                .declare_exchange(&name(exchange), &settings)
                .map(|change| format!("{change:?}"))
        }
        ["queue", queue] => {
            topology.add_queue(name(queue), QueueId(queues.len() as u64));
            queues.push(name(queue));
            Ok("ok".to_owned())
        }
        ["bind" | "unbind", source, target, key] => {
            let to = match target.strip_prefix("x:") {
                Some(exchange) => topology.exchange_target(&name(exchange)),
                None => {
                    topology.queue(target).map(Target::Queue).ok_or(Refusal::NoQueueDeclaredYet)
                }
            };
            let none = BindingArguments::default();
            to.and_then(|to| {
                if words[0] == "bind" {
                    topology
                        .bind(&name(source), to, key.as_bytes(), &none)
                        .map(|change| format!("{change:?}"))
                } else {
                    let done = topology.unbind(&name(source), to, key.as_bytes(), &none);
                    done.map(|(change, gone)| format!("{change:?} {gone:?}"))
                }
            })
        }
        ["delete-exchange", exchange, ref rest @ ..] => {
            let allowed = topology.may_delete_exchange(&name(exchange), !rest.is_empty());
            allowed.map(|_| format!("{:?}", topology.remove_exchange(exchange)))
        }
        ["delete-queue", queue] => Ok(format!("{:?}", topology.remove_queue(queue))),
        ["publish", exchange, key, ref also @ ..] => {
            let mut route = Route::default();
            let also: Vec<Box<[u8]>> = also.iter().map(|key| key.as_bytes().into()).collect();
            let message = Routed {
                sender: Sender::Client,
                exchange,
                routing_key: key.as_bytes(),
                also: &also,
                properties: Properties(&[0, 0]),
            };
            topology.route(&message, &mut route).map(|_| {
                let found: Vec<&str> = route
                    .queues
                    .iter()
                    .map(|queue| queues[usize::try_from(queue.0).unwrap()].as_str())
                    .collect();
                found.join(" ")
            })
        }
        _ => panic!("{line}"),
    };
    outcome.unwrap_or_else(|refusal| {
        format!("{refusal:?}").split(['(', ' ']).next().unwrap_or("").to_owned()
    })
}

#[test]
fn the_default_exchange_knows_every_queue_by_name_and_nothing_else() {
    check(
        "queue q
         publish - q
         publish - other
         bind - q k
         exchange - direct",
        &["ok", "q", "", "DefaultExchange", "DefaultExchange"],
    );
}

#[test]
fn each_queue_gets_one_copy_however_many_ways_lead_to_it() {
    check(
        "exchange a fanout
         exchange b topic
         queue q
         queue r
         bind a q k1
         bind a q k2
         bind a x:b any
         bind b q #
         bind b r x.*
         bind b x:a #
         publish a x.y
         publish b z",
        &["Made", "Made", "ok", "ok", "Made", "Made", "Made", "Made", "Made", "Made", "q r", "q"],
    );
}

#[test]
fn further_keys_find_queues_too_and_the_alternate_waits_for_all_of_them() {
    check(
        "exchange last topic
         exchange start direct ae=last
         exchange inner direct
         queue q
         queue r
         queue s
         bind start q k
         bind start x:inner i
         bind inner r j
         bind last s l.#
         publish start k k k
         publish start none i j k
         publish start none l l.m
         publish start none l k
         publish start none nothing
         publish last none l l.m
         publish - r other q r
         publish - other",
        &[
            "Made", "Made", "Made", "ok", "ok", "ok", "Made", "Made", "Made", "Made", "q", "q r",
            "s", "q", "", "s", "q r", "",
        ],
    );
}

#[test]
fn thousands_of_keys_to_the_same_queues_take_no_memory_for_each() {
    let mut topology = Topology::with_predeclared_exchanges();
    let topic = name("amq.topic");
    for id in 0..100 {
        let queue = name(&format!("q{id}"));
        topology.add_queue(queue.clone(), QueueId(id));
        let target = Target::Queue(topology.queue(queue.as_str()).unwrap());
        topology.bind(&topic, target, b"#", &BindingArguments::default()).unwrap();
    }
    let also: Vec<Box<[u8]>> = (0..2_000_u32).map(|key| key.to_be_bytes().into()).collect();
    let message = Routed {
        sender: Sender::Client,
        exchange: "amq.topic",
        routing_key: b"k",
        also: &also,
        properties: Properties(&[0, 0]),
    };
    let mut route = Route::default();
    topology.route(&message, &mut route).unwrap();
    assert_eq!(route.queues, (0..100).map(QueueId).collect::<Vec<_>>());
    assert!(route.queues.capacity() < 4_000, "{}", route.queues.capacity());
}

#[test]
fn what_no_queue_takes_follows_the_alternates_until_one_takes_it() {
    check(
        "exchange last fanout
         exchange middle direct ae=last
         exchange start direct ae=middle
         exchange loop direct ae=loop
         exchange lost direct ae=nowhere
         queue q
         bind last q -
         publish start k
         publish loop k
         publish lost k",
        &["Made", "Made", "Made", "Made", "Made", "ok", "Made", "q", "", ""],
    );
}

#[test]
fn each_exchange_on_the_way_decides_on_its_own_alternate() {
    check(
        "exchange last fanout
         queue q
         bind last q -
         exchange outer fanout ae=last
         exchange inner direct
         bind outer x:inner -
         publish outer k
         exchange outer2 fanout
         exchange inner2 direct ae=last
         bind outer2 x:inner2 -
         publish outer2 k",
        &["Made", "ok", "Made", "Made", "Made", "Made", "", "Made", "Made", "Made", "q"],
    );
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_may_take_others_along() {
    check(
        "exchange a direct auto
         exchange b direct auto
         queue q
         bind b q 1
         bind b q 2
         bind a x:b k
         unbind b q 1
         unbind b q 2
         publish a k
         unbind a q none",
        &[
            "Made",
            "Made",
            "ok",
            "Made",
            "Made",
            "Made",
            "Made []",
            "Made [\"b\", \"a\"]",
            "NotFound",
            "NotFound",
        ],
    );
    check(
        "exchange a direct auto
         queue q
         bind a q k
         delete-queue q
         publish a k",
        &["Made", "ok", "Made", "[\"a\"]", "NotFound"],
    );
}

#[test]
fn declarations_are_compared_and_reserved_names_refused() {
    check(
        "exchange a direct
         exchange a direct
         exchange a fanout
         exchange a direct auto
         exchange a direct ae=b
         exchange amq.mine direct
         exchange amq.direct direct
         delete-exchange amq.direct
         delete-exchange unknown
         exchange in fanout internal
         publish in k",
        &[
            "Made",
            "None",
            "Inequivalent",
            "Inequivalent",
            "Inequivalent",
            "ReservedName",
            "None",
            "ReservedName",
            "[]",
            "Made",
            "InternalExchange",
        ],
    );
}

#[test]
fn bindings_are_made_once_and_unbinding_twice_is_harmless() {
    check(
        "exchange a direct
         queue q
         bind a q k
         bind a q k
         unbind a q k
         unbind a q k
         bind a q k
         delete-exchange a if-unused
         delete-queue q
         delete-exchange a if-unused
         bind gone q k",
        &[
            "Made",
            "ok",
            "Made",
            "None",
            "Made []",
            "None []",
            "Made",
            "InUse",
            "[]",
            "[]",
            "NoQueueDeclaredYet",
        ],
    );
}
