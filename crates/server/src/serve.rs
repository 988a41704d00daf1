//! `postroom serve`: opens everything in order, from the data directory to the sockets, and closes
//! it in the opposite order.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker::{Background, Broker, BrokerSettings, FirstUser, WriterDrive, limits};
use stdx::clock::{Clock as _, Monotonic, SystemClock};
use stdx::fault::{FAULTS, planted};
use storage::{DirectoryLock, LockError, SyncMode};

use crate::accept::{self, Accepting};
use crate::alerts::Alerts;
use crate::config::{DefinitionsMode, Listen, Settings, Sync};
use crate::definitions::{self, DefinitionsError};
use crate::doors::Doors;
use crate::endpoint::NoHeaders;
use crate::first_user::{self, FirstUserError};
use crate::folders::Folders;
use crate::listeners::ListenError;
use crate::ports::PortsFile;
use crate::reload::{Reload, Reread};
use crate::reserve::Reserve;
use crate::shutdown::{GOODBYE_MAX, LAST_WORDS, SESSIONS_LOOK, Signals};
use crate::tls::{TlsDoor, TlsError};
use crate::traces::{Traces, TracesError};
use crate::watermarks::Scales;
use crate::{open_files, samples, watermarks, welcome};

/// Why the broker could not start, or not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Lock(#[from] LockError),

    #[error("the data directory can't be used: {}: {error}", path.display())]
    DataDir { path: PathBuf, error: io::Error },

    #[error(transparent)]
    Broker(#[from] broker::OpenError),

    #[error(transparent)]
    Tls(#[from] TlsError),

    #[error(transparent)]
    Listen(#[from] ListenError),

    #[error("the operating system refused what every program needs: {0}")]
    System(#[from] io::Error),

    #[error("POSTROOM_PLANTED_FAULT is set, but this build has no fault of that name in it")]
    NoSuchFault,

    #[error(transparent)]
    Definitions(#[from] DefinitionsError),

    #[error(transparent)]
    FirstUser(#[from] FirstUserError),

    #[error(transparent)]
    Traces(#[from] TracesError),

    #[error("--alert-headers: {0}")]
    AlertHeaders(#[from] NoHeaders),

    #[error(
        "only users that may log in from this machine are known, so listening on {0} would let \
         nobody in: set POSTROOM_DEFAULT_USER and POSTROOM_DEFAULT_PASS at the first start, or \
         bring users with --definitions, or leave --bind away"
    )]
    NobodyElse(IpAddr),

    #[error("the last writes did not reach the disk: {0}")]
    Unfinished(storage::Poison),
}

/// Serves until a signal says stop.
pub(crate) fn run(settings: &Settings, reread: Reread) -> Result<(), ServeError> {
    check_planted_fault()?;
    let tls = TlsDoor::open(&settings.tls)?.map(Arc::new);
    let open_files = open_files::raise_limit();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), open_files, "starting");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;

    let data_dir = &settings.storage.data_dir;
    let unusable = |error| ServeError::DataDir { path: data_dir.clone(), error };
    // Created by the disk, not by the lock, so that its own name is durable too.
    storage::disk::RealDisk::open(data_dir).map_err(unusable)?;
    let _lock = DirectoryLock::acquire(data_dir)?;
    PortsFile::remove_stale(data_dir).map_err(unusable)?;
    let first_user = first_user::choose(&settings.users, |name| std::env::var_os(name))?;
    let reserve = Arc::new(Reserve::of(&settings.storage.data_dir));
    let clock = Arc::new(SystemClock::start());
    let traces = Traces::start(&settings.sight, Arc::clone(&clock) as _)?;
    let broker = open_broker(settings, first_user, &runtime, Arc::clone(&reserve), clock)?;
    if let Some(traces) = &traces {
        broker.trace_to(traces.sink());
    }
    if let Some(file) = &settings.users.definitions {
        match settings.users.definitions_mode {
            DefinitionsMode::Import => definitions::import(file, &broker)?,
            DefinitionsMode::DryRun => {
                welcome::print_plan(&definitions::preview(file, &broker)?);
                return broker.finish().map_err(ServeError::Unfinished);
            }
        }
    }
    check_somebody_may_come(&settings.listen, &broker)?;

    runtime.block_on(accept_until_told(settings, reread, &broker, tls, open_files, reserve))?;

    broker.finish().map_err(ServeError::Unfinished)?;
    if let Some(traces) = traces {
        traces.finish();
    }
    for (vhost, counted) in broker.stats() {
        tracing::info!(
            %vhost,
            published = counted.published,
            delivered = counted.delivered,
            acknowledged = counted.acknowledged,
            requeued = counted.requeued,
            rejected_dropped = counted.rejected_dropped,
            expired = counted.expired,
            expired_dropped = counted.expired_dropped,
            overflowed = counted.overflowed,
            overflow_dropped = counted.overflow_dropped,
            failed_dropped = counted.failed_dropped,
            refused = counted.refused,
            dead_lettered = counted.dead_lettered,
            dead_lettered_dropped = counted.dead_lettered_dropped,
            queues_expired = counted.queues_expired,
            consumers_timed_out = counted.consumers_timed_out,
            settled_late = counted.settled_late,
            replies_delivered = counted.replies_delivered,
            replies_dropped = counted.replies_dropped,
            unroutable_dropped = counted.unroutable_dropped,
            unroutable_returned = counted.unroutable_returned,
            purged = counted.purged,
            sealed_bytes = counted.sealed_bytes,
            read_back_bytes = counted.read_back_bytes,
            segment_file_bytes = counted.segment_file_bytes,
            "counted since the start"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// An open port that lets nobody in is a mistake, and one that lets `guest` in would be a worse one.
fn check_somebody_may_come(listen: &Listen, broker: &Broker) -> Result<(), ServeError> {
    let outside = listen.bind.iter().find(|address| !address.to_canonical().is_loopback());
    match outside {
        Some(address) if broker.is_loopback_only() => Err(ServeError::NobodyElse(*address)),
        Some(_) | None => Ok(()),
    }
}

/// The broker with its virtual hosts, recovered.
fn open_broker(
    settings: &Settings,
    first_user: FirstUser,
    runtime: &tokio::runtime::Runtime,
    reserve: Arc<Reserve>,
    clock: Arc<SystemClock>,
) -> Result<Arc<Broker>, ServeError> {
    let storage = &settings.storage;
    let (broker, recovered) = Broker::open(BrokerSettings {
        disks: Arc::new(Folders { data_dir: storage.data_dir.clone(), reserve }),
        first_user,
        sync: match storage.sync {
            Sync::Always => SyncMode::Always,
            Sync::Interval => SyncMode::Interval { ms: storage.sync_interval_ms },
            Sync::Never => SyncMode::Never,
        },
        journal_file_bytes: Some(storage.journal_file_bytes),
        memory_bytes_max: messages_memory_bytes(storage.memory_bytes_max),
        clock: Arc::clone(&clock) as _,
        entropy: Arc::new(entropy),
        checkpoint_bytes: None,
        consumer_timeout_ms: Some(settings.limits.consumer_timeout_ms).filter(|ms| *ms > 0),
        background: Arc::new(Workers { runtime: runtime.handle().clone(), clock }),
        drive: WriterDrive::Threads,
    })?;
    for vhost in recovered {
        if vhost.after_loss.void_records > 0 {
            tracing::warn!(
                vhost = %vhost.vhost, lost_places = vhost.after_loss.void_records,
                records_passed_over = vhost.after_loss.passed_over,
                "the journal was repaired: what was lost is not back"
            );
        }
        if let Some(tail) = &vhost.summary.torn_tail {
            tracing::info!(
                vhost = %vhost.vhost, file = tail.file, offset = tail.offset,
                "dropped an unfinished write at the end of the journal, which nobody was told of"
            );
        }
        tracing::info!(
            vhost = %vhost.vhost, queues = vhost.queues, messages = vhost.messages,
            journal_bytes = vhost.summary.bytes, "recovered"
        );
    }
    Ok(broker)
}

async fn accept_until_told(
    settings: &Settings,
    reread: Reread,
    broker: &Arc<Broker>,
    tls: Option<Arc<TlsDoor>>,
    open_files: Option<u64>,
    reserve: Arc<Reserve>,
) -> Result<(), ServeError> {
    let mut signals = Signals::catch()?;
    let reload = Reload::catch(settings, reread, Arc::clone(broker), tls.clone())?;
    let doors = Doors::open(&settings.listen, tls)?;
    let ports_file = PortsFile::write(&settings.storage.data_dir, doors.ports())?;
    welcome::show(settings, &doors, broker);

    let data_dir = settings.storage.data_dir.clone();
    let watermarks = reload.watermarks.subscribe();
    let scales = Scales {
        data_dir: data_dir.clone(),
        watermarks: watermarks.clone(),
        open_files_max: open_files.unwrap_or_default(),
    };
    tokio::spawn(watermarks::watch(data_dir, reserve, Arc::clone(broker), watermarks));
    tokio::spawn(samples::take(Arc::clone(broker), scales));
    tokio::spawn(reload.when_told());
    if let Some(alerts) = Alerts::new(settings, broker)? {
        tokio::spawn(alerts.watch());
    }
    let entrances = doors.into_entrances();
    let accepting = accept::start(entrances, broker, &settings.limits, open_files);
    let signal = signals.next().await;
    tracing::info!(signal, "stopping");
    tokio::spawn(async move {
        let signal = signals.next().await;
        tracing::warn!(signal, "told to stop again; leaving at once");
        std::process::exit(1);
    });

    drop(ports_file);
    accepting.stop();
    broker.close();
    goodbyes(accepting, broker).await;
    Ok(())
}

/// Waits for the clients to agree that it is over. Whoever has not even logged in is not waited for.
async fn goodbyes(accepting: Accepting, broker: &Broker) {
    let sessions_over = async {
        while broker.session_count() > 0 {
            tokio::time::sleep(SESSIONS_LOOK).await;
        }
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = accepting.all_over() => {}
        () = sessions_over => {}
        () = tokio::time::sleep(GOODBYE_MAX) => {
            tracing::warn!("some clients did not answer; their connections are cut");
        }
    }
}

/// What messages may take of the memory: what was said, or a quarter.
fn messages_memory_bytes(said: Option<u64>) -> usize {
    let bytes = said.unwrap_or_else(|| watermarks::memory_bytes() / 4);
    usize::try_from(bytes).unwrap_or(usize::MAX).max(limits::MEMORY_BYTES_MIN)
}

/// A test that plants a fault must not be fooled by a broker that has none.
fn check_planted_fault() -> Result<(), ServeError> {
    if std::env::var_os("POSTROOM_PLANTED_FAULT").is_none() {
        return Ok(());
    }
    let (name, _) =
        FAULTS.iter().find(|(_, fault)| planted(*fault)).ok_or(ServeError::NoSuchFault)?;
    tracing::warn!(fault = name, "a fault is planted; this broker is for tests only");
    Ok(())
}

/// A random number; each call hashes with a new key from the operating system's entropy.
pub(crate) fn entropy() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(())
}

/// Runs what the broker hands over on the threads that serve connections.
#[derive(Debug)]
struct Workers {
    runtime: tokio::runtime::Handle,
    clock: Arc<SystemClock>,
}

impl Background for Workers {
    fn run(&self, task: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn(async move { task() });
    }

    fn run_waiting(&self, task: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(task);
    }

    fn run_at(&self, at: Monotonic, task: Box<dyn FnOnce() + Send>) {
        let wait_ns = at.0.saturating_sub(self.clock.monotonic().0);
        self.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_nanos(wait_ns)).await;
            task();
        });
    }
}

#[cfg(test)]
mod tests;
