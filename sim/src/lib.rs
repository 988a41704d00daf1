//! Deterministic simulation: clients, broker, journal and disk in one thread, moved by a seed.
//!
//! A run is several lives of a broker on one simulated disk. In each, clients do whatever clients
//! may do, in seeded order, while the writer steps, time passes and background tasks run at seeded
//! moments; it ends with a power loss at some disk operation, a killed process, a failing or full
//! disk, or a clean stop. A checker knows every confirm, delivery and answer, and what is
//! found after each restart must be what it promised. The same seed makes the same run.

mod enumerate;
mod leasing;
mod run;

mod action;
mod script;

mod restart;

mod inspect;
mod life;
mod process;

mod background;
mod stall;

mod paced;

mod trace;

mod checker;

mod message;
mod vocabulary;

mod random;
mod violation;

pub use enumerate::{Enumerated, crash_at_every_operation};
pub use leasing::run_leases;
pub use run::{Outcome, run};
pub use trace::Lines;
pub use violation::{Rule, Violation};
