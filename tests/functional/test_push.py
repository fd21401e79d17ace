"""build --push and --load, -o type=registry|image|docker: what arrives, and what is not sent twice."""

import json
import os
import signal
import subprocess
import urllib.request

import pytest

from conftest import steps

TEXT = "FROM busybox AS b\nRUN echo hi > /x\nFROM busybox\nCOPY --from=b /x /y\nCMD [\"cat\", \"/y\"]\n"
DOCKER_TYPES = "application/vnd.docker.distribution.manifest.v2+json"
TYPES = ", ".join([
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    DOCKER_TYPES, "application/vnd.docker.distribution.manifest.list.v2+json"])


def get(registry, path):
    """(body, content type, digest) of GET /v2/path."""
    request = urllib.request.Request("http://%s/v2/%s" % (registry, path), headers={"Accept": TYPES})
    with urllib.request.urlopen(request) as answer:
        return answer.read(), answer.headers["Content-Type"], answer.headers["Docker-Content-Digest"]


def manifest(registry, repository, reference):
    return json.loads(get(registry, "%s/manifests/%s" % (repository, reference))[0])


@pytest.fixture
def repository(registry, who, request):
    """A repository name of this test's own."""
    return "%s/%s" % (who, request.node.name.split("[")[0].replace("_", "-"))


def test_push(strake, registry, repository, tool):
    """The tag is in the registry and in the store; a second push sends no blob; another name of the
    registry gets them mounted; what is pulled and pushed unchanged keeps its digest."""
    name = "%s/%s:1" % (registry, repository)
    meta = strake.path("meta.json")
    strake.build("--push", "-t", name, "--metadata-file", meta, dockerfile=TEXT)
    body, kind, digest = get(registry, repository + "/manifests/1")
    assert kind == "application/vnd.oci.image.manifest.v1+json"
    assert json.load(open(meta))["containerimage.digest"] == digest
    assert len(json.loads(body)["layers"]) == 2
    assert name.split("/", 1)[1].split(":")[0] in strake.run("images").out
    tool("skopeo")("copy", "--src-tls-verify=false", "docker://" + name,
                   "oci:%s" % strake.path("copy"))
    again = strake.build("--push", "-t", name)
    assert "pushing sha256:" not in again.err and again.err.count("is there already") == 3
    other = strake.build("-o", "type=registry,name=%s/%s-2:1" % (registry, repository))
    assert "pushing sha256:" not in other.err and other.err.count("mounted from") == 3
    strake.env["STRAKE_STORE"] = strake.path("store2")
    strake.store = strake.env["STRAKE_STORE"]
    strake.run("pull", name)
    strake.run("tag", name, "%s/%s-3:1" % (registry, repository))
    pushed = strake.run("push", "%s/%s-3:1" % (registry, repository))
    assert pushed.out == "Digest: %s\n" % digest
    assert get(registry, repository + "-3/manifests/1")[2] == digest


def test_options(strake, registry, repository):
    """Compression, media types, several names, digests instead of tags."""
    def image(*keys, tag="1"):
        strake.build("-o", ",".join(["type=image,push=true", *keys]), dockerfile=TEXT)
        return manifest(registry, repository, tag)

    full = "%s/%s" % (registry, repository)
    layers = image("name=%s:1" % full, "compression=zstd", "force-compression=true")["layers"]
    assert [x["mediaType"].rsplit("+")[-1] for x in layers] == ["zstd", "zstd"]
    layers = image("name=%s:1" % full, "compression=uncompressed", "force-compression=true")["layers"]
    assert [x["mediaType"] for x in layers] == ["application/vnd.oci.image.layer.v1.tar"] * 2
    old = image("name=%s:1" % full, "oci-mediatypes=false")
    assert old["mediaType"] == DOCKER_TYPES
    assert old["layers"][0]["mediaType"].startswith("application/vnd.docker.image.rootfs.diff.tar")
    assert image('"name=%s:2,%s:3"' % (full, full), tag="2") == manifest(registry, repository, "3")
    meta = strake.path("meta.json")
    strake.build("-o", "type=registry,push-by-digest=true,name=%s" % full, "--metadata-file", meta)
    digest = json.load(open(meta))["containerimage.digest"]
    assert json.load(open(meta))["image.name"] == full
    assert manifest(registry, repository, digest)["layers"]
    with pytest.raises(urllib.error.HTTPError):
        get(registry, repository + "/manifests/latest")


@pytest.mark.parametrize("spec, message", [
    ("type=registry", "a push needs a name"),
    ("type=local,dest=x,compression=zstd", "type=local takes no compression"),
    ("type=tar,dest=x,push=true", "type=tar takes no push"),
    ("type=image,compression=zstd", "compression says how an image is sent"),
    ("type=image,push=true,name=a,compression=xz", "compression=xz is not gzip, zstd or"),
    ("type=registry,name=a,compresion=zstd", "did you mean compression?"),
    ("type=registri", "did you mean registry?"),
])
def test_refused(strake, spec, message):
    """Before anything is built: no key is taken and then ignored."""
    result = strake.build("-o", spec, dockerfile="FROM busybox\nRUN true\n", check=False)
    assert result.code != 0 and message in result.err and "RUN true" not in result.err


def test_annotation_without_manifest(strake):
    """The store keeps no manifests: it is said, not dropped in silence."""
    result = strake.build("--annotation", "a=b", "-t", "x", dockerfile="FROM busybox\nENV A=b\n")
    assert "WARNING: --annotation: no output has a manifest" in result.err
    result = strake.build("--annotation", "a=b", "-o", "type=oci,dest=%s" % strake.path("o.tar"))
    assert "WARNING" not in result.err


def test_base_is_not_fetched(strake, registry, repository, tool):
    """Only metadata and one file over a base of the same registry: its layers are mounted."""
    tool("skopeo")("copy", "--dest-tls-verify=false", "oci:%s:latest" % strake.layouts("busybox"),
                   "docker://%s/%s-base:1" % (registry, repository))
    strake.write("f", "content")
    result = strake.build("--push", "-t", "%s/%s:1" % (registry, repository), bases=[],
                          dockerfile="FROM %s/%s-base:1\nENV A=b\nCOPY --link f /f\n" %
                          (registry, repository))
    assert "extracting" not in result.err and "mounted from %s-base" % repository in result.err
    assert len(manifest(registry, repository, "1")["layers"]) == 2
    assert repository + " " not in strake.run("images").out


def test_push_refused(strake):
    """Nobody listens: the image is in the store all the same, the error names the registry."""
    result = strake.build("--push", "-t", "127.0.0.1:1/a:1", dockerfile=TEXT, check=False)
    assert result.code == 1 and "127.0.0.1:1" in result.err
    assert "127.0.0.1:1/a" in strake.run("images").out


def test_load_docker(strake, docker, user):
    """Into a docker daemon, twice; then an image over the first one sends the new layer only."""
    if not user.is_root:
        pytest.skip("the daemon's socket is root's")
    env = {"DOCKER_HOST": docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
           .stdout.strip()}
    first = strake.build("--load", "-t", "loaded:1", dockerfile=TEXT, env=env)
    assert "loading into docker" in first.err
    out = docker("image", "inspect", "--format", "{{json .Config.Cmd}}", "loaded:1").stdout
    assert json.loads(out) == ["cat", "/y"]
    second = strake.build("--load", "-t", "loaded:2", env=env)
    assert "docker has this image already" in second.err
    third = strake.build("-o", "type=docker", "-t", "loaded:3", dockerfile=TEXT + "RUN echo > /z\n",
                         env=env)
    assert "docker has 2 of 3 layers" in third.err
    assert docker("run", "--rm", "--network=host", "loaded:3").stdout == "hi\n"
    assert len(set(docker("image", "ls", "-q", "--no-trunc", "loaded").stdout.split())) == 2


def test_load_podman(strake, tool, base):
    """Where no docker answers, into podman, in the caller's own storage."""
    tool("podman")
    directory = strake.mkdir("podman")
    config = strake.write("storage.conf", '[storage]\ndriver = "vfs"\ngraphroot = "%s/g"\n'
                          'runroot = "%s/r"\n' % (directory, directory), root=strake.mkdir("conf"))
    env = {"DOCKER_HOST": "unix:///nonexistent", "CONTAINERS_STORAGE_CONF": config}
    result = strake.build("--load", "-t", "loaded:1", dockerfile=TEXT, env=env)
    assert "loading into podman" in result.err
    run = subprocess.run(["podman", "image", "inspect", "loaded:1", "--format", "{{.Config.Cmd}}"],
                         env={**strake.env, **env}, cwd=strake.dir, capture_output=True, text=True,
                         **strake.user.arguments)
    assert run.stdout == "[cat /y]\n", run
    pause = os.path.join(strake.env["XDG_RUNTIME_DIR"], "libpod/tmp/pause.pid")
    if os.path.exists(pause):  # rootless podman leaves a process behind by design
        os.kill(int(open(pause).read()), signal.SIGKILL)


def test_load_nothing(strake):
    empty = strake.mkdir("empty")
    for name in ("newuidmap", "newgidmap"):
        for folder in ("/usr/bin", "/bin"):
            if os.path.exists("%s/%s" % (folder, name)):
                os.symlink("%s/%s" % (folder, name), "%s/%s" % (empty, name))
                break
    result = strake.build("--load", dockerfile="FROM busybox\nRUN true\n", check=False,
                          env={"PATH": empty})
    assert result.code != 0 and "nothing to load the image into" in result.err
    assert "RUN true" not in result.err


def test_docker_and_back(strake, docker, registry, repository, user):
    """What strake pushed docker pulls and runs; what docker pushed strake builds on, runs and pushes on
    under the same digest."""
    if not user.is_root:
        pytest.skip("the daemon's socket is root's")
    name = "%s/%s" % (registry, repository)
    strake.build("--push", "-t", name + ":1", dockerfile=TEXT + "RUN rm /x; ln -s /y /l\nUSER 7:8\n")
    docker("pull", "-q", name + ":1")
    assert docker("run", "--rm", "--network=host", name + ":1", "sh", "-c",
                  "cat /l; id -u; ls /x 2>&1 | grep -c 'No such'").stdout == "hi\n7\n1\n"
    docker("run", "--name=c1", "--network=host", "--user=0", name + ":1", "sh", "-c",
           "echo docker > /by; rm /y")
    docker("commit", "c1", name + ":2")
    docker("rm", "c1")
    docker("push", "-q", name + ":2")
    result = strake.build(bases=[], dockerfile="FROM %s:2\nRUN test ! -e /y && cat /by > /tmp/z\n" % name)
    assert "DONE" in steps(result)["[2/2] RUN test ! -e /y && cat /by > /tmp/z"]
    strake.run("pull", name + ":2")
    assert strake.run("run", "--rm", name + ":2", "cat", "/by").out == "docker\n"
    strake.run("tag", name + ":2", name + "-3:1")
    strake.run("push", name + "-3:1")
    assert get(registry, repository + "-3/manifests/1")[2] == (
        get(registry, repository + "/manifests/2")[2])


def test_podman_and_back(strake, tool, registry, repository):
    """The same with podman, in the caller's own storage."""
    tool("podman")
    name = "%s/%s" % (registry, repository)
    folder = strake.mkdir("podman")
    env = {**strake.env, "CONTAINERS_STORAGE_CONF": strake.write(
        "storage.conf", '[storage]\ndriver = "vfs"\ngraphroot = "%s/g"\nrunroot = "%s/r"\n' % (
            folder, folder), root=strake.mkdir("conf"))}

    def podman(*args):
        run = subprocess.run(["podman", *args], env=env, cwd=strake.dir, capture_output=True,
                             text=True, **strake.user.arguments)
        assert run.returncode == 0, run
        return run.stdout
    strake.build("--push", "-t", name + ":1", dockerfile=TEXT)
    podman("pull", "-q", "--tls-verify=false", name + ":1")
    strake.dockerfile("FROM %s:1\nLABEL by=podman\n" % name, "Derived")
    podman("build", "-q", "--isolation=chroot", "-t", name + ":2", "-f",
           os.path.join(strake.context, "Derived"), strake.context)
    podman("push", "-q", "--tls-verify=false", name + ":2")
    strake.run("pull", name + ":2")
    assert strake.run("run", "--rm", name + ":2").out == "hi\n"
    assert "podman" in strake.run("inspect", name + ":2").out
    pause = os.path.join(strake.env["XDG_RUNTIME_DIR"], "libpod/tmp/pause.pid")
    if os.path.exists(pause):
        os.kill(int(open(pause).read()), signal.SIGKILL)
