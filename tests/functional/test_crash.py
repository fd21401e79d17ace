"""kill -9 and signals at any moment leave a store that fsck finds clean and the next build
completes. STRAKE_CRASHES sets the number of moments (default 12; the acceptance run uses 100)."""

import os
import random
import signal
import subprocess
import time

import pytest

from conftest import executed, mounts_below, processes_with, wait_for

pytestmark = pytest.mark.single

MOMENTS = int(os.environ.get("STRAKE_CRASHES", "12"))
TEXT = """\
FROM busybox AS a
RUN for i in 1 2 3 4 5; do dd if=/dev/zero of=/f$i bs=100k count=3 2>/dev/null; done
FROM busybox AS b
RUN seq 1 2000 >/numbers
COPY data /data
FROM busybox
COPY --from=a /f1 /f2 /f3 /
COPY --from=b /data /numbers /all/
RUN sha256sum /f1 /all/numbers >/sums
"""


def fill_context(strake):
    for i in range(60):
        strake.write("data/%d/file" % i, "content %d\n" % i)
    strake.dockerfile(TEXT)


def start(strake, *args):
    return strake.popen("build", "--progress=plain", "-t", "crash", *strake.bases(["busybox"]),
                        *args, strake.context, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_kill_at_random_moments(strake):
    fill_context(strake)
    began = time.monotonic()
    process = start(strake, "--no-cache")
    process.communicate(timeout=300)
    assert process.returncode == 0
    whole = time.monotonic() - began
    wanted = strake.image(name="wanted").config["rootfs"]["diff_ids"]
    # the last layer holds no time of its own but mtimes: compare trees
    tree = {p: e._replace(mtime=0) for p, e in strake.image(name="wanted").tree().items()}
    seed = int(os.environ.get("STRAKE_SEED", "0")) or random.randrange(1 << 30)
    chance = random.Random(seed)
    print("STRAKE_SEED=%d" % seed)
    for _ in range(MOMENTS):
        process = start(strake, "--no-cache")
        time.sleep(chance.uniform(0, whole))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert wait_for(lambda: not processes_with(strake.dir), 10), processes_with(strake.dir)
        strake.fsck()
    image = strake.image(name="after")
    assert {p: e._replace(mtime=0) for p, e in image.tree().items()} == tree
    assert len(image.config["rootfs"]["diff_ids"]) == len(wanted)
    leftovers = os.listdir(os.path.join(strake.store, "staging"))
    assert leftovers == [], leftovers


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_ends_the_build(strake, name):
    number = getattr(signal, name)
    strake.dockerfile("FROM busybox\nRUN echo started; trap '' INT TERM HUP; sleep 1000\n")
    process = start(strake)
    seen = b""
    while b" started" not in seen:
        chunk = os.read(process.stderr.fileno(), 4096)
        assert chunk, seen
        seen += chunk
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode in (128 + number, -number)
    assert wait_for(lambda: not processes_with(strake.dir), 5)
    assert not mounts_below(strake.dir)


def test_reader_that_goes_away(strake):
    """`strake build 2>&1 | head -1` ends without damage."""
    fill_context(strake)
    process = start(strake)
    assert os.read(process.stderr.fileno(), 1)
    process.stderr.close()
    process.wait(120)
    strake.fsck()


def test_daemonised_child_dies_with_its_step(strake):
    """F19: what a step leaves running is gone before the next step."""
    result = strake.build(dockerfile="FROM busybox\nRUN (setsid sh -c 'while :; do date >/tick; sleep 0.1; "
                            "done' </dev/null >/dev/null 2>&1 &); sleep 0.3\n"
                            "RUN a=$(cat /tick); sleep 1; test \"$a\" = \"$(cat /tick)\"\n")
    assert len(executed(result)) == 2


def test_damaged_manifests_are_a_miss(strake):
    """Every manifest of the store is garbage: said, set aside, and built anew in one go."""
    text = "FROM busybox\nRUN true\nRUN echo a >/a\nRUN true\n"
    first = strake.image(dockerfile=text, name="first")
    damaged = 0
    for layer in os.listdir(os.path.join(strake.store, "layers")):
        path = os.path.join(strake.store, "layers", layer, "manifest")
        os.chmod(path, 0o600)
        with open(path, "r+b") as f:
            f.write(b"garbage!")
        damaged += 1
    assert damaged >= 3
    again = strake.image(dockerfile=text, name="again")
    assert {p: e.digest for p, e in again.tree().items()} == {
        p: e.digest for p, e in first.tree().items()}
