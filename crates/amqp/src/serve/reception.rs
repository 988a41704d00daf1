//! Where a client waits while its password is checked: the check takes tens of milliseconds of a
//! core, so it has a thread for blocking work, and the connection's task sleeps meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::{LoginRefusal, PasswordCheck, Turn, User, Wake};
use tokio::task::{AbortHandle, spawn, spawn_blocking};
use tokio::time::sleep;

/// A check that goes on; dropped, it is given up.
#[derive(Debug)]
pub(super) struct Reception {
    verdict: Arc<Mutex<Option<Result<User, LoginRefusal>>>>,
    task: AbortHandle,
}

impl Reception {
    /// Starts to check; rings when there is a verdict.
    pub(super) fn begin(check: PasswordCheck, bell: Arc<dyn Wake>) -> Reception {
        let verdict = Arc::new(Mutex::new(None));
        let place = Arc::clone(&verdict);
        let task = spawn(async move {
            let found = wait_and_check(check).await;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            bell.wake();
        });
        Reception { verdict, task: task.abort_handle() }
    }

    /// What the check has found, once it has.
    pub(super) fn verdict(&self) -> Option<Result<User, LoginRefusal>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wait_and_check(check: PasswordCheck) -> Result<User, LoginRefusal> {
    loop {
        match check.turn() {
            Turn::Known(user) => return Ok(user),
            Turn::Later { ms } => sleep(Duration::from_millis(ms)).await,
            Turn::Now(hashing) => {
                // A check that panics is no login.
                let checked = spawn_blocking(move || hashing.check()).await;
                return checked.unwrap_or(Err(LoginRefusal::BadCredentials));
            }
        }
    }
}
