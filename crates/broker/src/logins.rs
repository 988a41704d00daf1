//! The desk where passwords are checked. A slow hash is computed once for a password, not at each
//! login: a verified login is remembered under a keyed hash, until the user changes. Who fails again
//! and again waits longer and longer, and nobody else with him: there are delays and no lockouts,
//! one password of an address is checked at a time, and who waits takes no thread.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::name::Name;
use hashbrown::HashMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use stdx::clock::{Clock, Monotonic};

use crate::catalogue::Catalogue;
use crate::limits;
use crate::passwords::{Match, PasswordHash};
use crate::users::{Account, LoginRefusal, Reach, User};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A user and a password under the process's key.
type Fingerprint = [u8; 32];

/// What came of a name and a password.
#[derive(Debug)]
pub enum Login {
    /// They were checked before.
    Known(User),
    /// They are to be checked, away from the threads that serve connections.
    Unknown(PasswordCheck),
}

/// Whether a password can be checked now.
#[derive(Debug)]
pub enum Turn {
    /// Somebody has checked the same one meanwhile.
    Known(User),
    /// Ask again after that many milliseconds.
    Later {
        /// Them.
        ms: u64,
    },
    /// Now: on a thread that may be busy for a while.
    Now(Hashing),
}

/// A password that waits to be checked.
pub struct PasswordCheck {
    desk: Arc<Desk>,
    user: String,
    password: Vec<u8>,
    peer: IpAddr,
    fingerprint: Fingerprint,
}

/// A password whose turn it is.
pub struct Hashing {
    desk: Arc<Desk>,
    user: String,
    password: Vec<u8>,
    peer: IpAddr,
    fingerprint: Fingerprint,
    done: bool,
}

impl std::fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordCheck").field("user", &self.user).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hashing").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Where passwords are checked.
#[derive(Debug)]
pub(crate) struct Desk {
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    key: [u8; 32],
    /// Checked for a name that nobody has, so that it takes as long as for one that somebody has.
    nobody: PasswordHash,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The hash that was right; void once the user has another.
    verified: Map<Fingerprint, PasswordHash>,
    failures: Map<Suspect, Failures>,
    /// Addresses whose password is being checked.
    busy: Vec<IpAddr>,
    waiting: u64,
}

/// Who fails.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Suspect {
    Peer(IpAddr),
    User(Box<str>),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Monotonic,
}

/// How failures turn into a delay.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// So many cost nothing.
    free: u32,
    /// The first delay; each further failure doubles it.
    ms: u64,
    ms_max: u64,
}

const PEER_RULE: Rule = Rule { free: 3, ms: 250, ms_max: 4_000 };

/// Milder: who fails may be an enemy of the user's.
const USER_RULE: Rule = Rule { free: 10, ms: 125, ms_max: 1_000 };

/// Failures are forgotten when there was none for so long.
const FORGOTTEN_MS: u64 = 60_000;

/// How soon somebody who waits for his turn asks again; longer the more wait.
const WAIT_MS: u64 = 20;
const WAITING_PER_MS: u64 = 10;

impl Failures {
    fn is_forgotten(&self, now: Monotonic) -> bool {
        self.last.plus_ms(FORGOTTEN_MS) <= now
    }

    /// When the next try may be.
    fn free_at(&self, rule: Rule) -> Monotonic {
        let Some(over) = self.count.checked_sub(rule.free + 1) else { return Monotonic(0) };
        let ms = rule.ms.saturating_mul(1 << over.min(16)).min(rule.ms_max);
        self.last.plus_ms(ms)
    }
}

impl State {
    /// Milliseconds until somebody may try.
    fn delay_ms(&self, peer: IpAddr, user: &str, now: Monotonic) -> u64 {
        let free_at = |suspect: &Suspect, rule| {
            let failures = self.failures.get(suspect).filter(|found| !found.is_forgotten(now));
            failures.map_or(Monotonic(0), |failures| failures.free_at(rule))
        };
        let peer = free_at(&Suspect::Peer(peer), PEER_RULE);
        let user = free_at(&Suspect::User(user.into()), USER_RULE);
        peer.max(user).0.saturating_sub(now.0).div_ceil(1_000_000)
    }

    fn failed(&mut self, peer: IpAddr, user: &str, now: Monotonic) {
        for suspect in [Suspect::Peer(peer), Suspect::User(user.into())] {
            if self.failures.len() >= limits::LOGIN_FAILURES_MAX
                && !self.failures.contains_key(&suspect)
            {
                self.make_room(now);
            }
            let fresh = Failures { count: 0, last: now };
            let failures = self.failures.entry(suspect).or_insert(fresh);
            if failures.is_forgotten(now) {
                failures.count = 0;
            }
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
    }

    /// The forgotten go; if there are none, those that failed least.
    fn make_room(&mut self, now: Monotonic) {
        self.failures.retain(|_, failures| !failures.is_forgotten(now));
        let mut least = 1;
        while self.failures.len() >= limits::LOGIN_FAILURES_MAX {
            self.failures.retain(|_, failures| failures.count > least);
            least = least.saturating_mul(2);
        }
    }

    fn remember(&mut self, fingerprint: Fingerprint, hash: PasswordHash) {
        if self.verified.len() >= limits::VERIFIED_LOGINS_MAX {
            // Rare, and it costs everybody one hash.
            self.verified.clear();
        }
        self.verified.insert(fingerprint, hash);
    }
}

/// The network that one peer commands: an IPv6 customer has 2^64 addresses.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

impl Desk {
    pub(crate) fn new(catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>, random: u64) -> Desk {
        let mut key = [0; 32];
        if getrandom::fill(&mut key).is_err() {
            // The system has none: better this than no broker. It never leaves the process.
            key[..8].copy_from_slice(&random.to_be_bytes());
        }
        let nobody = PasswordHash::stand_in();
        Desk { catalogue, clock, key, nobody, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fingerprint(&self, user: &str, password: &[u8]) -> Fingerprint {
        // A key may have any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return [0; 32] };
        mac.update(&(user.len() as u64).to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(password);
        mac.finalize().into_bytes().into()
    }

    /// Never waits.
    pub(crate) fn login(
        self: &Arc<Desk>,
        user: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Login, LoginRefusal> {
        let fingerprint = self.fingerprint(user, password);
        if let Some(known) = self.known(user, &fingerprint) {
            return admitted(known, peer).map(Login::Known);
        }
        let mut state = self.state();
        if state.waiting >= limits::WAITING_LOGINS_MAX {
            return Err(LoginRefusal::TooMany);
        }
        state.waiting += 1;
        Ok(Login::Unknown(PasswordCheck {
            desk: Arc::clone(self),
            user: user.to_owned(),
            password: password.to_vec(),
            peer,
            fingerprint,
        }))
    }

    /// Lets somebody in who needs no password.
    pub(crate) fn external(&self, user: &str, peer: IpAddr) -> Result<User, LoginRefusal> {
        let known = self.catalogue.account(user).ok_or(LoginRefusal::BadCredentials)?;
        admitted(known, peer)
    }

    fn known(&self, user: &str, fingerprint: &Fingerprint) -> Option<(Name, Account)> {
        let hash = self.state().verified.get(fingerprint)?.clone();
        let known = self.catalogue.account(user)?;
        (known.1.password == hash).then_some(known)
    }
}

fn admitted((name, account): (Name, Account), peer: IpAddr) -> Result<User, LoginRefusal> {
    if account.reach == Reach::Loopback && !peer.to_canonical().is_loopback() {
        return Err(LoginRefusal::LoopbackOnly);
    }
    Ok(User::new(name, &account))
}

impl PasswordCheck {
    /// Asks for a turn.
    pub fn turn(&self) -> Turn {
        let desk = &self.desk;
        if let Some(known) = desk.known(&self.user, &self.fingerprint)
            && let Ok(user) = admitted(known, self.peer)
        {
            return Turn::Known(user);
        }
        let now = desk.clock.monotonic();
        let network = network(self.peer);
        let mut state = desk.state();
        let ms = state.delay_ms(network, &self.user, now);
        if ms > 0 {
            return Turn::Later { ms };
        }
        if state.busy.len() >= limits::HASHES_AT_ONCE_MAX || state.busy.contains(&network) {
            return Turn::Later { ms: WAIT_MS + state.waiting / WAITING_PER_MS };
        }
        state.busy.push(network);
        Turn::Now(Hashing {
            desk: Arc::clone(desk),
            user: self.user.clone(),
            password: self.password.clone(),
            peer: self.peer,
            fingerprint: self.fingerprint,
            done: false,
        })
    }
}

impl Drop for PasswordCheck {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        state.waiting = state.waiting.saturating_sub(1);
    }
}

impl Hashing {
    /// Checks the password; takes tens of milliseconds.
    pub fn check(mut self) -> Result<User, LoginRefusal> {
        let desk = Arc::clone(&self.desk);
        let known = desk.catalogue.account(&self.user);
        let hash = known.as_ref().map_or(&desk.nobody, |(_, account)| &account.password);
        let matched = hash.check(&self.password);
        let known = known.filter(|_| matched != Match::Wrong);
        if let Some((name, account)) = &known {
            let mut right = account.password.clone();
            if matched == Match::RightUntilNow
                && let Ok(ours) = PasswordHash::of(&self.password)
            {
                desk.catalogue.upgrade(name, &right, ours.clone());
                right = ours;
            }
            desk.state().remember(self.fingerprint, right);
        }
        self.finish(known.is_none());
        admitted(known.ok_or(LoginRefusal::BadCredentials)?, self.peer)
    }

    fn finish(&mut self, failed: bool) {
        let now = self.desk.clock.monotonic();
        let network = network(self.peer);
        let mut state = self.desk.state();
        if failed {
            state.failed(network, &self.user, now);
        }
        state.busy.retain(|busy| *busy != network);
        self.done = true;
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        if !self.done {
            self.finish(true);
        }
    }
}
