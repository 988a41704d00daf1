//! Just enough of an AMQP client to hold a connection open and see it closed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A class and a method.
pub(crate) type MethodId = (u16, u16);

const START: MethodId = (10, 10);
const TUNE: MethodId = (10, 30);
const OPEN_OK: MethodId = (10, 41);
const CLOSE: MethodId = (10, 50);

pub(crate) struct AmqpClient(TcpStream);

impl AmqpClient {
    /// Logs in as guest and opens `/`.
    pub(crate) fn open(address: impl std::net::ToSocketAddrs) -> AmqpClient {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = AmqpClient(stream);
        client.0.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        assert_eq!(client.next_method().0, START);
        client.send((10, 11), b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
        assert_eq!(client.next_method().0, TUNE);
        client.send((10, 31), &[0, 16, 0, 2, 0, 0, 0, 0]); // 16 channels, 128 KiB, no heartbeat
        client.send((10, 40), b"\x01/\0\0");
        assert_eq!(client.next_method().0, OPEN_OK);
        client
    }

    fn send(&mut self, (class, method): MethodId, arguments: &[u8]) {
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(arguments.len() + 4).unwrap().to_be_bytes());
        frame.extend(class.to_be_bytes());
        frame.extend(method.to_be_bytes());
        frame.extend(arguments);
        frame.push(0xce);
        self.0.write_all(&frame).unwrap();
    }

    fn next_method(&mut self) -> (MethodId, Vec<u8>) {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).unwrap();
        assert_eq!(head[..3], [1, 0, 0], "a method frame on channel 0");
        let len = u32::from_be_bytes(head[3..].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(len).unwrap() + 1];
        self.0.read_exact(&mut payload).unwrap();
        assert_eq!(payload.pop(), Some(0xce));
        let arguments = payload.split_off(4);
        let [class @ .., _, _] = <[u8; 4]>::try_from(payload.as_slice()).unwrap();
        let [_, _, method @ ..] = <[u8; 4]>::try_from(payload.as_slice()).unwrap();
        ((u16::from_be_bytes(class), u16::from_be_bytes(method)), arguments)
    }

    /// Waits for the broker to close the connection: the code and the text it gives.
    pub(crate) fn wait_for_close(&mut self) -> (u16, String) {
        let (id, arguments) = self.next_method();
        assert_eq!(id, CLOSE);
        let code = u16::from_be_bytes([arguments[0], arguments[1]]);
        let text = &arguments[3..3 + usize::from(arguments[2])];
        (code, String::from_utf8(text.to_vec()).unwrap())
    }

    pub(crate) fn send_close_ok(&mut self) {
        self.send((10, 51), &[]);
    }
}
