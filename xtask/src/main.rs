//! The project's own checks and chores: `cargo xtask <command>`.
#![expect(clippy::print_stdout, reason = "a tool for the terminal")]

mod test;

mod book;
mod faults;
mod licences;
mod tidy;

mod command;

mod checkout;
mod failure;

use std::process::ExitCode;

const USAGE: &str = "\
The project's own checks and chores.

  cargo xtask test [--long] [WORD ...]   everything, in the order that fails soonest;
                                         with words, the steps whose headings have one of them
  cargo xtask tidy                       the rules of the house: layers, length, names, docs
  cargo xtask licences                   every dependency's licence is one we accept
  cargo xtask book                       the manual as a book, in target/book
  cargo xtask faults                     every planted fault is caught by some test
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test", "--long", steps @ ..] => test::run(test::Form::Long, steps),
        ["test", steps @ ..] => test::run(test::Form::Short, steps),
        ["book"] => book::build(),
        ["faults"] => faults::run(),
        ["tidy"] => tidy::run(),
        ["licences"] => licences::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("xtask: don't know `{}`\n\n{USAGE}", arguments.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
