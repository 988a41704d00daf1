//! Every bound of the broker in one place, each with its reason.

/// Deliveries handed to one session and not yet written to its socket, in bytes. Enough to keep a
/// fast socket busy between two wake-ups; a slow one holds no more than this.
pub const OUTBOX_BYTES_MAX: usize = 1 << 20;

/// Publishes of one session that are not yet safe, in bytes. Above it the session's socket is not
/// read. Large enough for what a fast disk takes during one sync; one read may go beyond it.
pub const INFLIGHT_BYTES_MAX: usize = 8 << 20;

/// Publishes of all sessions together that are not yet safe, in bytes: each session may have its
/// share of it. Bounds the frame that gathers while a slow disk syncs.
pub const INFLIGHT_BYTES_TOTAL: usize = 256 << 20;

/// What every session may have, however many there are: one read.
pub const INFLIGHT_BYTES_MIN: usize = 128 << 10;

/// What the open transactions of one session may hold in memory, in bytes. Unlike what is in flight
/// it can't hold the session's socket up: a client that is not read could not commit.
pub const TRANSACTION_BYTES_MAX: usize = 64 << 20;

/// What all open transactions of a virtual host may hold together, in bytes.
pub const TRANSACTIONS_BYTES_TOTAL: usize = 512 << 20;

/// Batches one tenure of the door applies before it hands the rest to somebody else.
pub const TENURE_BATCHES_MAX: usize = 64;

/// Messages one queue hands out in one turn before the next queue has its turn.
pub const TURN_MESSAGES_MAX: u32 = 4096;

/// Messages that may be leased without a connection at once, in one virtual host: each may take some
/// hundred bytes of memory for as long as its holder likes.
pub const LEASES_MAX: usize = 500_000;

/// Requests that may wait for messages to lease, in one virtual host.
pub const LEASE_WAITERS_MAX: usize = 10_000;

/// The longest lease, in milliseconds: a day. Whoever needs longer extends it.
pub const LEASE_MS_MAX: u64 = 86_400_000;

/// The longest that a message waits which is given back for later, in milliseconds: 30 days.
pub const RETURN_DELAY_MS_MAX: u64 = 30 * 86_400_000;

/// How long a request may wait for messages to lease, in milliseconds: less than what closes an idle
/// connection on its way.
pub const LEASE_WAIT_MS_MAX: u64 = 60_000;

/// Bytes of messages leased at once, but for one message.
pub const LEASE_BYTES_MAX: usize = 1 << 20;

/// What the holder of a lease may say about how far it is, in bytes.
pub const PROGRESS_BYTES_MAX: usize = 256;

/// What the holder of a lease may say came of its message, in bytes.
pub const RESULT_BYTES_MAX: usize = 64 << 10;

/// What all queues of a virtual host together tell of done messages, in bytes: it lies in memory, and
/// each checkpoint says it again. The queue that tells of most makes room.
pub const DONE_BYTES_MAX: u64 = 64 << 20;

/// What one answer tells of done messages, in bytes, but for one message.
pub const DONE_PAGE_BYTES: u64 = 1 << 20;

/// What one record of the journal tells of done messages, in bytes, but for one message.
pub const DONE_RECORD_BYTES: u64 = 1 << 20;

/// What a holder may say about the kind of an error, in bytes.
pub const ERROR_TYPE_BYTES_MAX: usize = 128;

/// What a holder may say about an error, in bytes: it travels with the message.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 2_048;

/// Leases that end for want of time in one turn, before batches have theirs.
pub const TURN_LEASES_MAX: usize = 1024;

/// Timers that one turn looks at before batches have their turn.
pub const TURN_TIMERS_MAX: usize = 64;

/// Bytes of dead letters that one turn writes before the rest waits for the next turn, so that a
/// queue that gives up everything at once does not fill the memory with it.
pub const DEAD_LETTERS_BYTES_MAX: usize = 8 << 20;

/// Messages dead-lettered together: they share a chunk.
pub const DEAD_LETTERS_AT_ONCE: u32 = 256;

/// Bytes of journal after which a new checkpoint lets old files go.
pub const CHECKPOINT_BYTES: u64 = 64 << 20;

/// Deliveries in one turn from which on the journaled watermark runs ahead of them. Fewer are marked
/// exactly, so that a crash marks no message as redelivered that never went out.
pub const WATERMARK_STEP_MIN: u64 = 64;

/// How far it runs ahead, as a multiple of the turn's deliveries.
pub const WATERMARK_STEPS_AHEAD: u64 = 4;

/// The least that bodies need of the memory, in bytes, in all virtual hosts together.
pub const MEMORY_BYTES_MIN: usize = 1 << 20;

/// Runs of messages that a buffer has room for when nothing is in it.
pub const RUNS_KEPT_MAX: usize = 1_024;

/// What lies in memory for more than [`SEAL_IDLE_MS`] moves to the disk if it is more than this, in
/// bytes: a trickle stays in the journal until its files go.
pub const SEAL_IDLE_BYTES: usize = 16 << 20;

/// How long messages may lie in memory where there are many, in milliseconds.
pub const SEAL_IDLE_MS: u64 = 3_000;

/// Bytes of messages in memory, with what keeps their order, over which the oldest move to the disk,
/// however large the memory is: so much a restart has to read.
pub const UNSEALED_BYTES_MAX: usize = 512 << 20;

/// What one sealing copies, in bytes.
pub const SEAL_JOB_BYTES: usize = 64 << 20;

/// What it copies at least, however little room there is, in bytes.
pub const SEAL_JOB_BYTES_LEAST: usize = 64 << 10;

/// A queue with so many messages on their way to the disk is told of, and again whenever it has
/// twice as many as the last time.
pub const GROWTH_TOLD_MESSAGES: u64 = 100_000;

/// How long to wait for room on the disk, in milliseconds.
pub const SEAL_RETRY_MS: u64 = 1_000;

/// How often the owner looks whether the journal is so far that something may be deleted, in
/// milliseconds.
pub const STORAGE_LOOK_MS: u64 = 50;

/// How long the journal must have written little before it gives disk back, in milliseconds.
pub const REST_MS: u64 = 2_000;

/// How long it then waits for what lies in memory to move to a segment, in milliseconds.
pub const REST_EMPTIED_MS: u64 = 5_000;

/// How often it is looked whether it has, in milliseconds.
pub const REST_LOOK_MS: u64 = 500;

/// What is little between two looks, in bytes.
pub const REST_LOOK_BYTES: u64 = 2 << 20;

/// What the journal may take of the disk at rest, in bytes.
pub const REST_DISK_BYTES: u64 = 4 << 20;

/// How fast segments are written anew in the background, in bytes per millisecond.
pub const REWRITE_BYTES_PER_MS: u64 = 64 << 10;

/// The least pause between two rewritings, in milliseconds.
pub const REWRITE_PAUSE_MS: u64 = 1_000;

/// Dead messages worth a rewriting, in bytes.
pub const DEAD_SEGMENT_BYTES_MIN: u64 = 8 << 20;

/// Segments with less than this alive are small, in bytes.
pub const SMALL_SEGMENT_BYTES: u64 = 4 << 20;

/// So many small segments become one.
pub const SMALL_SEGMENTS_MAX: usize = 8;

/// The least that a read from a segment brings, in bytes: about one block.
pub const READ_WINDOW_BYTES_MIN: usize = 64 << 10;

/// The most that a read from a segment brings when it goes on, in bytes.
pub const READ_WINDOW_BYTES_MAX: usize = 1 << 20;

/// What a virtual host keeps in memory of what it has read back, in bytes.
pub const READ_BLOCKS_BYTES_MAX: usize = 64 << 20;

/// Reads of a virtual host under way at once.
pub const READS_AT_ONCE_MAX: usize = 4;

/// Sessions that the thread which has news for them may serve itself instead of waking their tasks.
/// When there are more, other cores should help.
pub const SERVED_ON_THE_SPOT_MAX: usize = 2;

/// Bytes of the catalogue's journal after which it is written anew.
pub const CATALOGUE_CHECKPOINT_BYTES: u64 = 1 << 20;

/// The largest file of the catalogue's journal: it is written anew long before it is full.
pub const CATALOGUE_FILE_BYTES: u64 = 4 << 20;

/// Passwords being hashed at once: each takes a core, and 46 MiB, for tens of milliseconds.
pub const HASHES_AT_ONCE_MAX: usize = 2;

/// Logins waiting for their password to be hashed. Who comes later is refused.
pub const WAITING_LOGINS_MAX: u64 = 16_384;

/// Logins remembered as verified, 100 bytes or so each.
pub const VERIFIED_LOGINS_MAX: usize = 8_192;

/// Addresses and user names of which failed logins are remembered.
pub const LOGIN_FAILURES_MAX: usize = 8_192;

/// Exchanges that a session with limited rights is remembered to have published to.
pub const GRANTED_EXCHANGES_MAX: usize = 12;

/// Queues, sessions or exchanges that are looked at, for whoever wants to see them, before their owner
/// goes on with its work.
pub const LOOK_SLICE: usize = 512;

/// Bytes of messages in memory that whoever browses a queue may hold on to, but for one chunk.
pub const BROWSE_SLICE_BYTES: usize = 8 << 20;

/// A list is shown again until so many times the time has passed that it took to make it: looking at
/// everything all the time takes a twentieth of a core.
pub const LOOK_AGAIN_AFTER: u64 = 20;

/// A list that nobody has looked at for so long, in milliseconds, is forgotten.
pub const LOOK_FORGOTTEN_AFTER_MS: u64 = 15_000;

/// Samples of a virtual host's totals that are kept: a minute's, one every five seconds.
pub const SAMPLES_KEPT: usize = 13;

/// Queues of a virtual host that know how long their own messages take, 1 KiB each: the first that
/// have traffic.
pub const QUEUE_LIVES_MAX: usize = 1_000;

/// Classes of errors that are counted apart in each queue.
pub const ERROR_CLASSES_MAX: usize = 16;

/// Traced messages in the queues of a virtual host that are followed, a few hundred bytes each. Of
/// those beyond, the time in their queues is not told.
pub const TRACED_MESSAGES_MAX: usize = 16_384;

/// How often a writer that is to stop looks whether the full disk has room, ten times a second.
pub const LAST_TRIES_ON_A_FULL_DISK: u32 = 20;
