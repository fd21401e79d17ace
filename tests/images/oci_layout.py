#!/usr/bin/python3
"""Write OCI image layouts from trees and tar files; standard library only.

    oci_layout.py busybox OUT --busybox FILE [--alpine]
    oci_layout.py tar     OUT --tar FILE [--base FILE] --name NAME --tag TAG... [--env K=V]...

The result depends on the input bytes alone: entries sorted, one fixed time, no user names. With
--base the image has two layers: that file's tree, and what --tar changes in it. Both layers are
written for every image that stands on the same base, with the same digests.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import tarfile

EPOCH = 1700000000
CREATED = "2023-11-14T22:13:20Z"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386",
        "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x"}
OCI = "application/vnd.oci.image."


class Layout:
    """An OCI layout directory under construction."""

    def __init__(self, path):
        self.path = path
        os.makedirs(os.path.join(path, "blobs", "sha256"))

    def blob_path(self, digest):
        return os.path.join(self.path, "blobs", "sha256", digest.split(":")[1])

    def blob(self, data, media_type):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(self.blob_path(digest), "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def json_blob(self, value, media_type):
        return self.blob(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(),
                         media_type)

    def layer(self, write_entries):
        """write_entries(tarfile) fills the layer. Returns (descriptor, diff id)."""
        temporary = os.path.join(self.path, "layer.tmp")
        inner, outer = hashlib.sha256(), hashlib.sha256()
        with open(temporary, "wb") as f:
            zipped = gzip.GzipFile("", "wb", 6, HashedWriter(f, outer), 0)
            tar = tarfile.open(fileobj=HashedWriter(zipped, inner), mode="w|",
                               format=tarfile.PAX_FORMAT)
            write_entries(tar)
            tar.close()
            zipped.close()
        digest = "sha256:" + outer.hexdigest()
        os.rename(temporary, self.blob_path(digest))
        return ({"mediaType": OCI + "layer.v1.tar+gzip", "digest": digest,
                 "size": os.path.getsize(self.blob_path(digest))},
                "sha256:" + inner.hexdigest())

    def finish(self, layers, config, tags):
        arch = ARCH.get(platform.machine(), platform.machine())
        image = {
            "created": CREATED, "architecture": arch, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id, _ in layers]},
            "history": [{"created": CREATED, "created_by": by} for _, _, by in layers],
        }
        if arch == "arm":
            image["variant"] = "v7"
        manifest = self.json_blob({
            "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
            "config": self.json_blob(image, OCI + "config.v1+json"),
            "layers": [descriptor for descriptor, _, _ in layers],
        }, OCI + "manifest.v1+json")
        manifest["platform"] = {"architecture": arch, "os": "linux"}
        if arch == "arm":
            manifest["platform"]["variant"] = "v7"
        entries = [dict(manifest, annotations={"org.opencontainers.image.ref.name": tag})
                   for tag in tags]
        for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                            ("index.json", {"schemaVersion": 2,
                                            "mediaType": OCI + "index.v1+json",
                                            "manifests": entries})):
            with open(os.path.join(self.path, name), "w") as f:
                json.dump(value, f, sort_keys=True)


class HashedWriter:
    def __init__(self, file, digest):
        self.file, self.digest = file, digest

    def write(self, data):
        self.digest.update(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def entry(name, kind=tarfile.REGTYPE, mode=0o644, data=b"", link=""):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.mtime = kind, mode, link, EPOCH
    info.size = len(data)
    return info, data


def add_entries(tar, entries):
    for info, data in sorted(entries, key=lambda e: e[0].name):
        tar.addfile(info, io.BytesIO(data))


# --- busybox ---------------------------------------------------------------------------------

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
wheel:x:10:root
users:x:100:
www-data:x:33:
nobody:x:65534:
"""

# Debian's busybox lacks these two; enough of Alpine's for Dockerfiles that make a user.
ADDGROUP = """#!/bin/sh
# addgroup [-g GID] [-S] GROUP  |  addgroup USER GROUP
gid= system=
while getopts g:S o; do
	case $o in g) gid=$OPTARG ;; S) system=1 ;; *) exit 1 ;; esac
done
shift $((OPTIND - 1))
if [ $# = 2 ]; then
	grep -q "^$2:" /etc/group || { echo "addgroup: unknown group $2" >&2; exit 1; }
	sed -i -e "/^$2:/s/[^:]\\$/&,$1/" -e "/^$2:/s/:\\$/:$1/" /etc/group
	exit
fi
grep -q "^$1:" /etc/group && { echo "addgroup: group '$1' in use" >&2; exit 1; }
if [ -z "$gid" ]; then
	gid=${system:+100}
	gid=${gid:-1000}
	while cut -d: -f3 /etc/group | grep -qx "$gid"; do gid=$((gid + 1)); done
fi
echo "$1:x:$gid:" >>/etc/group
"""
ADDUSER = """#!/bin/sh
# adduser [-h DIR] [-g GECOS] [-s SHELL] [-G GROUP] [-u UID] [-S] [-D] [-H] USER [GROUP]
home= gecos= shell= group= uid= system= nohome=
while getopts h:g:s:G:u:SDH o; do
	case $o in
	h) home=$OPTARG ;; g) gecos=$OPTARG ;; s) shell=$OPTARG ;; G) group=$OPTARG ;;
	u) uid=$OPTARG ;; S) system=1 ;; D) ;; H) nohome=1 ;; *) exit 1 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 2 ] && exec addgroup "$1" "$2"
grep -q "^$1:" /etc/passwd && { echo "adduser: user '$1' in use" >&2; exit 1; }
if [ -z "$uid" ]; then
	uid=${system:+100}
	uid=${uid:-1000}
	while cut -d: -f3 /etc/passwd | grep -qx "$uid"; do uid=$((uid + 1)); done
fi
if [ -n "$group" ]; then
	gid=$(grep "^$group:" /etc/group | cut -d: -f3)
	[ -n "$gid" ] || { echo "adduser: unknown group $group" >&2; exit 1; }
elif [ -n "$system" ]; then
	gid=65533
	grep -q "^nogroup:" /etc/group || echo "nogroup:x:65533:" >>/etc/group
else
	gid=$uid
	echo "$1:x:$gid:" >>/etc/group
fi
home=${home:-/home/$1}
[ -n "$system" ] && shell=${shell:-/sbin/nologin}
echo "$1:x:$uid:$gid:${gecos:-Linux User,,,}:$home:${shell:-/bin/sh}" >>/etc/passwd
echo "$1:!:0:0:99999:7:::" >>/etc/shadow
[ -n "$nohome" ] || { mkdir -p "$home" && chown "$uid:$gid" "$home"; }
"""


def busybox_entries(binary, alpine):
    with open(binary, "rb") as f:
        program = f.read()
    applets = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True)
    directories = ["bin", "dev", "etc", "home", "lib", "proc", "run", "sbin", "sys", "usr",
                   "usr/bin", "usr/lib", "usr/local", "usr/local/bin", "usr/sbin", "var",
                   "var/log", "var/spool", "var/spool/mail", "var/www"]
    yield from (entry(d, tarfile.DIRTYPE, 0o755) for d in directories)
    yield entry("root", tarfile.DIRTYPE, 0o700)
    yield entry("tmp", tarfile.DIRTYPE, 0o1777)
    yield entry("var/tmp", tarfile.DIRTYPE, 0o1777)
    yield entry("etc/passwd", data=PASSWD.encode())
    yield entry("etc/group", data=GROUP.encode())
    yield entry("etc/shadow", mode=0o640, data=b"root:*:19676:0:99999:7:::\n")
    yield entry("bin/[", mode=0o755, data=program)  # the first name carries the bytes
    names = set(applets.stdout.split()) | {"busybox"}
    names -= {"[", "dpkg", "dpkg-deb", "rpm", "init", "linuxrc"}
    if alpine:
        # as Alpine: every applet a symlink to the one file
        yield entry("bin/busybox", mode=0o755, data=program)
        yield from (entry("bin/" + n, tarfile.SYMTYPE, 0o777, link="/bin/busybox")
                    for n in names - {"busybox"})
        yield entry("usr/sbin/adduser", mode=0o755, data=ADDUSER.encode())
        yield entry("usr/sbin/addgroup", mode=0o755, data=ADDGROUP.encode())
        yield entry("etc/alpine-release", data=b"3.20.0\n")
        yield entry("etc/os-release", data=b'ID=alpine\nNAME="Alpine-like test image"\n'
                                            b"VERSION_ID=3.20.0\n")
    else:
        # as Docker's busybox: every applet a hard link
        yield from (entry("bin/" + n, tarfile.LNKTYPE, 0o755, link="bin/[") for n in names)


def make_busybox(args):
    layout = Layout(args.out)
    entries = list(busybox_entries(args.busybox, args.alpine))
    if args.alpine:
        entries = [e for e in entries if e[0].name != "bin/["]
        entries.append(entry("bin/[", tarfile.SYMTYPE, 0o777, link="/bin/busybox"))
    by = "ADD %s.tar / # test image" % ("alpine" if args.alpine else "busybox")
    layers = [layout.layer(lambda tar: add_entries(tar, entries)) + (by,)]
    layout.finish(layers, {"Env": [PATH], "Cmd": ["/bin/sh" if args.alpine else "sh"]},
                  ["latest"] + (["3.20"] if args.alpine else ["stable"]))


# --- trees made by mmdebstrap ----------------------------------------------------------------

def clean_name(name):
    while name.startswith("./"):
        name = name[2:]
    return name.rstrip("/")


def wanted(info):
    """The tree without what every machine makes anew: device nodes, caches, logs."""
    name = clean_name(info.name)
    if name in ("", ".") or info.isdev() and not info.isfile():
        return False
    parts = name.split("/")
    return not (parts[0] in ("dev", "proc", "sys", "run") and len(parts) > 1 or
                name == "var/cache/ldconfig/aux-cache" or
                name.startswith("var/log/") and info.isfile())


class Tree:
    """A tar file's entries by name, with content digests for comparison."""

    def __init__(self, path):
        self.tar = tarfile.open(path)
        self.by_name = {}
        for info in self.tar:
            if wanted(info):
                self.by_name[clean_name(info.name)] = info

    def read(self, info):
        return self.tar.extractfile(info).read() if info.isreg() else b""

    def identity(self, name):
        info = self.by_name[name]
        link = clean_name(info.linkname) if info.islnk() else info.linkname
        content = hashlib.sha256(self.read(info)).digest() if info.isreg() else b""
        return (info.type, info.mode, info.uid, info.gid, link, content,
                info.pax_headers.get("SCHILY.xattr.security.capability"))

    def write(self, tar, names):
        for name in sorted(names):
            source = self.by_name[name]
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = (source.type, source.mode, source.uid,
                                                        source.gid)
            info.linkname = clean_name(source.linkname) if source.islnk() else source.linkname
            info.mtime = min(int(source.mtime), EPOCH)
            info.size = source.size if source.isreg() else 0
            info.pax_headers = {k: v for k, v in source.pax_headers.items()
                                if k == "SCHILY.xattr.security.capability"}
            if source.isreg():
                tar.addfile(info, self.tar.extractfile(source))
            else:
                tar.addfile(info)


def link_safe_names(tree, names):
    """Hard links must follow the entry that carries the bytes, in sorted order; so let the first
    name of each group carry them."""
    groups = {}
    for name, info in tree.by_name.items():
        if info.islnk():
            groups.setdefault(clean_name(info.linkname), []).append(name)
    for target, links in groups.items():
        first = min(links + [target])
        if first == target:
            continue
        carrier, link = tree.by_name[target], tree.by_name[first]
        tree.by_name[first] = carrier
        link.linkname = first
        for name in links + [target]:
            if name != first:
                other = tree.by_name[name] if name != target else link
                other.linkname = first
                tree.by_name[name] = other
    return names


def changed_names(tree, base):
    """Names of the upper layer: new or different entries with their parents, and whiteouts."""
    names = {n for n in tree.by_name
             if n not in base.by_name or tree.identity(n) != base.identity(n)}
    for name in list(names):
        info = tree.by_name[name]
        if info.islnk():
            names.add(clean_name(info.linkname))
        while "/" in name:
            name = name.rsplit("/", 1)[0]
            names.add(name)
    gone = {n for n in base.by_name if n not in tree.by_name}
    top = {n for n in gone if not any(n.startswith(p + "/") for p in gone)}
    return names, sorted(top)


def make_tar(args):
    layout = Layout(args.out)
    tree = Tree(args.tar)
    link_safe_names(tree, None)
    layers = []
    base = tree
    if args.base:
        base = Tree(args.base)
        link_safe_names(base, None)
    layers.append(layout.layer(lambda tar: base.write(tar, base.by_name)) +
                  ("ADD debian rootfs / # test image",))
    if args.base:
        names, gone = changed_names(tree, base)

        def write_upper(tar):
            for name in gone:
                directory, _, last = name.rpartition("/")
                white = (directory + "/" if directory else "") + ".wh." + last
                tar.addfile(entry(white, mode=0o0)[0])
            tree.write(tar, names)
        layers.append(layout.layer(write_upper) + ("RUN apt-get install # " + args.name,))
    layout.finish(layers, {"Env": [PATH] + args.env, "Cmd": args.cmd or ["bash"]}, args.tag)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["busybox", "tar"])
    parser.add_argument("out")
    parser.add_argument("--busybox")
    parser.add_argument("--alpine", action="store_true")
    parser.add_argument("--tar")
    parser.add_argument("--base")
    parser.add_argument("--name", default="image")
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--cmd", action="append", default=[])
    args = parser.parse_args()
    if os.path.lexists(args.out):
        if not stat.S_ISDIR(os.lstat(args.out).st_mode):
            sys.exit("%s: not a directory" % args.out)
        shutil.rmtree(args.out)
    (make_busybox if args.kind == "busybox" else make_tar)(args)


if __name__ == "__main__":
    main()
