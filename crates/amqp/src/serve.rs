//! The only I/O: a socket, its connection, its session. One task per connection; it sleeps until
//! its socket, its session or its clock has something to say, and then does all there is to do.
//!
//! Bytes are read into a buffer of the thread, not of the connection, and taken apart where they
//! lie: a connection keeps only half a frame and what its socket would not take.

mod bell;
mod outflow;
mod reception;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use broker::connections::{ConnectionState, Introduction, TlsFacts};
use broker::{Alarms, Batch, Broker, ConnectRefusal, Login, LoginRefusal, Session, User, Wake};
use domain::name::Name;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use self::bell::{Bell, Errand, Resident};
use self::outflow::{Outflow, PORTION_BYTES};
use self::reception::Reception;
use crate::connection::{Admission, Connection, Gate, Patience, SignsOfLife, Told};
use crate::settings::AmqpSettings;

/// One read. Smaller ones cost throughput; it belongs to the thread, so that idle connections
/// cost nothing.
const READ_BYTES: usize = 128 << 10;

/// Room that the thread's buffer for frames keeps.
const FRAMES_BYTES_KEPT: usize = 2 * PORTION_BYTES;

/// How long a socket is drained after its last word, so that the client gets to read it: a socket
/// closed with bytes unread takes back what it has sent.
const DRAIN: Duration = Duration::from_secs(1);

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    static FRAMES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What AMQP is spoken over: plain or encrypted.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Where it came in, if the system says.
    pub local: Option<SocketAddr>,
    /// How it is encrypted, if it is.
    pub tls: Option<TlsFacts>,
    /// The user's name in its certificate, if it showed one that was verified.
    pub certified_name: Option<String>,
}

/// Speaks AMQP with the client at the other end, until one of the two hangs up.
pub async fn serve(
    stream: impl Stream,
    peer: Peer,
    broker: Arc<Broker>,
    settings: Arc<AmqpSettings>,
) {
    let address = peer.address;
    let link = Arc::new_cyclic(|link: &Weak<Mutex<Link<_>>>| {
        let bell = Arc::new(Bell::new(Weak::<Mutex<Link<_>>>::clone(link)));
        Mutex::new(Link::new(stream, broker, settings, peer, bell))
    });
    let end = poll_fn(|context| lock(&link).poll(context)).await;
    tracing::debug!(peer = %address, ?end, "AMQP socket closes");
    lock(&link).hang_up();
    if let End::Said = end {
        let drained = timeout(DRAIN, poll_fn(|context| lock(&link).drain(context)));
        if let Ok(Err(error)) = drained.await {
            tracing::trace!(peer = %address, %error, "the client did not wait for the end");
        }
    }
}

/// The task's own door to its link; whoever runs an errand is quick.
fn lock<S>(link: &Mutex<Link<S>>) -> MutexGuard<'_, Link<S>> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Stream> Resident for Mutex<Link<S>> {
    fn run_errand(&self) -> Errand {
        match self.try_lock() {
            Ok(mut link) => link.run_errand(),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => Errand::ForTheTask,
        }
    }
}

/// How a connection came to its end.
#[derive(Debug)]
enum End {
    /// Everything is said and written.
    Said,
    /// The socket broke or the client left.
    #[expect(dead_code, reason = "it is there for the log")]
    Broken(Option<io::Error>),
}

/// A socket with what belongs to it.
struct Link<S> {
    stream: S,
    connection: Connection,
    door: Door,
    batch: Batch,
    outflow: Outflow,
    timer: Option<Pin<Box<Sleep>>>,
    patience: Patience,
    signs: SignsOfLife,
    /// The socket was asked to wake the task when bytes come; not so while there is no room.
    listening: bool,
    /// What was last heard of them.
    alarms: Alarms,
    /// Bytes read and written before the client was in.
    early: Early,
    /// How the connection is said to stand.
    state: ConnectionState,
}

/// What went over a socket before its client was in.
#[derive(Clone, Copy, Debug, Default)]
struct Early {
    read_bytes: usize,
    written_bytes: usize,
}

/// The broker, as one connection sees it.
struct Door {
    broker: Arc<Broker>,
    peer: Peer,
    bell: Arc<Bell>,
    user: Option<User>,
    /// The check of a password, while it goes on.
    reception: Option<Reception>,
    session: Option<Session>,
}

impl Gate for Door {
    fn login(&mut self, user: &str, password: &[u8]) -> Result<Admission, LoginRefusal> {
        match self.broker.authenticate(user, password, self.peer.address.ip())? {
            Login::Known(user) => {
                self.user = Some(user);
                Ok(Admission::In)
            }
            Login::Unknown(check) => {
                let bell: Arc<dyn Wake> = Arc::<Bell>::clone(&self.bell);
                self.reception = Some(Reception::begin(check, bell));
                Ok(Admission::Pending)
            }
        }
    }

    fn peer(&self) -> Option<SocketAddr> {
        Some(self.peer.address)
    }

    fn may_impersonate(&self) -> bool {
        self.user.as_ref().is_some_and(User::may_impersonate)
    }

    fn make_name(&mut self, prefix: &str) -> Name {
        // Only what has entered makes names.
        let made = self.session.as_ref().map(|session| session.make_name(prefix));
        made.or_else(|| Name::new(prefix).ok()).unwrap_or_default()
    }

    fn certified_name(&self) -> Option<&str> {
        self.peer.certified_name.as_deref()
    }

    fn login_certified(&mut self) -> Result<String, LoginRefusal> {
        let name = self.certified_name().ok_or(LoginRefusal::BadCredentials)?.to_owned();
        self.user = Some(self.broker.authenticate_external(&name, self.peer.address.ip())?);
        Ok(name)
    }

    fn enter(&mut self, vhost: &str, told: Told) -> Result<(), ConnectRefusal> {
        let Some(user) = &self.user else { return Err(ConnectRefusal::NoSuchVhost) };
        let bell: Arc<dyn Wake> = Arc::<Bell>::clone(&self.bell);
        let introduction = Introduction {
            protocol: "AMQP 0-9-1",
            peer: self.peer.address,
            local: self.peer.local,
            tls: self.peer.tls.clone(),
            mechanism: told.mechanism.into(),
            client_properties: told.client_properties,
            channel_max: told.channel_max,
            frame_bytes_max: told.frame_bytes_max,
            heartbeat_seconds: told.heartbeat_seconds,
        };
        self.session = Some(self.broker.connect_introduced(user, vhost, bell, introduction)?);
        Ok(())
    }
}

impl Door {
    /// The outcome of the check, once it is there.
    fn verdict(&mut self) -> Option<Result<(), LoginRefusal>> {
        let verdict = self.reception.as_ref()?.verdict()?;
        self.reception = None;
        Some(verdict.map(|user| self.user = Some(user)))
    }
}

impl<S: Stream> Link<S> {
    fn new(
        stream: S,
        broker: Arc<Broker>,
        settings: Arc<AmqpSettings>,
        peer: Peer,
        bell: Arc<Bell>,
    ) -> Link<S> {
        Link {
            stream,
            connection: Connection::new(settings),
            door: Door { broker, peer, bell, user: None, reception: None, session: None },
            batch: Batch::default(),
            outflow: Outflow::default(),
            timer: None,
            patience: Patience::Endless,
            signs: SignsOfLife::default(),
            listening: false,
            alarms: Alarms::default(),
            early: Early::default(),
            state: ConnectionState::default(),
        }
    }

    /// The session ends; the socket is left.
    fn hang_up(&mut self) {
        self.door.session = None;
    }

    /// Says that nothing more comes, and lets the client finish what it was saying.
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        READ.with_borrow_mut(|buffer| {
            loop {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    /// Writes what little the broker has just said, on the thread that says it, so that the task
    /// need not wake up.
    fn run_errand(&mut self) -> Errand {
        let bell = Arc::clone(&self.door.bell);
        bell.serve(|| {
            self.hear();
            if !self.listening || !self.outflow.is_small() || self.news_of_alarms().is_some() {
                return Errand::ForTheTask;
            }
            // Should the socket be full, the task is woken and asks to be told when it is not.
            let written = self.write(&mut Context::from_waker(Waker::noop()));
            if !matches!(written, Ok(Poll::Ready(()))) || self.connection.is_over() {
                return Errand::ForTheTask;
            }
            Errand::Done
        })
    }

    /// Takes what the broker has said.
    fn hear(&mut self) {
        if let Some(session) = &self.door.session {
            self.outflow.fill(|events| session.take(events));
        }
    }

    fn news_of_alarms(&self) -> Option<Alarms> {
        let now = self.door.session.as_ref()?.alarms();
        (now != self.alarms).then_some(now)
    }

    /// Tells the connection when the broker's alarms have changed.
    fn heed_alarms(&mut self) {
        if let Some(now) = self.news_of_alarms() {
            self.alarms = now;
            let mut frames = FRAMES.take();
            self.connection.alarms(now, &mut frames);
            if !self.has_room() {
                // It is not read, so that nothing else would ever tell it why.
                self.connection.waits_for_room(&mut frames);
            }
            self.outflow.keep(&frames);
            frames.clear();
            FRAMES.set(frames);
        }
    }

    /// Does all there is to do.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.door.bell.awake(context.waker());
        loop {
            match self.step(context) {
                Ok(Step::Again) => {}
                Ok(Step::Wait) => {
                    if self.door.bell.sleep() {
                        return Poll::Pending;
                    }
                }
                Ok(Step::Over) => return Poll::Ready(End::Said),
                Err(error) => return Poll::Ready(End::Broken(error)),
            }
        }
    }

    /// Takes what the broker says, writes what can be written, reads once.
    fn step(&mut self, context: &mut Context<'_>) -> Result<Step, Option<io::Error>> {
        if self.door.bell.answer() {
            self.hear();
        }
        if let Some(verdict) = self.door.verdict() {
            self.receive_verdict(verdict, context)?;
        }
        self.heed_alarms();
        let written = self.write(context)?;
        if self.connection.is_over() && written.is_ready() {
            return Ok(Step::Over);
        }
        if self.read(context)?.is_ready() || self.look_at_clock(context)? {
            return Ok(Step::Again);
        }
        Ok(Step::Wait)
    }

    /// Writes until everything is written (ready) or the socket is full. What an encrypted stream
    /// has taken counts as written only when the socket has it: nobody would wake us for the rest.
    fn write(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Option<io::Error>> {
        loop {
            while !self.outflow.pending().is_empty() {
                let socket = Pin::new(&mut self.stream);
                let Poll::Ready(taken) = socket.poll_write(context, self.outflow.pending()) else {
                    return Ok(Poll::Pending);
                };
                self.wrote(taken?)?;
            }
            let cost_bytes = self.outflow.take_cost();
            if cost_bytes > 0
                && let Some(session) = &mut self.door.session
            {
                session.written(cost_bytes);
            }
            if !self.lay_down_frames(context)? {
                return Ok(Pin::new(&mut self.stream).poll_flush(context)?);
            }
        }
    }

    fn wrote(&mut self, bytes: usize) -> Result<(), Option<io::Error>> {
        if bytes == 0 {
            return Err(Some(io::ErrorKind::WriteZero.into()));
        }
        self.signs.spoke = true;
        match self.door.session.as_ref().and_then(Session::connection) {
            Some(seen) => seen.count_written(bytes + std::mem::take(&mut self.early.written_bytes)),
            None => self.early.written_bytes += bytes,
        }
        self.outflow.advance(bytes);
        Ok(())
    }

    /// Makes a portion of frames from waiting events and writes what the socket takes at once.
    ///
    /// Returns whether there were any.
    fn lay_down_frames(&mut self, context: &mut Context<'_>) -> Result<bool, Option<io::Error>> {
        let mut frames = FRAMES.take();
        let mut any = false;
        while frames.len() < PORTION_BYTES
            && let Some(event) = self.outflow.next_event()
        {
            any = true;
            self.connection.event(&event, &mut self.batch, &mut frames);
        }
        self.submit();
        self.send(context, frames)?;
        Ok(any)
    }

    /// Writes what the socket takes at once; the rest waits. Gives the buffer back to the thread.
    fn send(
        &mut self,
        context: &mut Context<'_>,
        mut frames: Vec<u8>,
    ) -> Result<(), Option<io::Error>> {
        let mut left = frames.as_slice();
        while !left.is_empty() && self.outflow.pending().is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, left) {
                Poll::Ready(taken) => {
                    let taken = taken?;
                    self.wrote(taken)?;
                    left = left.get(taken..).unwrap_or_default();
                }
                Poll::Pending => break,
            }
        }
        self.outflow.keep(left);
        frames.clear();
        frames.shrink_to(FRAMES_BYTES_KEPT);
        FRAMES.set(frames);
        Ok(())
    }

    fn submit(&mut self) {
        if let Some(session) = &mut self.door.session {
            session.submit(&mut self.batch);
        }
    }

    /// Reads once, if the client may be read; ready if it was.
    fn read(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Option<io::Error>> {
        self.listening = self.may_read();
        self.show_state();
        if !self.listening {
            return Ok(Poll::Pending);
        }
        let mut frames = FRAMES.take();
        let outcome = READ.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            let bytes = buffer.filled();
            let connection = &mut self.connection;
            connection.receive(bytes, &mut self.door, &mut self.batch, &mut frames);
            Poll::Ready(Ok::<_, io::Error>(bytes.len()))
        });
        let Poll::Ready(outcome) = outcome else {
            FRAMES.set(frames);
            return Ok(Poll::Pending);
        };
        let bytes = outcome?;
        if bytes == 0 {
            return Err(None);
        }
        self.signs.heard = true;
        match self.door.session.as_ref().and_then(Session::connection) {
            Some(seen) => seen.count_read(bytes + std::mem::take(&mut self.early.read_bytes)),
            None => self.early.read_bytes += bytes,
        }
        self.submit();
        self.send(context, frames)?;
        Ok(Poll::Ready(()))
    }

    /// The password has been checked: the handshake goes on.
    fn receive_verdict(
        &mut self,
        verdict: Result<(), LoginRefusal>,
        context: &mut Context<'_>,
    ) -> Result<(), Option<io::Error>> {
        let mut frames = FRAMES.take();
        self.connection.verdict(verdict, &mut self.door, &mut self.batch, &mut frames);
        self.submit();
        self.send(context, frames)
    }

    /// Shows how the connection stands, if that has changed.
    fn show_state(&mut self) {
        let state = if self.connection.is_ending() {
            ConnectionState::Closing
        } else if self.connection.is_blocked() {
            ConnectionState::Blocked
        } else if !self.alarms.are_clear() {
            ConnectionState::Blocking
        } else if !self.listening && !self.has_room() {
            ConnectionState::Flow
        } else {
            ConnectionState::Running
        };
        if state != self.state
            && let Some(seen) = self.door.session.as_ref().and_then(Session::connection)
        {
            self.state = state;
            seen.set_state(state);
        }
    }

    fn may_read(&self) -> bool {
        !self.connection.is_checking()
            && !self.connection.is_over()
            && !self.connection.is_blocked()
            && self.has_room()
            && !self.outflow.is_full()
    }

    fn has_room(&self) -> bool {
        self.door.session.as_ref().is_none_or(Session::has_room)
    }

    /// Ends what has lasted too long.
    ///
    /// Returns whether there is now something to do.
    fn look_at_clock(&mut self, context: &mut Context<'_>) -> Result<bool, Option<io::Error>> {
        let patience = self.connection.patience();
        if patience != self.patience {
            self.patience = patience;
            self.wind_up();
        }
        let Some(timer) = &mut self.timer else { return Ok(false) };
        if timer.as_mut().poll(context).is_pending() {
            return Ok(false);
        }
        // Who is not read for want of room here, or is blocked, is not to blame for saying nothing; who does not
        // read what we say shows life only by reading on.
        let heard = self.signs.heard || !self.has_room() || self.connection.is_blocked();
        let signs = SignsOfLife { heard, ..self.signs };
        self.signs = SignsOfLife::default();
        if self.connection.is_over() {
            return Err(Some(io::ErrorKind::TimedOut.into()));
        }
        let mut frames = FRAMES.take();
        self.connection.expire(signs, &mut frames);
        self.outflow.keep(&frames);
        frames.clear();
        FRAMES.set(frames);
        self.wind_up();
        Ok(true)
    }

    fn wind_up(&mut self) {
        let ms = match self.patience {
            Patience::Opening(ms)
            | Patience::Heartbeat(ms)
            | Patience::Parting(ms)
            | Patience::Mute(ms) => ms,
            Patience::Endless => {
                self.timer = None;
                return;
            }
        };
        let after = Duration::from_millis(ms);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(Instant::now() + after),
            None => self.timer = Some(Box::pin(sleep(after))),
        }
    }
}

/// What comes after a step.
enum Step {
    Again,
    Wait,
    Over,
}
