"""The service of systemd and the Debian package: verified, built, put into a root of its own."""

import os
import re
import shutil
import stat
import subprocess
import tomllib

import pytest

from broker import ROOT, Postroom, binary

UNIT = ROOT / "deploy/systemd/postroom.service"
SETTINGS = ROOT / "deploy/postroom.toml"
PROGRAM = "/usr/bin/postroom"

# systemd's own sum of what a service could do if it were taken over, times ten; 10.0 is a bare one.
EXPOSURE_MAX = 20

USER_ID = r"^postroom:[^:]*:(\d+):(\d+):[^:]*:/var/lib/postroom:/usr/sbin/nologin$"

pytestmark = pytest.mark.skipif(
    "CONFORMANCE_URL" in os.environ, reason="it is about Postroom's packages"
)


def run(*words, **settings):
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=120, **settings
    )


def needs(*tools):
    missing = [tool for tool in tools if not shutil.which(tool)]
    return pytest.mark.skipif(bool(missing), reason=f"not on the PATH: {', '.join(missing)}")


@needs("systemd-analyze")
def test_the_unit_is_right_and_tight(tmp_path):
    # Verifying looks for the program; here it is somewhere else.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, str(binary())))
    verified = run("systemd-analyze", "verify", "--man=no", unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    options = ("--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager")
    tight = run("systemd-analyze", "security", *options, unit)
    assert tight.returncode == 0, tight.stdout[-200:] + tight.stderr


def test_the_example_settings_are_settings(tmp_path):
    text = SETTINGS.read_text()
    everything = tomllib.loads(re.sub(r"^#(?=[a-z-]+ = )", "", text, flags=re.M))
    known = set(re.findall(r"--([a-z-]+)", run(binary(), "serve", "--help").stdout))
    assert len(everything) > 5 and set(everything) <= known
    broker = Postroom(tmp_path, ["--config", SETTINGS]).start()
    assert broker.stop() == 0


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deb")
    built = run(ROOT / "deploy/deb/build", binary(), folder)
    assert built.returncode == 0, built.stderr
    [package] = folder.glob("postroom_*.deb")
    return package


@needs("dpkg-deb", "dpkg", "readelf", "strip")
def test_what_is_in_the_package(package):
    field = lambda name: run("dpkg-deb", "--field", package, name).stdout.strip()
    assert f"postroom {field('Version')}\n" == run(binary(), "--version").stdout
    assert field("Architecture") == run("dpkg", "--print-architecture").stdout.strip()
    assert re.fullmatch(r"libc6 \(>= 2\.\d+\), libgcc-s1, passwd", field("Depends"))
    listed = run("dpkg-deb", "--contents", package, check=True).stdout.splitlines()
    entries = {line.split()[5].lstrip("."): line.split()[:2] for line in listed}
    assert {owner for _, owner in entries.values()} == {"root/root"}
    files = {name: mode for name, (mode, _) in entries.items() if not name.endswith("/")}
    assert files == {
        PROGRAM: "-rwxr-xr-x",
        "/usr/lib/systemd/system/postroom.service": "-rw-r--r--",
        "/usr/share/man/man1/postroom.1.gz": "-rw-r--r--",
        "/usr/share/doc/postroom/copyright": "-rw-r--r--",
        "/usr/share/doc/postroom/changelog.gz": "-rw-r--r--",
        "/etc/postroom/postroom.toml": "-rw-r--r--",
        "/etc/postroom/environment": "-rw-------",
    }


@needs("dpkg-deb", "dpkg", "readelf", "strip", "useradd")
@pytest.mark.skipif(os.geteuid() != 0, reason="dpkg takes root, even into a folder")
def test_it_is_installed_upgraded_and_removed(package, tmp_path):
    root = tmp_path / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "etc").mkdir()
    for empty in ("var/lib/dpkg/status", "etc/passwd", "etc/group"):
        (root / empty).touch()

    def dpkg(*words):
        # There is no C library in that root; what the scripts run is the machine's.
        forced = ("--force-depends", "--force-script-chrootless", "--log=/dev/null")
        done = run("dpkg", f"--root={root}", *forced, *words)
        assert done.returncode == 0, done.stderr
        return done.stderr

    dpkg("--install", package)
    user = re.search(USER_ID, (root / "etc/passwd").read_text(), re.M)
    data = (root / "var/lib/postroom").stat()
    assert (str(data.st_uid), str(data.st_gid)) == user.groups()
    assert stat.S_IMODE(data.st_mode) == 0o750
    assert run(root / "usr/bin/postroom", "--version").stdout == run(binary(), "--version").stdout
    for line in UNIT.read_text().splitlines():
        for path in re.findall(r"(?<![\w/])-?(/(?:usr|etc|var)/[\w./-]+)", line):
            assert (root / path.lstrip("/")).exists(), line

    # What was changed stays through an upgrade and a removal; only a purge takes it.
    settings = root / "etc/postroom/postroom.toml"
    settings.write_text("log = 'warn'\n")
    (root / "var/lib/postroom/message").write_text("precious")
    dpkg("--force-confold", "--install", package)
    assert settings.read_text() == "log = 'warn'\n"
    assert len(re.findall(USER_ID, (root / "etc/passwd").read_text(), re.M)) == 1
    dpkg("--remove", "postroom")
    assert settings.exists() and not (root / "usr/bin/postroom").exists()
    said = dpkg("--purge", "postroom")
    assert not settings.exists()
    assert (root / "var/lib/postroom/message").read_text() == "precious"
    assert "/var/lib/postroom are still there" in said


@needs("groff")
def test_the_manual_page_is_well_formed():
    page = run("groff", "-man", "-Tutf8", "-ww", ROOT / "deploy/man/postroom.1")
    assert page.stderr == ""
    assert "POSTROOM" in page.stdout
