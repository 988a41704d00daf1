//! The names of a journal's files, and what each stands for.

use std::fmt;

/// No journal gets that far; so there is always a next number.
const NUMBER_MAX: u64 = 999_999_999_999_999;

/// A file that belongs to the journal. Files of other names are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileName {
    /// `journal-<number>`: has a valid header from the moment it bears this name.
    Journal(u64),
    /// `spare-<number>`: its bytes mean nothing; it waits to be written again.
    Spare(u64),
}

/// Whether a file of this name belongs to a journal.
pub fn is_journal_file(name: &str) -> bool {
    FileName::parse(name).is_some()
}

impl FileName {
    pub(crate) fn parse(name: &str) -> Option<FileName> {
        let (kind, digits) = name.split_once('-')?;
        let number = digits.parse().ok().filter(|number| *number <= NUMBER_MAX)?;
        let parsed = match kind {
            "journal" => FileName::Journal(number),
            "spare" => FileName::Spare(number),
            _ => return None,
        };
        // `journal-+7` or `journal-7` must not be a second name of the same number.
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileName::Journal(number) => write!(f, "journal-{number:010}"),
            FileName::Spare(number) => write!(f, "spare-{number:010}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        for name in [FileName::Journal(1), FileName::Spare(12_345_678_901), FileName::Journal(0)] {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for other in [
            "journal",
            "journal-",
            "journal-7",
            "journal-+000000007",
            "journal-0000000001.bak",
            "lock",
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}
