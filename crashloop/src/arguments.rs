//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const HELP: &str = "\
crashloop [--rounds N] [--mode MODE] [--load LOAD] [--seed S] [options]

Ends the broker again and again under load and accounts for every message.

  --mode MODE         kill        kill -9: what was written survives
                      power-all   kill -9, and everything un-synced is lost
                      power-some  kill -9, and a random part of the un-synced is lost or torn
                      clean       SIGTERM: exit code 0 within 10 s, nothing lost, nothing back
                      disk-full   a small disk gets full: publishers are blocked, consumers go on,
                                  all resumes with room again; kill -9 somewhere in between
                      disk-error  a write or sync fails: writes stop, for one reason; then kill -9
                      every       all of these, one after the other (default)
  --load LOAD         deep        a few queues that grow to hundreds of thousands of messages
                      mixed       every exchange type, settlement, declaration and deletion
                      many        hundreds of queues, their messages interleaved
                      large       bodies of all sizes up to 16 MiB
                      every       the rounds have them in turn (default)
  --rounds N          rounds per mode (default 3)
  --seed S            seed of all random choices (default: the clock's)
  --load-ms MS        longest time under load per round (default 1500)
  --sync MODE         passed on to the broker (default always)
  --binary PATH       the broker (default: builds and takes this workspace's own)
  --forgetful PATH    the preloaded library (default: as --binary)
  --work-dir DIR      where data and logs go (default: target/crashloop)
  --ack-grace-ms MS   how long an applied ack may take to be written (default 500)
  --reserve-bytes N   what the broker holds back of a small disk (default 4194304)
  --sync-delay-us US  makes every sync in the power modes slower (default 1000)
  --planted-fault F   builds the broker with planted faults and switches F on
  --expect-failure    succeed only if a violation is found within the rounds
";

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Kill,
    PowerAll,
    PowerSome,
    Clean,
    DiskFull,
    DiskError,
}

impl Mode {
    const EVERY: [Self; 6] =
        [Self::Kill, Self::PowerAll, Self::PowerSome, Self::Clean, Self::DiskFull, Self::DiskError];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerAll => "power-all",
            Self::PowerSome => "power-some",
            Self::Clean => "clean",
            Self::DiskFull => "disk-full",
            Self::DiskError => "disk-error",
        }
    }

    pub(crate) fn loses_power(self) -> bool {
        matches!(self, Self::PowerAll | Self::PowerSome)
    }

    /// Whether the disk is one that the preloaded library plays.
    pub(crate) fn plays_disk(self) -> bool {
        matches!(self, Self::DiskFull | Self::DiskError)
    }
}

/// What the load of a round is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Few queues that grow much faster than anybody takes from them.
    Deep,
    /// Every exchange type, every way to settle, everything declared and deleted.
    Mixed,
    /// Hundreds of queues, their messages interleaved.
    Many,
    /// Bodies of all sizes up to the largest.
    Large,
    /// Publishers that nothing but a full disk stops; the load of that mode alone.
    Full,
}

impl Shape {
    /// In the order in which the rounds have them.
    const EVERY: [Self; 4] = [Self::Deep, Self::Mixed, Self::Many, Self::Large];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deep => "deep",
            Self::Mixed => "mixed",
            Self::Many => "many",
            Self::Large => "large",
            Self::Full => "full",
        }
    }
}

/// What the caller wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    NoViolation,
    Violation,
}

#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) modes: Vec<Mode>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    pub(crate) load_longest: Duration,
    pub(crate) sync: String,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) forgetful: Option<PathBuf>,
    pub(crate) work_dir: Option<PathBuf>,
    pub(crate) ack_grace: Duration,
    pub(crate) sync_delay_us: u64,
    pub(crate) reserve_bytes: u64,
    pub(crate) planted_fault: Option<String>,
    pub(crate) expectation: Expectation,
}

/// Why the command line is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentError {
    #[error("{0} is not an option")]
    Unknown(String),
    #[error("{0} needs a value")]
    Missing(String),
    #[error("{option} can't be {value}")]
    Value { option: String, value: String },
}

impl Arguments {
    /// None if help was asked for.
    pub(crate) fn parse(words: &[String]) -> Result<Option<Self>, ArgumentError> {
        let mut arguments = Self {
            modes: Mode::EVERY.to_vec(),
            shapes: Shape::EVERY.to_vec(),
            rounds: 3,
            seed: clock_seed(),
            load_longest: Duration::from_millis(1500),
            sync: "always".to_owned(),
            binary: None,
            forgetful: None,
            work_dir: None,
            ack_grace: Duration::from_millis(500),
            sync_delay_us: 1000,
            reserve_bytes: 4 << 20,
            planted_fault: None,
            expectation: Expectation::NoViolation,
        };
        let mut words = words.iter();
        while let Some(option) = words.next() {
            match option.as_str() {
                "--help" | "-h" => return Ok(None),
                "--expect-failure" => arguments.expectation = Expectation::Violation,
                _ => {
                    let value =
                        words.next().ok_or_else(|| ArgumentError::Missing(option.clone()))?;
                    arguments.set(option, value)?;
                }
            }
        }
        Ok(Some(arguments))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), ArgumentError> {
        let wrong = || ArgumentError::Value { option: option.to_owned(), value: value.to_owned() };
        let number = || value.parse::<u64>().ok().ok_or_else(wrong);
        match option {
            "--mode" if value == "every" => self.modes = Mode::EVERY.to_vec(),
            "--mode" => {
                let mode = Mode::EVERY.into_iter().find(|mode| mode.name() == value);
                self.modes = vec![mode.ok_or_else(wrong)?];
            }
            "--load" if value == "every" => self.shapes = Shape::EVERY.to_vec(),
            "--load" => {
                let shape = Shape::EVERY.into_iter().find(|shape| shape.name() == value);
                self.shapes = vec![shape.ok_or_else(wrong)?];
            }
            "--rounds" => self.rounds = value.parse().ok().ok_or_else(wrong)?,
            "--seed" => self.seed = number()?,
            "--load-ms" => self.load_longest = Duration::from_millis(number()?),
            "--sync" => value.clone_into(&mut self.sync),
            "--binary" => self.binary = Some(value.into()),
            "--forgetful" => self.forgetful = Some(value.into()),
            "--work-dir" => self.work_dir = Some(value.into()),
            "--ack-grace-ms" => self.ack_grace = Duration::from_millis(number()?),
            "--reserve-bytes" => self.reserve_bytes = number()?,
            "--sync-delay-us" => self.sync_delay_us = number()?,
            "--planted-fault" => self.planted_fault = Some(value.to_owned()),
            _ => return Err(ArgumentError::Unknown(option.to_owned())),
        }
        Ok(())
    }
}

fn clock_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| now.as_secs() % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Arguments>, ArgumentError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn options_are_understood_or_refused() {
        let arguments = parse("--mode power-all --load deep --rounds 20 --seed 7 --expect-failure");
        let arguments = arguments.unwrap().unwrap();
        assert_eq!(arguments.modes, [Mode::PowerAll]);
        assert_eq!(arguments.shapes, [Shape::Deep]);
        assert_eq!((arguments.rounds, arguments.seed), (20, 7));
        assert_eq!(arguments.expectation, Expectation::Violation);
        assert!(parse("--help").unwrap().is_none());
        for (line, error) in [
            ("--round 3", "--round is not an option"),
            ("--rounds", "--rounds needs a value"),
            ("--rounds many", "--rounds can't be many"),
            ("--mode sudden", "--mode can't be sudden"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), error);
        }
    }
}
