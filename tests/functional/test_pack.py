"""Layers that nothing of a build opens: the blob that the output wants, and no files in the store.
Whoever wants the files later gets them."""

import io
import json
import os
import tarfile

import pytest

import oci
from conftest import steps

pytestmark = pytest.mark.single

TEXT = "FROM busybox\nRUN mkdir -p /srv/old && ln -s old /srv/new\nCOPY --chown=7:8 tree /srv/new/\n"
ON_TOP = TEXT + "RUN test \"$(cat /srv/old/a /srv/old/d/b)\" = 'ab' && stat -c %u:%g /srv/old/a\n"


def context(strake):
    strake.write("tree/a", "a", mode=0o640)
    strake.write("tree/d/b", "b\n")
    strake.write("tree/link", link="a")
    os.link(os.path.join(strake.context, "tree/a"), os.path.join(strake.context, "tree/z"))


def top_tree(strake, image):
    """Where the store would have the last layer's files."""
    hexed = image.config["rootfs"]["diff_ids"][-1].split(":")[1]
    return os.path.join(strake.store, "layers", hexed)


def flip(path):
    """One bit of a file."""
    os.chmod(path, 0o644)
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 4]))
    os.chmod(path, 0o444)


def owners(image):
    tree = image.tree()
    return {p: (tree[p].type, tree[p].uid, tree[p].gid, tree[p].mode) for p in tree
            if p.startswith("srv/")}


def manifest(layout):
    with open(os.path.join(layout, "index.json")) as f:
        digest = json.load(f)["manifests"][0]["digest"]
    with open(os.path.join(layout, "blobs", digest.replace(":", "/"))) as f:
        return json.load(f)


def test_packed_then_opened(strake):
    context(strake)
    packed = strake.image(dockerfile=TEXT)
    assert not os.path.exists(top_tree(strake, packed))
    assert owners(packed)["srv/old/a"][1:] == (7, 8, 0o640)
    # As an image of the store it has files, and they are the same.
    strake.build("-t", "x", "--no-cache")
    again = strake.image(name="again")
    assert os.path.exists(top_tree(strake, again))
    assert owners(again) == owners(packed)


def test_step_on_top(strake):
    context(strake)
    packed = strake.image(dockerfile=TEXT)
    result = strake.build(dockerfile=ON_TOP)
    states = steps(result)
    assert [states[s] for s in states if "COPY" in s] == ["CACHED"], states
    assert "7:8" in result.err and os.path.exists(top_tree(strake, packed))


def test_other_forms(strake, tool):
    context(strake)
    packed = strake.image("-t", "x", dockerfile=TEXT)
    zstd = strake.image("-o", "type=local,dest=" + strake.path("files"), name="zstd",
                        dockerfile=TEXT + "# the same again\n")
    assert zstd.config["rootfs"] == packed.config["rootfs"]
    assert oci.directory_tree(strake.path("files"))["srv/old/d/b"].size == 2
    # It was compressed as asked for each time, also where only the other blob was there.
    other = strake.path("other")
    strake.build("-o", "type=oci,tar=false,compression=zstd,dest=" + other)
    assert manifest(other)["layers"][-1]["mediaType"].endswith("zstd")
    tool("skopeo")("copy", "oci:" + other, "oci:" + strake.path("copy"))
    clamped = strake.path("clamped")
    strake.build("-o", "type=oci,tar=false,rewrite-timestamp=true,dest=" + clamped,
                 env={"SOURCE_DATE_EPOCH": "1000"})
    layer = oci.open_layout(clamped).layer_tar(-1)
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert max(member.mtime for member in tar.getmembers()) == 1000
    assert strake.run("images", "--format", "{{.Size}}").out.strip() not in ("", "0B")


def test_kept_while_tagged(strake):
    context(strake)
    packed = strake.image("-t", "x", dockerfile=TEXT)
    strake.run("prune")
    strake.run("save", "-o", strake.path("x.tar"), "x")
    assert owners(oci.open_docker_archive(strake.path("x.tar"))) == owners(packed)
    strake.run("rmi", "x")
    strake.run("prune")
    states = steps(strake.build(dockerfile=TEXT))
    assert [states[s] for s in states if "COPY" in s] == ["DONE"], states


def test_damaged(strake):
    """F6: what was damaged is made anew, by an output as by a step."""
    context(strake)
    packed = strake.image(dockerfile=TEXT)
    blob = packed.manifest["layers"][-1]["digest"].split(":")[1]
    path = os.path.join(strake.store, "blobs/sha256", blob)
    for text in TEXT, ON_TOP:
        flip(path)
        image = strake.image(dockerfile=text)
        assert image.config["rootfs"]["diff_ids"][:3] == packed.config["rootfs"]["diff_ids"][:3]
        assert owners(image)["srv/old/a"][1:] == (7, 8, 0o640)
        if text is TEXT:
            os.unlink(path)
            strake.image(dockerfile=text)


def test_needs_files(strake):
    """Secrets are searched for in files; a step reads them; an archive is unpacked: not packed."""
    context(strake)
    secret = strake.write("secret", "correct horse battery")
    image = strake.image("--secret", "id=s,src=" + secret, dockerfile=TEXT)
    assert os.path.exists(top_tree(strake, image))
    image = strake.image(dockerfile="FROM busybox AS a\nCOPY tree /q/\nFROM busybox\n"
                                    "COPY --from=a /q/a /q/\nCOPY tree/d /r/\n")
    assert not os.path.exists(top_tree(strake, image))
    assert oci.open_layout(strake.path("image")).tree()["r/b"].size == 2
