"""Each output is taken by each tool, and all of them hold the same image."""

import json
import os
import subprocess
import tarfile

import pytest

import oci
from conftest import IS_ROOT, free_port  # noqa: F401

TEXT = """\
FROM busybox
RUN mkdir /data && echo hello >/data/file && ln -s file /data/link && chown 7:8 /data/file
ENV WHO=world
CMD ["sh", "-c", "echo $(cat /data/file) $WHO"]
"""


def build(strake, output, *args):
    strake.build("-o", output, *args, dockerfile=TEXT)


def expect(tree):
    assert tree["data/file"].size == 6 and tree["data/link"].link == "file"
    assert (tree["data/file"].uid, tree["data/file"].gid) == (7, 8)
    assert "bin/sh" in tree


def test_oci_directory(strake, tool):
    target = strake.path("layout")
    build(strake, "type=oci,tar=false,dest=" + target, "-t", "demo:1")
    expect(oci.open_layout(target).tree())
    inspected = json.loads(tool("skopeo")("inspect", "oci:" + target).stdout)
    assert inspected["Os"] == "linux" and "WHO=world" in inspected["Env"]


def test_oci_archive(strake, tool):
    target = strake.path("image.tar")
    build(strake, "type=oci,dest=" + target)
    expect(oci.open_layout(target).tree())
    raw = json.loads(tool("skopeo")("inspect", "--raw", "oci-archive:" + target).stdout)
    assert raw["schemaVersion"] == 2


def test_oci_to_standard_output(strake):
    strake.dockerfile("FROM scratch\nENV A=b\n")
    process = strake.popen("build", "--progress=plain", "-o", "type=oci,dest=-", strake.context,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    target = strake.path("piped.tar")
    with open(target, "wb") as f:
        f.write(out)
    assert "A=b" in oci.open_layout(target).config["config"]["Env"]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
def test_compressions(strake, tool, compression):
    target = strake.path("layout")
    build(strake, "type=oci,tar=false,compression=%s,force-compression=true,dest=%s" % (
        compression, target))
    tool("skopeo")("copy", "oci:" + target, "oci:" + strake.path("copy"))


def test_docker_archive(strake, tool):
    target = strake.path("docker.tar")
    build(strake, "type=docker,dest=" + target, "-t", "demo:1")
    expect(oci.open_docker_archive(target).tree())
    with tarfile.open(target) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
    assert manifest[0]["RepoTags"] in (["demo:1"], ["docker.io/library/demo:1"])
    tool("skopeo")("inspect", "docker-archive:" + target)


def test_tar(strake):
    target = strake.path("rootfs.tar")
    build(strake, "type=tar,dest=" + target)
    with open(target, "rb") as f:
        tree = {}
        oci.apply_layer(tree, f.read())
    expect(tree)


def test_local_directory(strake):
    target = strake.path("rootfs")
    build(strake, "type=local,dest=" + target)
    tree = oci.directory_tree(target)
    assert tree["data/file"].size == 6 and tree["data/link"].link == "file"
    # docker gives exported files to the caller
    assert tree["data/file"].uid == (7 if strake.user.is_root else strake.user.uid) or (
        tree["data/file"].uid == strake.user.uid)


def test_short_output_form(strake):
    target = strake.path("dir")
    strake.write("f", "x")
    strake.build("-o", target, dockerfile="FROM scratch\nCOPY f /f\n")
    assert os.listdir(target) == ["f"]


def test_two_outputs_of_one_build(strake):
    first, second = strake.path("a.tar"), strake.path("b.tar")
    build(strake, "type=oci,dest=" + first, "-o", "type=docker,dest=" + second, "-t", "x")
    one, two = oci.open_layout(first), oci.open_docker_archive(second)
    assert one.config["rootfs"] == two.config["rootfs"]


def test_umoci_unpacks(strake, tool):
    target = strake.path("layout")
    build(strake, "type=oci,tar=false,dest=" + target, "-t", "demo:1")
    with open(os.path.join(target, "index.json")) as f:
        entry = json.load(f)["manifests"][0]
    tag = entry["annotations"]["org.opencontainers.image.ref.name"]
    bundle = strake.path("bundle")
    rootless = [] if IS_ROOT else ["--rootless"]
    tool("umoci")("unpack", *rootless, "--image", "%s:%s" % (target, tag), bundle)
    with open(os.path.join(bundle, "rootfs/data/file")) as f:
        assert f.read() == "hello\n"


def test_crun_runs_the_bundle(strake, tool):
    if not IS_ROOT:
        pytest.skip("crun run without root needs a delegated cgroup")
    target = strake.path("layout")
    build(strake, "type=oci,tar=false,dest=" + target, "-t", "demo:1")
    bundle = strake.path("bundle")
    tool("umoci")("unpack", "--image", target + ":1", bundle)
    config_path = os.path.join(bundle, "config.json")
    with open(config_path) as f:
        config = json.load(f)
    config["process"]["terminal"] = False
    config["linux"]["namespaces"] = [{"type": t} for t in ("pid", "ipc", "uts", "mount")]
    config["linux"].pop("resources", None)
    config["mounts"] = [m for m in config["mounts"] if m.get("type") != "cgroup"]
    with open(config_path, "w") as f:
        json.dump(config, f)
    if os.path.isdir("/sys/fs/cgroup/unified"):
        pytest.skip("crun refuses machines with hybrid cgroups")
    crun = ["crun", "--cgroup-manager=disabled", "--root", strake.path("crun"), "run", "--bundle",
            bundle, "strake-test-%d" % os.getpid()]
    tool("crun")
    if os.path.exists("/sys/fs/cgroup/unified"):  # crun refuses hybrid cgroups: show it the new ones
        crun = ["unshare", "-m", "sh", "-c", "umount -R /sys/fs/cgroup && mount -t cgroup2 none "
                "/sys/fs/cgroup && exec \"$@\"", "sh"] + crun
    run = subprocess.run(crun, capture_output=True, text=True, timeout=60)
    assert run.stdout == "hello world\n", run


def test_podman_loads(strake, tool, base):
    target = strake.path("docker.tar")
    build(strake, "type=docker,dest=" + target, "-t", "demo:podman")
    if not IS_ROOT:
        storage = ["--root", strake.path("podman"), "--runroot", strake.path("podman-run")]
    else:
        storage = ["--root", os.path.join(base, "podman"), "--runroot",
                   os.path.join(base, "podman-run"), "--storage-driver=vfs"]
    podman = tool("podman")
    out = podman(*storage, "load", "-i", target).stdout
    assert "demo:podman" in out
    archive = strake.path("oci.tar")
    build(strake, "type=oci,dest=" + archive, "-t", "demo:oci")
    podman(*storage, "load", "-i", archive)


def test_docker_loads(strake, docker):
    target = strake.path("docker.tar")
    name = "demo:" + strake.user.kind
    build(strake, "type=docker,dest=" + target, "-t", name)
    assert name in docker("load", "-i", target).stdout
    config = json.loads(docker("image", "inspect", name).stdout)[0]
    assert "WHO=world" in config["Config"]["Env"]


def test_all_outputs_agree(strake):
    layout, archive = strake.path("layout"), strake.path("archive")
    build(strake, "type=oci,tar=false,dest=" + layout)
    build(strake, "type=docker,dest=" + archive)
    one, two = oci.open_layout(layout), oci.open_docker_archive(archive)
    assert one.config["config"] == two.config["config"]
    assert one.tree() == two.tree()


def test_output_parent_missing(strake):
    result = strake.build("-o", "type=oci,dest=" + strake.path("no/such/dir/x.tar"), check=False,
                          dockerfile="FROM scratch\nENV A=b\n")
    assert 1 <= result.code <= 123 and "no/such/dir" in result.err


def test_unknown_output_type(strake):
    result = strake.build("-o", "type=banana,dest=x", check=False,
                          dockerfile="FROM scratch\nENV A=b\n")
    assert 1 <= result.code <= 123 and "banana" in result.err
