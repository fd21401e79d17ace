"""--resource: what a RUN may use, in the cgroup that the documented command gives; a clear word where
there is none. tests/vm/run has a machine on which none of these is skipped."""

import os
import subprocess

import pytest

from conftest import TIMEOUT, Result, steps

pytestmark = pytest.mark.single
NEW_CGROUP = ["--scope", "-p", "Delegate=yes"]
# inside a step: what the kernel holds it to
SHOW = "cd /sys/fs/cgroup && echo limits $(cat memory.max pids.max cpu.max 2>&-)"


def unified():
    kind = subprocess.run(["stat", "-f", "-c", "%T", "/sys/fs/cgroup"], capture_output=True,
                          text=True).stdout.strip()
    return kind == "cgroup2fs"


def delegating(strake):
    """The command that our error messages and docs/sandbox.md advise, for this user."""
    if not unified():
        pytest.skip("this machine has no unified cgroup tree")
    if strake.user.uid == 0:
        if not os.path.isdir("/run/systemd/system"):
            pytest.skip("systemd does not run here")
        return ["systemd-run", "--quiet", *NEW_CGROUP]
    runtime = "/run/user/%d" % strake.user.uid
    if not os.path.exists(runtime + "/systemd/private"):
        pytest.skip("%s has no systemd of its own here" % strake.user.name)
    return ["env", "XDG_RUNTIME_DIR=" + runtime, "systemd-run", "--user", "--quiet", *NEW_CGROUP,
            "env", "XDG_RUNTIME_DIR=" + strake.env["XDG_RUNTIME_DIR"]]


def in_own_cgroup(strake, *command):
    run = subprocess.run([*delegating(strake), *command], capture_output=True, text=True,
                         timeout=TIMEOUT, env=strake.env, cwd=strake.dir, stdin=subprocess.DEVNULL,
                         **strake.user.arguments)
    return Result(run.returncode, run.stdout, run.stderr)


def build_command(strake, *args, dockerfile):
    return [strake.binary, "build", "--progress=plain", *strake.bases(["busybox"]), *args,
            "-f", strake.dockerfile(dockerfile), strake.context]


def limited(strake, *args, dockerfile):
    return in_own_cgroup(strake, *build_command(strake, *args, dockerfile=dockerfile))


@pytest.mark.skipif(unified(), reason="this machine has cgroup v2 alone")
def test_no_cgroup_v2(strake):
    result = strake.build("--resource", "memory=64m", dockerfile="FROM busybox\nRUN true\n",
                          check=False)
    assert result.code == 1 and "cgroup v2" in result.err and "hint:" in result.err, result
    assert "Dockerfile:2" in result.err


def test_not_delegated(strake):
    """An ordinary user's login: the message is the cure, and the cure works (the tests below)."""
    with open("/proc/self/cgroup") as f:
        own = f.read().rpartition("0::")[2].split("\n")[0]
    if not unified() or strake.user.uid == 0 or (
            os.stat("/sys/fs/cgroup%s/cgroup.procs" % own).st_uid == strake.user.uid):
        pytest.skip("the cgroup of this process is delegated, or there is none")
    result = strake.build("--resource", "memory=64m", dockerfile="FROM busybox\nRUN true\n",
                          check=False)
    assert result.code == 1 and "Dockerfile:2" in result.err, result
    assert "cannot limit the step's resources: its cgroup is not delegated to this user" in result.err
    assert "hint: run the build in a cgroup of its own: `systemd-run --user --scope " \
           "-p Delegate=yes strake build" in result.err, result


def test_the_kernel_has_what_was_asked(strake):
    ask = ["--resource", "memory=64m,pids=77,cpus=0.5"]
    result = limited(strake, *ask, dockerfile="FROM busybox\nRUN %s\n" % SHOW)
    assert result.code == 0 and " limits 67108864 77 50000 100000\n" in result.err, result
    # of docker build and buildah; nothing is left of the limits that were not asked for
    ask = ["--memory", "48m", "--cpu-period", "20000", "--cpu-quota", "30000"]
    result = limited(strake, *ask, dockerfile="FROM busybox\nRUN %s # docker\n" % SHOW)
    assert result.code == 0 and " limits 50331648 150000 100000\n" in result.err, result
    result = limited(strake, "--resource", "cpus=0.005", dockerfile="FROM busybox\nRUN cat "
                     "/sys/fs/cgroup/cpu.max\n")
    assert result.code == 0 and " 5000 1000000\n" in result.err, result


def test_memory(strake):
    result = limited(strake, "--resource", "memory=32m", dockerfile="FROM busybox\nRUN true\n"
                     "RUN dd if=/dev/zero of=/dev/null bs=200M count=1\nRUN expr 600 + 66\n")
    assert result.code == 1 and "Dockerfile:3" in result.err, result
    assert "it was killed for using more memory than --resource allows (33.6MB), at a peak of 33" in \
        result.err, result
    assert " 666\n" not in result.err
    # what was killed may be a part that the step can do without
    result = limited(strake, "--resource", "memory=32m", dockerfile="FROM busybox\n"
                     "RUN dd if=/dev/zero of=/dev/null bs=200M count=1 || echo smaller\n")
    assert result.code == 0 and "smaller" in result.err, result


def test_pids(strake):
    result = limited(strake, "--resource", "pids=16", dockerfile="FROM busybox\n"
                     "RUN for i in $(seq 50); do sleep 5 & done; wait\n")
    assert result.code == 1 and "Dockerfile:2" in result.err, result
    assert "can't fork: Resource temporarily unavailable" in result.err, result


def test_builds_side_by_side_and_what_a_killed_one_left(strake):
    """All in one cgroup, which holds the shell, too."""
    slow = build_command(strake, "--resource", "pids=50", dockerfile="FROM busybox\nRUN sleep 100\n")
    other = strake.write("other", "FROM busybox\nARG N\nRUN cat /sys/fs/cgroup/pids.max; sleep 0.5\n")
    script = """
own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
steps() { ls -d "$own"/strake-step-* 2>/dev/null | wc -l; }
"$@" >/dev/null 2>&1 &
slow=$!
for i in $(seq 300); do [ "$(steps)" = 1 ] && break; sleep 0.1; done
(%s --resource pids=41 --build-arg N=1 2>&1) & one=$!
(%s --resource pids=42 --build-arg N=2 2>&1) & two=$!
wait $one; a=$?
wait $two; echo "codes $a $?, steps left: $(steps)"
kill -9 $slow
wait $slow
%s --resource pids=43 --build-arg N=3 2>&1; echo "then $?, steps left: $(steps)"
"""
    build = " ".join([strake.binary, "build", "--progress=plain", *strake.bases(["busybox"]), "-f",
                      other, strake.context])
    result = in_own_cgroup(strake, "bash", "-c", script % (build, build, build), "sh", *slow)
    assert "codes 0 0, steps left: 1\n" in result.out, result
    assert "then 0, steps left: 0\n" in result.out, result
    for n in (41, 42, 43):
        assert " %d\n" % n in result.out, result


def test_a_container(strake):
    strake.build("-t", "box", dockerfile="FROM busybox\n")
    run = [strake.binary, "run", "--rm", "--network=none", "-m", "32m", "--pids-limit", "70",
           "--cpus", "1.5", "box", "sh", "-c"]
    result = in_own_cgroup(strake, *run, SHOW)
    assert result.code == 0 and result.out == "limits 33554432 70 150000 100000\n", result
    result = in_own_cgroup(strake, *run, "exec dd if=/dev/zero of=/dev/null bs=200M count=1")
    assert result.code == 137, result


def test_limits_are_no_input(strake):
    """What is in the cache needs no cgroup."""
    strake.build(dockerfile="FROM busybox\nRUN true\n")
    result = strake.build("--resource", "memory=64m", dockerfile="FROM busybox\nRUN true\n")
    assert "CACHED" in steps(result).values(), result


def test_what_is_no_limit(strake):
    for flag, word in (("--resource=cpus=0", "cpus=0"), ("--resource=cpus=nan", "cpus=nan"),
                       ("--resource=cpus=0.0001", "0.001 at least"), ("--resource=pids=0", "pids=0"),
                       ("--resource=memory=much", "memory=much"), ("--cpu-quota=10", "0.001 at least"),
                       ("--cpu-period=5000", "needs --cpu-quota")):
        result = strake.build(flag, dockerfile="FROM scratch\n", bases=[], check=False)
        assert result.code == 2 and word in result.err, result
