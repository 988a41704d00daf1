//! What is left of a directory when a watched process is killed and the power goes, as scripts: a
//! child process, this same test again with the library preloaded, carries a script out and kills
//! itself; then the un-synced is taken back.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use powerloss::{Loss, Random, Snapshot, audit, lose_power, start_log};

use crate::library::library;

const SCRIPT: &str = "FORGETFUL_TEST_SCRIPT";

/// The child's part: does nothing unless it was started to carry a script out.
#[test]
fn child() {
    let Ok(script) = std::env::var(SCRIPT) else { return };
    std::env::set_current_dir(std::env::var_os("FORGETFUL_DIR").unwrap()).unwrap();
    let mut open = HashMap::new();
    for step in script.split(',') {
        carry_out(&mut open, &step.split_whitespace().collect::<Vec<_>>());
    }
    Command::new("kill")
        .args(["-9", &std::process::id().to_string()])
        .env_clear()
        .status()
        .unwrap();
}

fn carry_out(open: &mut HashMap<String, File>, words: &[&str]) {
    let file = words.get(1).and_then(|name| open.get(*name));
    let fd = file.map_or(-1, AsRawFd::as_raw_fd);
    match *words {
        ["create", name] => {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(name);
            open.insert(name.to_owned(), file.unwrap());
        }
        ["cut", name] => drop(File::create(name).unwrap()),
        ["put", _, offset, text] => {
            file.unwrap().write_all_at(text.as_bytes(), offset.parse().unwrap()).unwrap();
        }
        ["fill", _, letter, count] => {
            let bytes = vec![letter.as_bytes()[0]; count.parse().unwrap()];
            file.unwrap().write_all_at(&bytes, 0).unwrap();
        }
        ["append", name, text] => {
            OpenOptions::new().append(true).open(name).unwrap().write_all(text.as_bytes()).unwrap();
        }
        ["write", _, text] => {
            let mut file = file.unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            let parts = text.split('|').map(|part| std::io::IoSlice::new(part.as_bytes()));
            let written = file.write_vectored(&parts.collect::<Vec<_>>()).unwrap();
            assert_eq!(written, text.replace('|', "").len());
        }
        ["length", _, length] => file.unwrap().set_len(length.parse().unwrap()).unwrap(),
        ["allocate", _, length] => {
            // SAFETY: plain numbers.
            let done = unsafe { libc::fallocate(fd, 0, 0, length.parse().unwrap()) };
            assert_eq!(done, 0);
        }
        ["sync", _] => file.unwrap().sync_data().unwrap(),
        ["range", _] => {
            // SAFETY: plain numbers.
            assert_eq!(unsafe { libc::sync_file_range(fd, 0, 0, 7) }, 0);
        }
        ["threads"] => count_in_threads(),
        ["syncfs"] => {
            // SAFETY: plain numbers.
            assert_eq!(unsafe { libc::syncfs(File::open(".").unwrap().as_raw_fd()) }, 0);
        }
        ["syncdir", name] => File::open(name).unwrap().sync_all().unwrap(),
        ["rename", from, to] => fs::rename(from, to).unwrap(),
        ["link", from, to] => fs::hard_link(from, to).unwrap(),
        ["unlink", name] => fs::remove_file(name).unwrap(),
        ["mkdir", name] => fs::create_dir(name).unwrap(),
        ["rmdir", name] => fs::remove_dir(name).unwrap(),
        ["escape", name] => {
            let text = b"unseen";
            let fd = File::options().write(true).open(name).unwrap();
            // SAFETY: the buffer outlives the call.
            unsafe { libc::syscall(libc::SYS_pwrite64, fd.as_raw_fd(), text.as_ptr(), 6, 0) };
        }
        _ => panic!("no such step: {words:?}"),
    }
}

struct Run {
    work: tempfile::TempDir,
    before: Snapshot,
}

impl Run {
    fn directory(&self) -> PathBuf {
        self.work.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.work.path().join("undo.log")
    }
}

/// Carries `script` out on a directory that holds the synced files `before`, and kills.
fn run(before: &str, script: &str) -> Run {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let directory = work.path().join("data");
    fs::create_dir(&directory).unwrap();
    for (name, text) in before.split(", ").filter_map(|file| file.split_once('=')) {
        fs::create_dir_all(directory.join(name).parent().unwrap()).unwrap();
        fs::write(directory.join(name), text).unwrap();
    }
    let run = Run { before: Snapshot::take(&directory).unwrap(), work };
    start_log(&run.log()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "power_loss::child", "--nocapture"])
        .env(SCRIPT, script)
        .env("LD_PRELOAD", library())
        .env("FORGETFUL_DIR", run.directory())
        .env("FORGETFUL_LOG", run.log())
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(9), "{script}: {child:?}");
    run
}

/// The directory as `name=text`, directories as `name/`.
fn tree(directory: &Path) -> String {
    let mut names = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            if path.is_dir() {
                names.insert(name, "/".to_owned());
                waiting.push(path);
            } else {
                let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
                names.insert(name, format!("={}", text.replace('\0', "0")));
            }
        }
    }
    names.into_iter().map(|(name, what)| name + &what).collect::<Vec<_>>().join(", ")
}

/// Losing everything un-synced after `script` must leave `expected`, and nothing may escape.
fn check(before: &str, script: &str, expected: &str) {
    let run = run(before, script);
    let escaped = audit(&run.before, &run.directory(), &run.log()).unwrap();
    assert!(escaped.is_empty(), "{script}: escaped the watch: {escaped:?}");
    lose_power(&run.directory(), &run.log(), Loss::All).unwrap();
    assert_eq!(tree(&run.directory()), expected, "after {script}");
}

#[test]
fn bytes_are_kept_only_once_their_file_is_synced() {
    for (script, expected) in [
        ("create a, put a 2 XY", "a=0123456789"),
        ("create a, put a 2 XY, sync a", "a=01XY456789"),
        ("create a, put a 2 XY, sync a, put a 3 Z", "a=01XY456789"),
        ("create a, put a 2 XY, put a 3 Z, put a 1 ____", "a=0123456789"),
        ("create a, put a 8 longer", "a=0123456789"),
        ("create a, put a 12 gap, sync a", "a=012345678900gap"),
        ("create a, write a two|parts, sync a, write a x|y|z", "a=twoparts89"),
        ("append a more", "a=0123456789"),
        ("append a more, create a, sync a, append a lost", "a=0123456789more"),
        ("cut a", "a=0123456789"),
        ("create a, cut a, put a 0 new, sync a", "a=new"),
        ("create a, length a 4", "a=0123456789"),
        ("create a, length a 4, sync a, length a 6", "a=0123"),
        ("create a, allocate a 13, put a 10 abc", "a=0123456789"),
        ("create a, allocate a 13, sync a, put a 10 abc", "a=0123456789000"),
        ("create a, put a 0 X, range a", "a=0123456789"),
        ("create a, put a 0 X, syncdir .", "a=0123456789"),
        ("create a, put a 0 X, syncfs, put a 0 Y", "a=X123456789"),
    ] {
        check("a=0123456789", script, expected);
    }
}

#[test]
fn names_are_kept_only_once_their_directory_is_synced() {
    for (script, expected) in [
        ("create b, put b 0 text, sync b", "a=A"),
        ("create b, put b 0 text, syncdir .", "a=A, b="),
        ("create b, put b 0 text, sync b, syncdir .", "a=A, b=text"),
        ("rename a b", "a=A"),
        ("rename a b, syncdir .", "b=A"),
        ("rename a b, syncdir ., rename b c", "b=A"),
        ("create n, put n 0 new, sync n, rename n a", "a=A"),
        ("create n, put n 0 new, sync n, rename n a, syncdir .", "a=new"),
        ("create n, put n 0 new, rename n a, syncdir .", "a="),
        ("unlink a", "a=A"),
        ("unlink a, syncdir .", ""),
        ("unlink a, create a, put a 0 other, sync a", "a=A"),
        ("link a b", "a=A"),
        ("link a b, syncdir .", "a=A, b=A"),
        ("mkdir d, create d/x, syncdir d", "a=A"),
        ("mkdir d, syncdir ., create d/x", "a=A, d/"),
        ("mkdir d, syncdir ., create d/x, syncdir d", "a=A, d/, d/x="),
        ("mkdir d, syncdir ., rename a d/a, syncdir d", "a=A, d/, d/a=A"),
        ("mkdir d, syncdir ., rename a d/a, syncdir .", "d/"),
        ("mkdir d, syncdir ., rmdir d", "a=A, d/"),
        ("create b, syncfs, create c", "a=A, b="),
    ] {
        check("a=A", script, expected);
    }
}

#[test]
fn a_recycled_file_keeps_its_old_bytes_until_it_is_synced() {
    let before = "j/1=first, j/2=other";
    check(
        before,
        "rename j/1 j/3, create j/3, put j/3 0 third, sync j/3",
        "j/, j/1=third, j/2=other",
    );
    check(before, "rename j/1 j/3, syncdir j, create j/3, put j/3 0 x", "j/, j/2=other, j/3=first");
    check(before, "rename j/1 j/2, create j/2, put j/2 0 x", "j/, j/1=first, j/2=other");
}

#[test]
fn what_is_written_behind_the_librarys_back_is_found() {
    let run = run("a=0123456789, b=B", "create b, put b 0 C, escape a");
    let escaped = audit(&run.before, &run.directory(), &run.log()).unwrap();
    assert_eq!(escaped, [PathBuf::from("a")]);
}

#[test]
fn a_partial_loss_keeps_the_synced_and_whole_sectors_of_the_rest() {
    let script = "create a, fill a X 2048, create b, put b 0 new, create c, syncdir .";
    let old = "o".repeat(2048);
    let mut outcomes = BTreeMap::new();
    for seed in 0..24 {
        let run = run(&format!("a={old}, b=old"), script);
        lose_power(&run.directory(), &run.log(), Loss::Some(Random::new(seed))).unwrap();
        let bytes = fs::read_to_string(run.directory().join("a")).unwrap();
        assert_eq!(bytes.len(), 2048);
        for sector in bytes.as_bytes().chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
        }
        let torn = bytes.contains('X') && bytes.contains('o');
        *outcomes.entry((torn, bytes.starts_with('X'))).or_insert(0) += 1;
        assert!(run.directory().join("c").exists(), "seed {seed} lost a synced name");
        let b = fs::read_to_string(run.directory().join("b")).unwrap();
        assert!(b == "old" || b == "new", "{b}");
        if seed < 3 {
            let first = tree(&run.directory());
            let again = self::run(&format!("a={old}, b=old"), script);
            let loss = Loss::Some(Random::new(seed));
            lose_power(&again.directory(), &again.log(), loss).unwrap();
            assert_eq!(tree(&again.directory()), first, "seed {seed} repeats");
        }
    }
    assert!(outcomes.len() >= 3, "whole, torn and lost must all occur: {outcomes:?}");
}

/// Threads that each count in their own file, sync it, and say outside how far they came.
fn count_in_threads() {
    let said = PathBuf::from(std::env::var_os("FORGETFUL_LOG").unwrap());
    for thread in 0..4 {
        let said = File::create(said.with_file_name(format!("said-{thread}"))).unwrap();
        let file = File::create(format!("count-{thread}")).unwrap();
        File::open(".").unwrap().sync_all().unwrap();
        std::thread::spawn(move || {
            for count in 1_u64.. {
                file.write_all_at(&count.to_le_bytes(), count % 3 * 8).unwrap();
                file.sync_data().unwrap();
                said.write_all_at(&count.to_le_bytes(), 0).unwrap();
                fs::write(format!("extra-{thread}-{}", count % 5), "x").unwrap();
            }
        });
    }
    std::thread::sleep(std::time::Duration::from_millis(150));
}

#[test]
fn many_threads_write_and_the_kill_finds_a_complete_log() {
    for seed in 0..4 {
        let run = run("a=A", "threads");
        let escaped = audit(&run.before, &run.directory(), &run.log()).unwrap();
        assert!(escaped.is_empty(), "escaped the watch: {escaped:?}");
        let loss = if seed == 0 { Loss::All } else { Loss::Some(Random::new(seed)) };
        lose_power(&run.directory(), &run.log(), loss).unwrap();
        for thread in 0..4 {
            let said = fs::read(run.work.path().join(format!("said-{thread}"))).unwrap();
            let said = u64::from_le_bytes(said.try_into().unwrap());
            let kept = fs::read(run.directory().join(format!("count-{thread}"))).unwrap();
            let kept =
                kept.chunks_exact(8).map(|count| u64::from_le_bytes(count.try_into().unwrap()));
            let highest = kept.max().unwrap();
            assert!(said > 0 && highest >= said, "synced up to {said}, kept up to {highest}");
            // What is not synced may be kept only where a part is.
            assert!(seed > 0 || highest <= said + 1, "kept {highest} of {said}");
        }
    }
}
