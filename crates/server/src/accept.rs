//! Takes connections and hands each to its protocol; knows when all of them are over.

use std::sync::Arc;
use std::time::Duration;

use amqp::AmqpSettings;
use broker::Broker;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Limits;
use crate::listeners::Listeners;

/// How long a listener rests when the system has no room for another connection.
const NO_ROOM_REST: Duration = Duration::from_millis(100);

/// The listeners and the connections that came through them.
#[derive(Debug)]
pub(crate) struct Accepting {
    listeners: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// Takes connections from here on.
pub(crate) fn start(listeners: Listeners, broker: &Arc<Broker>, limits: &Limits) -> Accepting {
    let (stop, told) = watch::channel(false);
    let settings = Arc::new(AmqpSettings {
        frame_bytes_max: limits.frame_max_bytes,
        channel_max: limits.channel_max,
        heartbeat_seconds: limits.heartbeat_seconds,
        message_bytes_max: limits.max_message_bytes,
        ..AmqpSettings::default()
    });
    let mut tasks = JoinSet::new();
    for socket in listeners.sockets {
        let (broker, settings) = (Arc::clone(broker), Arc::clone(&settings));
        tasks.spawn(accept(socket, broker, settings, told.clone()));
    }
    Accepting { listeners: tasks, stop }
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

async fn accept(
    socket: TcpListener,
    broker: Arc<Broker>,
    settings: Arc<AmqpSettings>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|told| *told) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(amqp::serve(stream, Arc::clone(&broker), Arc::clone(&settings)));
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
