//! A blocking TCP stream with an input buffer that can also be polled.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

pub(crate) struct Wire {
    sock: TcpStream,
    buf: Vec<u8>,
    pos: usize,
    end: usize,
    pub(crate) out: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Take what is there, never sleep.
    No,
    /// Sleep until something arrives.
    Forever,
    /// Sleep at most this long.
    For(Duration),
}

impl Wire {
    /// With so much room for input to begin with.
    pub(crate) fn connect(addr: &str, room: usize) -> io::Result<Wire> {
        let a = addr.to_socket_addrs()?.next().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no address for {addr}"))
        })?;
        let sock = TcpStream::connect(a)?;
        sock.set_nodelay(true)?;
        Ok(Wire { sock, buf: vec![0; room], pos: 0, end: 0, out: Vec::with_capacity(room / 2) })
    }

    /// Unread input.
    #[inline]
    pub(crate) fn input(&self) -> &[u8] {
        &self.buf[self.pos..self.end]
    }

    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        self.pos += n;
        debug_assert!(self.pos <= self.end);
        if self.pos == self.end {
            self.pos = 0;
            self.end = 0;
        }
    }

    fn make_room(&mut self) {
        if self.pos > 0 && self.buf.len() - self.end < 64 * 1024 {
            self.buf.copy_within(self.pos..self.end, 0);
            self.end -= self.pos;
            self.pos = 0;
        }
        if self.end == self.buf.len() {
            self.buf.resize(self.buf.len() * 2, 0);
        }
    }

    /// Reads more input; true if some arrived. End of stream is an error.
    pub(crate) fn fill(&mut self, wait: Wait) -> io::Result<bool> {
        self.make_room();
        let n = if wait == Wait::Forever {
            self.sock.read(&mut self.buf[self.end..])?
        } else {
            if let Wait::For(d) = wait
                && !self.poll_in(d)?
            {
                return Ok(false);
            }
            match recv(&self.sock, &mut self.buf[self.end..], RecvFlags::DONTWAIT) {
                Ok((n, _)) => n,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        };
        if n == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the broker closed the connection",
            ));
        }
        self.end += n;
        Ok(true)
    }

    fn poll_in(&self, d: Duration) -> io::Result<bool> {
        let seconds = i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: seconds, tv_nsec: d.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.sock, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends what `out` holds. Input is drained while the socket is full, so
    /// that neither side can wait for the other for ever.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.sock, &self.out[sent..], flags) {
                Ok(n) => sent += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
                    let mut fds = [PollFd::new(&self.sock, PollFlags::IN | PollFlags::OUT)];
                    let readable = match poll(&mut fds, Some(&second)) {
                        Ok(_) => fds[0].revents().contains(PollFlags::IN),
                        Err(Errno::INTR) => false,
                        Err(e) => return Err(e.into()),
                    };
                    if readable {
                        self.fill(Wait::No)?;
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.out.clear();
        Ok(())
    }

    pub(crate) fn write_all_now(&mut self, b: &[u8]) -> io::Result<()> {
        self.sock.write_all(b)
    }
}
