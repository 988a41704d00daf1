//! Command line.

use crate::amqp::Target;

pub(crate) const USAGE: &str = "\
amqpload: load generator and exactly-once checker for AMQP 0-9-1

  --uri H:P | amqp://U:P@H:P/V  broker                      [127.0.0.1:5672]
  --queues N                    queues PREFIX-0..N-1        [1]
  --publishers P                one thread+connection each  [1]
  --consumers C                 one thread+connection each  [1]
  --body BYTES                  at least 16                 [1024]
  --count N                     messages in all             [100000]
  --seconds S                   publish for S seconds instead of --count
  --rate R                      messages/s in all, evenly paced [as fast as possible]
  --stamp schedule|send         with --rate, latency counts from when a message
                                was due, or from when it was sent [schedule]
  --confirm W                   publisher confirms, at most W outstanding [0 = off]
  --persistent                  delivery-mode 2
  --prefetch N                  basic.qos per consumer      [1000]
  --ack K                       ack (multiple) every K deliveries, 0 = no-ack mode [100]
  --queue-args TYPE             x-queue-type: classic, quorum, stream [none sent]
  --transient                   declare queues not durable
  --fanout                      publish to a fanout exchange PREFIX that every queue is bound to
  --unread N                    with --fanout: the last N queues have no consumer [0]
  --first I                     queues PREFIX-I..I+N-1      [0]
  --phase PHASE                 both | publish-only | drain-only | counts | idle | churn [both]
                                drain-only checks against --count if given,
                                else against the queues' message counts
                                counts: tries to connect until it gets through, then
                                adds up what waits in the queues
                                idle: --connections N with a channel each, held --hold S
                                churn: open and close --connections N in all, by
                                --publishers P threads
  --connections N --hold S      for --phase idle and churn  [1000, 10]
  --keep                        do not delete the queues first (both, publish-only)
  --cleanup                     delete the queues afterwards
  --prefix NAME                 queue name prefix           [load]
  --timeout S                   give up after S seconds without progress [30]
  --pid PID[,PID..]             broker: report its CPU and memory
  --label TEXT                  copied into the output
";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Both,
    PublishOnly,
    DrainOnly,
    Counts,
    Idle,
    Churn,
}

impl Phase {
    const ALL: [Phase; 6] = [
        Phase::Both,
        Phase::PublishOnly,
        Phase::DrainOnly,
        Phase::Counts,
        Phase::Idle,
        Phase::Churn,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Both => "both",
            Phase::PublishOnly => "publish-only",
            Phase::DrainOnly => "drain-only",
            Phase::Counts => "counts",
            Phase::Idle => "idle",
            Phase::Churn => "churn",
        }
    }
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one for each switch of the command line")]
pub(crate) struct Opts {
    pub(crate) target: Target,
    pub(crate) queues: usize,
    pub(crate) publishers: usize,
    pub(crate) consumers: usize,
    pub(crate) body: usize,
    pub(crate) count: Option<u64>,
    pub(crate) seconds: Option<f64>,
    pub(crate) rate: Option<f64>,
    pub(crate) stamp_send: bool,
    pub(crate) confirm: usize,
    pub(crate) persistent: bool,
    pub(crate) prefetch: u16,
    pub(crate) ack: u64,
    pub(crate) queue_type: Option<String>,
    pub(crate) durable: bool,
    pub(crate) fanout: bool,
    pub(crate) unread: usize,
    pub(crate) first: usize,
    pub(crate) phase: Phase,
    pub(crate) connections: usize,
    pub(crate) hold: f64,
    pub(crate) keep: bool,
    pub(crate) cleanup: bool,
    pub(crate) prefix: String,
    pub(crate) timeout: f64,
    pub(crate) pids: Vec<u32>,
    pub(crate) label: String,
}

impl Opts {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Opts, String> {
        let mut o = Opts {
            target: Target::parse("127.0.0.1:5672"),
            queues: 1,
            publishers: 1,
            consumers: 1,
            body: 1024,
            count: None,
            seconds: None,
            rate: None,
            stamp_send: false,
            confirm: 0,
            persistent: false,
            prefetch: 1000,
            ack: 100,
            queue_type: None,
            durable: true,
            fanout: false,
            unread: 0,
            first: 0,
            phase: Phase::Both,
            connections: 1000,
            hold: 10.0,
            keep: false,
            cleanup: false,
            prefix: "load".into(),
            timeout: 30.0,
            pids: Vec::new(),
            label: String::new(),
        };
        let mut it = args;
        while let Some(k) = it.next() {
            let mut val = || it.next().ok_or(format!("{k} needs a value"));
            match k.as_str() {
                "--uri" => o.target = Target::parse(&val()?),
                "--queues" => o.queues = num(&k, &val()?)?,
                "--publishers" => o.publishers = num(&k, &val()?)?,
                "--consumers" => o.consumers = num(&k, &val()?)?,
                "--body" => o.body = num(&k, &val()?)?,
                "--count" => o.count = Some(num(&k, &val()?)?),
                "--seconds" => o.seconds = Some(num(&k, &val()?)?),
                "--rate" => o.rate = Some(num(&k, &val()?)?),
                "--stamp" => o.stamp_send = pick(&k, &val()?, &["schedule", "send"])? == 1,
                "--confirm" => o.confirm = num(&k, &val()?)?,
                "--persistent" => o.persistent = true,
                "--prefetch" => o.prefetch = num(&k, &val()?)?,
                "--ack" => o.ack = num(&k, &val()?)?,
                "--queue-args" => o.queue_type = Some(val()?),
                "--transient" => o.durable = false,
                "--fanout" => o.fanout = true,
                "--unread" => o.unread = num(&k, &val()?)?,
                "--first" => o.first = num(&k, &val()?)?,
                "--phase" => {
                    let names = Phase::ALL.map(Phase::name);
                    o.phase = Phase::ALL[pick(&k, &val()?, &names)?];
                }
                "--connections" => o.connections = num(&k, &val()?)?,
                "--hold" => o.hold = num(&k, &val()?)?,
                "--keep" => o.keep = true,
                "--cleanup" => o.cleanup = true,
                "--prefix" => o.prefix = val()?,
                "--timeout" => o.timeout = num(&k, &val()?)?,
                "--pid" => {
                    o.pids = val()?.split(',').map(|p| num(&k, p)).collect::<Result<_, _>>()?;
                }
                "--label" => o.label = val()?,
                _ => return Err(format!("unknown option {k}")),
            }
        }
        if o.body < crate::stamp::HEAD {
            return Err(format!("--body must be at least {}", crate::stamp::HEAD));
        }
        let no_queue = o.queues == 0 && o.phase != Phase::Counts;
        if no_queue || o.publishers == 0 || o.consumers == 0 {
            return Err("--queues, --publishers and --consumers must be at least 1".into());
        }
        if o.prefetch > 0 && o.ack > u64::from(o.prefetch) {
            return Err("--ack must not exceed --prefetch".into());
        }
        if o.unread > 0 && (!o.fanout || o.unread >= o.queues) {
            return Err("--unread needs --fanout and fewer than --queues".into());
        }
        Ok(o)
    }

    /// Total to publish, or None when --seconds decides.
    pub(crate) fn total(&self) -> Option<u64> {
        match (self.count, self.seconds) {
            (Some(n), _) => Some(n),
            (None, Some(_)) => None,
            (None, None) => Some(100_000),
        }
    }

    pub(crate) fn queue(&self, i: usize) -> String {
        format!("{}-{}", self.prefix, self.first + i)
    }

    /// How many queues are consumed.
    pub(crate) fn read_queues(&self) -> usize {
        self.queues - self.unread
    }

    /// How many deliveries each message comes to.
    pub(crate) fn copies(&self) -> u64 {
        if self.fanout { self.read_queues() as u64 } else { 1 }
    }

    /// The exchange that is published to.
    pub(crate) fn exchange(&self) -> &str {
        if self.fanout { &self.prefix } else { "" }
    }

    /// Queues worker `w` of `n` handles, of `queues`: its share, or one queue if there are
    /// more workers than queues.
    pub(crate) fn share(w: usize, n: usize, queues: usize) -> Vec<usize> {
        if n <= queues { (w..queues).step_by(n).collect() } else { vec![w % queues] }
    }
}

fn num<T: std::str::FromStr>(k: &str, v: &str) -> Result<T, String> {
    v.parse().ok().ok_or_else(|| format!("{k}: bad number {v}"))
}

fn pick(k: &str, v: &str, of: &[&str]) -> Result<usize, String> {
    of.iter().position(|x| *x == v).ok_or(format!("{k}: one of {}", of.join(", ")))
}
