//! Long polls that wait: what they cost while nothing comes, and how soon one has a message that does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::account::{self, Account};
use crate::arguments::{Place, Polls};
use crate::client::Client;
use crate::failure::Failure;
use crate::process;
use crate::queues;
use crate::report::{Bar, Report};
use crate::times::{Times, round};

/// The longest that a publish takes to wake a poll.
const WAKE_MS_MAX: f64 = 10.0;

/// What is still nothing: the broker has timers of its own.
const IDLE_CPU_MS_PER_S_MAX: f64 = 5.0;

/// How long a poll waits; longer than a run takes.
const WAIT_MS: u64 = 60_000;

/// A thread that waits needs little.
const STACK_BYTES: usize = 256 << 10;

/// How long all polls may take to arrive, once sent.
const ARRIVAL: Duration = Duration::from_secs(2);

/// How long nothing may come before what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// A message that woke a poll.
type Woken = (u64, Instant);

/// What all connections of a run know.
struct Run<'a> {
    place: &'a Place,
    load: &'a Polls,
    account: Account,
    /// How many polls were sent.
    waiting: AtomicU64,
}

pub(crate) fn run(place: &Place, load: &Polls) -> Result<Report, Failure> {
    let mut client = Client::connect(place)?;
    queues::make(&mut client, load.queues)?;
    let waiting = AtomicU64::new(0);
    let run = Run { place, load, account: Account::default(), waiting };
    let mut report = Report::new("polls");
    report.figure("polls", load.count);
    report.figure("queues", load.queues);
    let outcome = run.all_at_once(&mut client, &mut report);
    queues::delete(&mut client, load.queues)?;
    outcome?;
    Ok(report)
}

impl Run<'_> {
    fn all_at_once(&self, client: &mut Client, report: &mut Report) -> Result<(), Failure> {
        thread::scope(|scope| {
            let (woken, news) = mpsc::channel();
            for number in 0..self.load.count {
                let (woken, queue) = (woken.clone(), number % self.load.queues);
                let poll = thread::Builder::new().stack_size(STACK_BYTES);
                poll.spawn_scoped(scope, move || {
                    if let Err(failure) = self.poll(queue, &woken) {
                        eprintln!("httpload: a poll: {failure}");
                    }
                })
                .map_err(Failure::NoThread)?;
            }
            let outcome = self.measure(client, &news, report);
            // Polls that still wait are answered when their queue is gone.
            queues::delete(client, self.load.queues)?;
            queues::make(client, self.load.queues)?;
            outcome
        })
    }

    /// Waits for a message, tells when it came, settles it, and waits no more.
    fn poll(&self, queue: u64, woken: &mpsc::Sender<Woken>) -> Result<(), Failure> {
        let mut client = Client::connect(self.place)?;
        let what = format!("POST /v1/queues/{}/lease", queues::name(queue));
        client.send(&what, &json!({ "wait_ms": WAIT_MS }).to_string())?;
        self.waiting.fetch_add(1, Ordering::Release);
        let answer = match client.receive(&what) {
            // The queue went, and the run is over.
            Err(Failure::Refused { status: 404, .. }) => return Ok(()),
            answer => answer?,
        };
        let now = Instant::now();
        let parsed: Result<Leased<'_>, _> = serde_json::from_slice(answer);
        let Ok(Leased { messages }) = parsed else {
            let said = String::from_utf8_lossy(answer).into_owned();
            return Err(Failure::Unintelligible { what, said });
        };
        let Some(Message { lease, body }) = messages.first() else { return Ok(()) };
        let number = account::number(body)?;
        let ack = json!({ "ack": [{ "lease": lease }] }).to_string();
        client.ask("POST /v1/leases", &ack)?;
        self.account.came(&[number]);
        _ = woken.send((number, now));
        Ok(())
    }

    fn measure(
        &self,
        client: &mut Client,
        news: &mpsc::Receiver<Woken>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        while self.waiting.load(Ordering::Acquire) < self.load.count {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(ARRIVAL);
        let idle = Duration::from_secs(self.load.idle);
        if let Some(pid) = self.place.pid {
            let before = process::cpu_s(pid)?;
            thread::sleep(idle);
            let cpu_ms_per_s = (process::cpu_s(pid)? - before) * 1e3 / idle.as_secs_f64();
            let bar = Bar::AtMost(IDLE_CPU_MS_PER_S_MAX);
            report.barred("broker_cpu_ms_per_idle_s", cpu_ms_per_s, bar);
            report.figure("broker_resident_mib", round(process::resident_mib(pid)?));
        }
        let sent = self.publish(client)?;
        let mut times = Times::default();
        let mut missing = sent.len();
        while missing > 0 {
            let Ok((number, came)) = news.recv_timeout(PATIENCE) else { break };
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            times.add(sent.get(at).map_or(Duration::MAX, |sent| came - *sent));
            missing -= 1;
        }
        report.figure("wake_p50_ms", round(times.quantile_ms(50)));
        report.figure("wake_p99_ms", round(times.quantile_ms(99)));
        report.barred("wake_max_ms", times.quantile_ms(100), Bar::AtMost(WAKE_MS_MAX));
        let (lost, doubled) = self.account.lost_and_doubled();
        report.none("lost", lost);
        report.none("doubled", doubled);
        Ok(())
    }

    /// Publishes one message after the other; when each was sent, by its number.
    fn publish(&self, client: &mut Client) -> Result<Vec<Instant>, Failure> {
        let pause = Duration::from_secs(1).div_f64(self.load.rate as f64);
        let begin = Instant::now();
        let mut sent = Vec::new();
        for number in self.account.numbers(self.load.messages.min(self.load.count)) {
            let due = begin + pause.mul_f64(number as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let queue = queues::name(number % self.load.queues);
            let what = format!("POST /v1/queues/{queue}/messages");
            let body = json!({ "body": account::body(number, 0) }).to_string();
            sent.push(Instant::now());
            client.ask(&what, &body)?;
            self.account.was_published(1);
        }
        Ok(sent)
    }
}
