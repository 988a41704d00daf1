//! Messages that flow: published by some connections, leased and settled by others. A worker settles
//! what it has and leases the next with one request.

use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::account::{self, Account};
use crate::arguments::{Load, Place};
use crate::client::Client;
use crate::failure::Failure;
use crate::process;
use crate::queues;
use crate::report::{Bar, Report};
use crate::times::{Times, round};

/// How many messages go with a request, and what is asked of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    messages: u64,
    bar: (&'static str, f64),
}

pub(crate) const BATCH: Kind = Kind { messages: 100, bar: ("messages_per_s", 30_000.0) };
pub(crate) const SINGLE: Kind = Kind { messages: 1, bar: ("requests_per_s", 8_000.0) };

/// How long a worker waits for a message before it looks whether there will be any.
const WAIT_MS: u64 = 200;

/// How long publishers rest where workers are behind.
const REST: Duration = Duration::from_millis(1);

/// How long nothing may come before what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one connection did.
#[derive(Debug, Default)]
struct Done {
    requests: u64,
    times: Times,
}

impl Done {
    fn merge(&mut self, other: Done) {
        self.requests += other.requests;
        self.times.merge(other.times);
    }
}

#[derive(Deserialize)]
struct Leased<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    lease: &'a str,
    body: &'a str,
}

#[derive(Deserialize)]
struct Settled<'a> {
    #[serde(borrow)]
    results: Vec<Outcome<'a>>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    status: &'a str,
}

/// What all connections of a run know.
struct Run<'a> {
    place: &'a Place,
    load: &'a Load,
    kind: Kind,
    account: Account,
    begin: Instant,
}

pub(crate) fn run(name: &str, place: &Place, load: &Load, kind: Kind) -> Result<Report, Failure> {
    let mut client = Client::connect(place)?;
    queues::make(&mut client, load.queues)?;
    let cpu_before = place.pid.map(process::cpu_s).transpose()?;
    let run = Run { place, load, kind, account: Account::default(), begin: Instant::now() };
    let (mut published, mut worked) = run.all_at_once()?;
    let took_s = run.begin.elapsed().as_secs_f64();
    let cpu_after = place.pid.map(process::cpu_s).transpose()?;
    queues::delete(&mut client, load.queues)?;

    let mut report = Report::new(name);
    let (lost, doubled) = run.account.lost_and_doubled();
    let messages = run.account.settled();
    let requests = published.requests + worked.requests;
    report.figure("messages", messages);
    report.figure("seconds", round(took_s));
    for (figure, value) in
        [("messages_per_s", messages as f64 / took_s), ("requests_per_s", requests as f64 / took_s)]
    {
        let (barred, least) = kind.bar;
        if figure == barred {
            report.barred(figure, value, Bar::AtLeast(least));
        } else {
            report.figure(figure, round(value));
        }
    }
    report.figure("publish", published.times.shown());
    report.figure("settle_and_lease", worked.times.shown());
    if let (Some(before), Some(after)) = (cpu_before, cpu_after) {
        report.figure("broker_cpu_us_per_message", round((after - before) * 1e6 / messages as f64));
    }
    report.none("lost", lost);
    report.none("doubled", doubled);
    Ok(report)
}

impl Run<'_> {
    /// Runs all connections; what publishers did, and what workers did.
    fn all_at_once(&self) -> Result<(Done, Done), Failure> {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.load.workers)
                .map(|number| scope.spawn(move || self.work(number % self.load.queues)))
                .collect();
            let publishers: Vec<_> = (0..self.load.publishers)
                .map(|number| scope.spawn(move || self.publish(number % self.load.queues)))
                .collect();
            let collect = |threads: Vec<thread::ScopedJoinHandle<'_, Result<Done, Failure>>>| {
                let mut all = Done::default();
                for thread in threads {
                    all.merge(thread.join().map_err(|_panic| Failure::Panicked)??);
                }
                Ok::<_, Failure>(all)
            };
            Ok((collect(publishers)?, collect(workers)?))
        })
    }

    fn is_publishing(&self) -> bool {
        self.begin.elapsed() < Duration::from_secs(self.load.seconds)
    }

    fn publish(&self, queue: u64) -> Result<Done, Failure> {
        let mut client = Client::connect(self.place)?;
        let mut done = Done::default();
        let what = format!("POST /v1/queues/{}/messages", queues::name(queue));
        while self.is_publishing() {
            if self.account.published() - self.account.settled() > self.load.backlog {
                thread::sleep(REST);
                continue;
            }
            let numbers = self.account.numbers(self.kind.messages);
            let mut bodies = numbers
                .map(|number| json!({ "body": account::body(number, self.load.body) }).to_string());
            let request = if self.kind.messages == 1 {
                bodies.next().unwrap_or_default()
            } else {
                format!("{{\"messages\":[{}]}}", bodies.collect::<Vec<_>>().join(","))
            };
            // Before the answer: workers may have it sooner.
            self.account.was_published(self.kind.messages);
            let sent = Instant::now();
            client.ask(&what, &request)?;
            done.times.add(sent.elapsed());
            done.requests += 1;
        }
        Ok(done)
    }

    fn work(&self, queue: u64) -> Result<Done, Failure> {
        let mut client = Client::connect(self.place)?;
        let mut done = Done::default();
        let lease = json!({
            "queue": queues::name(queue), "max": self.kind.messages, "wait_ms": WAIT_MS,
        })
        .to_string();
        let (mut acks, mut held) = (String::new(), Vec::new());
        let mut last_came = Instant::now();
        loop {
            let request = format!("{{\"ack\":[{acks}],\"then_lease\":{lease}}}");
            let sent = Instant::now();
            let answer = client.ask("POST /v1/leases", &request)?;
            done.requests += 1;
            if !held.is_empty() {
                // Those that brought nothing waited for it.
                done.times.add(sent.elapsed());
                last_came = Instant::now();
            }
            self.settled(answer, &mut held)?;
            acks.clear();
            for Message { lease, body } in leased(answer)? {
                if !acks.is_empty() {
                    acks.push(',');
                }
                acks.extend(["{\"lease\":\"", lease, "\"}"]);
                held.push(account::number(body)?);
            }
            let is_over = !self.is_publishing()
                && (self.account.settled() >= self.account.published()
                    || last_came.elapsed() > PATIENCE);
            if held.is_empty() && is_over {
                return Ok(done);
            }
        }
    }

    /// Takes note of what was settled of what is held; nothing is held then.
    fn settled(&self, answer: &[u8], held: &mut Vec<u64>) -> Result<(), Failure> {
        let Settled { results } = parse(answer)?;
        let settled: Vec<u64> = held
            .drain(..)
            .zip(&results)
            .filter(|(_, outcome)| outcome.status == "ok")
            .map(|(number, _)| number)
            .collect();
        self.account.came(&settled);
        self.account.was_settled(settled.len() as u64);
        Ok(())
    }
}

fn leased(answer: &[u8]) -> Result<Vec<Message<'_>>, Failure> {
    Ok(parse::<Leased<'_>>(answer)?.messages)
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|_otherwise| Failure::Unintelligible {
        what: "POST /v1/leases".to_owned(),
        said: String::from_utf8_lossy(answer).into_owned(),
    })
}
