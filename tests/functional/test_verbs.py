"""strake images, run, rmi, prune, fsck, version, info."""

import json
import os
import subprocess

import pytest


def small(strake, name="small:1", extra=""):
    strake.build("-t", name, dockerfile="FROM busybox\nENV WHO=world\n" + extra)


def test_images(strake):
    small(strake)
    out = strake.run("images").out
    assert "small" in out and "1" in out
    assert len(out.strip().split("\n")) == 2


def test_tag_moves(strake):
    small(strake, extra="LABEL v=1\n")
    small(strake, extra="LABEL v=2\n")
    lines = [line for line in strake.run("images").out.split("\n") if "small" in line]
    assert len(lines) == 1


def test_several_tags(strake):
    strake.build("-t", "a:1", "-t", "b:2", dockerfile="FROM scratch\nENV A=b\n")
    out = strake.run("images").out
    assert "a" in out and "b" in out


def test_run(strake):
    small(strake, extra='CMD ["sh", "-c", "echo hello $WHO"]\n')
    assert strake.run("run", "small:1").out == "hello world\n"
    assert strake.run("run", "small:1", "echo", "other").out == "other\n"


def test_stdio_belongs_to_the_user(strake):
    """A web server that logs to /dev/stdout opens the pipe anew, as the user it runs as."""
    strake.build("-t", "img", dockerfile=(
        "FROM busybox\nUSER 101\nRUN echo built >/dev/stdout && echo logged >/dev/stderr\n"))
    # the user's own pipe, not one of whoever runs the tests
    command = "%s run --rm img sh -c 'echo a >/dev/stdout; echo b >/dev/stderr' 2>&1 | cat" % strake.binary
    result = subprocess.run(["sh", "-c", command], env=strake.env, cwd=strake.dir, text=True,
                            capture_output=True, **strake.user.arguments)
    assert result.stdout == "a\nb\n", result
    # nor is a file of the caller's the user's; it goes through a pipe
    out = strake.path("out")
    subprocess.run(["sh", "-c", command.replace("2>&1 | cat", ">'%s' 2>&1" % out)], env=strake.env,
                   cwd=strake.dir, **strake.user.arguments)
    with open(out) as f:
        assert sorted(f.read().split()) == ["a", "b"]


def test_an_ordinary_user_listens_on_port_80(strake):
    strake.build("-t", "img", dockerfile="FROM busybox\nUSER 101\n")
    command = "httpd -p 80 -h /etc && wget -qO- http://127.0.0.1/group | head -n 1"
    for network in "default", "none":
        assert strake.run("run", "--rm", "--network", network, "img", "sh", "-c",
                          command).out == "root:x:0:\n"


def test_build_takes_the_current_directory(strake):
    strake.dockerfile("FROM scratch\nCOPY f /f\n")
    strake.write("f", "here")
    strake.run("build", "-t", "img", cwd=strake.context)
    assert "img" in strake.run("images", "-q", "--format", "{{.Repository}}").out
    assert strake.run("build", "a", "b", check=False).code == 2


def test_run_entrypoint_user_and_directory(strake):
    small(strake, extra='USER 1000:1000\nWORKDIR /w\nENTRYPOINT ["sh", "-c", "id -u; pwd; echo $0"]\n'
          'CMD ["default"]\n')
    assert strake.run("run", "small:1").out == "1000\n/w\ndefault\n"
    assert strake.run("run", "small:1", "given").out == "1000\n/w\ngiven\n"


def test_run_exit_code_and_streams(strake):
    small(strake)
    result = strake.run("run", "small:1", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (result.code, result.out, result.err) == (7, "out\n", "err\n")


def test_run_changes_nothing(strake):
    small(strake)
    strake.run("run", "small:1", "touch", "/new")
    assert strake.run("run", "small:1", "ls", "/new", check=False).code != 0


def test_run_unknown_image(strake):
    small(strake)
    result = strake.run("run", "smal:1", check=False)
    assert 1 <= result.code <= 125 and "smal:1" in result.err


def test_rmi(strake):
    small(strake)
    strake.run("rmi", "small:1")
    assert "small" not in strake.run("images").out
    result = strake.run("rmi", "small:1", check=False)
    assert 1 <= result.code <= 123 and "small:1" in result.err


def store_size(strake):
    total = 0
    for folder, _, names in os.walk(strake.store):
        for name in names:
            total += os.lstat(os.path.join(folder, name)).st_blocks
    return total


def test_prune(strake):
    strake.build("-t", "big", dockerfile="FROM busybox\nRUN dd if=/dev/urandom of=/f bs=1M count=8\n")
    if strake.user.is_root:
        before = store_size(strake)
    strake.run("prune")
    assert "big" in strake.run("images").out, "a tagged image stays"
    assert strake.run("run", "--rm", "big", "test", "-f", "/f").code == 0
    strake.run("rmi", "big")
    strake.run("prune", "--all")
    if strake.user.is_root:
        assert store_size(strake) < before / 2
    strake.fsck()


def test_fsck_finds_damage(strake):
    strake.check_clean = False
    target = strake.path("x.tar")
    strake.build("-t", "x", "-o", "type=oci,dest=" + target,
                 dockerfile="FROM busybox\nRUN echo original >/f\n")
    damaged = 0
    for folder, _, names in os.walk(os.path.join(strake.store, "layers")):
        if "f" in names and not damaged:
            path = os.path.join(folder, "f")
            try:
                with open(path, "w") as f:
                    f.write("modified\n")
                damaged += 1
            except PermissionError:
                pytest.skip("the layer belongs to a subordinate id")
    assert damaged
    result = strake.run("fsck", check=False)
    assert result.code != 0 and result.code < 124


def test_damaged_layer_is_a_cache_miss(strake):
    """A missing layer is built again, never an error."""
    import shutil
    strake.check_clean = False
    text = "FROM busybox\nRUN echo original >/f\n"
    strake.build("-t", "x", dockerfile=text)
    if not strake.user.is_root:
        pytest.skip("layers of a rootless store belong to subordinate ids")
    layers = os.path.join(strake.store, "layers")
    for name in os.listdir(layers):
        if os.path.exists(os.path.join(layers, name, "tree", "f")):
            shutil.rmtree(os.path.join(layers, name))
    image = strake.image()
    assert image.file("f") == b"original\n"


def test_version(strake):
    import re
    out = strake.run("version").out
    assert re.match(r"strake \d+\.\d+\.\d+", out)
    assert strake.run("--version").out.split("\n")[0] == out.split("\n")[0]


def test_info(strake):
    out = strake.run("info").out
    for word in ("kernel", "privilege", "store", "overlay"):
        assert word in out.lower(), out
    mode = "root" if strake.user.is_root else "sub"
    assert mode in out.lower()


def test_help(strake):
    out = strake.run("--help").out
    for verb in ("build", "images", "run", "rmi", "prune", "fsck", "version", "info"):
        assert verb in out
    assert "--target" in strake.run("build", "--help").out


def test_metadata_file(strake):
    target = strake.path("meta.json")
    strake.build("-t", "m:1", "--metadata-file", target, dockerfile="FROM scratch\nENV A=b\n")
    with open(target) as f:
        metadata = json.load(f)
    assert any(key.endswith("config.digest") for key in metadata)
