//! A scan sees what an opening refuses, and a repair loses what the scan said and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use storage::disk::SimulatedDisk;
use storage::{RepairSettings, Scan, Sight, SyncMode, repair, scan};

use crate::damage::{Files, HARMS, Stop, harm, random_harm, store};
use crate::support::{SeenRecord, open};

const VOID: u8 = 222;

fn scanned(files: &Files) -> (Scan, Vec<SeenRecord>) {
    let disk = SimulatedDisk::with_files(files.clone());
    let mut records = Vec::new();
    let found = scan(&disk, &mut |sight| {
        if let Sight::Record { position, tag, payload } = sight {
            records.push((position.0, tag, payload.to_vec()));
        }
    });
    assert_eq!(disk.files(), *files, "a scan changes nothing");
    assert_eq!(disk.counts().operations, 0);
    (found.unwrap(), records)
}

/// Repairs, and fails unless the journal then opens with just what the scan showed.
fn check(files: &Files, all: &[SeenRecord], what: &str) -> Scan {
    let (found, shown) = scanned(files);
    assert!(shown.iter().all(|record| all.contains(record)), "{what}: only what was written");
    let disk = SimulatedDisk::with_files(files.clone());
    let opens = open(&disk).is_ok();
    assert_eq!(opens, found.gaps.is_empty(), "{what}: {:?}", found.gaps);
    let disk = SimulatedDisk::with_files(files.clone());
    let mut aside = BTreeMap::new();
    let mut generation = 7_000;
    let settings = RepairSettings {
        void_tag: VOID,
        generation: &mut || {
            generation += 1;
            generation
        },
        put_aside: &mut |name| {
            aside.insert(name.to_owned(), disk.files()[name].clone());
            Ok(())
        },
    };
    assert_eq!(repair(&disk, settings).unwrap(), found, "{what}");
    for (name, bytes) in files {
        if disk.files()[name] != *bytes {
            assert_eq!(aside.get(name), Some(bytes), "{what}: the original of {name} is kept");
        }
    }
    assert!(scan(&disk, &mut |_| {}).unwrap().gaps.is_empty(), "{what}: nothing is left to do");
    // Whatever happens next to the disk: the repair is durable.
    let opened = open(&disk.crash(1)).unwrap();
    let missing: BTreeSet<u64> = found.gaps.iter().flat_map(|gap| gap.missing.clone()).collect();
    let (void, kept): (Vec<SeenRecord>, Vec<SeenRecord>) =
        opened.records.into_iter().partition(|(_, tag, _)| *tag == VOID);
    let void: BTreeSet<u64> = void.into_iter().map(|(position, ..)| position).collect();
    assert_eq!(void, missing, "{what}");
    let positions = |records: &[SeenRecord]| -> Vec<u64> {
        records.iter().map(|(position, ..)| *position).collect()
    };
    assert_eq!(positions(&kept), positions(&shown), "{what}: {:?}", found.gaps);
    assert!(kept == shown, "{what}: everything that is whole is kept");
    found
}

fn whole() -> (Files, Vec<SeenRecord>) {
    let files = store(SyncMode::Always, Stop::Clean);
    let (found, all) = scanned(&files);
    assert_eq!((found.files, found.frames, found.records), (3, 8, 14));
    assert_eq!(found.gaps, []);
    (files, all)
}

#[test]
fn what_is_whole_is_not_changed() {
    let (files, _) = whole();
    let disk = SimulatedDisk::with_files(files.clone());
    let settings = RepairSettings {
        void_tag: VOID,
        generation: &mut || unreachable!("no file is made"),
        put_aside: &mut |name| unreachable!("{name} is whole"),
    };
    assert_eq!(repair(&disk, settings).unwrap().gaps, []);
    assert_eq!(disk.files(), files);
    assert_eq!(disk.counts().operations, 0);
}

#[test]
fn every_harm_to_every_frame_loses_that_frame() {
    let (files, all) = whole();
    for position in 1..=7 {
        for kind in HARMS {
            let mut files = files.clone();
            harm(&mut files, position, kind);
            let what = format!("frame {position} {kind:?}");
            let found = check(&files, &all, &what);
            let first = found.gaps.first().map(|gap| gap.missing.start);
            assert!(first.is_none_or(|first| first == position as u64), "{what}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_loses_one_frame_at_most() {
    let (files, all) = whole();
    let mut gaps = 0;
    for (name, bytes) in &files {
        for offset in (0..bytes.len()).filter(|offset| offset % 4096 < 1_900) {
            let mut files = files.clone();
            files.get_mut(name).unwrap()[offset] ^= 1 << (offset % 8);
            // A higher version can't be told from a newer program's file.
            if (8..12).contains(&offset) {
                continue;
            }
            let found = check(&files, &all, &format!("{name}, byte {offset}"));
            assert!(found.gaps.len() <= 1);
            gaps += found.gaps.len();
        }
    }
    assert!(gaps > 7 * 1_600, "{gaps}");
}

#[test]
fn missing_files_are_replaced() {
    let (files, all) = whole();
    let names: Vec<String> = files.keys().cloned().collect();
    for gone in [&[0][..], &[1], &[0, 1]] {
        let mut files = files.clone();
        for index in gone {
            files.remove(&names[*index]);
        }
        let found = check(&files, &all, &format!("without {gone:?}"));
        let missing: usize = found.gaps.iter().map(|gap| gap.missing.clone().count()).sum();
        assert_eq!(missing, 3 * gone.len());
    }
}

#[test]
fn any_heap_of_damage_is_repaired() {
    let (files, all) = whole();
    let mut state = 3u64;
    let mut draw = |end: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end
    };
    for round in 0..600 {
        let mut files = files.clone();
        for _ in 0..=draw(3) {
            random_harm(&mut files, &mut draw);
        }
        let disk = SimulatedDisk::with_files(files.clone());
        // Never a panic, whatever it is; a whole file under another's name is beyond repair.
        let copied = {
            let mut seen = BTreeSet::new();
            files.values().any(|bytes| bytes.len() >= 24 && !seen.insert(bytes.get(16..24)))
        };
        if copied || scan(&disk, &mut |_| {}).is_err() {
            continue;
        }
        check(&files, &all, &format!("round {round}"));
    }
}
