"""Who may log in: first users, imported hashes, wrong passwords again and again."""

import os
import subprocess
import time

import pika
import pytest

from broker import Postroom, binary
from tenants import Tenants, permission, rabbitmq_hash, serving, user, write

pytestmark = pytest.mark.postroom_only(reason="RabbitMQ's users are its own affair")

USERS = {
    "vhosts": [{"name": "/"}],
    "users": [
        user("users-sha256", "pass word"),
        user("users-sha512", "pässwörd", algorithm="sha512"),
        user("users-md5", "old", algorithm="md5"),
        user("users-none"),
    ],
    "permissions": [
        permission(name, "/") for name in ["users-sha256", "users-sha512", "users-md5"]
    ],
}


@pytest.fixture(scope="module")
def tenants(session_server, tmp_path_factory):
    yield from serving(session_server, tmp_path_factory.mktemp("users"), USERS)


def is_refused(tenants, name, password):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError) as refused:
        tenants.connect(name, password)
    return "ACCESS_REFUSED - Login was refused" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "password"),
    [("users-sha256", "pass word"), ("users-sha512", "pässwörd"), ("users-md5", "old")],
)
def test_imported_hashes_log_in(tenants, name, password):
    assert is_refused(tenants, name, password + "!")
    for _ in range(2):
        tenants.connect(name, password).close()


def test_a_user_without_a_password_does_not_log_in(tenants):
    assert is_refused(tenants, "users-none", "")
    assert is_refused(tenants, "users-nobody", "")


def test_hashes_are_upgraded_once_and_stay_so(tmp_path):
    file = write(tmp_path, USERS)
    own = Postroom(tmp_path, ["--definitions", file]).start()
    tenants = Tenants(own)
    for _ in range(2):
        tenants.connect("users-sha256", "pass word").close()
    upgraded = "the imported password hash is now argon2id"
    assert own.log.read_text().count(upgraded) == 1
    # The file is imported again, and does not bring the old hash back.
    own.restart()
    assert "made=0 changed=0" in own.log_tail()
    tenants.connect("users-sha256", "pass word").close()
    assert own.log.read_text().count(upgraded) == 1
    journals = [path.read_bytes() for path in (own.data_dir / "catalogue").iterdir()]
    assert journals and not any(b"pass word" in journal for journal in journals)
    # Another password in the file takes the place of ours.
    changed = {**USERS, "users": [user("users-sha256", "another"), *USERS["users"][1:]]}
    write(tmp_path, changed)
    own.restart()
    assert "made=0 changed=1" in own.log_tail()
    assert is_refused(tenants, "users-sha256", "pass word")
    tenants.connect("users-sha256", "another").close()
    assert own.stop() == 0


def test_wrong_passwords_are_slowed_down_and_nobody_is_locked_out(tenants):
    known = tenants.connect("users-sha256", "pass word")
    began = time.monotonic()
    for _ in range(5):
        assert is_refused(tenants, "users-md5", "wrong")
    # Three cost nothing; the next two wait for a quarter and for half a second at least.
    assert time.monotonic() - began > 0.7
    # Who was in is not bothered, nor who comes with what is known to be right.
    known.channel()
    began = time.monotonic()
    tenants.connect("users-sha256", "pass word").close()
    assert time.monotonic() - began < 2
    # And the right password is right in the end.
    tenants.connect("users-md5", "old").close()


@pytest.mark.parametrize("prefix", ["POSTROOM", "RABBITMQ"])
def test_a_first_user_takes_the_place_of_guest(tmp_path, prefix):
    variables = {f"{prefix}_DEFAULT_USER": "first", f"{prefix}_DEFAULT_PASS": "its password"}
    own = Postroom(tmp_path, environment=variables).start()
    tenants = Tenants(own)
    tenants.connect("first", "its password").channel().queue_declare("q")
    assert is_refused(tenants, "guest", "guest")
    tenants.close()
    assert own.stop() == 0
    # It was the first start's affair alone.
    later = Postroom(tmp_path).start()
    Tenants(later).connect("first", "its password").close()
    assert is_refused(Tenants(later), "guest", "guest")
    assert later.stop() == 0


def test_an_open_port_that_lets_nobody_in_is_refused(tmp_path):
    run = subprocess.run(
        [binary(), "serve", "--data-dir", tmp_path / "data", "--bind", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert run.returncode == 1
    assert "POSTROOM_DEFAULT_USER" in run.stderr and "--definitions" in run.stderr


def test_half_a_first_user_is_refused(tmp_path):
    run = subprocess.run(
        [binary(), "serve", "--data-dir", tmp_path / "data", "--default-user", "first"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=dict(os.environ),
    )
    assert run.returncode == 1
    assert "POSTROOM_DEFAULT_PASS" in run.stderr


def test_the_hash_is_rabbitmqs(tenants):
    """The test's own hashes are made as RabbitMQ makes them: its manual has an example."""
    import base64
    import hashlib

    salt = bytes.fromhex("908dc60a")
    digest = hashlib.sha256(salt + b"test12").digest()
    assert base64.b64encode(salt + digest).decode() == (
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    )
    assert len(base64.b64decode(rabbitmq_hash("x"))) == 36
