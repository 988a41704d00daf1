"""AMQP over TLS, and logins with a client's certificate."""

import asyncio
import socket
import ssl
from datetime import datetime, timedelta, timezone

import aio_pika
import pika
import pytest
import trustme
from cryptography import x509

import tenants
from management import Management
from raw import PROTOCOL_HEADER, RawConnection
from steps import Collector, take


class TlsConnection(RawConnection):
    """A raw connection over TLS."""

    def __init__(self, server, context):
        super().__init__(server.host, server.tls_port)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.url = None

    def log_in_with(self, mechanism, response=b""):
        self.log_in("", "", mechanism=mechanism, response=response)

    def enter(self):
        self.answer_tune()
        self.send("connection.open", 0, virtual_host="/")
        self.expect("connection.open-ok", 0)
        self.channel(1)


class Files:
    """The broker's three files, which a test may exchange."""

    def __init__(self, folder, authority, clients):
        self.cert, self.key, self.ca = (folder / name for name in ("cert", "key", "ca"))
        self.issue(authority)
        clients.cert_pem.write_to_path(self.ca)

    def issue(self, authority, names=("localhost", "127.0.0.1"), **further):
        made = authority.issue_cert(*names, **further)
        self.cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        made.private_key_pem.write_to_path(self.key)


@pytest.fixture
def tls_server(start_own, tmp_path):
    """Starts a Postroom with TLS; also gives the authority of its certificate."""
    authority = trustme.CA()

    def start(*arguments, clients=None):
        files = Files(tmp_path, authority, clients or authority)
        start.files = files
        given = ["--tls-cert", files.cert, "--tls-key", files.key, *arguments]
        if clients:
            given += ["--tls-ca", files.ca]
        return start_own(*given), authority

    return start


def trusting(authority, certificate=None):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate:
        certificate.configure_cert(context)
    return context


def guest(clients, **names):
    """A client's certificate whose name somewhere is guest."""
    return clients.issue_cert(**names) if names else clients.issue_cert("guest")


def pika_parameters(server, context, **settings):
    options = pika.SSLOptions(context, "localhost")
    return pika.ConnectionParameters(
        server.host, server.tls_port, ssl_options=options, heartbeat=0, **settings
    )


def refused_handshake(server, context):
    """The handshake fails, at the latest with the first word of the broker."""
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        TlsConnection(server, context).start()


def test_messages_of_every_size_cross_tls(tls_server):
    server, authority = tls_server()
    connection = pika.BlockingConnection(pika_parameters(server, trusting(authority)))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("q", durable=True)
    bodies = [bytes([size % 251]) * size for size in (0, 1, 100, 16_384, 131_072, 5_000_000)]
    for body in bodies:
        channel.basic_publish("", "q", body, pika.BasicProperties(delivery_mode=2))
    assert take(channel, "q", len(bodies)) == bodies
    # Deliveries in a stream, more of them than any buffer on the way holds.
    for number in range(400):
        channel.basic_publish("", "q", b"%06d" % number * 1_000)
    collector = Collector()
    channel.basic_consume("q", collector, auto_ack=True)
    collector.wait(connection, 400, seconds=30)
    assert collector.bodies == [b"%06d" % number * 1_000 for number in range(400)]
    connection.close()


def test_aio_pika_works_over_tls(tls_server):
    server, authority = tls_server()

    async def scenario():
        url = f"amqps://guest:guest@localhost:{server.tls_port}/"
        connection = await aio_pika.connect(url, ssl_context=trusting(authority))
        channel = await connection.channel()
        queue = await channel.declare_queue("aio", auto_delete=True)
        await channel.default_exchange.publish(aio_pika.Message(b"hello"), "aio")
        message = await queue.get(timeout=5)
        assert message.body == b"hello"
        await message.ack()
        await connection.close()

    asyncio.run(scenario())


def test_one_message_at_a_time_is_written_at_once(tls_server):
    """Small deliveries and confirms that other threads write for a sleeping connection."""
    server, authority = tls_server()
    publisher, consumer = (
        pika.BlockingConnection(pika_parameters(server, trusting(authority))) for _ in range(2)
    )
    publishing, consuming = publisher.channel(), consumer.channel()
    publishing.confirm_delivery()
    publishing.queue_declare("q")
    collector = Collector()
    consuming.basic_consume("q", collector, auto_ack=True)
    for number in range(200):
        publishing.basic_publish("", "q", b"%d" % number)
        collector.wait(consumer, number + 1)
    assert collector.bodies == [b"%d" % number for number in range(200)]
    publisher.close()
    consumer.close()


def test_a_stranger_to_tls_is_turned_away(tls_server):
    server, _ = tls_server()
    with socket.create_connection((server.host, server.tls_port), timeout=10) as peer:
        peer.sendall(PROTOCOL_HEADER)
        answer = b""
        try:
            while piece := peer.recv(100):
                answer += piece
        except ConnectionError:
            pass
        assert not answer.startswith(b"AMQP")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_spoken(tls_server, version):
    server, authority = tls_server()
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    connection = TlsConnection(server, context)
    connection.start()
    connection.log_in_with("PLAIN", b"\0guest\0guest")
    connection.enter()
    connection.close()


def test_external_is_announced_with_a_certificate_only(tls_server):
    clients = trustme.CA()
    server, authority = tls_server(clients=clients)
    plain = RawConnection.connect(server.url)
    assert plain.start().mechanisms.split() == [b"PLAIN", b"AMQPLAIN"]
    without = TlsConnection(server, trusting(authority))
    assert without.start().mechanisms.split() == [b"PLAIN", b"AMQPLAIN"]
    without.log_in_with("EXTERNAL")
    without.expect_connection_close(503)
    certified = TlsConnection(server, trusting(authority, guest(clients)))
    assert certified.start().mechanisms.split() == [b"PLAIN", b"AMQPLAIN", b"EXTERNAL"]
    certified.log_in_with("PLAIN", b"\0guest\0guest")
    certified.enter()
    for connection in (plain, without, certified):
        connection.close()


@pytest.mark.parametrize(
    ("login_from", "names"),
    [
        ("common-name", {"common_name": "guest"}),
        ("subject-alternative-name", {}),
    ],
)
def test_external_logs_in_whom_the_certificate_names(tls_server, login_from, names):
    clients = trustme.CA()
    server, authority = tls_server("--tls-login-from", login_from, clients=clients)
    certificate = guest(clients, **names)
    credentials = pika.credentials.ExternalCredentials()
    settings = pika_parameters(
        server, trusting(authority, certificate), credentials=credentials
    )
    connection = pika.BlockingConnection(settings)
    connection.channel().queue_declare("q", exclusive=True)
    connection.close()
    # The name in the response counts for nothing; the certificate's does.
    for stranger in (clients.issue_cert("stranger"), clients.issue_cert(common_name="stranger")):
        connection = TlsConnection(server, trusting(authority, stranger))
        if b"EXTERNAL" in connection.start().mechanisms:
            connection.log_in_with("EXTERNAL", b"guest")
            close = connection.expect_connection_close(403)
            assert "mechanism EXTERNAL" in close.reply_text
        connection.close()


def test_external_by_distinguished_name(tls_server, tmp_path):
    clients = trustme.CA()
    certificate = clients.issue_cert(common_name="zoë, of accounts", organization_name="Example")
    unit = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).subject
    unit = unit.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value
    name = rf"CN=zo\C3\AB\, of accounts,OU={unit},O=Example"
    definitions = {
        "vhosts": [{"name": "/"}],
        "users": [tenants.user(name)],
        "permissions": [tenants.permission(name, "/", configure="^mine$")],
    }
    file = tenants.write(tmp_path, definitions)
    server, authority = tls_server("--definitions", file, clients=clients)
    connection = TlsConnection(server, trusting(authority, certificate))
    connection.start()
    connection.log_in_with("EXTERNAL")
    connection.enter()
    connection.call("queue.declare", 1, queue="mine")
    connection.send("queue.declare", 1, queue="not mine")
    refusal = connection.expect_channel_close(1, 403)
    assert f"user '{name}'" in refusal.reply_text
    connection.close()


def test_a_certificate_nobody_vouches_for_is_refused(tls_server):
    clients, others = trustme.CA(), trustme.CA()
    server, authority = tls_server(clients=clients)
    refused_handshake(server, trusting(authority, guest(others)))
    TlsConnection(server, trusting(authority, guest(clients))).start()


def test_a_certificate_can_be_required(tls_server):
    clients = trustme.CA()
    server, authority = tls_server("--tls-client-cert", "required", clients=clients)
    refused_handshake(server, trusting(authority))
    TlsConnection(server, trusting(authority, guest(clients))).start()


def test_new_certificates_need_no_restart(tls_server):
    server, authority = tls_server()
    old = TlsConnection(server, trusting(authority))
    old.start()
    old.log_in_with("PLAIN", b"\0guest\0guest")
    old.enter()
    successor = trustme.CA()
    tls_server.files.issue(successor)
    server.reload("read again")
    new = TlsConnection(server, trusting(successor))
    new.start()
    refused_handshake(server, trusting(authority))
    # What is wrong changes nothing.
    tls_server.files.key.write_text("no key")
    server.reload("all stays as it was")
    TlsConnection(server, trusting(successor)).start()
    old.channel(2)
    old.close()


def test_a_certificate_that_ends_soon_is_told_of(tls_server):
    server, authority = tls_server()
    check = "/health/checks/certificate-expiration/1"
    api = Management.of(server)
    assert api.ask("GET", f"{check}/months").status == 200
    soon = datetime.now(timezone.utc) + timedelta(days=3)
    tls_server.files.issue(authority, not_after=soon)
    server.reload("read again")
    for unit, status in [("days", 200), ("weeks", 503), ("years", 503)]:
        assert api.ask("GET", f"{check}/{unit}").status == status, unit
