"""RabbitMQ's own command line tool, the classic one in Python, against the management API."""

import shutil
import subprocess
import sys
import uuid

import pytest

from management import Management, part

TOOL = shutil.which("rabbitmqadmin")

pytestmark = pytest.mark.skipif(
    TOOL is None, reason="rabbitmqadmin is not installed (apt-get install rabbitmq-server)"
)


@pytest.fixture
def admin(server):
    """Runs the tool in a virtual host of the test's own; what it printed."""
    api = Management.of(server)
    vhost = f"admin/{uuid.uuid4().hex[:12]}"
    assert api.put(f"/vhosts/{part(vhost)}") == 201

    def run(*arguments, expect=0):
        where = ["-H", api.host, "-P", str(api.port), "-V", vhost]
        command = [sys.executable, TOOL, *where, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == expect, (arguments, done.stdout, done.stderr)
        return done.stdout

    run.vhost = vhost
    yield run
    api.delete(f"/vhosts/{part(vhost)}")


def test_things_are_declared_and_deleted(admin):
    assert "declared" in admin("declare", "queue", "name=q", "durable=true")
    assert "declared" in admin("declare", "exchange", "name=x", "type=topic")
    bind = ("declare", "binding", "source=x", "destination=q", "routing_key=a.#")
    assert "declared" in admin(*bind)
    delete = ("delete", "binding", "source=x", "destination=q", "destination_type=queue")
    assert "deleted" in admin(*delete, "properties_key=a.%23")
    assert "purged" in admin("purge", "queue", "name=q")
    assert "deleted" in admin("delete", "queue", "name=q")
    assert "deleted" in admin("delete", "exchange", "name=x")
    admin("delete", "exchange", "name=x", expect=1)


def test_messages_are_published_and_got(admin):
    admin("declare", "queue", "name=q", 'arguments={"x-max-length": 3}')
    publish = ("publish", "exchange=amq.default", "routing_key=q", "payload=from a shell")
    assert "published" in admin(*publish)
    assert "from a shell" in admin("get", "queue=q", "ackmode=ack_requeue_false")
    assert "No items" in admin("get", "queue=q")


def test_users_vhosts_and_permissions(admin):
    user = f"u-{uuid.uuid4().hex[:12]}"
    admin("declare", "user", f"name={user}", "password=p", "tags=monitoring")
    assert user in admin("list", "users", "name", "tags")
    admin("declare", "permission", f"vhost={admin.vhost}", f"user={user}",
          "configure=.*", "write=.*", "read=.*")  # fmt: skip
    assert user in admin("list", "permissions")
    admin("delete", "permission", f"vhost={admin.vhost}", f"user={user}")
    admin("delete", "user", f"name={user}")
    assert user not in admin("list", "users", "name")
    assert admin.vhost in admin("list", "vhosts", "name")


def test_definitions_go_to_a_file_and_back(admin, tmp_path):
    file = tmp_path / "definitions.json"
    admin("declare", "queue", "name=kept", "durable=true")
    assert "Exported" in admin("export", str(file))
    admin("delete", "queue", "name=kept")
    assert "Uploaded" in admin("import", str(file))
    assert "deleted" in admin("delete", "queue", "name=kept")
