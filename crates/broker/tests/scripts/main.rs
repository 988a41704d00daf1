//! Scripts against a broker on a simulated disk: requests go in, what the sessions hear comes out.

mod backup;
mod done;
mod leases;
mod promises;
mod removals;
mod repair;
mod repaired_leases;
mod rest;
mod rot;
mod rules;
mod waits;
mod sights;
mod stall;
mod transactions;

mod script;

mod world;

mod answers;
mod requests;
