//! A run: several lives of a broker on one disk, each ended by a crash, a failing disk or a clean
//! stop, and after each the question whether what is found is what was promised.

use broker::Batch;
use broker::operation::Operation;
use storage::SyncMode;
use storage::disk::{Faults, SimulatedDisk};

use crate::action::{Client, Depth, Flavour, Next};
use crate::checker::Checker;
use crate::checker::snapshot::Snapshot;
use crate::life::{Life, Loss, Pace, Request};
use crate::message::Messages;
use crate::process::{Process, Setup};
use crate::random::Random;
use crate::restart::{Restart, restart};
use crate::trace::{Lines, Trace};
use crate::violation::{Rule, Violation, broken};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed it was made of.
    pub seed: u64,
    /// The hash of everything that happened: equal for equal runs.
    pub hash: u64,
    /// The first broken promise, if any.
    pub violation: Option<Violation>,
    /// What happened, if it was to be kept.
    pub lines: Vec<String>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The power fails during a disk operation, or when it is over.
    PowerLoss,
    /// The process is killed during a disk operation, or when it is over: what was written stays.
    Kill,
    /// A write fails.
    WriteFails,
    /// A sync fails.
    SyncFails,
    /// The disk is full.
    Full,
    /// It is told to stop.
    Stop,
}

/// What goes on from life to life.
struct Run {
    random: Random,
    disk: SimulatedDisk,
    flavour: Flavour,
    /// What the stalls of the disk are made of, where it has any.
    stalls: Option<Random>,
    messages: Messages,
    /// What the next life starts from.
    start: Snapshot,
    /// What else a power loss may leave as long as nobody has made that durable.
    instead: Vec<Snapshot>,
    /// What the lives so far may have left where bits rot.
    rotten: Vec<Snapshot>,
    trace: Trace,
    /// What the wall shows, in milliseconds since the run began.
    now_ms: u64,
}

const SESSIONS_MAX: usize = 4;

/// Of so many seeds so many have a disk that stalls.
const STALLING: (u64, u64) = (2, 7);

/// Makes the run of that seed.
pub fn run(seed: u64, lines: Lines) -> Outcome {
    let mut random = Random::new(seed);
    let flavour = Flavour {
        settings: random.next(),
        large_percent: if random.chance(8) { 25 } else { 2 },
        depth: if random.chance(40) { Depth::Deep } else { Depth::Shallow },
        rules: if random.chance(50) { Some(random.next()) } else { None },
    };
    let mut run = Run {
        random,
        disk: SimulatedDisk::new(),
        flavour,
        stalls: (seed % STALLING.1 < STALLING.0).then(|| Random::new(!seed)),
        messages: Messages::default(),
        start: Snapshot::default(),
        instead: Vec::new(),
        rotten: Vec::new(),
        trace: Trace::new(lines),
        now_ms: 0,
    };
    let count = run.random.between(2, 5);
    let violation = (0..count).find_map(|number| run.life(number).err());
    if let Some(violation) = &violation {
        run.trace.line(format!("VIOLATION {violation}"));
    }
    let hash = run.trace.hash();
    Outcome { seed, hash, violation, lines: run.trace.into_lines() }
}

impl Run {
    fn life(&mut self, number: u64) -> Result<(), Violation> {
        let ending = self.random.one_of([
            Ending::PowerLoss,
            Ending::PowerLoss,
            Ending::PowerLoss,
            Ending::Kill,
            Ending::Kill,
            Ending::WriteFails,
            Ending::SyncFails,
            Ending::Full,
            Ending::Stop,
            Ending::Stop,
        ]);
        let setup = self.setup();
        let faults = self.faults(ending);
        self.trace.line(format!("life {number}: {setup:?}, ends by {ending:?}, {faults:?}"));
        self.disk.set_faults(faults.clone());
        let process = match Process::start(&self.disk, &setup) {
            Ok((process, recovered)) => {
                self.trace.line(format!("{recovered:?}"));
                process
            }
            Err(error) => {
                self.trace.line(format!("does not start: {error}"));
                if matches!(ending, Ending::Stop) {
                    return broken!(Starts, "{error}");
                }
                let mut outcomes = std::mem::take(&mut self.instead);
                outcomes.insert(0, self.start.clone());
                return self.come_back(ending, &setup, &outcomes).map(drop);
            }
        };
        let messages = std::mem::take(&mut self.messages);
        let checker = Checker::restored(messages, &self.start, self.now_ms);
        let trace = std::mem::replace(&mut self.trace, Trace::new(Lines::Hashed));
        let mut life = Life::begin(
            process,
            checker,
            trace,
            setup.sync,
            (&self.disk, &faults),
            self.start.clone(),
        );
        if let Some(stalls) = &mut self.stalls {
            life.stall_from(stalls.next());
        }
        let lived = self.live(&mut life, ending);
        self.trace = life.trace.clone();
        lived?;
        let outcomes = life.outcomes(match ending {
            Ending::Kill => Loss::Nothing,
            Ending::PowerLoss
            | Ending::WriteFails
            | Ending::SyncFails
            | Ending::Full
            | Ending::Stop => Loss::Unsynced,
        });
        self.rotten = life.outcomes_where_bits_rot(&self.rotten);
        self.messages = std::mem::take(&mut life.checker.messages);
        self.now_ms = life.checker.now_ms;
        drop(life);
        let setup = self.come_back(ending, &setup, &outcomes)?;
        if self.random.chance(25) { self.rot(&setup) } else { Ok(()) }
    }

    fn setup(&mut self) -> Setup {
        let random = &mut self.random;
        let always = SyncMode::Always;
        let lazy = SyncMode::Interval { ms: 20 };
        let sync = match random.below(10) {
            0 => SyncMode::Never,
            1 => lazy,
            _most => always,
        };
        Setup {
            sync,
            file_bytes: random.one_of([8 << 10, 16 << 10, 32 << 10, 64 << 10]),
            checkpoint_bytes: random.one_of([8 << 10, 24 << 10, 64 << 10, 256 << 10]),
            memory_bytes: random.one_of([32 << 10, 128 << 10, 512 << 10, 2 << 20, 16 << 20]),
            seed: random.next(),
            began_ms: self.now_ms,
        }
    }

    fn faults(&mut self, ending: Ending) -> Faults {
        let (random, done) = (&mut self.random, self.disk.counts());
        let mut faults = Faults::default();
        let during = random.chance(75);
        let operations_max = random.one_of([150, 150, 500]);
        match ending {
            Ending::PowerLoss | Ending::Kill if during => {
                faults.power_out = Some(done.operations + random.between(1, operations_max));
            }
            Ending::PowerLoss | Ending::Kill | Ending::Stop => {}
            Ending::WriteFails => faults.fail_write = Some(done.writes + random.between(1, 60)),
            Ending::SyncFails => faults.fail_sync = Some(done.syncs + random.between(1, 60)),
            Ending::Full => {
                faults.capacity_bytes = Some(used_bytes(&self.disk) + random.between(0, 300_000));
            }
        }
        if random.chance(20) {
            faults.write_bytes_max = usize::try_from(random.between(100, 5_000)).ok();
        }
        faults
    }

    /// Lets everybody act until the life is over.
    fn live(&mut self, life: &mut Life, ending: Ending) -> Result<(), Violation> {
        let actions = self.random.between(30, 250);
        let mut last_words = self.random.between(0, 10);
        let background_percent = self.random.one_of([5, 30, 80]);
        for _ in 0..actions {
            if ending == Ending::Full {
                self.fill_or_relieve(life);
            }
            self.act(life)?;
            if life.has_background() && self.random.chance(background_percent) {
                for _ in 0..self.random.one_of([1, 1, 3, 20]) {
                    life.background(self.random.next())?;
                }
            }
            if life.is_poisoned() {
                if last_words == 0 {
                    break;
                }
                last_words -= 1;
            }
        }
        if ending == Ending::Stop {
            return life.stop();
        }
        if !life.is_poisoned() && self.random.chance(30) {
            life.settle()?;
        }
        Ok(())
    }

    /// Now and then somebody makes room on a full disk, and later takes it again.
    fn fill_or_relieve(&mut self, life: &mut Life) {
        match (life.has_limited_room(), self.random.below(100)) {
            (true, 0..2) => life.limit_room(None),
            (false, 0..10) => {
                let room_bytes = self.random.between(0, 300_000);
                life.limit_room(Some(used_bytes(&self.disk) + room_bytes));
            }
            (_, _) => {}
        }
    }

    fn act(&mut self, life: &mut Life) -> Result<(), Violation> {
        let sessions: Vec<_> = (life.sessions().into_iter())
            .filter(|key| !life.is_ending(*key) && !life.is_waiting(*key))
            .collect();
        let choice = self.random.below(100);
        let Some(session) = self.random.pick(&sessions).copied() else {
            if life.is_poisoned() {
                return life.step().map(drop);
            }
            return life.connect(Pace::Fast).map(drop);
        };
        match choice {
            0..58 => self.ask(life, session),
            58..78 => life.step().map(drop),
            78..85 => {
                life.advance(self.random.between(1, 15));
                Ok(())
            }
            85..87 => life.background(self.random.next()).map(drop),
            87..91 if sessions.len() < SESSIONS_MAX => {
                let slow = self.random.chance(40);
                life.connect(if slow { Pace::Slow } else { Pace::Fast }).map(drop)
            }
            87..92 => self.end(life, session),
            92..93 => life.drop_session(session),
            93..97 => life.write_slow(),
            97..98 => life.settle(),
            _twice => {
                life.step()?;
                life.step().map(drop)
            }
        }
    }

    /// A client ends its session; a confused one goes on asking.
    fn end(&mut self, life: &mut Life, session: u64) -> Result<(), Violation> {
        life.request(session, &[Request::Operation(Operation::End)])?;
        if self.random.chance(20) {
            life.connect(Pace::Fast)?;
            self.ask(life, session)?;
            self.ask(life, session)?;
        }
        Ok(())
    }

    /// A client submits one batch.
    fn ask(&mut self, life: &mut Life, session: u64) -> Result<(), Violation> {
        if !life.has_room(session) {
            return Ok(());
        }
        life.checker.begin_turn();
        let mut batch = Batch::default();
        for _ in 0..self.random.between(1, 4) {
            let mut client = Client {
                random: &mut self.random,
                checker: &mut life.checker,
                session,
                flavour: self.flavour,
            };
            let (requests, next) = client.requests();
            for request in &requests {
                life.ask(session, &mut batch, request);
                if life.checker.is_a_refusal_underway() {
                    return life.submit(session, batch);
                }
            }
            if next == Next::Enough {
                break;
            }
        }
        life.submit(session, batch)
    }

    /// The disk comes back, and must hold one of the outcomes.
    fn come_back(
        &mut self,
        ending: Ending,
        setup: &Setup,
        outcomes: &[Snapshot],
    ) -> Result<Setup, Violation> {
        let power_fails = match ending {
            Ending::PowerLoss => true,
            Ending::Kill => false,
            Ending::WriteFails | Ending::SyncFails | Ending::Full | Ending::Stop => {
                self.random.chance(50)
            }
        };
        // While it is down, time passes.
        self.now_ms += self.random.one_of([0, 0, 1, 10, 50]);
        let setup = Setup { began_ms: self.now_ms, ..*setup };
        let crash_seed = self.random.next();
        self.disk = if power_fails {
            self.disk.crash(crash_seed)
        } else if ending == Ending::Kill {
            SimulatedDisk::with_files(self.disk.files())
        } else {
            self.disk.set_faults(Faults::default());
            self.disk.clone()
        };
        let messages = std::mem::take(&mut self.messages);
        let restarted =
            restart(&Restart { disk: &self.disk, setup: &setup, messages: &messages, outcomes });
        self.messages = messages;
        let (start, summary) = restarted?;
        self.trace.line(format!("power failed: {power_fails}; found {summary}"));
        self.start = start;
        self.instead = if power_fails { Vec::new() } else { outcomes.to_vec() };
        Ok(setup)
    }

    /// Bits flip in what is durable. Whoever finds that has to say so, or it does no harm.
    fn rot(&mut self, setup: &Setup) -> Result<(), Violation> {
        for _ in 0..self.random.between(1, 3) {
            let files = self.disk.files();
            let names: Vec<(String, usize)> =
                files.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect();
            let Some((name, bytes)) = self.random.pick(&names).cloned() else { return Ok(()) };
            let offset = usize::try_from(self.random.below(bytes as u64)).unwrap_or(0);
            let bit = self.random.below(8);
            let disk = &SimulatedDisk::with_files(files);
            disk.flip_bit(&name, offset, u32::try_from(bit).unwrap_or(0));
            let (messages, outcomes) = (&self.messages, &self.rotten[..]);
            match restart(&Restart { disk, setup, messages, outcomes }) {
                Ok(_) => self.trace.line(format!("bit {bit} of {name} at {offset}: no harm")),
                Err(told) if told.rule == Rule::Starts => {
                    self.trace.line(format!("bit {bit} of {name} at {offset}: {told}"));
                }
                Err(Violation { rule, detail }) => {
                    let what = format!("bit {bit} of {name} at {offset} flipped: {detail}");
                    return Err(Violation::new(rule, what));
                }
            }
        }
        Ok(())
    }
}

fn used_bytes(disk: &SimulatedDisk) -> u64 {
    disk.files().values().map(Vec::len).sum::<usize>() as u64
}
