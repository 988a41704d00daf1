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

pub(crate) fn admitted(
    (name, account): (Name, Account),
    peer: IpAddr,
) -> Result<User, LoginRefusal> {
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

#[cfg(test)]
mod tests {
    use stdx::clock::ManualClock;
    use storage::JournalSettings;
    use storage::disk::SimulatedDisk;

    use super::*;
    use crate::catalogue::Store;
    use crate::register::Change;

    struct World {
        desk: Arc<Desk>,
        clock: Arc<ManualClock>,
    }

    fn account(password: &[u8]) -> Account {
        let password = PasswordHash::of(password).unwrap();
        Account { tags: [].into(), password, replaced: None, reach: Reach::Anywhere }
    }

    fn world() -> World {
        let clock = Arc::new(ManualClock::default());
        let first = || Ok(vec![Change::User(Name::from_static("u"), account(b"right"))]);
        let settings = JournalSettings::new(Box::new(|| 7));
        let disk = Arc::new(SimulatedDisk::new());
        let opened = Store::open(disk, settings, Monotonic(0), first).unwrap();
        let catalogue = Arc::new(Catalogue::new(opened, Arc::clone(&clock) as _));
        World { desk: Arc::new(Desk::new(catalogue, Arc::clone(&clock) as _, 1)), clock }
    }

    impl World {
        fn ask(&self, user: &str, password: &str, peer: &str) -> Login {
            self.desk.login(user, password.as_bytes(), peer.parse().unwrap()).unwrap()
        }

        fn check(&self, user: &str, password: &str, peer: &str) -> PasswordCheck {
            match self.ask(user, password, peer) {
                Login::Unknown(check) => check,
                Login::Known(_) => panic!("{user} is known already"),
            }
        }

        /// Tries until it is its turn; how long that took, and whether it was right.
        fn attempt(&self, password: &str, peer: &str) -> (u64, bool) {
            let check = self.check("u", password, peer);
            let mut waited = 0;
            loop {
                match check.turn() {
                    Turn::Known(_) => return (waited, true),
                    Turn::Later { ms } => {
                        waited += ms;
                        self.clock.advance_ms(ms);
                    }
                    Turn::Now(hashing) => return (waited, hashing.check().is_ok()),
                }
            }
        }
    }

    #[test]
    fn a_password_is_hashed_once_until_the_user_changes() {
        let world = world();
        assert_eq!(world.attempt("right", "192.0.2.1"), (0, true));
        for peer in ["192.0.2.1", "192.0.2.2"] {
            assert!(matches!(world.ask("u", "right", peer), Login::Known(_)));
        }
        assert!(matches!(world.ask("u", "right ", "192.0.2.1"), Login::Unknown(_)));
        assert!(matches!(world.ask("ur", "ight", "192.0.2.1"), Login::Unknown(_)));
        let change = Change::User(Name::from_static("u"), account(b"right"));
        world.desk.catalogue.change(&[change]).unwrap();
        assert!(matches!(world.ask("u", "right", "192.0.2.1"), Login::Unknown(_)));
    }

    #[test]
    fn failures_cost_their_address_time_and_then_are_forgotten() {
        let world = world();
        let peer = "192.0.2.1";
        let waits: Vec<u64> = (0..9).map(|_| world.attempt("wrong", peer).0).collect();
        assert_eq!(waits, [0, 0, 0, 0, 250, 500, 1_000, 2_000, 4_000]);
        // Another address is only held up by what the user's name has seen.
        assert_eq!(world.attempt("wrong", "192.0.2.2").0, 0);
        // No lock-out: the right password is right, after the wait.
        assert_eq!(world.attempt("right", peer), (4_000, true));
        world.clock.advance_ms(FORGOTTEN_MS);
        assert_eq!(world.attempt("wrong", peer).0, 0);
    }

    #[test]
    fn a_name_under_attack_from_everywhere_is_slow_but_not_shut() {
        let world = world();
        let waits: Vec<u64> =
            (0..16).map(|n| world.attempt("wrong", &format!("192.0.2.{n}")).0).collect();
        assert_eq!(waits[..11], [0; 11]);
        assert_eq!(waits[11..], [125, 250, 500, 1_000, 1_000]);
        assert_eq!(world.attempt("right", "198.51.100.1"), (1_000, true));
    }

    #[test]
    fn one_password_of_a_network_is_checked_at_a_time() {
        let world = world();
        let first = world.check("u", "a", "2001:db8::1");
        let second = world.check("u", "b", "2001:db8::2");
        let other = world.check("u", "c", "2001:db8:0:1::1");
        let third = world.check("u", "d", "192.0.2.1");
        let Turn::Now(hashing) = first.turn() else { panic!("nobody is before it") };
        assert!(matches!(second.turn(), Turn::Later { .. }));
        let Turn::Now(also) = other.turn() else { panic!("another network") };
        // No more than so many in all.
        assert!(matches!(third.turn(), Turn::Later { .. }));
        assert!(hashing.check().is_err());
        assert!(matches!(second.turn(), Turn::Now(_)));
        // Given up half way, it leaves its place.
        drop(also);
        assert!(matches!(third.turn(), Turn::Now(_)));
    }

    #[test]
    fn what_is_remembered_of_failures_is_bounded() {
        let mut state = State::default();
        let now = Monotonic(1);
        for n in 0..u32::try_from(limits::LOGIN_FAILURES_MAX).unwrap() * 2 {
            state.failed(IpAddr::V4(n.into()), "u", now);
            assert!(state.failures.len() <= limits::LOGIN_FAILURES_MAX);
        }
        // Who fails most is remembered longest.
        assert!(state.failures.contains_key(&Suspect::User("u".into())));
    }
}
