//! x

mod ledger;

mod violation;

mod message;
fn main() {}
