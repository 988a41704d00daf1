//! A link between a client and the broker that can be stalled or cut. An unmodified client always
//! reads its socket; behind a stalled link the broker sees one that doesn't.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const BUFFER_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Flowing,
    /// What the broker sends is not read any more; what the client sends still goes through.
    Stalled,
    Cut,
}

/// A link that carries any number of connections. Dropped, it is cut.
#[derive(Debug)]
pub struct Link {
    url: String,
    state: watch::Sender<State>,
    bytes_up: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// A link to the broker at `url`, which must name host and port as numbers.
    ///
    /// # Panics
    /// When `url` doesn't.
    pub async fn to(url: &str) -> io::Result<Self> {
        let broker = address(url).expect("the URL of the broker names host and port as numbers");
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let here = listener.local_addr()?;
        let (state, watched) = watch::channel(State::Flowing);
        let bytes_up = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes_up);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(broker) = TcpStream::connect(broker).await {
                    carry(client, broker, &watched, &counted);
                }
            }
        });
        let url = url.replace(&broker.to_string(), &here.to_string());
        Ok(Self { url, state, bytes_up, accepting })
    }

    /// How many bytes the broker has taken from clients.
    pub fn bytes_up(&self) -> u64 {
        self.bytes_up.load(Ordering::Relaxed)
    }

    /// Where a client connects to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on nothing the broker sends is read.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// Breaks all connections off without a word.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

fn address(url: &str) -> Option<SocketAddr> {
    let authority = url.split("//").nth(1)?.split('/').next()?;
    authority.rsplit('@').next()?.parse().ok()
}

fn carry(
    client: TcpStream,
    broker: TcpStream,
    state: &watch::Receiver<State>,
    bytes_up: &Arc<AtomicU64>,
) {
    let bytes_up = Arc::clone(bytes_up);
    let bytes_down = Arc::default();
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let (down, up) = (state.clone(), state.clone());
    tokio::spawn(async move {
        let stalls = down.clone();
        unless_cut(down, copy(from_broker, to_client, Some(stalls), bytes_down)).await;
    });
    tokio::spawn(unless_cut(up, copy(from_client, to_broker, None, bytes_up)));
}

/// Copies until it is done or the link is cut, which drops both ends.
async fn unless_cut(mut state: watch::Receiver<State>, copying: impl Future<Output = ()>) {
    tokio::select! {
        _ = state.wait_for(|state| *state == State::Cut) => {}
        () = copying => {}
    }
}

/// Copies until either end closes; where the link may stall, only while it doesn't.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut stalls: Option<watch::Receiver<State>>,
    count: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        if let Some(state) = &mut stalls
            && state.wait_for(|state| *state != State::Stalled).await.is_err()
        {
            return;
        }
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let Some(bytes) = buffer.get(..length) else { return };
        if to.write_all(bytes).await.is_err() {
            return;
        }
        count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}
