//! Work on a thread of its own that moves only when it is told to, and then as far as the next of
//! its disk operations at which it stops. So it can be anywhere when something else happens, and yet
//! only one thread moves at a time: a run repeats exactly.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use storage::disk::{Disk, DiskFile, SimulatedDisk};

use crate::random::Random;

/// Something that is done by and by.
#[derive(Debug)]
pub(crate) struct Paced<T> {
    turnstile: Arc<Turnstile>,
    thread: JoinHandle<Option<T>>,
}

/// Before which of its disk operations work stops.
#[derive(Debug)]
pub(crate) enum Stops {
    /// Before every one.
    Everywhere,
    /// Where a frame has begun to be written, before some.
    WhileWriting { random: Random, percent: u64, wrote: bool },
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Stopped,
    Done,
}

/// What lets the thread and the rest move in turns.
#[derive(Debug, Default)]
struct Turnstile {
    moves: Mutex<Moves>,
    changed: Condvar,
}

/// Who moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Moves {
    #[default]
    TheRest,
    TheWork,
    /// The work is done.
    NobodyAnyMore,
    /// The process is gone: the work finds no disk any more, and ends.
    Abandoned,
}

/// What an operation does to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    /// It takes room.
    Writes,
    /// Whatever else.
    Other,
}

thread_local! {
    /// Of the work on this thread.
    static HERE: RefCell<Option<(Arc<Turnstile>, Stops)>> = const { RefCell::new(None) };
}

impl Turnstile {
    fn moves(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work stops here until it is told to go on.
    fn stop(&self) -> io::Result<()> {
        let mut moves = self.moves();
        if *moves == Moves::TheWork {
            *moves = Moves::TheRest;
            self.changed.notify_all();
        }
        self.await_turn(moves)
    }

    fn await_turn(&self, mut moves: MutexGuard<'_, Moves>) -> io::Result<()> {
        loop {
            match *moves {
                Moves::TheWork => return Ok(()),
                Moves::NobodyAnyMore | Moves::Abandoned => {
                    return Err(io::Error::other("the process is gone"));
                }
                Moves::TheRest => {
                    moves = self.changed.wait(moves).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn go(&self) -> Progress {
        let mut moves = self.moves();
        *moves = Moves::TheWork;
        self.changed.notify_all();
        while *moves == Moves::TheWork {
            moves = self.changed.wait(moves).unwrap_or_else(PoisonError::into_inner);
        }
        if *moves == Moves::NobodyAnyMore { Progress::Done } else { Progress::Stopped }
    }

    fn set(&self, to: Moves) {
        *self.moves() = to;
        self.changed.notify_all();
    }
}

/// Says that the work is done, also where it panicked: whoever waits for it must not wait for ever.
struct Ending(Arc<Turnstile>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.set(Moves::NobodyAnyMore);
    }
}

impl<T: Send + 'static> Paced<T> {
    /// Work that has not begun.
    pub(crate) fn new(stops: Stops, work: impl FnOnce() -> T + Send + 'static) -> Paced<T> {
        let turnstile = Arc::new(Turnstile::default());
        let own = Arc::clone(&turnstile);
        let thread = std::thread::spawn(move || {
            // It may have been told to go before it got here.
            own.await_turn(own.moves()).ok()?;
            let _ending = Ending(Arc::clone(&own));
            HERE.set(Some((own, stops)));
            Some(work())
        });
        Paced { turnstile, thread }
    }

    /// Lets it go on to where it stops next.
    pub(crate) fn go(&self) -> Progress {
        self.turnstile.go()
    }

    /// What work that is done came to; none if it never began.
    pub(crate) fn join(self) -> Option<T> {
        match self.thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// The process is gone, whatever was under way.
    pub(crate) fn abandon(self) {
        self.turnstile.set(Moves::Abandoned);
        // Work that does not survive the loss of its disk is none of this run's rules.
        drop(self.thread.join());
    }
}

impl Stops {
    fn stops_before(&mut self, touch: Touch) -> bool {
        match self {
            Stops::Everywhere => true,
            Stops::WhileWriting { random, percent, wrote } => {
                *wrote |= touch == Touch::Writes;
                *wrote && random.chance(*percent)
            }
        }
    }
}

/// The disk as a process sees it: paced work stops before what it does there.
#[derive(Debug)]
pub(crate) struct PacedDisk(pub(crate) SimulatedDisk);

#[derive(Debug)]
struct PacedFile(Box<dyn DiskFile>);

fn stop(touch: Touch) -> io::Result<()> {
    let turnstile = HERE.with_borrow_mut(|here| match here {
        // What is abandoned finds no disk, whether or not it would have stopped here.
        Some((turnstile, stops)) => {
            let stops = stops.stops_before(touch) || *turnstile.moves() == Moves::Abandoned;
            stops.then(|| Arc::clone(turnstile))
        }
        None => None,
    });
    turnstile.map_or(Ok(()), |turnstile| turnstile.stop())
}

fn paced(file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
    Box::new(PacedFile(file))
}

impl Disk for PacedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        stop(Touch::Other)?;
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        stop(Touch::Other)?;
        self.0.open(name).map(paced)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        stop(Touch::Writes)?;
        self.0.create(name).map(paced)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        stop(Touch::Other)?;
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        stop(Touch::Other)?;
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        stop(Touch::Other)?;
        self.0.sync_dir()
    }
}

impl DiskFile for PacedFile {
    fn bytes(&self) -> io::Result<u64> {
        stop(Touch::Other)?;
        self.0.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        stop(Touch::Other)?;
        self.0.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        stop(Touch::Writes)?;
        self.0.write_vectored_at(slices, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<u64> {
        stop(Touch::Writes)?;
        self.0.allocate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        stop(Touch::Other)?;
        self.0.sync()
    }
}
