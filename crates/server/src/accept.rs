//! Takes connections and hands each to its protocol; knows when all of them are over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use amqp::AmqpSettings;
use broker::Broker;
use broker::connections::TlsFacts;
use http_api::{HttpDoor, HttpSettings, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Limits;
use crate::listeners::Listeners;
use crate::tls::{self, TlsDoor};

/// How long a listener rests when the system has no room for another connection.
const NO_ROOM_REST: Duration = Duration::from_millis(100);

/// Open files that are not for clients: the journals', and a share for what else there is.
const FILES_KEPT_MIN: u64 = 256;
const FILES_KEPT_SHARE: u64 = 16;

/// What the connections of all listeners have in common.
#[derive(Clone, Debug)]
struct Hall {
    broker: Arc<Broker>,
    amqp: Arc<AmqpSettings>,
    http: HttpDoor,
    /// One for each socket there may be. Whoever finds none is turned away at once, since a socket
    /// left in the system's queue would wait for ever.
    seats: Arc<Semaphore>,
}

/// The listeners and the connections that came through them.
#[derive(Debug)]
pub(crate) struct Accepting {
    listeners: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// What is spoken behind a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Amqp,
    Http,
}

/// Listeners of one protocol, encrypted if there is a door for that.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) protocol: Protocol,
    pub(crate) listeners: Listeners,
    pub(crate) tls: Option<Arc<TlsDoor>>,
}

/// How a connection that came through a listener is served.
#[derive(Clone, Debug)]
struct Service {
    protocol: Protocol,
    tls: Option<Arc<TlsDoor>>,
    hall: Hall,
    stop: watch::Receiver<bool>,
}

/// Takes connections from here on.
pub(crate) fn start(
    entrances: Vec<Entrance>,
    broker: &Arc<Broker>,
    limits: &Limits,
    open_files: Option<u64>,
) -> Accepting {
    let (stop, told) = watch::channel(false);
    let amqp = Arc::new(AmqpSettings {
        frame_bytes_max: limits.frame_max_bytes,
        channel_max: limits.channel_max,
        heartbeat_seconds: limits.heartbeat_seconds,
        message_bytes_max: limits.max_message_bytes,
        ..AmqpSettings::default()
    });
    let certificate_end = entrances.iter().find_map(|it| Some(it.tls.as_ref()?.certificate_end()));
    let http = HttpSettings {
        message_bytes_max: limits.max_message_bytes,
        metrics_queues_max: limits.metrics_queues_max,
        listeners: entrances.iter().flat_map(told_of).collect(),
        certificate_end: certificate_end.unwrap_or_default(),
        ..HttpSettings::default()
    };
    let http = HttpDoor::new(Arc::clone(broker), http);
    let mut tasks = JoinSet::new();
    let seats = Arc::new(Semaphore::new(seats(open_files)));
    let hall = Hall { broker: Arc::clone(broker), amqp, http, seats };
    for Entrance { protocol, listeners, tls } in entrances {
        for socket in listeners.sockets {
            let (tls, hall, stop) = (tls.clone(), hall.clone(), told.clone());
            tasks.spawn(accept(socket, Service { protocol, tls, hall, stop }));
        }
    }
    Accepting { listeners: tasks, stop }
}

/// What others are told of an entrance.
fn told_of(entrance: &Entrance) -> Vec<Listener> {
    let Entrance { protocol, listeners, tls } = entrance;
    let protocol = match (protocol, tls) {
        (Protocol::Amqp, None) => "amqp",
        (Protocol::Amqp, Some(_)) => "amqp/ssl",
        (Protocol::Http, None) => "http",
        (Protocol::Http, Some(_)) => "https",
    };
    let addresses = listeners.sockets.iter().filter_map(|socket| socket.local_addr().ok());
    addresses
        .map(|address| Listener { protocol, address: address.ip(), port: address.port() })
        .collect()
}

fn seats(open_files: Option<u64>) -> usize {
    let Some(files) = open_files else { return Semaphore::MAX_PERMITS };
    let kept = FILES_KEPT_MIN.max(files / FILES_KEPT_SHARE).min(files / 2);
    usize::try_from(files - kept).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

impl Accepting {
    /// Closes the listeners; connections say goodbye to their clients.
    pub(crate) fn stop(&self) {
        // Nobody listens when every listener has failed; then there is nobody to tell.
        let _ = self.stop.send(true);
    }

    /// Waits until the last connection is over. Given up, it cuts those that are left.
    pub(crate) async fn all_over(mut self) {
        while self.listeners.join_next().await.is_some() {}
    }
}

async fn accept(socket: TcpListener, service: Service) {
    let mut stop = service.stop.clone();
    let mut connections = JoinSet::new();
    let mut turning_away = false;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|told| *told) => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let seat = Arc::clone(&service.hall.seats).try_acquire_owned().ok();
                if seat.is_none() && !turning_away {
                    tracing::warn!("too many open files: further connections are turned away");
                }
                turning_away = seat.is_none();
                if let Some(seat) = seat {
                    send_at_once(&stream, address);
                    connections.spawn(service.clone().welcome(stream, address, seat));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(NO_ROOM_REST).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Who comes.
struct Caller {
    address: SocketAddr,
    local: Option<SocketAddr>,
    tls: Option<TlsFacts>,
    certified_name: Option<String>,
}

impl Service {
    /// Serves a client until its connection is over.
    async fn welcome(self, stream: TcpStream, address: SocketAddr, _seat: OwnedSemaphorePermit) {
        let local = stream.local_addr().ok();
        let plain = Caller { address, local, tls: None, certified_name: None };
        let Some(tls) = self.tls.clone() else { return self.speak(stream, plain).await };
        let time_max = Duration::from_millis(self.hall.amqp.handshake_ms_max);
        match timeout(time_max, tls.shake_hands(stream, address)).await {
            Ok(Ok((stream, certified_name))) => {
                let tls = Some(tls::facts(&stream));
                self.speak(stream, Caller { tls, certified_name, ..plain }).await;
            }
            // A look whether the port is open, as balancers take it, is no news.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::debug!(peer = %address, %error, "TLS handshake left");
            }
            Ok(Err(error)) => tracing::warn!(peer = %address, %error, "TLS handshake failed"),
            Err(_elapsed) => tracing::warn!(peer = %address, "TLS handshake took too long"),
        }
    }

    async fn speak(
        mut self,
        stream: impl amqp::Stream,
        Caller { address, local, tls, certified_name }: Caller,
    ) {
        match self.protocol {
            Protocol::Amqp => {
                let peer = amqp::Peer { address, local, tls, certified_name };
                amqp::serve(stream, peer, self.hall.broker, self.hall.amqp).await;
            }
            Protocol::Http => {
                let stop = async move { _ = self.stop.wait_for(|told| *told).await };
                http_api::serve(stream, http_api::Peer { address }, self.hall.http, stop).await;
            }
        }
    }
}

fn send_at_once(stream: &TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept() {
        for (files, expected) in [
            (None, Semaphore::MAX_PERMITS),
            (Some(64), 32),
            (Some(1_024), 768),
            (Some(16_384), 15_360),
            (Some(u64::MAX), Semaphore::MAX_PERMITS),
        ] {
            assert_eq!(seats(files), expected, "{files:?}");
        }
    }
}
