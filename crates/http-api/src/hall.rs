//! What every request finds: the broker and the limits.

use std::sync::Arc;

use broker::Broker;
use tokio::sync::Semaphore;

use crate::certificate_end::CertificateEnd;
use crate::listener::Listener;
use crate::repeats::Repeats;
use crate::tasks::TaskBoard;

/// What HTTP is served with.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Largest message body accepted, in bytes.
    pub message_bytes_max: u32,
    /// Most bytes of all request bodies that are being read at the same time.
    pub bodies_bytes_max: usize,
    /// Most queues with metrics of their own; the others are added up.
    pub metrics_queues_max: usize,
    /// Where the broker can be reached.
    pub listeners: Vec<Listener>,
    /// When the broker's certificate ends.
    pub certificate_end: CertificateEnd,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            message_bytes_max: 16 << 20,
            bodies_bytes_max: 256 << 20,
            metrics_queues_max: 1_000,
            listeners: Vec::new(),
            certificate_end: CertificateEnd::default(),
        }
    }
}

/// What requests have in common.
#[derive(Clone, Debug)]
pub(crate) struct Hall(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    broker: Arc<Broker>,
    settings: HttpSettings,
    /// Room for bodies that are being read, in units of [`ROOM_UNIT_BYTES`].
    room: Arc<Semaphore>,
    /// Places for those who make long lists.
    lookers: Arc<Semaphore>,
    /// Places for those who write metrics.
    scrapers: Arc<Semaphore>,
    repeats: Arc<Repeats>,
    tasks: TaskBoard,
}

/// The unit in which room for bodies is taken.
pub(crate) const ROOM_UNIT_BYTES: usize = 1 << 10;

/// A message in JSON takes more than its bytes: base64, escapes, properties.
const JSON_SHARE: usize = 2;

/// The least that a request's body may take: lists of small messages come together too.
const BODY_BYTES_MIN: usize = 32 << 20;

/// So many lists are made at the same time; each may be of everything there is.
const LOOKERS_MAX: usize = 4;

/// So many pages of metrics are written at the same time; nobody waits behind the lists for those.
const SCRAPERS_MAX: usize = 2;

impl Hall {
    pub(crate) fn new(broker: Arc<Broker>, settings: HttpSettings) -> Hall {
        let units = settings.bodies_bytes_max / ROOM_UNIT_BYTES;
        let room = Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS)));
        let [lookers, scrapers] =
            [LOOKERS_MAX, SCRAPERS_MAX].map(|places| Arc::new(Semaphore::new(places)));
        let (repeats, tasks) = (Arc::default(), TaskBoard::default());
        Hall(Arc::new(Inside { broker, settings, room, lookers, scrapers, repeats, tasks }))
    }

    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.0.broker
    }

    pub(crate) fn settings(&self) -> &HttpSettings {
        &self.0.settings
    }

    pub(crate) fn lookers(&self) -> &Arc<Semaphore> {
        &self.0.lookers
    }

    pub(crate) fn scrapers(&self) -> &Arc<Semaphore> {
        &self.0.scrapers
    }

    /// Requests that were done under a key.
    pub(crate) fn repeats(&self) -> &Arc<Repeats> {
        &self.0.repeats
    }

    /// Long work that nobody waits for.
    pub(crate) fn tasks(&self) -> &TaskBoard {
        &self.0.tasks
    }

    pub(crate) fn room(&self) -> &Arc<Semaphore> {
        &self.0.room
    }

    /// The most that one request's body may have, in bytes.
    pub(crate) fn body_bytes_max(&self) -> usize {
        let message = self.0.settings.message_bytes_max as usize;
        let wanted = message.saturating_mul(JSON_SHARE).max(BODY_BYTES_MIN);
        wanted.min(self.0.settings.bodies_bytes_max.max(ROOM_UNIT_BYTES))
    }
}
