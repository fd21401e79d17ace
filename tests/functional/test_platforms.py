"""Several platforms: one index, folders, what runs natively and what through qemu-user."""

import json
import os
import platform
import shutil
import subprocess
import tarfile

import pytest

import oci
from conftest import executed, steps

MULTI = ("multi",)
HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
FOREIGN = "arm64" if HOST == "amd64" else "amd64"
CROSS = """FROM --platform=$BUILDPLATFORM multi AS build
ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM
RUN echo "$TARGETPLATFORM|$TARGETOS|$TARGETARCH|$TARGETVARIANT|$BUILDPLATFORM|$(uname -m)" >/out
FROM multi
COPY --from=build /out /out
WORKDIR /work
LABEL a=b
"""

pytestmark = pytest.mark.skipif(not HOST, reason="the image of several platforms lacks this machine")


def index_of(directory):
    """The image index inside an OCI layout, and a reader of its blobs."""
    def read(digest):
        with open(os.path.join(directory, "blobs/sha256", digest.split(":")[1]), "rb") as f:
            return f.read()
    with open(os.path.join(directory, "index.json")) as f:
        top = json.load(f)["manifests"]
    assert len(top) == 1 and top[0]["mediaType"].endswith("index.v1+json"), top
    return json.loads(read(top[0]["digest"])), read


def have_qemu(name):
    return shutil.which("qemu-%s-static" % name)


def test_cross_compiling_stages_give_one_index(strake):
    target = strake.path("index")
    result = strake.build("--platform", "linux/amd64,linux/arm64", "--platform", "linux/arm/v7",
                          "-o", "type=oci,dest=%s,tar=false" % target, dockerfile=CROSS,
                          bases=MULTI)
    runs = executed(result)
    # natively, once a target, and named as BuildKit names cross steps
    assert len(runs) == 3 and all("linux/%s" % HOST in r for r in runs), runs
    index, read = index_of(target)
    platforms = [m["platform"] for m in index["manifests"]]
    assert platforms == [{"architecture": "amd64", "os": "linux"},
                         {"architecture": "arm64", "os": "linux"},
                         {"architecture": "arm", "os": "linux", "variant": "v7"}]
    seen = []
    for m in index["manifests"]:
        manifest = json.loads(read(m["digest"]))
        config = json.loads(read(manifest["config"]["digest"]))
        assert config["architecture"] == m["platform"]["architecture"]
        assert config.get("variant") == m["platform"].get("variant")
        image = oci.Image(lambda d: read(d["digest"]), manifest, config, manifest["layers"])
        seen.append(image.file("out").decode().strip())
        assert image.file("etc/architecture").decode().strip() == config["architecture"]
    machine = platform.machine()
    build = "linux/" + HOST
    assert seen == ["linux/amd64|linux|amd64||%s|%s" % (build, machine),
                    "linux/arm64|linux|arm64||%s|%s" % (build, machine),
                    "linux/arm/v7|linux|arm|v7|%s|%s" % (build, machine)]
    again = strake.build("--platform", "linux/amd64,linux/arm64,linux/arm/v7", "-o",
                         "type=oci,dest=%s,tar=false" % target, bases=MULTI)
    assert not executed(again)


def test_outputs_of_several_platforms(strake):
    strake.dockerfile("FROM multi AS base\nFROM scratch\nCOPY --from=base /etc/architecture /\n")
    local, tar = strake.path("local"), strake.path("tree.tar")
    strake.build("--platform", "linux/amd64,linux/arm/v7", "-o", local, "-o",
                 "type=tar,dest=%s" % tar, bases=MULTI)
    for directory, arch in (("linux_amd64", "amd64"), ("linux_arm_v7", "arm")):
        with open(os.path.join(local, directory, "architecture")) as f:
            assert f.read() == arch + "\n"
        with tarfile.open(tar) as t:
            assert t.extractfile(directory + "/architecture").read() == arch.encode() + b"\n"
    for output, said in (("type=docker,dest=-", "a docker archive cannot hold an index"),
                         ("type=local,dest=%s,platform-split=false" % local, "overwrite each other")):
        failed = strake.build("--platform", "linux/amd64,linux/arm/v7", "-o", output, bases=MULTI,
                              check=False)
        assert failed.code == 2 and said in failed.err, failed


def test_multi_platform_of_one(strake):
    strake.dockerfile("FROM multi AS base\nFROM scratch\nCOPY --from=base /etc/architecture /\n")
    target, local = strake.path("index"), strake.path("local")
    on = ("--build-arg", "BUILDKIT_MULTI_PLATFORM=1", "--platform", "linux/" + HOST)
    strake.build(*on, "-o", "type=oci,dest=%s,tar=false" % target, "-o", local, bases=MULTI)
    index, _ = index_of(target)
    assert [m["platform"]["architecture"] for m in index["manifests"]] == [HOST]
    assert os.listdir(local) == ["linux_" + HOST]
    plain = strake.path("plain")
    strake.build("-o", "type=local,dest=%s,platform-split=true" % plain, bases=MULTI)
    assert os.listdir(plain) == ["linux_" + HOST]
    failed = strake.build("--build-arg", "BUILDKIT_MULTI_PLATFORM=0", "--platform",
                          "linux/amd64,linux/arm64", bases=MULTI, check=False)
    assert failed.code != 0 and "no more than one --platform" in failed.err, failed


@pytest.mark.skipif(HOST != "amd64", reason="written for an amd64 host")
def test_foreign_run_through_qemu(strake):
    for name in ("aarch64", "arm"):
        if not have_qemu(name):
            pytest.skip("qemu-%s-static is not installed" % name)
    image = "out"
    text = """FROM multi
RUN uname -m >/machine && sh -c 'echo $0' >/argv0 && chown 33:12345 /argv0 && \\
    grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status >/rights && adduser_missing || true
USER 33
RUN id -u >/tmp/id
"""
    machines = {"linux/arm64": "aarch64", "linux/arm/v7": "armv7l"}
    for where, machine in machines.items():
        built = strake.image("--platform", where, dockerfile=text, bases=MULTI, name=image)
        assert built.file("machine").decode().strip() == machine
        assert built.file("argv0") == b"sh\n"
        assert built.file("tmp/id") == b"33\n"
        rights = built.file("rights").decode().split()
        # the same rights as a native step
        assert rights == ["CapEff:", "00000000a80425fb", "CapBnd:", "00000000a80425fb",
                          "Seccomp:", "2"]
        argv0 = built.tree()["argv0"]
        assert (argv0.uid, argv0.gid) == (33, 12345)
    # foreign and native steps side by side, and nothing of it left for the next
    both = strake.build("--platform", "linux/arm64,linux/amd64", "--no-cache", bases=MULTI,
                        dockerfile="FROM multi\nRUN test \"$(cat /etc/architecture)\" = "
                                   "\"$(uname -m | sed 's/aarch64/arm64/;s/x86_64/amd64/')\"\n")
    assert len(executed(both)) == 2


@pytest.mark.skipif(HOST != "amd64", reason="386 is amd64's 32-bit mode")
def test_386_runs_natively(strake):
    """Without any qemu in PATH, and with the filter against calls of another kind still there."""
    empty = strake.mkdir("empty")
    for program in ("newuidmap", "newgidmap", "pasta", "slirp4netns"):
        path = shutil.which(program, path=strake.env["PATH"])
        if path and not os.path.exists(os.path.join(empty, program)):
            os.symlink(path, os.path.join(empty, program))
    built = strake.image("--platform", "linux/386", "--network=none", bases=MULTI, env={"PATH": empty},
                         dockerfile="FROM multi\nRUN uname -m >/machine; ls -l / >/dev/null; "
                                    "grep Seccomp: /proc/self/status >>/machine; "
                                    "mkdir /d && chmod 700 /d && chown 5:6 /d; "
                                    "unshare -m true && echo escaped >>/machine || true\n")
    assert built.file("machine").split() == [b"i686", b"Seccomp:", b"2"]
    assert built.config["architecture"] == "386"
    directory = built.tree()["d"]
    assert (directory.mode, directory.uid, directory.gid) == (0o700, 5, 6)


def test_platforms_with_a_single_id(strake):
    """The helper that stands in for chown serves foreign programs, too."""
    if not have_qemu("aarch64") or not have_qemu("i386") or HOST != "amd64":
        pytest.skip("qemu-user-static is not installed")
    if strake.user.is_root:
        return  # root has all ids
    strake.env["STRAKE_PRIVILEGE"] = "single"
    for where in ("linux/arm64", "linux/386"):
        built = strake.image("--platform", where, bases=MULTI,
                             dockerfile="FROM multi\nRUN echo 1 >/f && chown 33:44 /f\n")
        entry = built.tree()["f"]
        assert (entry.uid, entry.gid) == (33, 44), where


def test_no_emulator_says_what_to_install(strake):
    if os.path.isdir("/proc/sys/fs/binfmt_misc") and os.listdir("/proc/sys/fs/binfmt_misc"):
        pytest.skip("this host has handlers of its own")
    empty = strake.mkdir("empty")
    for program in ("newuidmap", "newgidmap", "pasta", "slirp4netns"):
        path = shutil.which(program, path=strake.env["PATH"])
        if path:
            os.symlink(path, os.path.join(empty, program))
    failed = strake.build("--platform", "linux/" + FOREIGN, "--network=none",
                          dockerfile="FROM multi\nRUN true\n",
                          bases=MULTI, env={"PATH": empty}, check=False)
    assert failed.code == 1, failed
    assert "cannot run /bin/sh: programs for %s cannot run on this %s machine" % (
        FOREIGN, HOST) in failed.err, failed
    assert "hint: apt install qemu-user-static" in failed.err
    assert ">>> RUN true" in failed.err and "Dockerfile:2" in failed.err
    # What needs no RUN there needs no emulator either.
    strake.build("--platform", "linux/" + FOREIGN, "--network=none", dockerfile=CROSS, bases=MULTI,
                 env={"PATH": empty})


def test_pull_picks_the_platform(strake, registry, tool):
    skopeo = tool("skopeo")
    name = "%s/multi-%s" % (registry, strake.user.kind)
    skopeo("copy", "--all", "--dest-tls-verify=false",
           "oci:%s:latest" % strake.layouts("multi"), "docker://%s:1" % name)
    for where, want in (("linux/amd64", "amd64"), ("linux/arm64/v8", "arm64"),
                        ("linux/arm/v8", "arm"), ("linux/386", "386")):
        strake.run("pull", "-q", "--platform", where, name + ":1")
        config = json.loads(strake.run("inspect", name + ":1").out)
        config = config[0] if isinstance(config, list) else config
        assert config["Architecture"] == want, (where, config["Architecture"])
    failed = strake.run("pull", "--platform", "linux/arm/v6", name + ":1", check=False)
    assert failed.code != 0 and "linux/arm/v7" in failed.err, failed
