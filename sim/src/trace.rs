//! The trace of a run: everything that happened, as lines. Their hash says whether two runs were
//! the same; the lines themselves are kept only for whoever wants to read them.

use broker::{DeliveryRun, Event};
use stdx::checksum::Checksum;

/// What becomes of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Only their hash is kept.
    Hashed,
    /// They are kept as well.
    Kept,
}

/// Everything that happened so far.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    sum: Checksum,
    lines: Lines,
    kept: Vec<String>,
}

impl Trace {
    pub(crate) fn new(lines: Lines) -> Trace {
        Trace { sum: Checksum::new(), lines, kept: Vec::new() }
    }

    pub(crate) fn line(&mut self, line: String) {
        self.sum.update(line.as_bytes());
        self.sum.update(b"\n");
        if self.lines == Lines::Kept {
            self.kept.push(line);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.sum.finish()
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.kept
    }
}

/// An event in few words: messages by their message-ids, which end their properties.
pub(crate) fn describe(event: &Event) -> String {
    match event {
        Event::Delivered(run) => {
            let DeliveryRun { channel, consumer_tag, first_tag, redelivered, first, .. } = run;
            let ids: Vec<u64> =
                (*first..first + run.count).map(|index| id(&run.chunk, index)).collect();
            let mark = if *redelivered { " again" } else { "" };
            format!("{channel}: {consumer_tag} gets {ids:?} from tag {first_tag}{mark}")
        }
        Event::Got { channel, tag, redelivered, remaining, chunk, index, .. } => {
            let id = id(chunk, *index);
            let mark = if *redelivered { " again" } else { "" };
            format!("{channel}: got {id} with tag {tag}{mark}, {remaining} left")
        }
        Event::Returned { channel, chunk, index } => {
            format!("{channel}: returned {}", id(chunk, *index))
        }
        Event::GotNothing { .. }
        | Event::Confirmed { .. }
        | Event::Nacked { .. }
        | Event::Reply { .. }
        | Event::Refused { .. }
        | Event::ConsumerCancelled { .. }
        | Event::LeaseAnswer(_)
        | Event::RemovalAnswer(_)
        | Event::DoneAnswer(_)
        | Event::Taken { .. }
        | Event::Closing(_)
        | Event::Ended => format!("{event:?}"),
    }
}

fn id(chunk: &broker::Chunk, index: u32) -> u64 {
    let message = chunk.message(index);
    let text = message.and_then(|message| {
        let start = message.properties.len().checked_sub(16)?;
        std::str::from_utf8(&message.properties[start..]).ok()
    });
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
}
