"""--cache-to and --cache-from: a fresh machine runs nothing that another ran, fetches only what it
needs, and no cache, however broken, fails a build."""

import glob
import hashlib
import io
import json
import os
import shutil
import tarfile

import pytest

from conftest import steps
from test_push import get, manifest, repository  # noqa: F401

# A build stage whose big layer the result does not need; a wide variety of files in the result.
TEXT = r"""FROM busybox AS build
WORKDIR /src
COPY a.txt .
RUN dd if=/dev/urandom of=/big bs=1k count=64 2>/dev/null; echo built > out
FROM busybox
RUN mkdir -p /d/e && echo 1 > /d/f && ln /d/f /d/hard && ln -s f /d/soft && chmod 4755 /d/f \
 && rm /etc/group && chown 12:34 /d/e && mkfifo /d/fifo && truncate -s 100k /d/sparse
COPY --from=build /src/out /out
RUN --mount=type=secret,id=s cat /run/secrets/s > /dev/null; rm -r /d/e && mkdir /d/e && touch /d/e/new
"""
SECRET = "CANARY-9f31c2"


class Machines:
    """One strake with a store of its own per machine; the same clock, context and bases."""

    def __init__(self, strake):
        self.strake = strake
        strake.write("a.txt", "a")
        strake.write("secret", SECRET, root=strake.mkdir("elsewhere"))

    def build(self, machine, *args, text=TEXT, **kwargs):
        self.strake.store = self.strake.env["STRAKE_STORE"] = os.path.join(
            self.strake.mkdir("machines"), machine)
        return self.strake.build("--secret", "id=s,src=%s/elsewhere/secret" % self.strake.dir, *args,
                                 dockerfile=text, **kwargs)


@pytest.fixture
def machines(strake):
    return Machines(strake)


def ran(result):
    return [n for n, s in steps(result).items()
            if s == "DONE" and any("] %s " % w in n for w in ("RUN", "COPY", "WORKDIR"))]


@pytest.fixture(params=["registry", "local"])
def cache(request, strake):
    """(value of --cache-to, value of --cache-from, all bytes of it)"""
    if request.param == "local":
        folder = os.path.join(strake.mkdir("cache"), "c")
        return ("type=local,dest=%s" % folder, "type=local,src=%s" % folder,
                lambda: [open(p, "rb").read() for p in glob.glob(folder + "/**", recursive=True)
                         if os.path.isfile(p)])
    registry, name = request.getfixturevalue("registry"), request.getfixturevalue("repository")

    def blobs():
        m = manifest(registry, name, "cache")
        return [json.dumps(m).encode()] + [get(registry, "%s/blobs/%s" % (name, d["digest"]))[0]
                                           for d in [m["config"]] + m["layers"]]
    ref = "type=registry,ref=%s/%s:cache" % (registry, name)
    return ref, ref, blobs


def test_fresh_machine(machines, cache):
    """mode=max: nothing runs again; the build stage's layers stay where they are until a step
    changes and needs them; the second build of the fresh machine asks nobody."""
    to, source, blobs = cache
    first = machines.build("one", "-t", "x", "--cache-to", to + ",mode=max")
    assert len(ran(first)) == 6 and "exporting cache to " in first.err
    assert not any(SECRET.encode() in b for b in blobs())
    second = machines.build("two", "-t", "x", "--cache-from", source)
    assert ran(second) == [], second
    assert second.err.count("importing cache manifest from ") == 1
    assert "fetching 3 layers from the cache" in second.err
    ids = [machines.strake.run("images", "-q", "--no-trunc").out]
    third = machines.build("two", "-t", "x", "--cache-from", source)
    assert "importing" not in third.err and "fetching" not in third.err
    assert ran(machines.build("two", "-t", "x")) == []
    machines.build("one", "-t", "x")
    assert machines.strake.run("images", "-q", "--no-trunc").out == ids[0]
    changed = machines.build("three", "--cache-from", source,
                             text=TEXT.replace("/src/out /out", "/src/out /other"))
    assert [n.split("] ")[1].split(" ")[0] for n in ran(changed)] == ["COPY", "RUN"], changed
    machines.strake.fsck()


def test_mode_min(machines, cache):
    """Only the result's layers are sent, but an unchanged build still runs nothing."""
    to, source, blobs = cache
    machines.build("one", "--cache-to", to + ",mode=min,compression=zstd,force-compression=true")
    assert sum(b[:4] == b"\x28\xb5\x2f\xfd" for b in blobs()) == 3
    assert ran(machines.build("two", "--cache-from", source)) == []
    changed = machines.build("three", "--cache-from", source,
                             text=TEXT.replace("/src/out /out", "/src/out /other"))
    assert "] RUN dd" in "\n".join(ran(changed))
    assert not any("mkdir -p /d/e" in n for n in ran(changed))


def test_chain(machines, cache):
    """What came from a cache, and was never fetched, goes on into the next one."""
    to, source, blobs = cache
    machines.build("one", "--cache-to", to + ",mode=max")
    before = sorted(hashlib.sha256(b).hexdigest() for b in blobs() if b[:2] == b"\x1f\x8b")
    again = machines.build("two", "-o", "type=cacheonly", "--cache-from", source,
                           "--cache-to", to + ",mode=max")
    assert ran(again) == []
    after = sorted(hashlib.sha256(b).hexdigest() for b in blobs() if b[:2] == b"\x1f\x8b")
    assert set(before) <= set(after) and before
    assert ran(machines.build("three", "--cache-from", source)) == []


def test_push_from_cache(machines, registry, repository):
    """A push to the registry that has the cache fetches nothing: layers are mounted."""
    ref = "%s/%s-cache:c" % (registry, repository)
    base = "%s/%s-base:1" % (registry, repository)
    machines.strake.build("--push", "-t", base, dockerfile="FROM busybox\nENV BASE=1\n")
    text = TEXT.replace("FROM busybox", "FROM " + base)
    machines.build("one", "--cache-to", "type=registry,mode=max,ref=" + ref, text=text, bases=[])
    result = machines.build("two", "--push", "-t", "%s/%s:1" % (registry, repository),
                            "--cache-from", ref, text=text, bases=[])
    assert ran(result) == [] and "fetching" not in result.err and "extracting" not in result.err
    assert result.err.count("mounted from %s-cache" % repository) == 3
    assert result.err.count("mounted from %s-base" % repository) == 1
    assert "not kept in the store" in result.err
    image = manifest(registry, repository, "1")
    assert len(image["layers"]) == 4


def test_several_and_missing(machines, tmp_path_factory):
    """One line for each cache that cannot be used; the next one is."""
    strake = machines.strake
    good = strake.mkdir("good") + "/c"
    machines.build("one", "--cache-to", "type=local,mode=max,dest=" + good)
    result = machines.build(
        "two", "--cache-from", "type=local,src=/nonexistent", "--cache-from", "127.0.0.1:1/none:x",
        "--cache-from", "type=local,src=" + good)
    assert ran(result) == []
    assert result.err.count("WARNING: cache not used") == 2


@pytest.mark.parametrize("form", ["flag", "build-arg", "index"])
def test_inline(machines, registry, repository, form):
    """The records travel in the image's config; a cached rebuild gives the same image."""
    name = "%s/%s:%s" % (registry, repository, form)
    args = {"flag": ["--cache-to", "type=inline"],
            "build-arg": ["--build-arg", "BUILDKIT_INLINE_CACHE=1"],
            "index": ["--cache-to", "type=inline",
                      "--build-arg", "BUILDKIT_MULTI_PLATFORM=1"]}[form]
    machines.build("one", "--push", "-t", name, *args)
    digest = get(registry, "%s/manifests/%s" % (repository, form))[2]
    machines.build("one", "--push", "-t", name, *args)
    assert get(registry, "%s/manifests/%s" % (repository, form))[2] == digest
    second = machines.build("two", "--cache-from", name)
    assert ran(second) == []
    child = machines.build("two", "-o", "type=oci,tar=false,dest=%s" % machines.strake.path("child"),
                           text=TEXT + "ENV A=b\n", *["--cache-from", name])
    assert ran(child) == []
    for path in glob.glob(machines.strake.path("child") + "/blobs/sha256/*"):
        data = open(path, "rb").read()
        assert b"dev.strake.cache" not in data or data[:1] != b"{"


def test_forms(machines, registry, repository):
    """An index instead of a manifest, docker's media types; both are read back."""
    for n, keys in enumerate(["image-manifest=false", "image-manifest=false,oci-mediatypes=false"]):
        ref = "type=registry,ref=%s/%s:%d" % (registry, repository, n)
        machines.build("one", "--cache-to", ref + ",mode=max," + keys)
        kind = get(registry, "%s/manifests/%d" % (repository, n))[1]
        assert kind == ["application/vnd.oci.image.index.v1+json",
                        "application/vnd.docker.distribution.manifest.list.v2+json"][n]
        assert ran(machines.build("two-%d" % n, "--cache-from", ref)) == []


def local_cache(machines):
    folder = machines.strake.mkdir("cache") + "/c"
    machines.build("one", "--cache-to", "type=local,mode=max,dest=" + folder)
    index = json.load(open(folder + "/index.json"))
    return folder, index["manifests"][0]["digest"].split(":")[1]


def rewrite(folder, digest, change):
    """Replaces a JSON blob and what names it, so that all digests are right again."""
    path = "%s/blobs/sha256/%s" % (folder, digest)
    doc = json.load(open(path))
    doc = change(doc) or doc
    data = json.dumps(doc).encode()
    new = hashlib.sha256(data).hexdigest()
    with open("%s/blobs/sha256/%s" % (folder, new), "wb") as f:
        f.write(data)
    return new, len(data)


def point(folder, digest, size):
    index = json.load(open(folder + "/index.json"))
    index["manifests"][0].update(digest="sha256:" + digest, size=size)
    with open(folder + "/index.json", "w") as f:
        json.dump(index, f)


def with_config(folder, top, change):
    def new_manifest(m):
        digest, size = rewrite(folder, m["config"]["digest"].split(":")[1], change)
        m["config"].update(digest="sha256:" + digest, size=size)
    point(folder, *rewrite(folder, top, new_manifest))


def hostile(name, folder, top):
    def blob(d):
        return "%s/blobs/sha256/%s" % (folder, d["digest"].split(":")[1])
    m = json.load(open("%s/blobs/sha256/%s" % (folder, top)))
    if name == "no index":
        os.unlink(folder + "/index.json")
    elif name == "index is garbage":
        open(folder + "/index.json", "w").write("{" * 100000)
    elif name == "config is cut":
        data = open(blob(m["config"]), "rb").read()
        os.chmod(blob(m["config"]), 0o644)
        open(blob(m["config"]), "wb").write(data[:-10])
    elif name == "layers are missing":
        for d in m["layers"]:
            os.unlink(blob(d))
    elif name == "layers are damaged":
        for d in m["layers"]:
            os.chmod(blob(d), 0o644)
            with open(blob(d), "r+b") as f:
                f.seek(30)
                f.write(b"\xff\xff\xff")
    elif name == "layers are swapped":
        with_config(folder, top, lambda c: c["layers"].reverse())
    elif name == "tree is another's":
        with_config(folder, top, lambda c: [r.update(tree="sha256:" + "0" * 64)
                                            for r in c["records"]] and None)
    elif name == "ids climb":
        with_config(folder, top, lambda c: [r.update(diff_id="../../../etc/passwd")
                                            for r in c["records"]] and None)
    elif name == "version of tomorrow":
        with_config(folder, top, lambda c: c.update(version=2))
    elif name == "too few blobs":
        def fewer(doc):
            doc["layers"].pop()
        point(folder, *rewrite(folder, top, fewer))
    elif name == "buildkit's":
        def other(doc):
            doc["config"]["mediaType"] = "application/vnd.buildkit.cacheconfig.v0"
        point(folder, *rewrite(folder, top, other))
    else:
        raise AssertionError(name)


HOSTILE = [
    "no index", "index is garbage", "config is cut", "layers are missing", "layers are damaged",
    "layers are swapped", "tree is another's", "ids climb", "version of tomorrow", "too few blobs",
    "buildkit's"]


@pytest.mark.single
def test_hostile(machines):
    """Each build succeeds with one warning, and runs everything; nothing of the cache is believed
    afterwards."""
    good, top = local_cache(machines)
    for n, name in enumerate(HOSTILE):
        folder = "%s-%d" % (good, n)
        shutil.copytree(good, folder)
        hostile(name, folder, top)
        result = machines.build("m%d" % n, "-t", "x", "--cache-from", "type=local,src=" + folder)
        assert result.err.count("WARNING: cache") == 1, (name, result)
        assert len(ran(result)) == 6, (name, result)
        assert ran(machines.build("m%d" % n, "-t", "x")) == [], name
        if name in ("layers are swapped", "tree is another's"):
            machines.strake.fsck()
        shutil.rmtree(folder)


def test_context_from_stdin(machines, registry, repository):
    """A context that is no directory is asked for before anything is known of the build."""
    name = "%s/%s:1" % (registry, repository)
    machines.build("one", "--push", "-t", name, "--cache-to", "type=inline",
                   "--build-arg", "BUILDKIT_MULTI_PLATFORM=1")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(machines.strake.context + "/Dockerfile", "Dockerfile")
        tar.add(machines.strake.context + "/a.txt", "a.txt")
    strake = machines.strake
    strake.store = strake.env["STRAKE_STORE"] = strake.mkdir("machines") + "/two"
    result = strake.run("build", "--progress=plain", *strake.bases(["busybox"]), "--cache-from", name,
                        "--secret", "id=s,src=%s/elsewhere/secret" % strake.dir, "-",
                        input=data.getvalue())
    assert not any("] RUN " in n for n in ran(result)), result


def test_export_fails(machines):
    """A cache that cannot be written is an error, with ignore-error a warning; the image is there."""
    to = "type=registry,ref=127.0.0.1:1/cache:x"
    result = machines.build("one", "-t", "x", "--cache-to", to, check=False)
    assert result.code == 1 and "exporting the cache to 127.0.0.1:1/cache:x" in result.err
    assert "x" in machines.strake.run("images").out
    result = machines.build("one", "-t", "x", "--cache-to", to + ",ignore-error=true")
    assert "WARNING: cache not exported" in result.err


@pytest.mark.parametrize("flag, spec, message", [
    ("--cache-to", "type=gha", "caches of type gha are not supported"),
    ("--cache-from", "type=s3,bucket=x", "caches of type s3 are not supported"),
    ("--cache-from", "type=registry", "ref= is missing"),
    ("--cache-to", "type=local", "dest= is missing"),
    ("--cache-to", "type=local,src=x", "there is no key src here"),
    ("--cache-to", "type=registry,ref=a,mode=all", "mode=all is not min or max"),
    ("--cache-to", "type=registry,ref=a,compresion=zstd", "did you mean compression?"),
    ("--cache-to", "type=registry,ref=a,image-manifest=true,oci-mediatypes=false", "needs oci-media"),
    ("--cache-to", "type=inline,compression=zstd", "there is no key compression here"),
    ("--cache-from", "type=registry,ref=a,mode=max", "there is no key mode here"),
])
def test_refused(strake, flag, spec, message):
    result = strake.build(flag, spec, dockerfile="FROM busybox\nRUN true\n", check=False)
    assert result.code != 0 and message in result.err and "RUN true" not in result.err
