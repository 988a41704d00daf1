//! Every message of a run has a number, and each number has to arrive once.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::Failure;

/// Digits of a number in a body.
const DIGITS: usize = 12;

/// What was published, and what came.
#[derive(Debug, Default)]
pub(crate) struct Account {
    next: AtomicU64,
    published: AtomicU64,
    settled: AtomicU64,
    /// How often each number came.
    came: Mutex<Vec<u8>>,
}

impl Account {
    /// Numbers for so many messages.
    pub(crate) fn numbers(&self, count: u64) -> std::ops::Range<u64> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        first..first + count
    }

    pub(crate) fn was_published(&self, count: u64) {
        self.published.fetch_add(count, Ordering::Release);
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    pub(crate) fn was_settled(&self, count: u64) {
        self.settled.fetch_add(count, Ordering::Release);
    }

    pub(crate) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// These were settled, so nobody may see them again.
    pub(crate) fn came(&self, numbers: &[u64]) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        for number in numbers {
            let Ok(at) = usize::try_from(*number) else { continue };
            if came.len() <= at {
                came.resize(at + 1, 0);
            }
            came[at] = came[at].saturating_add(1);
        }
    }

    /// How many never came, and how many came more than once.
    pub(crate) fn lost_and_doubled(&self) -> (u64, u64) {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let once = came.iter().filter(|times| **times > 0).count() as u64;
        let doubled = came.iter().filter(|times| **times > 1).count() as u64;
        (self.published().saturating_sub(once), doubled)
    }
}

/// A body that carries a number, of at least so many bytes.
pub(crate) fn body(number: u64, bytes: usize) -> String {
    format!("{number:0DIGITS$}{:x<1$}", "", bytes.saturating_sub(DIGITS))
}

/// The number of a body.
pub(crate) fn number(body: &str) -> Result<u64, Failure> {
    body.get(..DIGITS).and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        Failure::Unintelligible { what: "a lease".to_owned(), said: body.to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_carry_their_numbers() {
        for bytes in [0, 12, 13, 100] {
            let body = body(4711, bytes);
            assert_eq!((body.len(), number(&body).unwrap()), (bytes.max(12), 4711));
        }
        assert!(number("x").is_err());
    }

    #[test]
    fn what_is_lost_or_doubled_is_counted() {
        let account = Account::default();
        let numbers = account.numbers(4);
        account.was_published(4);
        account.came(&numbers.collect::<Vec<_>>()[1..]);
        account.came(&[2]);
        assert_eq!(account.lost_and_doubled(), (1, 1));
    }
}
