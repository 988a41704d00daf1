//! Damage is told from a torn end, wherever it is, and never becomes a wrong record.

use std::collections::BTreeMap;

use bytes::Bytes;
use stdx::clock::Monotonic;
use storage::disk::{Faults, SimulatedDisk};
use storage::{Damage, JournalSettings, OpenError, Position, Staged, SyncMode, Work};

use crate::support::{Seen, SeenRecord, open, open_with, settings, work_until_idle};

const PAGE_BYTES: usize = 4096;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// How the owner that wrote a store stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It flushed.
    Clean,
    /// It was gone.
    Killed,
}

/// A store of seven frames in files of three pages of frames each, the last file short.
pub(crate) fn store(sync: SyncMode, stop: Stop) -> Files {
    let disk = SimulatedDisk::new();
    let settings = JournalSettings { sync, ..settings(4 * PAGE_BYTES as u64) };
    let mut opened = open_with(&disk, settings).unwrap();
    for index in 0..7u8 {
        let mut staged = Staged::default();
        staged.record(index, |out| out.extend_from_slice(&[index; 700]));
        staged.record_with(100 + index, |out| out.push(index), Bytes::from(vec![!index; 900]));
        staged.urge();
        opened.journal.commit(&mut staged, Monotonic(0)).unwrap();
        work_until_idle(&mut opened.writer, Monotonic(0));
    }
    if stop == Stop::Clean {
        while let Work::Wrote { .. } = opened.writer.flush(Monotonic(0)) {}
    }
    disk.files()
}

fn reopen(files: Files) -> Result<Seen, OpenError> {
    open(&SimulatedDisk::with_files(files))
}

fn all_records(files: &Files) -> Vec<SeenRecord> {
    reopen(files.clone()).unwrap().records
}

/// Reopens, expects records or a refusal that names a place; says how many records were shown.
fn prefix_or_refusal(files: Files, all: &[SeenRecord], what: &str) -> Option<usize> {
    match reopen(files) {
        Ok(seen) => {
            assert_eq!(seen.records, all[..seen.records.len()], "{what}");
            Some(seen.records.len())
        }
        Err(OpenError::Corrupt { file, .. } | OpenError::Newer { file, .. }) => {
            assert!(file.starts_with("journal-"), "{what}");
            None
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn a_flipped_bit_anywhere_is_harmless_or_found() {
    let files = store(SyncMode::Always, Stop::Clean);
    let all = all_records(&files);
    assert_eq!(all.len(), 14);
    let mut found = 0;
    for (name, bytes) in &files {
        for offset in 0..bytes.len() {
            let mut files = files.clone();
            files.get_mut(name).unwrap()[offset] ^= 1 << (offset % 8);
            let what = format!("{name}, byte {offset}");
            match prefix_or_refusal(files, &all, &what) {
                Some(records) => assert_eq!(records, all.len(), "{what}: some are gone, unnoticed"),
                None => found += 1,
            }
        }
    }
    assert!(found > 7 * 1_600, "the bytes that matter are checked: {found}");
}

#[test]
fn every_bit_of_a_file_header_counts_and_none_behind_it() {
    let files = store(SyncMode::Always, Stop::Clean);
    let all = all_records(&files);
    for name in files.keys() {
        for bit in 0..128 * 8 {
            let mut files = files.clone();
            files.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let what = format!("{name}, bit {bit}");
            let expected = (bit >= 64 * 8).then_some(all.len());
            assert_eq!(prefix_or_refusal(files, &all, &what), expected, "{what}");
        }
    }
}

#[test]
fn a_journal_cut_at_any_byte_gives_a_prefix_or_refuses() {
    let files = store(SyncMode::Always, Stop::Killed);
    let all = all_records(&files);
    let last = files.keys().last().unwrap();
    for (name, bytes) in &files {
        let mut shown = 0;
        for cut in 0..bytes.len() {
            let mut files = files.clone();
            files.get_mut(name).unwrap().truncate(cut);
            let what = format!("{name} cut to {cut} bytes");
            let records = prefix_or_refusal(files, &all, &what);
            assert!(records.is_none_or(|records| name == last || records == all.len()), "{what}");
            shown = shown.max(records.unwrap_or(0));
        }
        // What nothing behind it vouches for may be gone without a sign, but only that.
        assert_eq!(shown, all.len(), "{name}: nothing of its padding is missed");
    }
}

/// Everything that can happen to a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    Header,
    Payload,
    /// Its page was never written, or is lost.
    Zeroed,
    /// A whole frame of another position stands there.
    Replaced,
    /// The file ends in the middle of it.
    Cut,
}

pub(crate) const HARMS: [Harm; 5] =
    [Harm::Header, Harm::Payload, Harm::Zeroed, Harm::Replaced, Harm::Cut];

pub(crate) fn harm(files: &mut Files, position: usize, harm: Harm) {
    let (file, frame) = ((position - 1) / 3, (position - 1) % 3);
    let name = files.keys().nth(file).unwrap().clone();
    let bytes = files.get_mut(&name).unwrap();
    let start = (frame + 1) * PAGE_BYTES;
    match harm {
        Harm::Header => bytes[start + 30] ^= 1,
        Harm::Payload => bytes[start + 1_000] ^= 1,
        Harm::Zeroed => bytes[start..start + PAGE_BYTES].fill(0),
        Harm::Replaced => {
            let other = if frame == 0 { 2 * PAGE_BYTES } else { PAGE_BYTES };
            bytes.copy_within(other..other + PAGE_BYTES, start);
        }
        Harm::Cut => bytes.truncate(start + 200),
    }
}

#[test]
fn every_harm_to_every_frame_gets_the_verdict_of_the_table() {
    for (sync, stop) in [
        (SyncMode::Always, Stop::Clean),
        (SyncMode::Always, Stop::Killed),
        (SyncMode::Never, Stop::Clean),
        (SyncMode::Never, Stop::Killed),
    ] {
        let files = store(sync, stop);
        let all = all_records(&files);
        for position in 1..=7usize {
            for kind in HARMS {
                let in_last_file = position == 7;
                // The only frames that nothing vouches for are the newest of a killed owner; in
                // mode never those of the last file. A clean stop writes one that vouches for all;
                // a cut takes that one away as well.
                let vouched = stop == Stop::Clean && !matches!(kind, Harm::Cut | Harm::Replaced);
                if in_last_file && matches!(kind, Harm::Replaced) {
                    continue;
                }
                let mut files = files.clone();
                harm(&mut files, position, kind);
                let what = format!("{sync:?} {stop:?} frame {position} {kind:?}");
                let records = prefix_or_refusal(files, &all, &what);
                let expected = (in_last_file && !vouched).then_some(2 * (position - 1));
                assert_eq!(records, expected, "{what}");
            }
        }
    }
}

#[test]
fn a_missing_file_is_damage_wherever_it_is() {
    let files = store(SyncMode::Always, Stop::Clean);
    let names: Vec<&String> = files.keys().collect();
    for (index, name) in names.iter().enumerate().take(names.len() - 1) {
        let mut files = files.clone();
        files.remove(*name);
        let Err(OpenError::Corrupt { file, position, found, .. }) = reopen(files) else {
            panic!("without {name}");
        };
        assert_eq!((&file, found), (names[index + 1], Damage::FileMissing));
        assert_eq!(position, Position(3 * (index as u64 + 1)));
    }
}

#[test]
fn files_that_belong_elsewhere_are_refused() {
    let files = store(SyncMode::Always, Stop::Clean);
    let mut renamed = files.clone();
    let last = renamed.pop_last().unwrap().1;
    renamed.insert("journal-0000000004".to_owned(), last);
    let found = |files| match reopen(files) {
        Err(OpenError::Corrupt { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(renamed), Damage::FileNumber(3));
    let mut empty = files.clone();
    empty.insert("journal-0000000002".to_owned(), Vec::new());
    assert_eq!(found(empty), Damage::FileHeader);
    let mut strange = files;
    strange.insert("notes.txt".to_owned(), b"not ours".to_vec());
    strange.insert("journal-12".to_owned(), b"not ours either".to_vec());
    strange.insert("spare-0000000001".to_owned(), b"any bytes".to_vec());
    assert_eq!(reopen(strange).unwrap().records.len(), 14);
}

#[test]
fn the_refusal_says_where_and_what_to_do() {
    let mut files = store(SyncMode::Always, Stop::Clean);
    harm(&mut files, 2, Harm::Payload);
    assert_eq!(
        reopen(files).unwrap_err().to_string(),
        "the journal does not open, because it is damaged: journal-0000000001, offset 8192, where \
         the frame of position 2 should be: the frame's payload fails its checksum. What was there \
         had been synced, so this is no torn end of a crash. Restore the data directory from a backup; \
         or let `postroom repair --data-dir DIR` say what is lost, and give that up"
    );
}

#[test]
fn a_newer_format_is_refused_with_the_remedy() {
    let mut files = store(SyncMode::Always, Stop::Clean);
    files.values_mut().last().unwrap()[8] = 2;
    assert_eq!(
        reopen(files).unwrap_err().to_string(),
        "the journal does not open: journal-0000000003 is written in format version 2, and this \
         program reads version 1 at most. Start the newer Postroom that wrote it"
    );
}

/// A journal whose last frame was cut off by a power loss; what it held, and the disk.
fn torn() -> (SimulatedDisk, usize) {
    let mut files = store(SyncMode::Always, Stop::Killed);
    harm(&mut files, 7, Harm::Payload);
    (SimulatedDisk::with_files(files), 12)
}

#[test]
fn a_torn_end_is_reported_and_stays_the_end() {
    let (disk, records) = torn();
    let mut opened = open(&disk).unwrap();
    let torn = opened.summary.torn_tail.clone().unwrap();
    assert_eq!((torn.file.as_str(), torn.offset), ("journal-0000000003", 4096));
    assert_eq!((torn.position, torn.found), (Position(7), Damage::Payload));
    assert_eq!(opened.records.len(), records);
    // Writing goes on at the same position, in another file.
    for index in 0..3u8 {
        let mut staged = Staged::default();
        staged.record(200 + index, |_| {});
        staged.urge();
        let committed = opened.journal.commit(&mut staged, Monotonic(0)).unwrap();
        assert_eq!(committed.position, Position(7 + u64::from(index)));
        work_until_idle(&mut opened.writer, Monotonic(0));
        let again = open(&disk).unwrap();
        assert_eq!(again.records.len(), records + 1 + usize::from(index));
        assert_eq!(again.records.last().unwrap().1, 200 + index);
        assert_eq!(again.summary.torn_tail, None, "the next file says where this one ends");
    }
}

#[test]
fn a_record_that_imitates_frames_is_never_taken_for_one() {
    let disk = SimulatedDisk::new();
    // The worst imitation there is: true pages of this very file, of the right life, at places where
    // frames may start.
    let mut opened = open(&disk).unwrap();
    let commit = |opened: &mut Seen, body: Vec<u8>| {
        let mut staged = Staged::default();
        staged.record_with(1, |_| {}, Bytes::from(body));
        staged.urge();
        opened.journal.commit(&mut staged, Monotonic(0)).unwrap();
        work_until_idle(&mut opened.writer, Monotonic(0));
    };
    for index in 0..3 {
        commit(&mut opened, vec![index; 10]);
    }
    let pages = disk.files()["journal-0000000001"][..4 * PAGE_BYTES].to_vec();
    let head_bytes = 64 + 8;
    let body = [vec![0; PAGE_BYTES - head_bytes], pages].concat();
    commit(&mut opened, body.clone());
    let before = disk.files();
    let all = all_records(&before);
    assert_eq!(all.len(), 4);
    assert_eq!(all[3].2, body);
    // The frame's payload is torn at every page in turn: the copies inside it vouch for nothing.
    for page in 4..9 {
        let mut files = before.clone();
        let bytes = files.get_mut("journal-0000000001").unwrap();
        bytes[page * PAGE_BYTES + 100] ^= 1;
        assert_eq!(reopen(files).unwrap().records.len(), 3, "page {page}");
    }
}

#[test]
fn frames_of_a_former_life_never_come_back() {
    let disk = SimulatedDisk::new();
    let mut opened = open_with(&disk, settings(8 * PAGE_BYTES as u64)).unwrap();
    let mut recycled = false;
    for _ in 0..60 {
        let mut staged = Staged::default();
        staged.record(1, |out| out.extend_from_slice(&[7; 100]));
        staged.urge();
        let frames = opened.journal.commit(&mut staged, Monotonic(0)).unwrap().position.0;
        work_until_idle(&mut opened.writer, Monotonic(0));
        let _ = opened.journal.release_before(Position(frames));
        let seen = open(&disk).unwrap();
        assert_eq!(seen.records.last().unwrap().0, frames, "the end is the newest frame");
        assert_eq!(seen.journal.durable(), Position(frames));
        // Behind the end of a recycled file stand whole frames of its former life.
        let files = disk.files();
        let (_, newest) = files.iter().rfind(|(name, _)| name.starts_with("journal")).unwrap();
        recycled |= newest[7 * PAGE_BYTES..].starts_with(b"PoFr") && frames > 30;
    }
    assert!(recycled, "files are written again");
    assert!(disk.files().len() <= 5, "no more than two in use and three spare");
}

#[test]
fn a_length_that_was_never_checked_allocates_nothing() {
    // A header that is right in itself, and longer than the file: only a forger makes one.
    let files = store(SyncMode::Always, Stop::Killed);
    let name = files.keys().last().unwrap().clone();
    for bytes in [1u64 << 40, u64::MAX, u64::MAX - 70] {
        let mut files = files.clone();
        let header = &mut files.get_mut(&name).unwrap()[PAGE_BYTES..PAGE_BYTES + 64];
        header[40..48].copy_from_slice(&bytes.to_le_bytes());
        let sum = stdx::checksum::checksum(&header[..56]);
        header[56..].copy_from_slice(&sum.to_le_bytes());
        let seen = reopen(files).unwrap();
        assert_eq!(seen.summary.torn_tail.unwrap().found, Damage::FrameCut);
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_named() {
    let disk = SimulatedDisk::with_files(store(SyncMode::Always, Stop::Clean));
    disk.set_faults(Faults { power_out: Some(1), ..Faults::default() });
    // From here on every operation fails.
    assert!(storage::disk::Disk::sync_dir(&disk).is_err());
    let refused = open(&disk).unwrap_err();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused}");
}

/// One random thing done to the files; `draw(n)` is a number below n.
pub(crate) fn random_harm(files: &mut Files, draw: &mut impl FnMut(usize) -> usize) {
    let names: Vec<String> = files.keys().cloned().collect();
    let (name, other) = (&names[draw(names.len())], &names[draw(names.len())]);
    let source = files[other].clone();
    let Some(bytes) = files.get_mut(name) else { return };
    let page = draw(4) * PAGE_BYTES;
    match draw(6) {
        0 if !bytes.is_empty() => {
            let at = draw(bytes.len());
            bytes[at] ^= 1 << draw(8);
        }
        1 => bytes.truncate(draw(bytes.len() + 1)),
        2 => {
            let end = (page + PAGE_BYTES).min(bytes.len());
            bytes.get_mut(page..end).into_iter().for_each(|page| page.fill(0));
        }
        // A page of another place, or of another file.
        3 if source.len() >= 4 * PAGE_BYTES && bytes.len() >= page + PAGE_BYTES => {
            let from = draw(4) * PAGE_BYTES;
            bytes[page..page + PAGE_BYTES].copy_from_slice(&source[from..from + PAGE_BYTES]);
        }
        4 => *bytes = source,
        5 if names.len() > 1 => {
            files.remove(name);
        }
        _ => bytes.extend((0..draw(9_000)).map(|_| 7)),
    }
}

#[test]
fn any_heap_of_damage_gives_a_prefix_or_refuses() {
    let files = store(SyncMode::Always, Stop::Clean);
    let all = all_records(&files);
    let mut state = 1u64;
    let mut draw = |end: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end
    };
    let mut refused = 0;
    for round in 0..3_000 {
        let mut files = files.clone();
        for _ in 0..=draw(4) {
            random_harm(&mut files, &mut draw);
        }
        refused += u32::from(prefix_or_refusal(files, &all, &format!("round {round}")).is_none());
    }
    assert!((500..2_990).contains(&refused), "{refused}");
}
