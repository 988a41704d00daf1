//! A script is run, wherever its messages lie, and what it says is held against what is told.

use crate::world::{Means, World};

/// Enough for all messages of a script, and so little that each moves to the disk at once.
const MEMORIES_BYTES: [usize; 2] = [1 << 20, 64];

/// Runs a script, wherever messages lie; `expected` has a line `LINE -> WHAT` for every line that says something.
pub(crate) fn check(script: &str) {
    for memory_bytes in MEMORIES_BYTES {
        check_with(memory_bytes, script, Silence::Meant);
    }
}

fn check_with(memory_bytes: usize, script: &str, silence: Silence) {
    check_within(Means { memory_bytes, journal_file_bytes: 64 << 10 }, script, silence);
}

/// As [`check`], with so little memory that messages move to the disk at once.
pub(crate) fn check_sealed(script: &str) {
    check_with(MEMORIES_BYTES[1], script, Silence::Meant);
}

/// As [`check`], with as much of everything as there usually is.
pub(crate) fn check_with_plenty(script: &str) {
    let plenty = Means { memory_bytes: 256 << 20, journal_file_bytes: 16 << 20 };
    check_within(plenty, script, Silence::Meant);
}

/// As [`check`], but what is told by lines without `->` does not matter.
pub(crate) fn check_what_matters(script: &str) {
    for memory_bytes in MEMORIES_BYTES {
        check_with(memory_bytes, script, Silence::Indifference);
    }
}

/// What it means that a line says nothing of what is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    Meant,
    Indifference,
}

fn check_within(means: Means, script: &str, silence: Silence) {
    let Means { memory_bytes, .. } = means;
    let mut world = World::new(means);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once("->").unwrap_or((line, ""));
        let expected: Vec<&str> =
            expected.split(';').map(str::trim).filter(|word| !word.is_empty()).collect();
        let told = world.run(command.trim());
        if silence == Silence::Indifference && !line.contains("->") {
            continue;
        }
        let (told, expected) = (apart(told.iter().map(String::as_str)), apart(expected));
        assert_eq!(told, expected, "with {memory_bytes} bytes of memory, at `{line}` of\n{script}");
    }
}

/// Deliveries one by one: how many come together depends on where the messages lay.
fn apart<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    let mut all = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let (who, delivery) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match delivery.split_once('#').and_then(|(tag, first)| Some((tag, first.parse().ok()?))) {
            Some((tag, first)) if who.ends_with(':') && !tag.starts_with("got") => {
                let numbered = (first..).zip(words);
                all.extend(
                    numbered.map(|(number, word): (u64, _)| format!("{who} {tag}#{number} {word}")),
                );
            }
            _other => all.push(line.to_owned()),
        }
    }
    all
}
