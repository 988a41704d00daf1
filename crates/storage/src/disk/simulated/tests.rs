//! The simulated disk forgets exactly what it may forget.

use std::collections::BTreeSet;
use std::io::IoSlice;

use super::*;

fn write(file: &dyn DiskFile, offset: u64, bytes: &[u8]) {
    assert_eq!(file.write_vectored_at(&[IoSlice::new(bytes)], offset).unwrap(), bytes.len());
}

#[test]
fn synced_bytes_and_names_survive_every_crash_and_others_sometimes() {
    let disk = SimulatedDisk::new();
    let file = disk.create("kept").unwrap();
    write(&*file, 0, &[1; 2_000]);
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    write(&*file, 0, &[2; 1_000]);
    let new = disk.create("new").unwrap();
    write(&*new, 0, b"new");
    let (mut names, mut contents) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..200 {
        let found = disk.crash(seed).files();
        assert_eq!(found, disk.crash(seed).files(), "the same seed, the same crash");
        let kept = &found["kept"];
        assert!(kept[1_000..].iter().all(|byte| *byte == 1) && kept.len() == 2_000);
        names.insert(found.contains_key("new"));
        contents.insert(kept.clone());
    }
    assert_eq!(names.len(), 2, "an unsynced name is sometimes kept and sometimes not");
    assert!(contents.contains(&vec![1; 2_000]), "sometimes nothing of a write is kept");
    assert!(contents.len() > 20, "writes are torn in many ways");
}

#[test]
fn a_rename_is_kept_or_lost_as_one() {
    let disk = SimulatedDisk::new();
    disk.create("one").unwrap();
    disk.sync_dir().unwrap();
    disk.rename("one", "two").unwrap();
    let outcomes: BTreeSet<Vec<String>> =
        (0..50).map(|seed| disk.crash(seed).files().into_keys().collect()).collect();
    assert_eq!(outcomes, BTreeSet::from([vec!["one".to_owned()], vec!["two".to_owned()]]));
}

#[test]
fn faults_strike_where_they_are_told_to() {
    let disk = SimulatedDisk::new();
    disk.set_faults(Faults { fail_write: Some(2), fail_sync: Some(1), ..Faults::default() });
    let file = disk.create("file").unwrap();
    write(&*file, 0, b"a");
    assert!(file.write_vectored_at(&[IoSlice::new(b"b")], 1).is_err());
    assert!(file.sync().is_err());
    disk.sync_dir().unwrap();
    file.sync().unwrap();
    assert_eq!(disk.files()["file"], b"a", "the process still sees it");
    assert!(
        (0..50).all(|seed| disk.crash(seed).files()["file"].iter().all(|byte| *byte == 0)),
        "what a failed sync dropped is not made durable by a later one"
    );

    disk.set_faults(Faults { capacity_bytes: Some(4), ..Faults::default() });
    assert_eq!(file.write_vectored_at(&[IoSlice::new(b"bcdef")], 1).unwrap(), 3);
    let full = file.write_vectored_at(&[IoSlice::new(b"e")], 4).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);

    let next = disk.counts().operations + 1;
    disk.set_faults(Faults { power_out: Some(next), ..Faults::default() });
    assert!(file.sync().is_err());
    assert!(disk.open("file").is_err() && disk.list().is_err(), "nothing works without power");
    assert!(disk.crash(1).open("file").is_ok(), "the crashed disk works again");
}
