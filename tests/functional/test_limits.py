"""--resource: limits of a RUN where a cgroup v2 is delegated, a clear word where none is."""

import subprocess

import pytest


def unified():
    kind = subprocess.run(["stat", "-f", "-c", "%T", "/sys/fs/cgroup"], capture_output=True,
                          text=True).stdout.strip()
    return kind == "cgroup2fs"


def limited(strake, limit, command):
    result = strake.build("--resource", limit, dockerfile="FROM busybox\nRUN %s\n" % command,
                          check=False)
    if "cannot limit the step's resources" in result.err:
        pytest.skip("no cgroup v2 of our own here")
    return result


@pytest.mark.skipif(unified(), reason="this machine has cgroup v2 alone")
def test_no_cgroup_v2(strake):
    result = strake.build("--resource", "memory=64m", dockerfile="FROM busybox\nRUN true\n",
                          check=False)
    assert result.code == 1 and "cgroup v2" in result.err and "hint:" in result.err, result
    assert "Dockerfile:2" in result.err


def test_memory(strake):
    result = limited(strake, "memory=32m", "x=$(head -c 200000000 /dev/zero | tr '\\\\0' x); echo")
    assert result.code == 1 and "memory" in result.err and "peak" in result.err, result


def test_pids(strake):
    result = limited(strake, "pids=16", "for i in $(seq 50); do sleep 5 & done; wait")
    assert result.code == 1, result


def test_cpus(strake):
    assert limited(strake, "cpus=0.5", "true").code == 0
