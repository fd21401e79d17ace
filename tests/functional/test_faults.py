"""Faults: kill at system calls, damaged bytes, a damaged database, many at once, a collector in
between, signals, clocks, files that change while they are read.

The figures here fit `make test`; `make torture` runs the same tests with the full ones.
"""

import glob
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.request

import oci
import pytest

from conftest import executed, mounts_below, processes_with, remove_tree, wait_for

FULL = os.environ.get("STRAKE_TORTURE") == "1"

TEXT = """\
FROM busybox AS a
RUN seq 1 3000 >/numbers
FROM busybox
COPY data /data
COPY --from=a /numbers /all/
RUN sha256sum /all/numbers /data/* >/sums
"""


def times(small, full):
    return full if FULL else small


def chance():
    seed = int(os.environ.get("STRAKE_SEED", "0")) or random.randrange(1 << 30)
    print("STRAKE_SEED=%d" % seed)
    return random.Random(seed)


def fill(strake):
    for i in range(8):
        strake.write("data/%d" % i, "content %d\n" % i)
    strake.dockerfile(TEXT)


def contents(image):
    return {p: (e.digest, e.mode, e.uid, e.gid) for p, e in image.tree().items()}


def outcome(strake):
    return json.loads(strake.run("history", "builds", "latest", "--format=json").out)


# --- F1: killed at system calls ------------------------------------------------------------------

def test_killed_at_write_class_calls(strake, user):
    if not user.is_root:
        pytest.skip("newuidmap does not work under strace")
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    fill(strake)
    wanted = contents(strake.image(name="wanted"))
    env = {**strake.env, "ASAN_OPTIONS": "exitcode=99:detect_leaks=0"}
    calls = "write,pwrite64,renameat,renameat2,linkat,unlinkat,mkdirat,ftruncate,fsync,fdatasync"
    killed = 0
    random_place = chance()
    places = range(1, 400) if FULL else sorted(random_place.sample(range(1, 120), 3))
    for when in places:
        shutil.rmtree(strake.store)
        run = subprocess.run(
            [strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls, "-e",
             "inject=%s:signal=KILL:when=%d" % (calls, when), strake.binary, "build", "-t", "x",
             "--progress=plain", *strake.bases(["busybox"]), strake.context],
            env=env, capture_output=True, timeout=300)
        killed += run.returncode != 0
        assert wait_for(lambda: not processes_with(strake.dir), 10)
        strake.fsck()
        if not FULL and when != places[-1]:
            continue
        assert contents(strake.image(name="after")) == wanted, "killed at call %d" % when
        assert os.listdir(os.path.join(strake.store, "staging")) == []
    assert killed, "no kill hit"


# --- F6: damaged bytes ---------------------------------------------------------------------------

def damage(path, how, dice):
    os.chmod(path, 0o600)
    size = os.path.getsize(path)
    if how == "delete":
        os.unlink(path)
        return
    with open(path, "r+b") as f:
        if how == "truncate":
            f.truncate(dice.randrange(size))
        elif how == "zero":
            f.write(b"\0" * size)
        else:
            f.seek(dice.randrange(size))
            byte = f.read(1)[0]
            f.seek(-1, 1)
            f.write(bytes([byte ^ 1 << dice.randrange(8)]))


def objects(strake):
    found = []
    for pattern in ("blobs/sha256/*", "layers/*/manifest", "layers/*/info"):
        found += glob.glob(os.path.join(strake.store, pattern))
    for directory, _, files in os.walk(os.path.join(strake.store, "layers")):
        if "/tree" in directory and "bin" not in directory:
            found += [os.path.join(directory, f) for f in files]
    return sorted(p for p in found if os.path.isfile(p) and not os.path.islink(p)
                  and os.path.getsize(p))


def test_damaged_objects_never_leave(strake, user):
    """Whatever object is damaged, what is built and exported is right, or an error says so; and
    the second try works."""
    if not user.is_root:
        pytest.skip("the objects of other ids cannot be damaged from outside")
    dice = chance()
    fill(strake)
    wanted = contents(strake.image("-t", "x", name="wanted"))
    errors = 0
    for _ in range(times(4, 1000)):
        path = dice.choice(objects(strake))
        how = dice.choice(["flip", "truncate", "zero", "delete"])
        damage(path, how, dice)
        target = strake.path("image")
        shutil.rmtree(target, ignore_errors=True)
        result = strake.build("-o", "type=oci,dest=%s,tar=false" % target, "-t", "x", check=False)
        if result.code:
            errors += 1
            assert "ERROR" in result.err and "damaged" in result.err, (path, how, result)
        assert contents(strake.image(name="again")) == wanted, (path, how)
        # What no build read is found by fsck, and set aside; then nothing is left of it.
        strake.run("fsck", "--repair", check=False)
        strake.fsck()
        # Whole again before the next: a step that runs reads what is below it unverified.
        strake.build("-t", "x")
    print("%d errors" % errors)


def test_damaged_files_are_found_on_export(strake, user):
    """A layer whose file changed, shrank or went is set aside and made anew, in the same build,
    whatever the form; only what has begun to leave on standard output is an error."""
    if not user.is_root:
        pytest.skip("the objects of other ids cannot be damaged from outside")
    strake.dockerfile("FROM busybox\nRUN seq 1 3000 >/numbers\n")
    wanted = strake.image("-t", "x", name="wanted").file("numbers")

    def hit(how):
        for blob in glob.glob(os.path.join(strake.store, "blobs/sha256/*")):
            with open(blob, "rb") as f:
                packed = f.read(2) == b"\x1f\x8b"
            if packed and os.path.getsize(blob) < 100000:  # not the base's
                os.unlink(blob)
        path, = glob.glob(os.path.join(strake.store, "layers/*/tree/numbers"))
        damage(path, how, random.Random(7))

    forms = [("flip", "type=oci,tar=false", ()), ("delete", "type=docker", ()),
             ("truncate", "type=oci,tar=false,compression=uncompressed,force-compression=true", ()),
             ("flip", "type=oci,tar=false,rewrite-timestamp=true",
              ("--build-arg", "SOURCE_DATE_EPOCH=1000000000"))]
    for i, (how, form, more) in enumerate(forms):
        strake.build("-t", "x", *more)
        hit(how)
        target = strake.path("o%d" % i)
        result = strake.build("-o", "%s,dest=%s" % (form, target), *more)
        assert result.err.count("was set aside") == 1, result
        if "tar=false" in form:
            assert oci.open_layout(target).file("numbers") == wanted
    # one that is read for another layer
    strake.write("copy", "FROM busybox AS a\nRUN seq 1 3000 >/numbers\nFROM scratch\n"
                 "COPY --from=a /numbers /n\n")
    for how in ("flip", "truncate", "delete"):
        strake.build("-t", "x")
        hit(how)
        target = strake.path(how)
        result = strake.build("-f", strake.context + "/copy", "--label", "how=" + how, "-o",
                              "type=oci,tar=false,dest=" + target)
        assert result.err.count("was set aside") == 1, result
        assert oci.open_layout(target).file("n") == wanted
        # Made anew, it is another layer to the next COPY, which has to read it.
        strake.run("prune", "--all")
    strake.build("-t", "x")
    hit("flip")
    result = strake.run("build", *strake.bases(["busybox"]), "-o", "type=docker,dest=-",
                        strake.context, check=False)
    assert result.code == 1 and "is damaged: /numbers: its " in result.err
    assert strake.run("build", *strake.bases(["busybox"]), "-o", "type=docker,dest=-",
                      strake.context).code == 0
    strake.build("-t", "x")
    strake.run("prune")  # the earlier ones have lost their layer


def test_tagged_image_with_a_damaged_layer(strake):
    strake.dockerfile("FROM busybox\nRUN echo a >/a\nRUN echo b >/b\n")
    strake.build("-t", "mine")
    first = strake.run("run", "--rm", "mine", "cat", "/a", "/b").out
    assert first == "a\nb\n"
    manifests = sorted(glob.glob(os.path.join(strake.store, "layers/*/manifest")))
    for manifest in manifests[:times(2, 3)]:
        os.chmod(manifest, 0o600)
        with open(manifest, "r+b") as f:
            f.seek(20)
            f.write(b"garbage")
        result = strake.run("run", "--rm", "mine", "cat", "/a", "/b", check=False)
        assert result.err.count("was set aside") == 1
        if result.code == 0:
            continue  # the base's layer was unpacked again from its blob
        assert "damaged or gone" in result.err
        assert "strake build -t mine %s" % strake.context in result.err
        again = strake.run("run", "--rm", "mine", "true", check=False)
        assert again.code == 125 and "set aside" not in again.err
        strake.build("-t", "mine")
        assert strake.run("run", "--rm", "mine", "cat", "/a", "/b").out == "a\nb\n"
    # Earlier builds of it, untagged now, have lost their layers for good.
    strake.run("prune")


def test_damaged_base_blob_without_its_layer(strake):
    """Unpacking stumbles over damaged bytes before their end, where the digest would tell: the blob
    is set aside all the same, and the base is taken anew from where it came."""
    strake.dockerfile("FROM busybox\nRUN echo a >/a\n")
    strake.build("-t", "x")
    blobs = sorted(glob.glob(os.path.join(strake.store, "blobs/sha256/*")), key=os.path.getsize)
    for layer in glob.glob(os.path.join(strake.store, "layers/*/manifest")):
        os.chmod(layer, 0o600)
        write_at(layer, 20, b"garbage")
    strake.run("fsck", "--repair", check=False)
    os.chmod(blobs[-1], 0o600)
    write_at(blobs[-1], os.path.getsize(blobs[-1]) // 2, b"garbage")
    result = strake.build("-t", "x")
    assert result.err.count("WARNING: blob") == 1
    assert strake.run("run", "--rm", "x", "cat", "/a").out == "a\n"
    strake.run("prune")  # the first image has no name any more, and has lost its layers


# --- F7: the database ----------------------------------------------------------------------------

def write_at(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


DATABASE = {
    "deleted": lambda p: [os.unlink(f) for f in glob.glob(p + "*")],
    "truncated": lambda p: os.truncate(p, os.path.getsize(p) // 2 // 4096 * 4096),
    "cut inside a page": lambda p: os.truncate(p, os.path.getsize(p) - 1000),
    "empty": lambda p: os.truncate(p, 0),
    "garbage": lambda p: write_at(p, 0, os.urandom(8192)),
    "a page of garbage": lambda p: write_at(p, 4096 * 2, os.urandom(4096)),
    "no wal": lambda p: [os.unlink(f) for f in glob.glob(p + "-*")],
    "a garbage wal": lambda p: open(p + "-wal", "wb").write(os.urandom(20000)),
}


def test_damaged_database(strake):
    fill(strake)
    strake.build("-t", "x")
    strake.fsck()  # a writer that checkpoints
    database = os.path.join(strake.store, "meta.db")
    wanted = contents(strake.image(name="wanted"))
    cases = list(DATABASE.items())
    for name, how in cases if FULL else chance().sample(cases, 3):
        how(database)
        result = strake.build("-t", "x", check=False)
        assert result.code == 0, (name, result)
        assert result.err.count("set aside") <= 1, (name, result.err)
        assert contents(strake.image(name="again")) == wanted, name
        # Only fsck reads every page; a page that no query touched is its to find.
        strake.run("fsck", "--repair", check=False)
        strake.fsck()
        strake.build("-t", "x")
        assert executed(strake.build("-t", "x")) == [], name


def test_locked_database(strake):
    """Somebody holds the database: a build waits for it, a minute at the most, and says so then."""
    fill(strake)
    strake.build("-t", "x")
    database = sqlite3.connect(os.path.join(strake.store, "meta.db"), isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        process = start(strake, "--no-cache", "-t", "x")
        time.sleep(times(1, 50))
        assert process.poll() is None
        database.execute("ROLLBACK")
        said = process.communicate(timeout=120)[1].decode()
        assert process.returncode == 0, said
        if FULL:
            database.execute("BEGIN IMMEDIATE")
            result = strake.build("--no-cache", "-t", "x", check=False)
            assert result.code == 1, result
            assert "was locked by another process for 60 s" in result.err
            assert "fuser -v" in result.err
            database.execute("ROLLBACK")
    finally:
        database.close()
    assert executed(strake.build("-t", "x")) == []


# --- F10, F11, F12: side by side -----------------------------------------------------------------

def start(strake, *args, context=None):
    return strake.popen("build", "--progress=plain", *strake.bases(["busybox"]), *args,
                        context or strake.context, stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE)


def wait_for_line(process, text):
    seen = b""
    while text not in seen:
        chunk = os.read(process.stderr.fileno(), 4096)
        assert chunk, seen
        seen += chunk


def test_many_builds_on_one_store(strake):
    """All succeed, and the step they share runs once."""
    n = times(6, 100)
    strake.dockerfile("FROM busybox AS s\nRUN sleep 0.3; head -c 1000 /dev/urandom >/r\n"
                      "FROM busybox\nARG N\nCOPY --from=s /r /r\nRUN echo $N; sha256sum /r\n")
    running = [start(strake, "--build-arg", "N=%d" % (i % 4), "-t", "t%d" % i) for i in range(n)]
    outputs = [p.communicate(timeout=600)[1].decode() for p in running]
    assert [p.returncode for p in running] == [0] * n, outputs
    rows = json.loads(strake.run("history", "builds", "--format=json").out)
    assert len(rows) == n
    shared = [s["verdict"] for r in rows for s in r["steps"] if "urandom" in s["name"]]
    own = [s["verdict"] for r in rows for s in r["steps"] if "echo" in s["name"]]
    assert shared.count("done") == 1 and len(shared) == n
    assert own.count("done") == 4
    sums = {strake.run("run", "--rm", "t%d" % i, "sha256sum", "/r").out for i in range(0, n, 3)}
    assert len(sums) == 1


KINDS = """\
FROM busybox AS a
RUN seq 1 20000 >/numbers
FROM busybox AS b
COPY many /many
FROM busybox
ARG N
COPY --from=a /numbers /n
COPY --from=b /many /m/
COPY many/1 /one
RUN --mount=type=cache,target=/c echo $N >>/c/log; sha256sum /m/* /n /one >/sums; echo $N >/N
"""


def remove_outputs(prefix):
    for path in glob.glob(prefix + "*"):
        remove_tree(path)


def test_builds_of_every_kind_at_once(strake, registry, who):
    """Side by side on one store: steps, copies of many files, cache mounts, compression, archives,
    caches written and read, images pushed. Also what a ThreadSanitizer build runs
    (tests/torture/run --tsan): its report is exit code 66."""
    for i in range(200):
        strake.write("many/%d" % i, "%d\n" % i * 200)
    strake.dockerfile(KINDS)
    at = "%s/%s/kinds" % (registry, who)
    out = strake.path("k")
    kinds = [
        ["-o", "type=oci,dest=%s0,tar=false" % out],
        ["-o", "type=oci,dest=%s1,tar=false,compression=zstd,force-compression=true" % out],
        ["-o", "type=docker,dest=%s2.tar" % out, "--cache-to", "type=local,dest=%s2.c" % out],
        ["-o", "type=image,push=true,name=%s:3,compression=zstd" % at, "--sbom=true"],
        ["--push", "-t", at + ":4", "--cache-to", "type=registry,ref=%s:c,mode=max" % at],
        ["-o", "type=local,dest=%s5" % out, "--no-cache"],
        ["-o", "type=tar,dest=%s6.tar" % out, "--cache-from", "type=registry,ref=%s:c" % at],
        ["-t", "seven", "--no-cache-filter=a"],
    ]
    for turn in range(times(1, 10)):
        for i, kind in enumerate(kinds):
            remove_outputs(out + str(i))
        running = [start(strake, "--jobs=4", "--build-arg", "N=%d" % (10 * turn + i), *kind)
                   for i, kind in enumerate(kinds)]
        outputs = [p.communicate(timeout=600)[1].decode() for p in running]
        assert [p.returncode for p in running] == [0] * len(kinds), "\n".join(outputs)
        gzipped = oci.open_layout(out + "0")
        sums = gzipped.file("sums")
        assert len(sums.splitlines()) == 202
        assert gzipped.file("N") == b"%d\n" % (10 * turn)
        with open(out + "5/sums", "rb") as f:
            assert f.read() == sums
        with open(out + "5/N") as f:
            assert f.read() == "%d\n" % (10 * turn + 5)
        assert strake.run("run", "--rm", "seven", "cat", "/sums").out.encode() == sums
        for tag in "34":
            request = urllib.request.Request(
                "http://%s/v2/%s/kinds/manifests/%s" % (registry, who, tag),
                headers={"Accept": "application/vnd.oci.image.index.v1+json, "
                                   "application/vnd.oci.image.manifest.v1+json"})
            with urllib.request.urlopen(request) as answer:
                assert json.load(answer)["schemaVersion"] == 2


def test_prune_during_builds(strake):
    strake.write("f", "x")
    strake.dockerfile("FROM busybox AS s\nRUN echo s >/s\nFROM busybox\nARG N\nCOPY f /f\n"
                      "COPY --from=s /s /s\nRUN cat /s /f; echo $N >/n\n")
    stop = threading.Event()
    bad = []

    def collect():
        while not stop.is_set():
            result = strake.run("prune", "--all", "-q", check=False)
            if result.code:
                bad.append(result)
            time.sleep(0.05)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for i in range(times(4, 1000)):
            target = strake.path("tree")
            shutil.rmtree(target, ignore_errors=True)
            strake.build("--build-arg", "N=%d" % i, "-o", target)
            with open(os.path.join(target, "n")) as f:
                assert f.read() == "%d\n" % i
    finally:
        stop.set()
        collector.join()
    assert not bad, bad[0]


def test_dead_lock_holder(strake):
    """The build that runs the step is killed; the one that waits for it runs it instead."""
    strake.dockerfile("FROM busybox\nRUN --mount=type=cache,target=/c "
                      "if [ -e /c/first ]; then echo sec''ond; else touch /c/first; echo hold''ing; "
                      "sleep 1000; fi\n")
    holder = start(strake)
    wait_for_line(holder, b" holding")
    waiter = start(strake)
    wait_for_line(waiter, b"waiting for another build")
    os.killpg(holder.pid, signal.SIGKILL)
    died = time.monotonic()
    holder.communicate()
    try:
        rest = waiter.communicate(timeout=60)[1]
    finally:
        waiter.kill()
    assert waiter.returncode == 0 and b" second" in rest, rest
    print("it ended %.2f s after the holder's death" % (time.monotonic() - died))
    if FULL:
        assert time.monotonic() - died < 1


# --- F13: signals --------------------------------------------------------------------------------

def test_signals_at_any_moment(strake):
    dice = chance()
    fill(strake)
    assert start(strake, "--no-cache").wait(300) == 0
    began = time.monotonic()
    assert start(strake, "--no-cache").wait(300) == 0
    whole = time.monotonic() - began
    slowest, codes = 0, []
    for _ in range(times(4, 1000)):
        number = dice.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        process = start(strake, "--no-cache")
        time.sleep(dice.uniform(0, whole))
        process.send_signal(number)
        if dice.random() < 0.3:  # an impatient user
            process.send_signal(number)
        sent = time.monotonic()
        process.communicate(timeout=60)
        slowest = max(slowest, time.monotonic() - sent)
        codes.append(process.returncode)
        assert process.returncode in (0, 128 + number, -number)
        assert wait_for(lambda: not processes_with(strake.dir), 5), processes_with(strake.dir)
        assert not mounts_below(strake.dir)
        assert os.listdir(strake.env["TMPDIR"]) == []
        strake.fsck()
    print("%d of %d ended by the signal, the slowest after %.2f s" % (
        sum(c != 0 for c in codes), len(codes), slowest))
    if FULL:
        assert slowest <= 2
    process = start(strake, "--no-cache")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    process.send_signal(signal.SIGCONT)
    assert process.wait(300) == 0


# --- F14: clocks ---------------------------------------------------------------------------------

def fake_clock(**more):
    """The environment of a process whose clock is not the machine's."""
    library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not library:
        pytest.skip("libfaketime is not installed")
    return {"LD_PRELOAD": library[0], "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "ASAN_OPTIONS": "exitcode=99:verify_asan_link_order=0:detect_leaks=0", **more}


def test_clocks(strake):
    fill(strake)
    strake.build("-t", "kept")
    wanted = contents(strake.image(name="wanted"))
    ids = strake.run("images", "-q", "--no-trunc").out

    def at(when, *args):
        return strake.build(*args, env=fake_clock(FAKETIME=when))

    clocks = ["-10y", "+10y", "@1970-01-02 00:00:00", "@2039-01-01 00:00:00"]
    for when in clocks if FULL else chance().sample(clocks, 1):
        assert executed(at(when, "-t", "kept")) == [], when
        assert strake.run("images", "-q", "--no-trunc").out == ids, when
        again = at(when, "--no-cache", "-o", "type=oci,dest=%s,tar=false" % strake.path(when[1:3]))
        assert len(executed(again)) == 2
        # What a wrong clock wrote does not make the collector take what is in use.
        strake.run("prune", "--filter", "until=1h")
        assert strake.run("run", "--rm", "kept", "tail", "-n1", "/sums").out.endswith("/data/7\n")
        strake.build("-t", "kept")
        ids = strake.run("images", "-q", "--no-trunc").out
    assert contents(strake.image(name="again")) == wanted


def test_clock_that_jumps_back_during_a_build(strake):
    strake.dockerfile("FROM busybox\nRUN echo a >/a\nRUN echo hold''ing; sleep 1\nRUN echo b >/b\n"
                      "LABEL c=d\n")
    for when in ["-10y", "@1970-01-02 00:00:00"] if FULL else ["-10y"]:
        clock = strake.write("clock", "+0", root=strake.mkdir("out"))
        process = strake.popen(
            "build", "--progress=plain", "--no-cache", *strake.bases(["busybox"]), "-t", "x",
            strake.context, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=fake_clock(FAKETIME_TIMESTAMP_FILE=clock, FAKETIME_NO_CACHE="1"))
        wait_for_line(process, b" holding")
        strake.write("clock", when, root=strake.mkdir("out"))
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
        assert executed(strake.build("-t", "x")) == []
        strake.run("prune", "--filter", "until=1h")
        assert strake.run("run", "--rm", "x", "cat", "/a", "/b").out == "a\nb\n"


# --- B2: a file that changes while it is read ----------------------------------------------------

@pytest.mark.single
def test_context_file_that_changes_while_it_is_read(strake):
    """Old bytes, new bytes or a mixture may be in an image, but only under a key of just those
    bytes: afterwards each content gives an image with exactly that content."""
    size = 1 << 20
    versions = [bytes([65 + i]) * size for i in range(4)]
    path = strake.write("f", versions[0])
    strake.dockerfile("FROM scratch\nCOPY f /f\n")
    stop = threading.Event()

    def rewrite():
        i = 0
        while not stop.is_set():
            i += 1
            with open(path, "r+b") as f:  # in place, same size, and the old time put back
                f.write(versions[i % 4])
            os.utime(path, (1000, 1000))

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        results = [strake.build(check=False) for _ in range(times(5, 1000))]
    finally:
        stop.set()
        writer.join()
    for result in results:
        assert result.code == 0 or "changed while" in result.err, result
    for content in versions:
        with open(path, "r+b") as f:
            f.write(content)
        os.utime(path, (1000, 1000))
        assert strake.image().file("f") == content
    strake.fsck()
