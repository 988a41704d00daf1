//! The doors of a broker: one for each protocol, and another for each if connections can be
//! encrypted.

use std::sync::Arc;

use crate::accept::{Entrance, Protocol};
use crate::config::Listen;
use crate::listeners::{self, ListenError, Listeners};
use crate::ports::Ports;
use crate::tls::TlsDoor;

/// A protocol's listeners.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) plain: Listeners,
    /// If there is a certificate.
    pub(crate) encrypted: Option<Listeners>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) amqp: Door,
    pub(crate) http: Door,
    tls: Option<Arc<TlsDoor>>,
}

impl Doors {
    /// Listens everywhere.
    pub(crate) fn open(listen: &Listen, tls: Option<Arc<TlsDoor>>) -> Result<Doors, ListenError> {
        let addresses = listen.addresses();
        let open = |port, setting| listeners::open(&addresses, port, setting);
        let encrypted = |port, setting| tls.as_ref().map(|_| open(port, setting)).transpose();
        let amqp = Door {
            plain: open(listen.amqp_port, "--amqp-port")?,
            encrypted: encrypted(listen.amqps_port, "--amqps-port")?,
        };
        let http = Door {
            plain: open(listen.http_port, "--http-port")?,
            encrypted: encrypted(listen.https_port, "--https-port")?,
        };
        Ok(Doors { amqp, http, tls })
    }

    /// Where they are.
    pub(crate) fn ports(&self) -> Ports {
        let port = |listeners: &Option<Listeners>| listeners.as_ref().map(|found| found.port);
        Ports {
            amqp: self.amqp.plain.port,
            amqps: port(&self.amqp.encrypted),
            http: self.http.plain.port,
            https: port(&self.http.encrypted),
        }
    }

    /// Ready to take connections.
    pub(crate) fn into_entrances(self) -> Vec<Entrance> {
        let mut entrances = Vec::new();
        for (protocol, door) in [(Protocol::Amqp, self.amqp), (Protocol::Http, self.http)] {
            entrances.push(Entrance { protocol, listeners: door.plain, tls: None });
            if let Some(listeners) = door.encrypted {
                entrances.push(Entrance { protocol, listeners, tls: self.tls.clone() });
            }
        }
        entrances
    }
}
