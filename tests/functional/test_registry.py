"""Bases from a registry of our own: by tag, by digest, through a mirror for docker.io."""

import json

import pytest

from conftest import executed


@pytest.fixture
def pushed(strake, registry, tool):
    """busybox in the registry; returns (host, digest) and lets strake speak HTTP to it."""
    config = strake.write("registries.conf", '[registry "%s"]\nplain-http = true\n\n'
                          '[registry "docker.io"]\nmirror = http://%s\n' % (registry, registry),
                          root=strake.mkdir("config"))
    strake.env["STRAKE_CONFIG"] = config
    skopeo = tool("skopeo")
    source = "oci:%s:latest" % strake.layouts("busybox")
    for name in ("team/busybox:1", "library/mirrored:2"):
        skopeo("copy", "--dest-tls-verify=false", source, "docker://%s/%s" % (registry, name))
    digest = json.loads(skopeo("inspect", "--tls-verify=false", "docker://%s/team/busybox:1" %
                               registry).stdout)["Digest"]
    return registry, digest


def test_pull_by_tag(strake, pushed):
    result = strake.build(bases=[], dockerfile="FROM %s/team/busybox:1\nRUN true\n" % pushed[0])
    assert len(executed(result)) == 1


def test_pull_by_digest(strake, pushed):
    result = strake.build(bases=[], dockerfile="FROM %s/team/busybox@%s\nRUN true\n" % pushed)
    assert len(executed(result)) == 1


def test_mirror_of_docker_io(strake, pushed):
    result = strake.build(bases=[], dockerfile="FROM mirrored:2\nRUN true\n")
    assert len(executed(result)) == 1


def test_copy_from_registry_image(strake, pushed):
    image = strake.image(bases=[], dockerfile="FROM scratch\nCOPY --from=%s/team/busybox:1 "
                         "/etc/passwd /p\n" % pushed[0])
    assert b"root:x:0:0" in image.file("p")


def test_unknown_tag(strake, pushed):
    result = strake.build(check=False, bases=[],
                          dockerfile="FROM %s/team/busybox:nope\n" % pushed[0])
    assert 1 <= result.code <= 123 and "nope" in result.err and "Dockerfile:1" in result.err


def test_wrong_digest(strake, pushed):
    result = strake.build(check=False, bases=[], dockerfile="FROM %s/team/busybox@sha256:%s\n" % (
        pushed[0], "0" * 64))
    assert 1 <= result.code <= 123


def test_second_build_needs_no_registry(strake, pushed):
    """An image that is in the store is not asked for again (docker build does the same)."""
    text = "FROM %s/team/busybox:1\nRUN true\n" % pushed[0]
    assert len(executed(strake.build(bases=[], dockerfile=text))) == 1
    strake.env["STRAKE_CONFIG"] = strake.write(
        "unreachable.conf", '[registry "%s"]\nmirror = http://127.0.0.1:1\nca = /nonexistent\n' %
        pushed[0], root=strake.mkdir("config"))
    assert executed(strake.build(bases=[], dockerfile=text)) == []
