//! The names of segment files, and which of a directory's files they are.

use std::io;

use crate::disk::Disk;

/// `segment-<number>`: a segment, whole or not; its end tells.
pub fn segment_file_name(number: u64) -> String {
    format!("segment-{number:010}")
}

/// The number in a segment file's name; none if it is another file's name.
pub fn segment_file_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("segment-")?.parse().ok()?;
    // `segment-+7` or `segment-7` must not be a second name of the same number.
    (segment_file_name(number) == name).then_some(number)
}

/// The numbers of all segment files in a directory, ascending; whether one is whole only opening
/// it tells.
pub fn list_segments(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let names = disk.list()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_file_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Deletes a segment file; one that is not there is as good as deleted.
pub fn remove_segment(disk: &dyn Disk, number: u64) -> io::Result<()> {
    match disk.remove(&segment_file_name(number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        for number in [0, 7, 12_345_678_901, u64::MAX] {
            assert_eq!(segment_file_number(&segment_file_name(number)), Some(number));
        }
        for other in [
            "segment",
            "segment-",
            "segment-7",
            "segment-+000000007",
            "segment-0000000001.bak",
            "segment-99999999999999999999",
            "journal-0000000001",
        ] {
            assert_eq!(segment_file_number(other), None, "{other}");
        }
    }
}
