//! Requests that come twice: a client that got no answer asks again under the same key, and is told
//! what the first request came to. What is known of keys is kept in memory, for a time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use domain::name::Name;
use hyper::body::Bytes;
use tokio::sync::watch;

use crate::problem::Problem;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_hours(1);

/// The most that a user's answers take, in bytes; the oldest go first.
const USER_BYTES_MAX: usize = 4 << 20;

/// What an answer takes beside its own bytes, about.
const ANSWER_BYTES: usize = 256;

/// How often it is looked whether users have answers that are too old.
const SWEEP: Duration = Duration::from_mins(1);

/// An answer of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) json: Bytes,
}

/// What a request came to.
pub(crate) type Outcome = Result<Answer, Problem>;

/// What tells requests apart that have the same key: a digest of everything that counts.
pub(crate) type Fingerprint = [u8; 32];

/// What is known of a key.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nothing: this is the first request, and whoever has the promise does it.
    First(Promise),
    /// It was done.
    Done(Answer),
    /// It is being done.
    Underway(watch::Receiver<Option<Outcome>>),
    /// Another request had it.
    Another,
}

/// All keys that are known.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    users: HashMap<Name, Window>,
    swept: Option<Instant>,
}

/// A user's keys.
#[derive(Debug, Default)]
struct Window {
    requests: HashMap<Box<str>, Request>,
    /// Those that were done, the oldest first.
    done: VecDeque<(Instant, Box<str>)>,
    /// What the answers take.
    bytes: usize,
}

#[derive(Debug)]
struct Request {
    fingerprint: Fingerprint,
    state: State,
}

#[derive(Debug)]
enum State {
    Underway(watch::Receiver<Option<Outcome>>),
    Done(Answer),
}

fn cost_bytes(key: &str, answer: &Answer) -> usize {
    ANSWER_BYTES + 2 * key.len() + answer.json.len()
}

impl Window {
    fn end(&mut self, key: &str, answer: Answer, now: Instant) {
        let Some(request) = self.requests.get_mut(key) else { return };
        self.bytes += cost_bytes(key, &answer);
        request.state = State::Done(answer);
        self.done.push_back((now, key.into()));
        self.forget(now);
    }

    /// Forgets what is too old, and what there is too much of.
    fn forget(&mut self, now: Instant) {
        while let Some((since, _)) = self.done.front()
            && (now.duration_since(*since) >= KEPT || self.bytes > USER_BYTES_MAX)
        {
            let Some((_, key)) = self.done.pop_front() else { return };
            if let Some(Request { state: State::Done(answer), .. }) = self.requests.remove(&key) {
                self.bytes -= cost_bytes(&key, &answer);
            }
        }
    }
}

impl Keys {
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.users.retain(|_, window| {
            window.forget(now);
            !window.requests.is_empty()
        });
    }
}

impl Repeats {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a key up; if it is new, it is being done from now on.
    pub(crate) fn look(
        self: &Arc<Repeats>,
        user: &Name,
        key: &str,
        fingerprint: Fingerprint,
        now: Instant,
    ) -> Known {
        let mut keys = self.keys();
        keys.sweep(now);
        let window = keys.users.entry(user.clone()).or_default();
        window.forget(now);
        if let Some(request) = window.requests.get(key) {
            return match &request.state {
                _ if request.fingerprint != fingerprint => Known::Another,
                State::Underway(outcome) => Known::Underway(outcome.clone()),
                State::Done(answer) => Known::Done(answer.clone()),
            };
        }
        let (told, state) = watch::channel(None);
        let request = Request { fingerprint, state: State::Underway(state) };
        window.requests.insert(key.into(), request);
        let (repeats, user, key) = (Arc::clone(self), user.clone(), key.into());
        Known::First(Promise { repeats, user, key, told })
    }
}

/// To say what a request came to. If it is dropped instead, nothing is known of the key any more.
#[derive(Debug)]
pub(crate) struct Promise {
    repeats: Arc<Repeats>,
    user: Name,
    key: Box<str>,
    told: watch::Sender<Option<Outcome>>,
}

impl Promise {
    /// Tells everybody who waits. An answer is kept; after a problem the next one tries again.
    pub(crate) fn keep(self, outcome: &Outcome, now: Instant) {
        if let Ok(answer) = outcome {
            let mut keys = self.repeats.keys();
            if let Some(window) = keys.users.get_mut(&self.user) {
                window.end(&self.key, answer.clone(), now);
            }
        }
        self.told.send_replace(Some(outcome.clone()));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut keys = self.repeats.keys();
        let Some(window) = keys.users.get_mut(&self.user) else { return };
        let request = window.requests.get(&self.key);
        if request.is_some_and(|request| matches!(request.state, State::Underway(_))) {
            window.requests.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Fingerprint = [1; 32];
    const OTHER: Fingerprint = [2; 32];

    fn answer(json: &str) -> Answer {
        Answer { status: StatusCode::CREATED, json: Bytes::copy_from_slice(json.as_bytes()) }
    }

    fn said(known: &Known) -> String {
        match known {
            Known::First(_) => "first".to_owned(),
            Known::Done(answer) => String::from_utf8_lossy(&answer.json).into_owned(),
            Known::Underway(outcome) => format!("underway {}", outcome.borrow().is_some()),
            Known::Another => "another".to_owned(),
        }
    }

    #[test]
    fn a_key_is_good_for_one_request_of_one_user() {
        let (repeats, now) = (Arc::new(Repeats::default()), Instant::now());
        let [ada, bob] = ["ada", "bob"].map(|name| Name::new(name).unwrap());
        let look = |user, fingerprint| repeats.look(user, "k", fingerprint, now);
        let Known::First(promise) = look(&ada, ONE) else { unreachable!("it is new") };
        assert_eq!(said(&look(&ada, ONE)), "underway false");
        assert_eq!(said(&look(&ada, OTHER)), "another");
        assert_eq!(said(&look(&bob, OTHER)), "first");
        let Known::Underway(waits) = look(&ada, ONE) else { unreachable!("it is being done") };
        promise.keep(&Ok(answer("done")), now);
        assert_eq!(*waits.borrow(), Some(Ok(answer("done"))));
        assert_eq!(said(&look(&ada, ONE)), "done");
        assert_eq!(said(&look(&ada, OTHER)), "another");
    }

    #[test]
    fn what_was_not_done_may_be_tried_again() {
        let (repeats, now) = (Arc::new(Repeats::default()), Instant::now());
        let ada = Name::new("ada").unwrap();
        let look = || repeats.look(&ada, "k", ONE, now);
        let Known::First(promise) = look() else { unreachable!("it is new") };
        let Known::Underway(waits) = look() else { unreachable!("it is being done") };
        promise.keep(&Err(Problem::broken()), now);
        assert_eq!(*waits.borrow(), Some(Err(Problem::broken())));
        let Known::First(promise) = look() else { unreachable!("it was not done") };
        drop(promise);
        assert_eq!(said(&look()), "first");
    }

    #[test]
    fn answers_go_when_they_are_old_or_too_many() {
        let (repeats, now) = (Arc::new(Repeats::default()), Instant::now());
        let ada = Name::new("ada").unwrap();
        let size = 1 << 20;
        let done = |key: &str, now| {
            let Known::First(promise) = repeats.look(&ada, key, ONE, now) else { return false };
            promise.keep(&Ok(answer(&"x".repeat(size))), now);
            true
        };
        for key in ["a", "b", "c", "d"] {
            assert!(done(key, now), "{key}");
        }
        // Three have room.
        assert!(!done("b", now));
        assert!(done("a", now));
        assert!(!done("d", now + KEPT.checked_sub(Duration::from_millis(1)).unwrap()));
        assert!(done("d", now + KEPT));
        repeats.look(&Name::new("bob").unwrap(), "x", ONE, now + 3 * KEPT);
        let keys = repeats.keys();
        assert_eq!((keys.users.len(), keys.users.contains_key(&ada)), (1, false));
    }
}
