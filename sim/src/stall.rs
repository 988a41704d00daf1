//! A disk that stalls: now and then an operation takes long, while the clients, the clock and all
//! other work go on. The writer of the journal stalls in the middle of a frame: what comes meanwhile
//! must find its place in the next one, and nobody may hear of what is not on the disk yet.

use std::sync::Arc;

use broker::Broker;
use stdx::clock::Monotonic;
use storage::Poison;

use crate::paced::{Paced, Progress, Stops};
use crate::random::Random;

/// When operations stall, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Stalls(Random);

/// Of a hundred operations of a background task so many stall.
const TASK_PERCENT: u64 = 5;

/// Of a hundred steps of the writer so many may stall, and then of a hundred operations so many do.
const STEPS_PERCENT: u64 = 60;
const OPERATIONS_PERCENT: u64 = 40;

impl Stalls {
    pub(crate) fn new(seed: u64) -> Stalls {
        Stalls(Random::new(seed))
    }

    fn duration_ms(&mut self) -> u64 {
        self.0.one_of([1, 5, 20, 60])
    }

    /// For how long the next operation of a task stalls, if it does.
    pub(crate) fn of_task(&mut self) -> Option<u64> {
        self.0.chance(TASK_PERCENT).then(|| self.duration_ms())
    }

    /// Where the next step of the writer stalls, if it does.
    fn of_writer(&mut self) -> Option<Stops> {
        let (percent, random) = (OPERATIONS_PERCENT, Random::new(self.0.next()));
        let stalls = self.0.chance(STEPS_PERCENT);
        stalls.then_some(Stops::WhileWriting { random, percent, wrote: false })
    }
}

/// The journal's writer, step by step.
#[derive(Debug, Default)]
pub(crate) struct Pen {
    stalls: Option<Stalls>,
    step: Option<Stalled>,
}

/// A step that is stopped before a disk operation.
#[derive(Debug)]
struct Stalled {
    step: Paced<Result<bool, Poison>>,
    /// When the operation may be done.
    from: Monotonic,
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Stepped {
    /// As the broker says.
    Done(Result<bool, Poison>),
    /// It is not over.
    Stalled,
}

impl Pen {
    /// From now on some of its disk operations take long.
    pub(crate) fn stall_by(&mut self, stalls: Stalls) {
        self.stalls = Some(stalls);
    }

    /// No operation takes long any more, also not the one that is under way.
    pub(crate) fn end_stalls(&mut self) {
        self.stalls = None;
        if let Some(stalled) = &mut self.step {
            stalled.from = Monotonic::default();
        }
    }

    /// Whether a step is not over.
    pub(crate) fn is_stalled(&self) -> bool {
        self.step.is_some()
    }

    /// Begins a step, or goes on with the one that is under way if it is time.
    pub(crate) fn step(&mut self, broker: &Arc<Broker>, now: Monotonic) -> Stepped {
        let step = match self.step.take() {
            Some(stalled) if stalled.from > now => {
                self.step = Some(stalled);
                return Stepped::Stalled;
            }
            Some(stalled) => stalled.step,
            None => match self.stalls.as_mut().and_then(Stalls::of_writer) {
                None => return Stepped::Done(broker.step()),
                Some(stops) => {
                    let broker = Arc::clone(broker);
                    Paced::new(stops, move || broker.step())
                }
            },
        };
        match step.go() {
            Progress::Done => Stepped::Done(step.join().unwrap_or(Ok(false))),
            Progress::Stopped => {
                let stall_ms = self.stalls.as_mut().map_or(0, Stalls::duration_ms);
                self.step = Some(Stalled { step, from: now.plus_ms(stall_ms) });
                Stepped::Stalled
            }
        }
    }

    /// The process is gone, whatever was under way.
    pub(crate) fn abandon(&mut self) {
        if let Some(stalled) = self.step.take() {
            stalled.step.abandon();
        }
    }
}
