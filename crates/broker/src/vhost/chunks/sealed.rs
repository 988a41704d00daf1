//! A run of a segment in which live messages lie, and what of it is in memory just now.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use domain::binding::QueueId;
use storage::Segment;

use super::Here;
use crate::chunk::Chunk;
use crate::session_id::SessionId;

/// Neighbouring messages that were read.
#[derive(Clone, Debug)]
pub(crate) struct LoadedBlock {
    /// Index in the run of the first one.
    pub(crate) first: u32,
    pub(crate) chunk: Arc<Chunk>,
}

impl LoadedBlock {
    pub(crate) fn end(&self) -> u32 {
        self.first.saturating_add(self.chunk.count())
    }
}

/// Who waits for a block.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) queues: Vec<QueueId>,
    pub(crate) sessions: Vec<SessionId>,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.sessions.is_empty()
    }

    /// Others wait as well.
    pub(crate) fn join(&mut self, others: Waiting) {
        self.queues.extend(others.queues);
        self.sessions.extend(others.sessions);
    }
}

/// A run of a segment.
#[derive(Debug)]
pub(crate) struct SealedRun {
    pub(crate) segment: Arc<Segment>,
    /// Its number in the segment.
    pub(crate) run: u32,
    /// Messages in it, alive or not.
    pub(crate) records: u32,
    /// Given once, so that what was read for a run that is gone is not taken for another's.
    pub(crate) key: u64,
    /// Bytes of the messages' bodies, where a queue limits them.
    weights: Option<Box<[u32]>>,
    /// What was read, ascending, without overlap.
    pub(crate) blocks: VecDeque<LoadedBlock>,
    /// How much the next read shall bring, in bytes.
    pub(crate) window_bytes: usize,
    /// A read is under way.
    pub(crate) loading: bool,
    pub(crate) waiting: Waiting,
}

impl SealedRun {
    pub(crate) fn new(
        segment: Arc<Segment>,
        run: u32,
        key: u64,
        weights: Option<Box<[u32]>>,
    ) -> SealedRun {
        let records = segment.runs().get(run as usize).map_or(0, |run| run.records);
        SealedRun {
            segment,
            run,
            records,
            key,
            weights,
            blocks: VecDeque::new(),
            window_bytes: 0,
            loading: false,
            waiting: Waiting::default(),
        }
    }

    /// The message at an index, if it was read.
    pub(crate) fn find(&self, index: u32) -> Option<Here> {
        let at = self.blocks.partition_point(|block| block.end() <= index);
        let block = self.blocks.get(at).filter(|block| block.first <= index)?;
        Some(Here {
            chunk: Arc::clone(&block.chunk),
            index: index - block.first,
            count: block.end() - index,
        })
    }

    /// Where what was read ends that goes on from `index` without a gap, and how many bytes that is.
    pub(crate) fn read_until(&self, index: u32) -> (u32, usize) {
        let at = self.blocks.partition_point(|block| block.end() <= index);
        let (mut end, mut bytes) = (index, 0);
        for block in self.blocks.iter().skip(at) {
            if block.first > end {
                break;
            }
            end = block.end();
            bytes += block.chunk.bytes().len();
        }
        (end, bytes)
    }

    /// Whether the bodies' sizes are known.
    pub(crate) fn is_weighed(&self) -> bool {
        self.weights.is_some()
    }

    pub(crate) fn set_weights(&mut self, weights: Box<[u32]>) {
        self.weights = Some(weights);
    }

    /// Bytes of bodies; 0 if nobody wanted to know.
    pub(crate) fn weight(&self, indices: Range<u32>) -> u64 {
        let Some(weights) = &self.weights else { return 0 };
        let weights = weights.get(indices.start as usize..indices.end as usize);
        weights.into_iter().flatten().map(|bytes| u64::from(*bytes)).sum()
    }
}
