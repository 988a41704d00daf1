//! What can change without a restart, at SIGHUP: certificates, watermarks, connection limits. The
//! file of settings is read again; what is wrong with it is logged and changes nothing.

use std::io;
use std::sync::Arc;

use broker::{Broker, ConnectionLimits};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::layers::SettingsError;
use crate::config::{Limits, Settings, Watermarks};
use crate::tls::{TlsDoor, TlsError};

/// Why nothing, or not everything, was reloaded.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Settings(#[from] SettingsError),

    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Reads all settings again, the file as it is now.
pub(crate) type Reread = fn() -> Result<Settings, SettingsError>;

/// Where the settings go that can change.
#[derive(Debug)]
pub(crate) struct Reload {
    hangup: Signal,
    reread: Reread,
    pub(crate) broker: Arc<Broker>,
    pub(crate) tls: Option<Arc<TlsDoor>>,
    pub(crate) watermarks: watch::Sender<Watermarks>,
}

impl Reload {
    /// From now on SIGHUP no longer ends the process.
    pub(crate) fn catch(
        settings: &Settings,
        reread: Reread,
        broker: Arc<Broker>,
        tls: Option<Arc<TlsDoor>>,
    ) -> io::Result<Reload> {
        broker.limit_connections(connection_limits(&settings.limits));
        let (watermarks, _) = watch::channel(settings.watermarks);
        Ok(Reload { hangup: signal(SignalKind::hangup())?, reread, broker, tls, watermarks })
    }

    /// Reloads at each SIGHUP.
    pub(crate) async fn when_told(mut self) {
        while self.hangup.recv().await.is_some() {
            match self.reload() {
                Ok(()) => tracing::info!("SIGHUP: certificates, watermarks and limits read again"),
                Err(error) => tracing::error!(%error, "SIGHUP: all stays as it was"),
            }
        }
    }

    fn reload(&self) -> Result<(), ReloadError> {
        let settings = (self.reread)()?;
        if let Some(tls) = &self.tls {
            tls.reload(&settings.tls)?;
        }
        self.broker.limit_connections(connection_limits(&settings.limits));
        self.watermarks.send_replace(settings.watermarks);
        Ok(())
    }
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        total_max: limits.connections_max,
        vhost_max: limits.vhost_connections_max,
        user_max: limits.user_connections_max,
    }
}
