"""What every test uses: a running broker, connections that are closed afterwards, unique names."""

import os
import uuid

import pika
import pytest

from broker import OtherBroker, Postroom
from raw import RawConnection
from steps import parameters

OTHER_URL = os.environ.get("CONFORMANCE_URL")


def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("postroom_only")
        if mark and OTHER_URL:
            item.add_marker(pytest.mark.skip(reason=mark.kwargs["reason"]))
        mark = item.get_closest_marker("not_built_yet")
        if mark and not OTHER_URL:
            item.add_marker(pytest.mark.xfail(reason=mark.kwargs["reason"], strict=True))


@pytest.fixture(scope="session")
def session_server(tmp_path_factory):
    if OTHER_URL:
        yield OtherBroker(OTHER_URL)
        return
    postroom = Postroom(tmp_path_factory.mktemp("postroom")).start()
    yield postroom
    status = postroom.stop()
    assert status == 0, f"postroom ended with {status}\n{postroom.log_tail()}"


@pytest.fixture
def server(session_server):
    """The broker all tests share; a test that brings it down fails itself."""
    yield session_server
    session_server.check_alive()


@pytest.fixture
def own_server(tmp_path):
    """A Postroom of the test's own, to be stopped, killed and started again."""
    if OTHER_URL:
        pytest.skip("needs a Postroom of its own")
    postroom = Postroom(tmp_path).start()
    yield postroom
    if postroom.process:
        postroom.kill()


@pytest.fixture
def start_own(tmp_path):
    """Starts Postrooms of the test's own, with further arguments."""
    if OTHER_URL:
        pytest.skip("needs a Postroom of its own")
    started = []

    def start(*arguments):
        folder = tmp_path / f"own-{len(started)}"
        folder.mkdir()
        started.append(Postroom(folder, list(map(str, arguments))).start())
        return started[-1]

    yield start
    for postroom in started:
        if postroom.process:
            postroom.kill()


@pytest.fixture
def restartable(request, session_server):
    """A broker that can be restarted cleanly."""
    if session_server.is_postroom:
        yield request.getfixturevalue("own_server")
    elif session_server.restart_command:
        yield session_server
    else:
        pytest.skip("CONFORMANCE_RESTART is not set")


@pytest.fixture
def connect(server):
    """Opens pika connections to the shared broker."""
    opened = []

    def open_connection(url=None, **settings):
        connection = pika.BlockingConnection(parameters(url or server.url, **settings))
        opened.append(connection)
        return connection

    yield open_connection
    for connection in opened:
        if connection.is_open:
            connection.close()


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def raw(server):
    """Opens raw connections, handshake done, to the shared broker."""
    opened = []

    def open_connection(url=None, **settings):
        connection = RawConnection.open(url or server.url, **settings)
        opened.append(connection)
        return connection

    yield open_connection
    for connection in opened:
        connection.close()


@pytest.fixture
def pair(raw, names):
    """A raw connection with channel 1 open, and a queue of its own."""
    connection = raw()
    connection.channel(1)
    queue = names.queue()
    connection.call("queue.declare", 1, queue=queue)
    return connection, queue


@pytest.fixture
def raw_socket(server):
    """Opens raw connections that have not said anything yet."""
    opened = []

    def open_socket():
        connection = RawConnection.connect(server.url)
        opened.append(connection)
        return connection

    yield open_socket
    for connection in opened:
        connection.close()


class Names:
    """Names nobody else uses, removed from the broker after the test."""

    def __init__(self):
        self.stem = f"conformance-{uuid.uuid4().hex[:12]}"
        self.queues = []
        self.exchanges = []

    def queue(self, hint="queue"):
        self.queues.append(f"{self.stem}-{hint}-{len(self.queues)}")
        return self.queues[-1]

    def exchange(self, hint="exchange"):
        self.exchanges.append(f"{self.stem}-{hint}-{len(self.exchanges)}")
        return self.exchanges[-1]


@pytest.fixture
def names(server):
    made = Names()
    yield made
    connection = RawConnection.open(server.url)
    connection.channel(1)
    for name in made.queues:
        connection.call("queue.delete", 1, queue=name)
    for name in made.exchanges:
        connection.call("exchange.delete", 1, exchange=name)
    connection.close()
