//! The virtual hosts of a run: each has a load and a ledger of its own, and all of them lie in one
//! broker, which has to keep them apart.

use std::time::{Duration, Instant};

use crate::client::Desk;
use crate::ledger::{Totals, Unmarked};
use crate::violation::Violation;

const NAMES: [&str; 2] = ["/", "second"];

/// What the broker is given to import: the virtual host that it doesn't have by itself.
pub(crate) const DEFINITIONS: &str = r#"{
    "vhosts": [{ "name": "second" }],
    "permissions": [
        { "user": "guest", "vhost": "second", "configure": ".*", "write": ".*", "read": ".*" }
    ]
}"#;

/// All of them.
#[derive(Debug)]
pub(crate) struct Vhosts {
    pub(crate) desks: Vec<Desk>,
}

impl Vhosts {
    pub(crate) fn new() -> Self {
        Self { desks: NAMES.map(Desk::new).to_vec() }
    }

    /// From now on errors are expected.
    pub(crate) fn end(&self) {
        self.desks.iter().for_each(Desk::end);
    }

    pub(crate) fn totals(&self) -> Totals {
        self.desks.iter().fold(Totals::default(), |sum, desk| sum.plus(desk.ledger().totals))
    }

    /// What each has confirmed.
    pub(crate) fn confirmed(&self) -> Vec<u64> {
        self.desks.iter().map(|desk| desk.ledger().totals.confirmed).collect()
    }

    /// What was published to each.
    pub(crate) fn published(&self) -> Vec<u64> {
        self.desks.iter().map(|desk| desk.ledger().totals.published).collect()
    }

    /// What consumers of each have got.
    pub(crate) fn delivered(&self) -> Vec<u64> {
        self.desks.iter().map(|desk| desk.ledger().totals.delivered).collect()
    }

    /// From now on clients may be refused something.
    pub(crate) fn expect_refusals(&self) {
        self.desks.iter().for_each(Desk::expect_refusals);
    }

    /// What they were refused since then.
    pub(crate) fn refusals(&self) -> Vec<String> {
        self.desks.iter().flat_map(Desk::refusals).collect()
    }

    pub(crate) fn restarts(&self, now: Instant, grace: Duration, unmarked: Unmarked) {
        for desk in &self.desks {
            desk.ledger().restarts(now, grace, unmarked);
        }
    }

    /// Notes something that concerns the broker as a whole.
    pub(crate) fn complain(&self, violation: Violation) {
        self.desks[0].ledger().violations.push(violation);
    }

    pub(crate) fn are_sound(&self) -> bool {
        self.desks.iter().all(|desk| desk.ledger().violations.is_empty())
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.desks.iter().flat_map(|desk| desk.ledger().violations.clone()).collect()
    }
}
