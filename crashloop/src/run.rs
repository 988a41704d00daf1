//! The rounds: load, end, (power loss,) restart, comparison. A run stops at the first violation and
//! keeps everything that is needed to look into it.

mod disk_error;

mod disk_full;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use powerloss::{Loss, LossError, LossReport, Random, Snapshot, audit, lose_power, start_log};
use tokio::time::{sleep, timeout};

use crate::arguments::{Arguments, Expectation, Mode, Shape};
use crate::binaries::{self, Binaries, BinaryError};
use crate::disk::{Behaviour, Disk};
use crate::ledger::{Totals, Unmarked};
use crate::load::Load;
use crate::observer::{Closeness, observe};
use crate::process::{Broker, Places, ProcessError, Recipe, kill};
use crate::vhosts::{self, Vhosts};
use crate::violation::Violation;

const OBSERVE_LONGEST: Duration = Duration::from_mins(3);
const FIRST_CONFIRM_LATEST: Duration = Duration::from_secs(20);

/// How often a restart is ended again before it is done.
const SECOND_END_PER_CENT: u64 = 25;
const QUIET_END_PER_CENT: u64 = 30;
const SECOND_END_LATEST_US: u64 = 60_000;

/// Violations printed in full.
const PRINTED_MAX: usize = 20;

/// What came out of all modes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    passed: u32,
    failed: u32,
    /// Failed runs that prove a fault.
    caught: u32,
}

impl Summary {
    pub(crate) fn exit_code(self, expectation: Expectation) -> ExitCode {
        let met = match expectation {
            Expectation::NoViolation => self.failed == 0 && self.passed > 0,
            Expectation::Violation => self.caught > 0,
        };
        if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Why nothing can be said about the broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Binary(#[from] BinaryError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Loss(#[from] LossError),
    #[error(transparent)]
    FirstStart(#[from] ProcessError),
}

/// Runs every mode asked for, each on a directory of its own.
pub(crate) async fn run_modes(arguments: &Arguments) -> Result<Summary, RunError> {
    let binaries = binaries::find(arguments)?;
    let mut summary = Summary::default();
    for mode in &arguments.modes {
        let mut run = Run::new(arguments, &binaries, *mode)?;
        let passed = run.rounds(arguments.rounds).await?;
        summary.passed += passed;
        summary.failed += u32::from(passed < arguments.rounds);
        let caught = run.vhosts.violations().iter().any(Violation::proves_a_fault);
        summary.caught += u32::from(caught);
        run.report(arguments);
    }
    let Summary { passed, failed, .. } = summary;
    println!("crash loop: {passed} passed, {failed} failed");
    Ok(summary)
}

/// One mode on one data directory.
struct Run {
    mode: Mode,
    recipe: Recipe,
    disk: Disk,
    vhosts: Vhosts,
    random: Random,
    ack_grace: Duration,
    load_longest: Duration,
    /// The rounds have them in turn.
    shapes: Vec<Shape>,
    /// The directory as the running broker found it, if un-synced writes are written down.
    snapshot: Option<Snapshot>,
    recoveries: Vec<Duration>,
    losses: LossReport,
}

impl Run {
    fn new(arguments: &Arguments, binaries: &Binaries, mode: Mode) -> Result<Self, RunError> {
        let work =
            arguments.work_dir.clone().unwrap_or_else(|| binaries::target().join("crashloop"));
        let work = std::path::absolute(work)?.join(mode.name());
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        let places = Places { work };
        fs::create_dir_all(places.data())?;
        fs::write(places.definitions(), vhosts::DEFINITIONS)?;
        let disk = Disk::of(places.disk_control(), places.data());
        disk.behave(Behaviour::Sound)?;
        let recipe = Recipe {
            binaries: binaries.clone(),
            places,
            sync: arguments.sync.clone(),
            planted_fault: arguments.planted_fault.clone(),
            sync_delay_us: mode.loses_power().then_some(arguments.sync_delay_us),
            disk: mode.plays_disk().then(|| disk.clone()),
            reserve_bytes: arguments.reserve_bytes,
        };
        Ok(Self {
            mode,
            recipe,
            disk,
            vhosts: Vhosts::new(),
            random: Random::new(arguments.seed).branch(mode as u64),
            ack_grace: if mode == Mode::Clean { Duration::ZERO } else { arguments.ack_grace },
            load_longest: arguments.load_longest,
            shapes: arguments.shapes.clone(),
            snapshot: None,
            recoveries: Vec::new(),
            losses: LossReport::default(),
        })
    }

    /// Plays rounds until one fails; gives how many passed.
    async fn rounds(&mut self, rounds: u32) -> Result<u32, RunError> {
        self.prepare_start()?;
        // On an empty directory there is nothing yet that a crash could have broken.
        let mut broker = self.recipe.start().await?;
        for round in 0..rounds {
            let before = self.vhosts.totals();
            let ended = match self.mode {
                Mode::DiskFull => self.fill_and_end(broker, round).await?,
                Mode::DiskError => self.fail_and_end(broker, round).await?,
                Mode::Kill | Mode::PowerAll | Mode::PowerSome | Mode::Clean => {
                    self.load_and_end(broker, round).await?
                }
            };
            let next = if ended { self.restart().await? } else { None };
            // What is compared needs room: something is published for it.
            self.disk.behave(Behaviour::Sound)?;
            let last = round + 1 == rounds;
            let closeness = if last { Closeness::Everything } else { Closeness::Random };
            let queues = match &next {
                Some(broker) => self.compare(broker, closeness).await,
                None => 0,
            };
            let sound = self.vhosts.are_sound();
            self.print_round(round, &before, queues, sound);
            match next {
                Some(next) if sound => broker = next,
                Some(next) => {
                    // What it is worth is on disk already.
                    self.ended(&next.kill(&self.recipe).await);
                    return Ok(round);
                }
                None => return Ok(round),
            }
        }
        let stopped = self.recipe.stop(broker).await;
        let stopped = self.ended(&stopped);
        Ok(if stopped { rounds } else { rounds.saturating_sub(1) })
    }

    /// What the load of each virtual host is like: the next has what the one before it had last.
    fn shapes_of(&self, round: u32) -> Vec<Shape> {
        if self.mode == Mode::DiskFull {
            return vec![Shape::Full; self.vhosts.desks.len()];
        }
        let all = self.shapes.len();
        (0..self.vhosts.desks.len())
            .map(|vhost| self.shapes[(round as usize + vhost) % all])
            .collect()
    }

    /// Puts the broker under load for a while, then ends it. False if it would not.
    async fn load_and_end(&mut self, broker: Broker, round: u32) -> Result<bool, RunError> {
        let shapes = self.shapes_of(round);
        let Some(loads) = self.start_loads(&broker, round, &shapes).await else {
            self.ended(&broker.kill(&self.recipe).await);
            return Ok(false);
        };
        let micros = u64::try_from(self.load_longest.as_micros()).unwrap_or(u64::MAX);
        sleep(Duration::from_micros(self.random.below(micros))).await;

        let (ended_at, ended) = self.end(broker, loads).await;
        let unmarked = match self.mode {
            Mode::Kill | Mode::Clean => Unmarked::IsViolation,
            Mode::PowerAll | Mode::PowerSome | Mode::DiskFull | Mode::DiskError => {
                Unmarked::IsCounted
            }
        };
        self.vhosts.restarts(ended_at, self.ack_grace, unmarked);
        let ended = self.ended(&ended);
        self.lose_power()?;
        Ok(ended)
    }

    /// Starts the load of each virtual host, and waits until it is under way; none if it can't be
    /// started.
    async fn start_loads(
        &self,
        broker: &Broker,
        round: u32,
        shapes: &[Shape],
    ) -> Option<Vec<Load>> {
        let confirmed_before = self.vhosts.confirmed();
        let mut loads = Vec::new();
        for ((part, desk), shape) in (0..).zip(&self.vhosts.desks).zip(shapes) {
            let random = self.random.branch(u64::from(round)).branch(part);
            let number = u16::try_from(round).unwrap_or(u16::MAX);
            match Load::start(broker.port, desk, (number, *shape), &random).await {
                Ok(load) => loads.push(load),
                Err(error) => {
                    desk.refused("the load", &error);
                    return None;
                }
            }
        }
        let has_begun = || {
            let confirmed = self.vhosts.confirmed();
            confirmed_before.iter().zip(confirmed).all(|(before, now)| *before < now)
        };
        let started = Instant::now();
        while !has_begun() && started.elapsed() < FIRST_CONFIRM_LATEST {
            sleep(Duration::from_millis(1)).await;
        }
        if !has_begun() {
            let what = "nothing was confirmed during the whole load".to_owned();
            self.vhosts.complain(Violation::Refused { what });
        }
        Some(loads)
    }

    /// Ends the broker under full load or, sometimes, after all has become quiet: then nothing at all
    /// may be in doubt. Gives the moment of the end.
    async fn end(
        &mut self,
        broker: Broker,
        mut loads: Vec<Load>,
    ) -> (Instant, Result<(), ProcessError>) {
        if self.random.chance(QUIET_END_PER_CENT) {
            self.finish(std::mem::take(&mut loads)).await;
            sleep(self.ack_grace).await;
        }
        self.vhosts.end();
        let ended_at = Instant::now();
        let ended = match self.mode {
            Mode::Clean => self.recipe.stop(broker).await,
            Mode::Kill | Mode::PowerAll | Mode::PowerSome | Mode::DiskFull | Mode::DiskError => {
                broker.kill(&self.recipe).await
            }
        };
        self.finish(loads).await;
        (ended_at, ended)
    }

    async fn finish(&self, loads: Vec<Load>) {
        self.vhosts.end();
        for load in loads {
            if let Err(stuck) = load.finish().await {
                let what = stuck.to_string();
                self.vhosts.complain(Violation::Process { what });
            }
        }
    }

    /// Starts the broker again; sometimes ends it once more while it is still recovering.
    async fn restart(&mut self) -> Result<Option<Broker>, RunError> {
        if self.mode != Mode::Clean && self.random.chance(SECOND_END_PER_CENT) {
            self.prepare_start()?;
            let mut child = match self.recipe.spawn() {
                Ok(child) => child,
                Err(error) => {
                    self.ended(&Err(error));
                    return Ok(None);
                }
            };
            sleep(Duration::from_micros(self.random.below(SECOND_END_LATEST_US))).await;
            let killed = kill(&mut child).await;
            if !self.ended(&killed) {
                return Ok(None);
            }
            self.lose_power()?;
        }
        copy_directory(&self.recipe.places.data(), &self.recipe.places.before_restart())?;
        self.start().await
    }

    async fn start(&mut self) -> Result<Option<Broker>, RunError> {
        self.prepare_start()?;
        match self.recipe.start().await {
            Ok(broker) => {
                self.recoveries.push(broker.started_in);
                Ok(Some(broker))
            }
            Err(error) => {
                self.ended(&Err(error));
                Ok(None)
            }
        }
    }

    fn prepare_start(&mut self) -> Result<(), RunError> {
        if self.mode.plays_disk() {
            start_log(&self.recipe.places.undo_log())?;
        }
        if self.mode.loses_power() {
            // The recipe removes this file; here so that the snapshot doesn't have it.
            let ports = self.recipe.places.data().join("ports.json");
            if ports.exists() {
                fs::remove_file(ports)?;
            }
            start_log(&self.recipe.places.undo_log())?;
            self.snapshot = Some(Snapshot::take(&self.recipe.places.data())?);
        }
        Ok(())
    }

    /// In the power modes: takes back what is not synced, once it is sure that nothing escaped.
    fn lose_power(&mut self) -> Result<(), RunError> {
        let Some(snapshot) = self.snapshot.take() else { return Ok(()) };
        let (data, log) = (self.recipe.places.data(), self.recipe.places.undo_log());
        let names = audit(&snapshot, &data, &log)?;
        if !names.is_empty() {
            self.vhosts.complain(Violation::Escaped { names });
        }
        let loss = match self.mode {
            Mode::PowerSome => Loss::Some(Random::new(self.random.next())),
            Mode::Kill | Mode::PowerAll | Mode::Clean | Mode::DiskFull | Mode::DiskError => {
                Loss::All
            }
        };
        let report = lose_power(&data, &log, loss)?;
        self.losses.steps += report.steps;
        self.losses.unsynced += report.unsynced;
        self.losses.kept += report.kept;
        self.losses.torn += report.torn;
        Ok(())
    }

    /// Compares the broker with the ledgers; gives how many queues were looked at.
    async fn compare(&mut self, broker: &Broker, closeness: Closeness) -> usize {
        let mut queues = 0;
        for (part, desk) in (1..).zip(&self.vhosts.desks) {
            let mut random = self.random.branch(part);
            let observed = observe(broker.port, desk, closeness, &mut random);
            let what = match timeout(OBSERVE_LONGEST, observed).await {
                Ok(Ok(more)) => {
                    queues += more;
                    continue;
                }
                Ok(Err(error)) => format!("looking at the restarted broker failed: {error}"),
                Err(_) => format!("looking took longer than {} s", OBSERVE_LONGEST.as_secs()),
            };
            self.vhosts.complain(Violation::Process { what });
        }
        queues
    }

    /// Takes note of a broker that did not do as told.
    fn ended(&self, result: &Result<(), ProcessError>) -> bool {
        if let Err(error) = result {
            let what = error.to_string();
            self.vhosts.complain(Violation::Process { what });
        }
        result.is_ok()
    }

    fn print_round(&self, round: u32, before: &Totals, queues: usize, sound: bool) {
        let now = self.vhosts.totals();
        let shapes: Vec<&str> = self.shapes_of(round).into_iter().map(Shape::name).collect();
        let recovery = self.recoveries.last().map_or(0, Duration::as_millis);
        println!(
            "{:<10} round {:>2} {:<11}: confirmed {:>6}, verified {:>6} in {queues:>3} queues, \
             duplicates {} marked {} unmarked, recovery {recovery} ms: {}",
            self.mode.name(),
            round + 1,
            shapes.join("+"),
            now.confirmed - before.confirmed,
            now.verified - before.verified,
            now.duplicates_marked - before.duplicates_marked,
            now.duplicates_unmarked - before.duplicates_unmarked,
            if sound { "ok" } else { "FAILED" },
        );
    }

    fn report(&self, arguments: &Arguments) {
        let (totals, violations) = (self.vhosts.totals(), self.vhosts.violations());
        let slowest = self.recoveries.iter().max().map_or(0, Duration::as_millis);
        println!(
            "{:<10} in all: published {}, confirmed {}, delivered {}, settled {}, verified {}, \
             duplicates {} marked {} unmarked, {} settled just before the end and back, \
             slowest start {slowest} ms",
            self.mode.name(),
            totals.published,
            totals.confirmed,
            totals.delivered,
            totals.settled,
            totals.verified,
            totals.duplicates_marked,
            totals.duplicates_unmarked,
            totals.settled_back,
        );
        if self.mode.loses_power() {
            println!(
                "{:<10} disk: {} changes, {} of them un-synced at the end, {} of those kept, {} torn",
                self.mode.name(),
                self.losses.steps,
                self.losses.unsynced,
                self.losses.kept,
                self.losses.torn,
            );
        }
        if violations.is_empty() {
            return;
        }
        for violation in violations.iter().take(PRINTED_MAX) {
            println!("  {violation}");
        }
        let more = violations.len().saturating_sub(PRINTED_MAX);
        let kinds = kinds_of(&violations);
        println!("  {} violations, {more} of them not shown: {kinds}", violations.len());
        let fault = arguments.planted_fault.as_ref();
        println!(
            "  kept: {} (data.before-restart is what the last restart began with)\n  \
             again: crashloop --mode {} --load {} --rounds {} --seed {} --load-ms {} --sync {}{}",
            self.recipe.places.work.display(),
            self.mode.name(),
            match self.shapes[..] {
                [shape] => shape.name(),
                _ => "every",
            },
            arguments.rounds,
            arguments.seed,
            arguments.load_longest.as_millis(),
            arguments.sync,
            fault.map_or_else(String::new, |fault| format!(" --planted-fault {fault}")),
        );
    }
}

/// How many violations of each kind: `3 lost, 1 damaged`.
fn kinds_of(violations: &[Violation]) -> String {
    let mut counts = BTreeMap::new();
    for violation in violations {
        let text = violation.to_string();
        let kind = text.split_once(':').map_or("other", |(kind, _)| kind).to_owned();
        *counts.entry(kind).or_insert(0) += 1;
    }
    let counts: Vec<String> =
        counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    counts.join(", ")
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
