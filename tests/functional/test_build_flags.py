"""docker's and buildah's flags: fulfilled, or refused with the way here; none ignored."""

import pytest

PLAIN = "FROM busybox\nCOPY . /c\n"


@pytest.mark.parametrize("flag", ["--rm", "--force-rm", "--compress", "--layers", "--format=oci",
                                  "--isolation=default", "--identity-label=false",
                                  "--disable-content-trust=true", "--pull=missing"])
def test_what_is_so_anyway(strake, flag):
    strake.build(flag, dockerfile="FROM scratch\nENV A=b\n", bases=())


@pytest.mark.parametrize("flag, hint", [
    ("--rm=false", "no intermediate containers"), ("--layers=false", "--squash"),
    ("--identity-label", "--label"), ("--isolation=chroot", "isolated in full"),
    ("--format=docker", "type=docker"), ("--memory-swap=1g", "--resource"),
    ("--cap-add=SYS_ADMIN", "security.insecure"), ("--volume=/a:/b", "--build-context"),
    ("-v=/a:/b", "--build-context"), ("--tls-verify=false", "registries.conf"),
    ("--creds=a:b", "strake login"), ("--from=busybox", "--build-context"),
    ("--timestamp=0", "--source-date-epoch"), ("--pull=often", "missing"),
    ("--variant=v7", "--arch"), ("--cpu-period=5", "--cpu-quota")])
def test_what_cannot_be(strake, flag, hint):
    result = strake.build(flag, dockerfile="FROM scratch\nENV A=b\n", bases=(), check=False)
    assert result.code == 2 and hint in result.err, result


def copied(image):
    return sorted(n[2:] for n in image.tree() if n.startswith("c/"))


def test_ignorefile_and_containerignore(strake):
    for name in ("a", "b", "c"):
        strake.write(name)
    strake.write(".containerignore", "a\nDockerfile\n.*\n")
    assert copied(strake.image(dockerfile=PLAIN)) == ["b", "c"]
    strake.write(".dockerignore", "b\nDockerfile\n.*\n")
    assert copied(strake.image(dockerfile=PLAIN)) == ["a", "c"]
    other = strake.write("other", "c\nDockerfile\nother\n.*\n", root=strake.dir)
    image = strake.image("--ignorefile", other, dockerfile=PLAIN)
    assert copied(image) == ["a", "b"]


def test_arch_is_a_platform(strake):
    image = strake.image("--arch=arm64", "--variant=v8", dockerfile="FROM scratch\nENV A=b\n",
                         bases=())
    assert image.config["architecture"] == "arm64"


def test_source_date_epoch(strake):
    image = strake.image("--source-date-epoch=1000000000", dockerfile="FROM busybox\nENV A=b\n")
    assert image.config["created"] == "2001-09-09T01:46:40Z"


def test_pull_never(strake):
    result = strake.build("--pull=never", dockerfile="FROM nowhere.invalid/x\n", bases=(),
                          check=False)
    assert result.code == 1 and "--pull=never" in result.err and "Dockerfile:1" in result.err
