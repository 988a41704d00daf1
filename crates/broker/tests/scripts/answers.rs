//! What sessions are told: events as the words of a script.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

use std::collections::BTreeMap;

use broker::lease::{LeaseAnswer, LeaseReply, LeaseStatus, LeaseToken};
use broker::{Closing, Event, Reply};

pub(crate) fn text(event: &Event) -> String {
    let body = |chunk: &broker::Chunk, index| {
        String::from_utf8_lossy(chunk.message(index).unwrap().body).into_owned()
    };
    match event {
        Event::Delivered(run) => {
            let mark = if run.redelivered { "'" } else { "" };
            let bodies: Vec<String> = (run.first..run.first + run.count)
                .map(|index| format!("{}{mark}", body(&run.chunk, index)))
                .collect();
            let counts = run.counts.map_or(String::new(), |counts| {
                format!(" ({} failures of {})", counts.failures, counts.acquisitions)
            });
            format!("{}#{} {}{counts}", run.consumer_tag, run.first_tag, bodies.join(" "))
        }
        Event::Got { tag, redelivered, remaining, chunk, index, .. } => {
            let mark = if *redelivered { "'" } else { "" };
            format!("got#{tag} {}{mark}, {remaining} left", body(chunk, *index))
        }
        Event::GotNothing { .. } => "nothing".to_owned(),
        Event::Confirmed { first, last, .. } => format!("confirmed {first}-{last}"),
        Event::Nacked { first, .. } => format!("nacked {first}"),
        Event::Returned { chunk, index, .. } => format!("returned {}", body(chunk, *index)),
        Event::Reply { reply: Reply::QueueDeclared { queue, messages, consumers }, .. } => {
            let shown =
                if queue.as_str().starts_with("amq.gen-") { "generated" } else { queue.as_str() };
            format!("{shown} has {messages}, {consumers} consumers")
        }
        Event::Reply { reply, .. } => {
            format!("{reply:?}").split([' ', '{']).next().unwrap().to_owned()
        }
        Event::Refused { refusal, .. } => {
            format!("refused {}", format!("{refusal:?}").split([' ', '(', '{']).next().unwrap())
        }
        Event::ConsumerCancelled { consumer_tag, .. } => format!("cancelled {consumer_tag}"),
        Event::LeaseAnswer(answer) => format!("{answer:?}"),
        Event::Taken { .. } => format!("{event:?}"),
        Event::RemovalAnswer(answer) => crate::removals::text(answer),
        Event::DoneAnswer(answer) => crate::done::text(answer),
        Event::Closing(Closing::Forced(why)) => format!("closing: {why}"),
        Event::Closing(_) => "closing".to_owned(),
        Event::Ended => "ended".to_owned(),
    }
}

/// Leased messages by their bodies: `'` marks those delivered before, a number which attempt it is.
pub(crate) fn lease_text(
    answer: &LeaseAnswer,
    tokens: &mut BTreeMap<String, Vec<LeaseToken>>,
) -> String {
    let words: Vec<String> = match &answer.outcome {
        Err(refusal) => vec![format!("refused {refusal:?}")],
        Ok(LeaseReply::Settled(statuses)) => (statuses.iter())
            .map(|status| match status {
                LeaseStatus::Done { .. } => "done".to_owned(),
                LeaseStatus::Gone => "gone".to_owned(),
                LeaseStatus::Lost => "lost".to_owned(),
            })
            .collect(),
        Ok(LeaseReply::Leased(runs)) => {
            let mut words = vec!["leased".to_owned()];
            for (run, offset) in runs.iter().flat_map(|run| (0..run.count).map(move |at| (run, at)))
            {
                let message = run.chunk.message(run.first + offset).unwrap();
                let body = String::from_utf8_lossy(message.body).into_owned();
                let mark = if run.redelivered { "'" } else { "" };
                let attempt = match run.attempt() {
                    1 => String::new(),
                    attempt => attempt.to_string(),
                };
                words.push(format!("{body}{mark}{attempt}"));
                tokens.entry(body).or_default().push(run.token(offset));
            }
            words
        }
    };
    words.join(" ")
}
