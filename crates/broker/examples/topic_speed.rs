//! How long a topic exchange takes to route with many bindings:
//! `cargo run --release -p broker --example topic_speed -- [BINDINGS]`.
//!
//! Patterns are of three words, some of them `*` or `#`, as in the wild; keys have three words.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::time::Instant;

use domain::binding::{QueueId, Target};
use domain::exchange::topic::Topic;

fn main() {
    let bindings: u64 =
        std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut topic = Topic::default();
    let began = Instant::now();
    for queue in 0..bindings {
        let mut words = Vec::new();
        for place in 0..3 {
            words.push(match random(20) {
                0 => "*".to_owned(),
                1 if place == 2 => "#".to_owned(),
                _word => format!("w{}", random(300)),
            });
        }
        topic.add(words.join(".").as_bytes(), Target::Queue(QueueId(queue)));
    }
    let made = began.elapsed();
    let keys: Vec<String> = (0..10_000)
        .map(|_| format!("w{}.w{}.w{}", random(300), random(300), random(300)))
        .collect();
    let (mut found, mut matches) = (Vec::new(), 0_usize);
    let began = Instant::now();
    for key in &keys {
        found.clear();
        topic.route(key.as_bytes(), &mut found);
        matches += found.len();
    }
    let each_ns = began.elapsed().as_nanos() / keys.len() as u128;
    println!(
        "{bindings} bindings made in {made:?}; a key is routed in {each_ns} ns and matches {} of them",
        matches / keys.len()
    );
}
