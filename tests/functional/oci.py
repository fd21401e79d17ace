"""Reading what builds write: OCI layouts and archives, docker archives, trees. Standard library.

A tree is a dict: path (no leading slash) → Entry. Whiteouts are applied when layers are merged. Hard
links share one Entry object.
"""

import collections
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile

Entry = collections.namedtuple("Entry", "type mode uid gid size digest link mtime xattrs",
                               defaults=((),))


class Image:
    """One image of an OCI layout (directory or tar) or of a docker archive."""

    def __init__(self, read, manifest, config, layers):
        self.read, self.manifest, self.config, self.layers = read, manifest, config, layers

    @property
    def history(self):
        return self.config.get("history", [])

    def created_by(self):
        return [h.get("created_by", "") for h in self.history]

    def layer_tar(self, index):
        data = self.read(self.layers[index])
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data

    def layer_names(self, index):
        with tarfile.open(fileobj=io.BytesIO(self.layer_tar(index))) as tar:
            return [clean(m.name) for m in tar]

    def tree(self):
        tree = {}
        for i in range(len(self.layers)):
            apply_layer(tree, self.layer_tar(i))
        return tree

    def file(self, path):
        """The bytes of a file: the newest layer that has it."""
        for i in reversed(range(len(self.layers))):
            with tarfile.open(fileobj=io.BytesIO(self.layer_tar(i))) as tar:
                for member in tar:
                    if clean(member.name) == path:
                        return tar.extractfile(member).read()
        raise KeyError(path)


def clean(name):
    while name.startswith("./"):
        name = name[2:]
    return name.rstrip("/")


def apply_layer(tree, data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        lower = set(tree)
        for member in tar:
            name = clean(member.name)
            if name in ("", "."):
                continue
            directory, _, last = name.rpartition("/")
            if last == ".wh..wh..opq":
                for path in lower:
                    if path.startswith(directory + "/"):
                        tree.pop(path, None)
                continue
            if last.startswith(".wh."):
                gone = (directory + "/" if directory else "") + last[4:]
                for path in lower:
                    if path == gone or path.startswith(gone + "/"):
                        tree.pop(path, None)
                continue
            if member.islnk():
                tree[name] = tree[clean(member.linkname)]
                continue
            content = tar.extractfile(member).read() if member.isreg() else b""
            if not member.isdir():
                for path in [p for p in tree if p.startswith(name + "/")]:
                    del tree[path]
            tree[name] = Entry(kind(member), member.mode & 0o7777, member.uid, member.gid,
                               len(content), hashlib.sha256(content).hexdigest()
                               if member.isreg() else None,
                               member.linkname if member.issym() else None, int(member.mtime),
                               xattrs(member))


def xattrs(member):
    prefix = "SCHILY.xattr."
    return tuple(sorted((key[len(prefix):], value) for key, value in member.pax_headers.items()
                        if key.startswith(prefix)))


def kind(member):
    for test, letter in ((member.isdir, "d"), (member.issym, "l"), (member.isreg, "f"),
                         (member.isfifo, "p"), (member.ischr, "c"), (member.isblk, "b")):
        if test():
            return letter
    return "?"


def directory_tree(root):
    """The same for a directory on disk (owners as seen by this process)."""
    tree = {}
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            content = b""
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    content = f.read()
            letter = {stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFREG: "f", stat.S_IFIFO: "p",
                      stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(st.st_mode), "?")
            tree[os.path.relpath(path, root)] = Entry(
                letter, stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, len(content),
                hashlib.sha256(content).hexdigest() if letter == "f" else None,
                os.readlink(path) if letter == "l" else None, int(st.st_mtime))
    return tree


def open_layout(path, tag=None):
    """An OCI layout directory or tar; verifies every digest and size on the way."""
    if os.path.isdir(path):
        def read_name(name):
            with open(os.path.join(path, name), "rb") as f:
                return f.read()
    else:
        tar = tarfile.open(path)

        def read_name(name):
            return tar.extractfile(name).read()

    def read(descriptor):
        algorithm, digest = descriptor["digest"].split(":")
        data = read_name("blobs/%s/%s" % (algorithm, digest))
        assert hashlib.sha256(data).hexdigest() == digest
        assert len(data) == descriptor["size"]
        return data

    assert json.loads(read_name("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(read_name("index.json"))
    assert index["schemaVersion"] == 2
    manifests = index["manifests"]
    if tag:
        manifests = [m for m in manifests if
                     m.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag]
    assert manifests, index
    descriptor = manifests[0]
    manifest = json.loads(read(descriptor))
    while "manifests" in manifest:  # a nested index
        manifest = json.loads(read(manifest["manifests"][0]))
    config = json.loads(read(manifest["config"]))
    image = Image(read, manifest, config, manifest["layers"])
    assert len(image.layers) == len(config["rootfs"]["diff_ids"])
    for i, diff_id in enumerate(config["rootfs"]["diff_ids"]):
        assert "sha256:" + hashlib.sha256(image.layer_tar(i)).hexdigest() == diff_id
    return image


def open_docker_archive(path):
    tar = tarfile.open(path)

    def read(name):
        return tar.extractfile(name).read()

    manifest = json.loads(read("manifest.json"))[0]
    config = json.loads(read(manifest["Config"]))
    image = Image(read, manifest, config, manifest["Layers"])
    for i, diff_id in enumerate(config["rootfs"]["diff_ids"]):
        assert "sha256:" + hashlib.sha256(image.layer_tar(i)).hexdigest() == diff_id
    return image
