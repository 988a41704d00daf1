//! Opens the sockets that clients connect to.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::config::Address;

/// Free ports tried until one is free on every address.
const FREE_PORTS_TRIED: usize = 32;

/// The sockets of one protocol, all on the same port.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) port: u16,
    pub(crate) sockets: Vec<TcpListener>,
}

/// A socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(
        "{0} is in use, perhaps by RabbitMQ or another Postroom; stop that, or choose another port \
         with {1}"
    )]
    InUse(SocketAddr, &'static str),

    #[error("this machine has no address {0}; choose another with --bind")]
    NoSuchAddress(IpAddr),

    #[error("listening on {0} is not allowed: {1}")]
    NotAllowed(SocketAddr, io::Error),

    #[error("listening on {0} failed: {1}")]
    Other(SocketAddr, io::Error),
}

/// Listens on all of `addresses`. Port 0 takes one that is free on all of them.
///
/// `setting` is what another port is chosen with.
pub(crate) fn open(
    addresses: &[Address],
    port: u16,
    setting: &'static str,
) -> Result<Listeners, ListenError> {
    let tries = if port == 0 { FREE_PORTS_TRIED } else { 1 };
    let mut outcome = open_once(addresses, port, setting);
    for _ in 1..tries {
        if !matches!(outcome, Err(ListenError::InUse(..))) {
            break;
        }
        outcome = open_once(addresses, port, setting);
    }
    outcome
}

fn open_once(
    addresses: &[Address],
    mut port: u16,
    setting: &'static str,
) -> Result<Listeners, ListenError> {
    let mut sockets = Vec::new();
    for address in addresses {
        let (Address::Wanted(ip) | Address::IfThere(ip)) = *address;
        let socket_address = SocketAddr::new(ip, port);
        match listen(socket_address) {
            Ok(socket) => {
                port = socket.local_addr().map_or(port, |chosen| chosen.port());
                sockets.push(socket);
            }
            Err(error) if is_missing(&error) => match address {
                Address::IfThere(_) => tracing::info!(%ip, "not listening: no such address here"),
                Address::Wanted(_) => return Err(ListenError::NoSuchAddress(ip)),
            },
            Err(error) => return Err(refused(socket_address, error, setting)),
        }
    }
    Ok(Listeners { port, sockets })
}

/// Connections that may wait to be accepted: a burst beyond it waits a second for the next try.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the last life's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the machine does not have the address, or not even its family.
fn is_missing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let missing = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT];
    missing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn refused(address: SocketAddr, error: io::Error, setting: &'static str) -> ListenError {
    if error.kind() == io::ErrorKind::AddrInUse {
        ListenError::InUse(address, setting)
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        ListenError::NotAllowed(address, error)
    } else {
        ListenError::Other(address, error)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const LOOPBACK: Address = Address::Wanted(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[tokio::test]
    async fn a_free_port_is_the_same_everywhere() {
        let six = Address::IfThere(Ipv6Addr::LOCALHOST.into());
        let opened = open(&[LOOPBACK, six], 0, "--amqp-port").unwrap();
        assert_ne!(opened.port, 0);
        for socket in &opened.sockets {
            assert_eq!(socket.local_addr().unwrap().port(), opened.port);
        }
    }

    #[tokio::test]
    async fn what_is_not_possible_says_so() {
        let taken = open(&[LOOPBACK], 0, "--amqp-port").unwrap();
        let again = open(&[LOOPBACK], taken.port, "--amqp-port").unwrap_err();
        assert!(again.to_string().contains("is in use"), "{again}");

        // TEST-NET-1: no machine has it.
        let nowhere = IpAddr::from([192, 0, 2, 1]);
        let wanted = open(&[Address::Wanted(nowhere)], 0, "--amqp-port").unwrap_err();
        assert!(wanted.to_string().contains("has no address 192.0.2.1"), "{wanted}");
        let if_there = open(&[LOOPBACK, Address::IfThere(nowhere)], 0, "--amqp-port").unwrap();
        assert_eq!(if_there.sockets.len(), 1);
    }
}
