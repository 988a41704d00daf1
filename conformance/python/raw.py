"""A client without manners: it sends whatever bytes a test wants and reads every frame back.

`RawConnection.open(url)` does the whole handshake; `RawConnection.connect(url)` only opens the
socket. What arrives is taken with `next_method`, `expect`, `expect_connection_close` and so on;
each waits a bounded time and fails with what came instead.
"""

import socket
import struct
import time
from collections import deque
from urllib.parse import unquote, urlsplit

import wire
from wire import BODY, FRAME_END, HEADER, HEARTBEAT, METHOD

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
CAPABILITIES = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}
WAIT_SECONDS = 8.0


class SocketClosed(AssertionError):
    """The server closed the socket while the test was waiting for a frame."""


class Nothing(AssertionError):
    """Nothing arrived in the time allowed."""


class RawConnection:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.pending = {}  # channel: the method whose content is still arriving
        self.sizes = {}
        self.set_aside = deque()
        self.heartbeats = []  # when each heartbeat frame came
        self.frame_bytes_max = 0  # the largest frame seen
        self.tune = None
        self.server_properties = {}

    # --- opening -----------------------------------------------------------------------------

    @classmethod
    def connect(cls, url):
        parts = urlsplit(url)
        connection = cls(parts.hostname, parts.port or 5672)
        connection.url = parts
        return connection

    @classmethod
    def open(cls, url, **settings):
        connection = cls.connect(url)
        connection.handshake(**settings)
        return connection

    def handshake(self, **settings):
        self.start()
        self.log_in(**{k: settings.pop(k) for k in ("properties", "capabilities") if k in settings})
        self.answer_tune(**settings)
        self.send("connection.open", 0, virtual_host=unquote(self.url.path[1:]) or "/")
        self.expect("connection.open-ok", 0)

    def start(self):
        self.send_bytes(PROTOCOL_HEADER)
        start = self.expect("connection.start", 0)
        self.server_properties = start.server_properties
        return start

    def log_in(self, user=None, password=None, capabilities=None, properties=None, **fields):
        user = unquote(self.url.username or "guest") if user is None else user
        password = unquote(self.url.password or "guest") if password is None else password
        client = {"product": "conformance"} | (properties or {})
        client["capabilities"] = CAPABILITIES if capabilities is None else capabilities
        answer = {
            "client_properties": client,
            "mechanism": "PLAIN",
            "response": b"\0%s\0%s" % (user.encode(), password.encode()),
            "locale": "en_US",
        }
        self.send("connection.start-ok", 0, **(answer | fields))

    def answer_tune(self, channel_max=None, frame_max=None, heartbeat=0):
        self.tune = self.expect("connection.tune", 0)
        self.frame_max = self.tune.frame_max if frame_max is None else frame_max
        self.send(
            "connection.tune-ok",
            0,
            channel_max=self.tune.channel_max if channel_max is None else channel_max,
            frame_max=self.frame_max,
            heartbeat=heartbeat,
        )

    # --- sending -----------------------------------------------------------------------------

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send(self, name, channel, **fields):
        self.send_bytes(wire.method_frame(channel, name, **fields))

    def call(self, name, channel, **fields):
        """Send a method and take its `-ok`."""
        self.send(name, channel, **fields)
        return self.expect(name + "-ok", channel)

    def channel(self, number):
        self.call("channel.open", number)
        return number

    def content(self, channel, body, properties=b"\0\0"):
        """Header and body frames of one content, within the frame_max."""
        out = [wire.header_frame(channel, len(body), properties)]
        step = self.frame_max - 8
        out += [wire.frame(BODY, channel, body[at : at + step]) for at in range(0, len(body), step)]
        return b"".join(out)

    def publish(self, channel, routing_key, body=b"", exchange="", properties=b"\0\0", **fields):
        self.send_bytes(
            wire.method_frame(
                channel, "basic.publish", exchange=exchange, routing_key=routing_key, **fields
            )
            + self.content(channel, body, properties)
        )

    # --- receiving ---------------------------------------------------------------------------

    def _fill(self, count, deadline):
        while len(self.buffer) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Nothing("nothing arrived in time")
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(1 << 18)
            except TimeoutError:
                raise Nothing("nothing arrived in time") from None
            except OSError as error:
                raise SocketClosed(f"the socket broke: {error}") from error
            if not piece:
                raise SocketClosed(f"the server closed the socket; unread: {bytes(self.buffer)!r}")
            self.buffer += piece

    def read_bytes(self, count, seconds=WAIT_SECONDS):
        self._fill(count, time.monotonic() + seconds)
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def read_frame(self, seconds=WAIT_SECONDS):
        deadline = time.monotonic() + seconds
        self._fill(7, deadline)
        kind, channel, size = struct.unpack_from(">BHI", self.buffer)
        self._fill(size + 8, deadline)
        payload = bytes(self.buffer[7 : 7 + size])
        assert self.buffer[7 + size] == FRAME_END, "the server's frame lacks its end octet"
        del self.buffer[: size + 8]
        self.frame_bytes_max = max(self.frame_bytes_max, size + 8)
        return kind, channel, payload

    def next_method(self, seconds=WAIT_SECONDS):
        """The next whole method with its content; heartbeats are counted and passed over."""
        if self.set_aside:
            return self.set_aside.popleft()
        deadline = time.monotonic() + seconds
        while True:
            kind, channel, payload = self.read_frame(max(deadline - time.monotonic(), 0))
            if kind == HEARTBEAT:
                assert (channel, payload) == (0, b""), "a heartbeat is an empty frame on channel 0"
                self.heartbeats.append(time.monotonic())
            elif kind == METHOD:
                assert channel not in self.pending, "a method inside the content of its channel"
                method = wire.decode_method(channel, payload)
                if method.name not in wire.WITH_CONTENT:
                    return method
                self.pending[channel] = method
            elif kind == HEADER:
                method = self.pending[channel]
                class_id, weight, size = struct.unpack_from(">HHQ", payload)
                assert (class_id, weight) == (60, 0)
                self.sizes[channel] = size
                method.properties = payload[12:]
                if size == 0:
                    return self.pending.pop(channel)
            elif kind == BODY:
                method = self.pending[channel]
                method.body_frames.append(payload)
                got = sum(map(len, method.body_frames))
                assert got <= self.sizes[channel], "more body than the header announced"
                if got == self.sizes[channel]:
                    method.body = b"".join(method.body_frames)
                    return self.pending.pop(channel)
            else:
                raise AssertionError(f"the server sent a frame of type {kind}")

    def next_methods(self, count, seconds=WAIT_SECONDS):
        return [self.next_method(seconds) for _ in range(count)]

    def expect(self, name, channel, seconds=WAIT_SECONDS):
        method = self.next_method(seconds)
        assert (method.name, method.channel) == (name, channel), (
            f"expected {name} on channel {channel}, got {method.name} on {method.channel}: "
            f"{method.fields}"
        )
        return method

    def expect_nothing(self, seconds=0.3):
        """No method arrives for that long."""
        try:
            method = self.next_method(seconds)
        except Nothing:
            return
        raise AssertionError(f"expected silence, got {method.name}: {method.fields}")

    def expect_eof(self, seconds=WAIT_SECONDS):
        """The server closes the socket, without another frame but heartbeats."""
        try:
            method = self.next_method(seconds)
        except SocketClosed:
            return
        raise AssertionError(f"expected a closed socket, got {method.name}: {method.fields}")

    def expect_connection_close(self, code, ids=None, seconds=WAIT_SECONDS):
        """connection.close with one of these codes; answers it and sees the socket closed."""
        close = self._expect_close("connection.close", 0, code, ids, seconds)
        self.send("connection.close-ok", 0)
        self.expect_eof(seconds)
        return close

    def expect_refusal(self, code, or_drop=False):
        """connection.close with one of these codes; with `or_drop`, or a closed socket alone."""
        try:
            self._expect_close("connection.close", 0, code, None, 20)
        except SocketClosed:
            assert or_drop, "the server closed the socket without a word"

    def expect_channel_close(self, channel, code, ids=None, seconds=WAIT_SECONDS):
        """channel.close with one of these codes; answers it."""
        close = self._expect_close("channel.close", channel, code, ids, seconds)
        self.send("channel.close-ok", channel)
        return close

    def _expect_close(self, name, channel, code, ids, seconds):
        close = self.expect(name, channel, seconds)
        codes = {code} if isinstance(code, int) else set(code)
        assert close.reply_code in codes, f"expected {codes}, got {close.fields}"
        if ids is not None:
            if isinstance(ids, str):
                ids = wire.SIGNATURES[ids][:2]
            assert (close.class_id, close.method_id) == ids, f"expected {ids}, got {close.fields}"
        return close

    def works(self, channel):
        """The channel still answers, and has done all it was asked for before."""
        self.call("exchange.declare", channel, exchange="amq.direct", passive=True)

    def close(self):
        """Break off without a word."""
        self.socket.close()

    def abort(self):
        """Break off with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
