//! The stored bytes themselves. If one of these tests fails, the format has changed: an older program
//! can't read what this one writes. `docs/formats/journal.md` says how that is done on purpose.

use bytes::Bytes;
use stdx::checksum::checksum;
use stdx::clock::Monotonic;
use storage::disk::SimulatedDisk;
use storage::{JournalSettings, Position, Staged};

use crate::support::{open, open_with, work_until_idle};

fn number(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

fn with_checksum(mut head: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&head);
    head.extend_from_slice(&number(sum));
    head
}

/// The file of a journal with two frames, written from the description and not from the code.
fn described() -> Vec<u8> {
    let generation = 0x1122_3344_5566_7788;
    let header = [
        &b"Postroom"[..],
        &1u32.to_le_bytes(),
        &[0; 4],
        &number(generation),
        &number(1),
        &number(1),
        &number(0),
        &number(0),
    ]
    .concat();
    let mut file = with_checksum(header);
    file.resize(4096, 0);
    let record =
        |tag: u64, payload: &[u8]| [&number((payload.len() as u64) << 8 | tag), payload].concat();
    let payloads = [[record(7, b"hello"), record(255, &[9; 4000])].concat(), record(0, b"")];
    for (position, payload) in (1u64..).zip(payloads) {
        let header = [
            &b"PoFr"[..],
            &1u32.to_le_bytes(),
            &number(generation),
            &number(position),
            &number(position - 1),
            &number(u64::from(position == 2)),
            &number(payload.len() as u64),
            &number(checksum(&payload)),
        ]
        .concat();
        file.extend_from_slice(&with_checksum(header));
        file.extend_from_slice(&payload);
        file.resize(file.len().next_multiple_of(4096), 0);
    }
    file
}

#[test]
fn what_is_written_is_what_the_document_draws() {
    let disk = SimulatedDisk::new();
    let settings = JournalSettings::new(Box::new(|| 0x1122_3344_5566_7788));
    let mut opened = open_with(&disk, settings).unwrap();
    let mut staged = Staged::default();
    staged.record(7, |out| out.extend_from_slice(b"hello"));
    staged.record_with(255, |_| {}, Bytes::from(vec![9; 4000]));
    staged.urge();
    opened.journal.commit(&mut staged, Monotonic(0)).unwrap();
    work_until_idle(&mut opened.writer, Monotonic(0));
    opened.journal.release_before(Position(1));
    staged.record(0, |_| {});
    staged.urge();
    opened.journal.commit(&mut staged, Monotonic(0)).unwrap();
    work_until_idle(&mut opened.writer, Monotonic(0));

    let written = &disk.files()["journal-0000000001"];
    let described = described();
    assert_eq!(written[..described.len()], described);
    assert!(written[described.len()..].iter().all(|byte| *byte == 0));
    // The checksum is the published XXH3-64 with seed 0: this is its value for no bytes at all.
    assert_eq!(checksum(b""), 0x2d06_8005_38d3_94c2);
}

#[test]
fn what_the_document_draws_is_read() {
    let files = [("journal-0000000001".to_owned(), described())].into();
    let seen = open(&SimulatedDisk::with_files(files)).unwrap();
    let expected = [(1, 7, b"hello".to_vec()), (1, 255, vec![9; 4000]), (2, 0, Vec::new())];
    assert_eq!(seen.records, expected);
}
