//! How fast this disk takes frames: `cargo run --release -p storage --example journal_speed [directory]`.
//!
//! First the bare disk, one write and one sync at a time, into a file that grows, one that is
//! reserved, one that is filled with zeros ahead, and one that is written again; then the journal itself.
#![expect(clippy::print_stdout, reason = "a tool for the terminal")]

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use stdx::clock::{Clock, Monotonic, SystemClock};
use storage::disk::RealDisk;
use storage::{JournalSettings, Position, Staged, SyncMode, Work};

/// What one run of the bare disk may write.
const BYTES_PER_RUN: u64 = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("journal-speed-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let clock = SystemClock::start();
    bare_disk(&folder, &clock)?;
    println!();
    for (name, frame_bytes, frames, release) in [
        ("1 KiB, every file new", 1 << 10, 60_000, Release::Never),
        ("1 KiB, files recycled", 1 << 10, 120_000, Release::AsSoonAsPossible),
        ("32 KiB, every file new", 32 << 10, 20_000, Release::Never),
        ("32 KiB, files recycled", 32 << 10, 40_000, Release::AsSoonAsPossible),
        ("1 MiB, every file new", 1 << 20, 1_500, Release::Never),
        ("1 MiB, files recycled", 1 << 20, 3_000, Release::AsSoonAsPossible),
    ] {
        journal(&folder.join("journal"), &clock, name, frame_bytes, frames, release)?;
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The middle, the 99th of a hundred and the mean, in microseconds.
fn describe(mut latencies: Vec<u64>) -> String {
    latencies.sort_unstable();
    let at =
        |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or(0) / 1_000;
    let mean = latencies.iter().sum::<u64>() / latencies.len().max(1) as u64 / 1_000;
    format!("p50 {:>6} µs   p99 {:>6} µs   mean {mean:>6} µs", at(50), at(99))
}

fn since(clock: &SystemClock, start: Monotonic) -> u64 {
    clock.monotonic().0 - start.0
}

fn bare_disk(folder: &Path, clock: &SystemClock) -> Result<(), Box<dyn Error>> {
    for block_bytes in [4 << 10, 64 << 10, 1 << 20] {
        let writes = (BYTES_PER_RUN / block_bytes).min(4_000);
        let path = folder.join("bare");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path)?;
        let grown = write_and_sync(&file, block_bytes, writes, clock)?;
        let again = write_and_sync(&file, block_bytes, writes, clock)?;
        let file = options.open(&path)?;
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, writes * block_bytes)?;
        file.sync_all()?;
        let reserved = write_and_sync(&file, block_bytes, writes, clock)?;
        let file = options.open(&path)?;
        for step in 0..writes {
            file.write_all_at(&vec![0; usize::try_from(block_bytes)?], step * block_bytes)?;
        }
        file.sync_all()?;
        let zeroed = write_and_sync(&file, block_bytes, writes, clock)?;
        for (kind, latencies) in
            [("growing", grown), ("reserved", reserved), ("zero-filled", zeroed), ("again", again)]
        {
            println!("bare {:>5} KiB {kind:<12} {}", block_bytes >> 10, describe(latencies));
        }
    }
    Ok(())
}

fn write_and_sync(
    file: &File,
    block_bytes: u64,
    writes: u64,
    clock: &SystemClock,
) -> std::io::Result<Vec<u64>> {
    let block = vec![7; usize::try_from(block_bytes).unwrap_or(0)];
    (0..writes)
        .map(|index| {
            let start = clock.monotonic();
            file.write_all_at(&block, index * block_bytes)?;
            file.sync_data()?;
            Ok(since(clock, start))
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Never,
    AsSoonAsPossible,
}

fn journal(
    path: &Path,
    clock: &SystemClock,
    name: &str,
    frame_bytes: usize,
    frames: u64,
    release: Release,
) -> Result<(), Box<dyn Error>> {
    let _ = std::fs::remove_dir_all(path);
    let mut generation = 0x5eed_u64;
    let mut settings = JournalSettings::new(Box::new(move || {
        generation = generation.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        generation
    }));
    settings.sync = SyncMode::Always;
    let start = clock.monotonic();
    let mut opened = storage::open::<u64>(Arc::new(RealDisk::open(path)?), settings, &mut |_| {})?;
    let opening_us = since(clock, start) / 1_000;
    let mut staged = Staged::default();
    let body = Bytes::from(vec![7; frame_bytes]);
    let mut latencies = Vec::new();
    let all = clock.monotonic();
    for index in 0..frames {
        let start = clock.monotonic();
        staged.record_with(1, |out| out.extend_from_slice(&index.to_le_bytes()), body.clone());
        staged.wait(index);
        staged.urge();
        opened.journal.commit(&mut staged, start)?;
        match opened.writer.work(start) {
            Work::Wrote { position, .. } => {
                latencies.push(since(clock, start));
                if release == Release::AsSoonAsPossible {
                    opened.journal.release_before(Position(position.0.saturating_sub(1)));
                }
            }
            Work::Idle { .. } => {}
            Work::Full { shortage, .. } => return Err(shortage.into()),
            Work::Poisoned { poison, .. } => return Err(poison.into()),
        }
    }
    let seconds = Monotonic(since(clock, all)).0.max(1);
    let written_bytes = frames * frame_bytes as u64;
    let files = std::fs::read_dir(path)?.count();
    drop(opened);
    let start = clock.monotonic();
    let settings = JournalSettings::new(Box::new(|| 1));
    let again = storage::open::<u64>(Arc::new(RealDisk::open(path)?), settings, &mut |_| {})?;
    println!(
        "journal {name:<24} {}   {:>6} frames/s   {:>5} MB/s   {files} files, opened in {opening_us} µs, \
         again with {} MiB in {} µs",
        describe(latencies),
        frames * 1_000_000_000 / seconds,
        written_bytes * 1_000 / seconds,
        again.summary.bytes >> 20,
        since(clock, start) / 1_000,
    );
    Ok(())
}
