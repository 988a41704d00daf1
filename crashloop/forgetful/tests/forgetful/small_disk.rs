//! What a process meets on a small or failing disk, as scripts: a child process, this same test again
//! with the library preloaded, carries a script out and says how every step ended.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;

use powerloss::start_log;

use crate::library::library;

const SCRIPT: &str = "FORGETFUL_DISK_SCRIPT";

/// Outside of the directory that is watched.
const RESULT: &str = "../result";

/// The child's part: does nothing unless it was started to carry a script out.
#[test]
fn child() {
    let Ok(script) = std::env::var(SCRIPT) else { return };
    std::env::set_current_dir(std::env::var_os("FORGETFUL_DIR").unwrap()).unwrap();
    let mut open = HashMap::new();
    let mut said = Vec::new();
    for step in script.split(", ") {
        let done = carry_out(&mut open, &step.split_whitespace().collect::<Vec<_>>());
        said.push(match done {
            Ok(number) => number.to_string(),
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => "full".to_owned(),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => "fails".to_owned(),
            Err(error) => panic!("{step}: {error}"),
        });
    }
    fs::write(RESULT, said.join(" ")).unwrap();
}

/// Does a step; gives the bytes written or free, else 0.
fn carry_out(open: &mut HashMap<String, File>, words: &[&str]) -> io::Result<u64> {
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let bytes = |at: usize| vec![b'x'; usize::try_from(number(at)).unwrap()];
    let file = words.get(1).and_then(|name| open.get(*name));
    let written = |count: usize| Ok(count as u64);
    match words[0] {
        "disk" => {
            let text = words[1..].join("\n");
            fs::write(std::env::var_os("FORGETFUL_DISK").unwrap(), format!("{text:<60}\n"))?;
        }
        "create" => {
            let file = OpenOptions::new().write(true).create_new(true).open(words[1])?;
            open.insert(words[1].to_owned(), file);
        }
        "open" => {
            let file = OpenOptions::new().write(true).open(words[1])?;
            open.insert(words[1].to_owned(), file);
        }
        "put" => return written(file.unwrap().write_at(&bytes(3), number(2))?),
        "parts" => {
            let (first, second) = (bytes(2), bytes(3));
            let parts = [IoSlice::new(&first), IoSlice::new(&second)];
            return written(file.unwrap().write_vectored(&parts)?);
        }
        "allocate" => {
            let length = libc::off_t::try_from(number(2)).unwrap();
            // SAFETY: plain numbers.
            if unsafe { libc::fallocate(file.unwrap().as_raw_fd(), 0, 0, length) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        "length" => file.unwrap().set_len(number(2))?,
        "sync" => file.unwrap().sync_data()?,
        "rename" => fs::rename(words[1], words[2])?,
        "link" => fs::hard_link(words[1], words[2])?,
        "unlink" => fs::remove_file(words[1])?,
        "mkdir" => fs::create_dir(words[1])?,
        "free" => {
            let path = CString::new(words[1]).unwrap();
            // SAFETY: all zeros is a valid `statvfs`, and the path is a C string.
            unsafe {
                let mut status: libc::statvfs = std::mem::zeroed();
                assert_eq!(libc::statvfs(path.as_ptr(), &raw mut status), 0);
                return Ok(status.f_bavail * status.f_frsize);
            }
        }
        _ => panic!("no such step: {words:?}"),
    }
    Ok(0)
}

/// A script and how its steps end, on a directory that has the file `old` of 10,000 bytes.
fn check(script: &str, expected: &str) {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (directory, disk) = (work.path().join("data"), work.path().join("disk"));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("old"), vec![b'o'; 10_000]).unwrap();
    fs::write(&disk, "").unwrap();
    start_log(&work.path().join("undo.log")).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "small_disk::child", "--nocapture"])
        .env(SCRIPT, script)
        .env("LD_PRELOAD", library())
        .env("FORGETFUL_DIR", &directory)
        .env("FORGETFUL_LOG", work.path().join("undo.log"))
        .env("FORGETFUL_DISK", &disk)
        .output()
        .unwrap();
    assert!(child.status.success(), "{script}: {child:?}");
    assert_eq!(fs::read_to_string(work.path().join("result")).unwrap(), expected, "{script}");
}

#[test]
fn what_does_not_fit_is_refused_and_what_is_there_is_overwritten() {
    // 10,000 bytes are used, 20,000 free.
    let disk = "disk capacity=30000";
    for (script, expected) in [
        ("create a, put a 0 20000, put a 0 20000, put a 20000 1", "0 20000 20000 full"),
        ("create a, put a 0 25000, put a 100 19900, put a 20000 1", "0 20000 19900 full"),
        ("create a, parts a 15000 9000, parts a 1 1", "0 20000 full"),
        ("create a, allocate a 20001, allocate a 20000, put a 0 20000", "0 full 0 20000"),
        ("open old, put old 0 10000, put old 5000 26000, put old 30000 1", "0 10000 25000 full"),
        ("create a, put a 0 20000, length a 5000, put a 5000 15001", "0 20000 0 15000"),
        ("unlink old, create a, put a 0 30001", "0 0 30000"),
        ("link old also, unlink old, create a, put a 0 30000", "0 0 0 20000"),
        ("create a, put a 0 9000, rename a old, create b, put b 0 30000", "0 9000 0 0 21000"),
        ("create a, unlink a, put a 0 30000", "0 0 30000"),
    ] {
        check(&format!("{disk}, {script}"), &format!("0 {expected}"));
    }
}

#[test]
fn names_need_room_and_go_without() {
    check(
        "create a, disk capacity=10000, create b, rename a b, link a b, mkdir d, open a, unlink a",
        "0 0 full full full full 0 0",
    );
}

#[test]
fn a_disk_may_grow_and_shrink_and_says_how_much_is_free() {
    check(
        "disk capacity=4106192, free ., create a, put a 0 8192, free ., disk capacity=12288, \
         put a 8192 1, free ., disk capacity=4000000000, put a 8192 1",
        "0 4096000 0 8192 4087808 0 full 0 0 1",
    );
}

#[test]
fn one_write_or_sync_fails() {
    check(
        "create a, disk fail_write=2, put a 0 5, put a 0 5, put a 0 5, sync a",
        "0 0 5 fails 5 0",
    );
    check("create a, disk fail_write=1, allocate a 5, allocate a 5", "0 0 fails 0");
    check("create a, disk fail_sync=2, sync a, put a 0 5, sync a, sync a", "0 0 0 5 fails 0");
}
