"""Limits on connections: who comes too many is told which limit is reached, and nobody hangs."""

import socket
import ssl
import time

import pytest

from raw import RawConnection
from test_tls import tls_server

__all__ = ["tls_server"]


def refused(server, text):
    connection = RawConnection.connect(server.url)
    connection.start()
    connection.log_in()
    connection.answer_tune()
    connection.send("connection.open", 0, virtual_host="/")
    assert text in connection.expect_connection_close(530).reply_text
    connection.close()


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("--connections-max", "connection refused: node connection limit (2) is reached"),
        (
            "--vhost-connections-max",
            "access to vhost '/' refused for user 'guest': connection limit (2) is reached",
        ),
        (
            "--user-connections-max",
            "connection refused for user 'guest': user connection limit (2) is reached",
        ),
    ],
)
def test_one_too_many_is_told_why(start_own, setting, text):
    server = start_own(setting, 2)
    inside = [RawConnection.open(server.url) for _ in range(2)]
    refused(server, text)
    refused(server, text)
    # A place that is given back is there for the next.
    inside.pop().close()
    deadline = time.monotonic() + 5
    while True:
        try:
            inside.append(RawConnection.open(server.url))
            break
        except AssertionError:
            assert time.monotonic() < deadline, "the place was not given back"
    refused(server, text)
    for connection in inside:
        connection.channel(1)
        connection.close()


def test_limits_change_without_a_restart(start_own, tmp_path):
    file = tmp_path / "postroom.toml"
    file.write_text("connections-max = 1\n")
    server = start_own("--config", file)
    inside = [RawConnection.open(server.url)]
    refused(server, "node connection limit (1) is reached")
    file.write_text("connections-max = 2\n")
    server.reload("read again")
    inside.append(RawConnection.open(server.url))
    refused(server, "node connection limit (2) is reached")
    file.write_text("connections-max = 'many'\n")
    server.reload("connections-max", "all stays as it was")
    refused(server, "node connection limit (2) is reached")
    for connection in inside:
        connection.channel(1)
        connection.close()


def test_a_tls_handshake_that_never_comes_is_not_waited_for(tls_server):
    server, _ = tls_server()
    begun = time.monotonic()
    with socket.create_connection((server.host, server.tls_port), timeout=20) as peer:
        peer.sendall(b"\x16\x03\x01")
        assert peer.recv(1) == b""
    assert 5 < time.monotonic() - begun < 15


def test_a_client_that_is_slow_after_the_tls_handshake_is_dropped(tls_server):
    server, authority = tls_server()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    begun = time.monotonic()
    with socket.create_connection((server.host, server.tls_port), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as peer:
            peer.sendall(b"AMQP")
            try:
                assert peer.recv(1) == b""
            except (ssl.SSLError, ConnectionError):
                pass
    assert 5 < time.monotonic() - begun < 15
