"""Provenance and package lists: in both forms of attachment, kept, shown, pushed; annotations and
the metadata file."""

import base64
import hashlib
import json
import os
import sqlite3
import struct
import tarfile

from test_platforms import HOST, index_of

SLSA = "https://slsa.dev/provenance/v1"
SPDX = "https://spdx.dev/Document"
DPKG = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Maintainer: GNU Libc Maintainers <libc@example.org>

"""
APK = "P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\nU:https://musl.libc.org\n\n"


def statements(read, attestation):
    """An attestation manifest → {predicate type: statement}."""
    found = {}
    for layer in attestation["layers"]:
        assert layer["mediaType"] == "application/vnd.in-toto+json"
        statement = json.loads(read(layer["digest"]))
        kind = layer["annotations"]["in-toto.io/predicate-type"] if len(
            layer.get("annotations", {})) else statement["predicateType"]
        assert statement["predicateType"] == kind
        assert statement["_type"] == "https://in-toto.io/Statement/v0.1"
        found[kind] = statement
    return found


def purls(spdx):
    return sorted(r["referenceLocator"] for p in spdx["packages"]
                  for r in p.get("externalRefs", []))


def rpm_header():
    data = b"bash\0005.2\0001.fc40\0x86_64\0GPL-3.0-or-later\0"
    tags = [(1000, 0), (1001, 5), (1002, 9), (1022, 16), (1014, 23)]
    return (struct.pack(">II", len(tags), len(data)) +
            b"".join(struct.pack(">IIII", tag, 6, at, 1) for tag, at in tags) + data)


def go_program():
    lines = b"path\tex.com/app\nmod\tex.com/app\t(devel)\t\ndep\tgithub.com/a/b\tv1.2.3\th1:x=\n"
    text = b"0" * 16 + lines + b"1" * 16
    assert len(text) < 128
    info = (b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\x08go1.22.1" + bytes([len(text)]) + text)
    names = b"\0.go.buildinfo\0"

    def section(name, offset, size):
        return struct.pack("<I", name) + bytes(20) + struct.pack("<QQ", offset, size) + bytes(24)
    head = bytearray(64)
    head[:7] = b"\x7fELF\2\1\1"
    struct.pack_into("<Q", head, 40, 64 + len(info) + len(names))
    struct.pack_into("<HHH", head, 58, 64, 3, 1)
    program = (bytes(head) + info + names + section(0, 0, 0) +
               section(0, 64 + len(info), len(names)) + section(1, 64, len(info)))
    return program + bytes(70000)


def package_context(strake):
    """A context that holds one package of each kind, and what must not be listed."""
    database = os.path.join(strake.env["TMPDIR"], "rpmdb.sqlite")
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        db.execute("INSERT INTO Packages (blob) VALUES (?)", (rpm_header(),))
    db.close()
    with open(database, "rb") as f:
        strake.write("root/usr/lib/sysimage/rpm/rpmdb.sqlite", f.read())
    os.remove(database)
    strake.write("root/var/lib/dpkg/status", DPKG)
    strake.write("root/lib/apk/db/installed", APK)
    strake.write("root/usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
    strake.write("root/etc/os-release", link="../usr/lib/os-release")
    strake.write("root/app/node_modules/left-pad/package.json",
                 '{"name":"left-pad","version":"1.3.0","license":"WTFPL"}')
    strake.write("root/app/node_modules/left-pad/lib/package.json", '{"name":"no","version":"1"}')
    strake.write("root/usr/lib/python3/six-1.16.0.dist-info/METADATA",
                 "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\nName: no\n")
    strake.write("root/app/server", go_program(), mode=0o755)
    strake.write("root/gone/node_modules/gone/package.json", '{"name":"gone","version":"1"}')
    strake.write("root/var/lib/rpm/Packages", "an old database")


def test_packages_of_every_kind(strake):
    package_context(strake)
    strake.build("-t", "pk:1", dockerfile="FROM busybox AS b\nFROM scratch\nCOPY root /\n"
                 "COPY --from=b /bin/busybox /bin/busybox\nCOPY --from=b /bin/sh /bin/sh\n"
                 "RUN [\"/bin/busybox\", \"rm\", \"-r\", \"/gone\"]\n")
    document = json.loads(strake.run("sbom", "pk:1").out)
    assert document["spdxVersion"] == "SPDX-2.3" and document["SPDXID"] == "SPDXRef-DOCUMENT"
    assert purls(document) == [
        "pkg:apk/debian/musl@1.2.5-r0?arch=x86_64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12",
        "pkg:golang/ex.com/app@%28devel%29",
        "pkg:golang/github.com/a/b@v1.2.3",
        "pkg:golang/stdlib@1.22.1",
        "pkg:npm/left-pad@1.3.0",
        "pkg:pypi/six@1.16.0",
        "pkg:rpm/debian/bash@5.2-1.fc40?arch=x86_64&distro=debian-12"]
    # said, not passed over in silence
    assert "Berkeley DB" in document["creationInfo"]["comment"]
    bash = [p for p in document["packages"] if p["name"] == "bash"][0]
    assert bash["licenseDeclared"] == "GPL-3.0-or-later"
    ids = [p["SPDXID"] for p in document["packages"]]
    assert len(set(ids)) == len(ids)
    related = {r["relatedSpdxElement"] for r in document["relationships"]}
    assert related == set(ids)
    # the same image, the same document
    assert json.loads(strake.run("sbom", "pk:1").out) == document
    missing = strake.run("sbom", "nothing:1", check=False)
    assert missing.code == 1 and "no such image: nothing:1" in missing.err, missing


TWO = ("FROM multi\nARG TOKEN\nARG MIRROR\nLABEL a=b\nCOPY root/var/lib/dpkg/status "
       "/var/lib/dpkg/status\n")
SECRETS = ("--build-arg", "TOKEN=hunter2-canary", "--build-arg",
           "MIRROR=https://user:pw-canary@example.org/x", "--build-arg",
           "HTTP_PROXY=http://proxy-canary:1")


def test_index_form(strake):
    package_context(strake)
    target, secret = strake.path("out"), strake.write("../secret", "content-canary")
    strake.build("--provenance=mode=max", "--sbom=true", "--platform", "linux/amd64,linux/arm64",
                 "--secret", "id=npmrc,src=" + secret, *SECRETS, "-t", "at/test:1", "-o",
                 "type=oci,dest=%s,tar=false" % target, dockerfile=TWO, bases=("multi",))
    index, read = index_of(target)
    platforms = [m["platform"]["architecture"] for m in index["manifests"]]
    assert platforms == ["amd64", "arm64", "unknown", "unknown"]
    for image, attested in zip(index["manifests"][:2], index["manifests"][2:]):
        assert attested["annotations"] == {
            "vnd.docker.reference.digest": image["digest"],
            "vnd.docker.reference.type": "attestation-manifest"}
        assert attested["platform"] == {"architecture": "unknown", "os": "unknown"}
        manifest = json.loads(read(attested["digest"]))
        config = json.loads(read(manifest["config"]["digest"]))
        assert config["os"] == "unknown" and config["rootfs"]["diff_ids"] == [
            layer["digest"] for layer in manifest["layers"]]
        found = statements(read, manifest)
        assert set(found) == {SLSA, SPDX}
        arch = image["platform"]["architecture"]
        for statement in found.values():
            assert statement["subject"] == [{
                "name": "pkg:docker/at/test@1?platform=linux%%2F%s" % arch,
                "digest": {"sha256": image["digest"].split(":")[1]}}]
        assert purls(found[SPDX]["predicate"]) == ["pkg:deb/debian/libc6@2.36-9?arch=amd64"]
        made = found[SLSA]["predicate"]["buildDefinition"]
        request = made["externalParameters"]["request"]
        assert request["args"] == {"build-arg:TOKEN": "(withheld)",
                                   "build-arg:MIRROR": "https://xxxxx:xxxxx@example.org/x"}
        assert request["secrets"] == [{"id": "npmrc"}]
        assert made["externalParameters"]["configSource"] == {"path": "Dockerfile"}
        # what this platform was made of, not the other one
        assert len(made["resolvedDependencies"]) == 1
        base = made["resolvedDependencies"][0]
        assert base["uri"] == "pkg:oci/multi@latest?platform=linux%%2F%s" % arch
        assert len(base["digest"]["sha256"]) == 64
        run = found[SLSA]["predicate"]["runDetails"]
        source = run["metadata"]["buildkit_metadata"]["source"]["infos"][0]
        assert base64.b64decode(source["data"]).decode() == TWO
        assert run["metadata"]["startedOn"] <= run["metadata"]["finishedOn"]
        text = json.dumps(found)
        for canary in ("hunter2-canary", "pw-canary", "proxy-canary", "content-canary",
                       strake.dir):
            assert canary not in text, canary
    # kept with the image, and shown
    shown = json.loads(strake.run("inspect", "at/test:1").out)[0]
    assert shown["SBOM"]["spdxVersion"] == "SPDX-2.3"
    assert shown["Provenance"]["buildDefinition"]["internalParameters"]["builderPlatform"] == (
        "linux/" + HOST)
    # an image with attestations is an image to everybody who reads it
    again = strake.image("--build-context", "base=oci-layout://%s:1" % target,
                         dockerfile="FROM base\nCOPY root/etc/os-release /x\n", name="again")
    assert again.file("var/lib/dpkg/status").decode() == DPKG


def test_referrers_form_and_least(strake):
    package_context(strake)
    target = strake.path("out")
    strake.build("--attest", "type=provenance", "--attest", "type=sbom", "--attest-form=referrers",
                 *SECRETS, "-o", "type=oci,dest=%s,tar=false,name=at/test:1" % target,
                 dockerfile=TWO, bases=("multi",))
    with open(os.path.join(target, "index.json")) as f:
        entries = json.load(f)["manifests"]

    def read(digest):
        with open(os.path.join(target, "blobs/sha256", digest.split(":")[1]), "rb") as f:
            return f.read()
    image, rest = entries[0], entries[1:]
    assert image["mediaType"].endswith("manifest.v1+json")
    assert [r["annotations"]["in-toto.io/predicate-type"] for r in rest] == [SLSA, SPDX]
    for entry in rest:
        manifest = json.loads(read(entry["digest"]))
        assert manifest["artifactType"] == "application/vnd.in-toto+json"
        assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
        assert read(manifest["config"]["digest"]) == b"{}"
        assert manifest["subject"]["digest"] == image["digest"]
        found = statements(read, manifest)
        if SLSA in found:  # mode=min
            request = found[SLSA]["predicate"]["buildDefinition"]["externalParameters"]["request"]
            assert request["args"] == {} and "secrets" not in request
            metadata = found[SLSA]["predicate"]["runDetails"]["metadata"]
            assert "buildkit_metadata" not in metadata


def test_pushed_with_the_image(strake, registry, tool):
    """At the build and later from the store; by podman's and skopeo's eyes still an image."""
    skopeo = tool("skopeo")
    name = "%s/attest-%s" % (registry, strake.user.kind)
    package_context(strake)
    strake.build("--provenance", "--sbom", "--push", "-t", name + ":1", dockerfile=TWO,
                 bases=("multi",))
    strake.run("push", name + ":1")

    def raw(reference):
        return json.loads(skopeo("inspect", "--raw", "--tls-verify=false",
                                 "docker://" + reference).stdout)
    index = raw(name + ":1")
    assert [m["platform"]["architecture"] for m in index["manifests"]] == [HOST, "unknown"]
    attested = raw("%s@%s" % (name, index["manifests"][1]["digest"]))
    assert [layer["annotations"]["in-toto.io/predicate-type"] for layer in attested["layers"]] == [
        SLSA, SPDX]
    shown = json.loads(skopeo("inspect", "--tls-verify=false", "docker://" + name + ":1").stdout)
    assert shown["Architecture"] == HOST
    # a later build without them leaves none behind; a pull brings those of the registry back
    strake.build("-t", name + ":1", bases=("multi",))
    assert "Provenance" not in json.loads(strake.run("inspect", name + ":1").out)[0]
    strake.run("rmi", name + ":1")
    strake.run("pull", "-q", name + ":1")
    pulled = json.loads(strake.run("inspect", name + ":1").out)[0]
    assert purls(pulled["SBOM"]) == ["pkg:deb/debian/libc6@2.36-9?arch=amd64"]
    assert pulled["Provenance"]["runDetails"]["builder"]["id"].startswith("pkg:generic/strake@")
    # several platforms stay together under another name, and when that is pushed
    strake.build("--sbom", "--platform", "linux/amd64,linux/arm/v7", "-t", "two:1",
                 bases=("multi",))
    strake.run("tag", "two:1", name + ":two")
    strake.run("push", name + ":two")
    assert [m["platform"]["architecture"] for m in raw(name + ":two")["manifests"]] == [
        "amd64", "arm", "unknown", "unknown"]
    # this registry has no referrers API: the list goes under the fallback tag
    strake.build("--provenance", "--attest-form=referrers", "--push", "-t", name + ":2",
                 bases=("multi",))
    digest = skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}",
                    "docker://" + name + ":2").stdout.strip()
    listed = raw("%s:%s" % (name, digest.replace(":", "-")))
    assert listed["mediaType"].endswith("index.v1+json")
    assert listed["manifests"][0]["artifactType"] == "application/vnd.in-toto+json"
    assert raw("%s@%s" % (name, listed["manifests"][0]["digest"]))["subject"]["digest"] == digest


def test_files_of_local_and_tar(strake):
    strake.write("f", "x")
    local, tar = strake.path("local"), strake.path("t.tar")
    archive = strake.path("d.tar")
    result = strake.build("--provenance", "--sbom", "-o", local, "-o", "type=tar,dest=" + tar, "-o",
                          "type=docker,dest=" + archive, dockerfile="FROM scratch\nCOPY f /d/f\n")
    assert "a docker archive has no place for attestations" in result.err
    subject = [{"name": "d/f", "digest": {"sha256": hashlib.sha256(b"x").hexdigest()}}]
    with tarfile.open(tar) as t:
        for name, kind in (("provenance.json", SLSA), ("sbom.spdx.json", SPDX)):
            inside = json.load(t.extractfile(name))
            with open(os.path.join(local, name)) as f:
                beside = json.load(f)
            for statement in (inside, beside):
                assert statement["predicateType"] == kind and statement["subject"] == subject
    failed = strake.build("--sbom", "-o", local, check=False,
                          dockerfile="FROM scratch\nCOPY f /sbom.spdx.json\n")
    assert failed.code == 2 and "sbom.spdx.json cannot stand beside" in failed.err, failed


def test_annotations_by_type_and_platform(strake):
    target = strake.path("out")
    flags = ["index:i=1", "manifest[linux/arm64]:only=arm", "both=x",
             "index,manifest-descriptor:d=2", "index-descriptor:top=3"]
    strake.build("--platform", "linux/amd64,linux/arm64",
                 *[x for f in flags for x in ("--annotation", f)],
                 "-o", "type=oci,dest=%s,tar=false,annotation-index.o=4,"
                 "annotation-manifest[linux/amd64].p.q=5" % target,
                 dockerfile="FROM multi\nLABEL a=b\n", bases=("multi",))
    with open(os.path.join(target, "index.json")) as f:
        assert json.load(f)["manifests"][0]["annotations"]["top"] == "3"
    index, read = index_of(target)
    assert index["annotations"] == {"i": "1", "d": "2", "o": "4"}
    assert [m["annotations"] for m in index["manifests"]] == [{"d": "2"}, {"d": "2"}]
    assert [json.loads(read(m["digest"]))["annotations"] for m in index["manifests"]] == [
        {"p.q": "5", "both": "x"}, {"only": "arm", "both": "x"}]
    for flag, said in (("manifst:a=b", "unknown annotation type manifst"),
                       ("manifest[linux/arm64:a=b", "lacks its ]"),
                       ("manifest[a/b/c/d]:a=b", "invalid platform"),
                       ("manifest:=b", "the key is empty")):
        failed = strake.build("--annotation", flag, "-t", "x", bases=("multi",), check=False)
        assert failed.code == 2 and said in failed.err, (flag, failed)
    failed = strake.build("--annotation", "index:a=b", "-o",
                          "type=oci,dest=%s" % strake.path("one"), bases=("multi",), check=False)
    assert failed.code == 2 and "there is no index to annotate" in failed.err, failed


def test_metadata_file(strake):
    path, target = strake.path("meta.json"), strake.path("out")
    strake.build("--metadata-file", path, "-t", "m:1", "-o", "type=oci,dest=%s,tar=false" % target,
                 dockerfile="FROM busybox\nARG A\nLABEL a=b\n", *("--build-arg", "A=1"))
    with open(path) as f:
        metadata = json.load(f)
    with open(os.path.join(target, "index.json")) as f:
        top = json.load(f)["manifests"][0]
    assert metadata["containerimage.digest"] == top["digest"]
    assert metadata["containerimage.descriptor"]["digest"] == top["digest"]
    assert metadata["containerimage.descriptor"]["size"] == top["size"]
    assert metadata["containerimage.config.digest"].startswith("sha256:")
    assert metadata["image.name"] == "m:1" and metadata["buildx.build.ref"]
    provenance = metadata["buildx.build.provenance"]
    assert provenance["buildDefinition"]["externalParameters"]["request"]["args"] == {}
    strake.build("--metadata-file", path, "-t", "m:1", "--build-arg", "A=1",
                 env={"BUILDX_METADATA_PROVENANCE": "max"})
    with open(path) as f:
        provenance = json.load(f)["buildx.build.provenance"]
    assert provenance["buildDefinition"]["externalParameters"]["request"]["args"] == {
        "build-arg:A": "1"}
    strake.build("--metadata-file", path, env={"BUILDX_METADATA_PROVENANCE": "disabled"})
    with open(path) as f:
        assert "buildx.build.provenance" not in json.load(f)


def test_reproducible_with_an_epoch(strake):
    """With SOURCE_DATE_EPOCH two builds agree to the last byte, attestations included."""
    digests = set()
    for i in range(2):
        target = strake.path("out%d" % i)
        strake.build("--provenance=mode=max", "--sbom", "--no-cache", "-o",
                     "type=oci,dest=%s,tar=false,rewrite-timestamp=true" % target,
                     dockerfile="FROM busybox\nRUN echo 1 >/x\n",
                     env={"SOURCE_DATE_EPOCH": "1700000000"})
        with open(os.path.join(target, "index.json")) as f:
            digests.add(json.load(f)["manifests"][0]["digest"])
    assert len(digests) == 1, digests


def test_bad_flags_are_named(strake):
    strake.dockerfile("FROM scratch\nLABEL a=b\n")
    for flag, said in (("--provenance=mode=mid", "min or max is expected"),
                       ("--provenance=maybe", "true, false or KEY=VALUE is expected"),
                       ("--provenance=version=v0.2", "v1 is expected"),
                       ("--attest=mode=max", "type=provenance or type=sbom is expected"),
                       ("--attest=type=provenance,mod=max", "did you mean mode?"),
                       ("--sbom=generator=x/y", "generator images are not supported"),
                       ("--attest-form=tree", "index or referrers is expected")):
        failed = strake.run("build", flag, strake.context, check=False)
        assert failed.code == 2 and said in failed.err, (flag, failed)
    quiet = strake.build("--provenance=false", "--sbom=false", "-t", "n:1")
    assert "SBOM" not in strake.run("inspect", "n:1").out, quiet
