"""How stages run: as wide as --jobs allows, and what a failing one stops."""

import json
import os

from conftest import executed, processes_with, steps, wait_for

# Each stage waits until all four have begun: it can end only if they run side by side.
BARRIER = "".join(
    "FROM busybox AS s%d\n"
    "RUN --mount=type=cache,target=/meet touch /meet/%d; n=0; "
    "while [ $(ls /meet | wc -l) -lt 4 ]; do sleep 0.1; n=$((n+1)); [ $n -lt 100 ] || exit 1; done; "
    "echo %d >/s%d\n" % (i, i, i, i) for i in range(4)) + "FROM scratch\n" + "".join(
    "COPY --from=s%d /s%d /\n" % (i, i) for i in range(4))


def test_independent_stages_run_side_by_side(strake):
    image = strake.image("--jobs=4", dockerfile=BARRIER)
    assert set(image.tree()) == {"s0", "s1", "s2", "s3"}
    assert len(executed(strake.build())) == 0


ONE_AT_A_TIME = "".join(
    "FROM busybox AS s%d\n"
    "RUN --mount=type=cache,target=/meet mkdir /meet/lock && sleep 0.1 && rmdir /meet/lock && "
    "echo >/s%d\n" % (i, i) for i in range(3)) + "FROM scratch\n" + "".join(
    "COPY --from=s%d /s%d /\n" % (i, i) for i in range(3))


def test_one_job_runs_one_step_at_a_time(strake):
    assert len(executed(strake.build("--jobs=1", dockerfile=ONE_AT_A_TIME))) == 3


FAILING = """\
FROM busybox AS quick
RUN echo quick >/quick
RUN --mount=type=cache,target=/c touch /c/quick; echo second >/second
FROM busybox AS slow
RUN --mount=type=cache,target=/c touch /c/slow; trap '' TERM; sleep 1000
RUN echo never
FROM busybox AS bad
RUN --mount=type=cache,target=/c while ! [ -e /c/quick -a -e /c/slow ]; do sleep 0.1; done; \\
    sleep 0.5; exit 5
FROM scratch
COPY --from=quick /quick /second /
COPY --from=slow /etc /slow
COPY --from=bad /etc /bad
"""


def test_a_failing_stage_stops_the_others_and_loses_nothing(strake):
    result = strake.build("--jobs=4", dockerfile=FAILING, check=False)
    assert result.code == 1 and "exit code: 5" in result.err and "Dockerfile:8" in result.err
    states = {name.split("] ")[1].split()[-1]: state for name, state in steps(result).items()
              if "] RUN" in name}
    assert states["1000"] == "CANCELED"
    assert not [n for n in steps(result) if "never" in n]
    assert wait_for(lambda: not processes_with(strake.dir), 3)
    row = json.loads(strake.run("history", "builds", "latest", "--format=json").out)
    verdicts = {s["name"].split("] ")[1].split(" ")[-1]: s["verdict"] for s in row["steps"]}
    assert verdicts["5"] == "failed" and verdicts["1000"] == "cancelled"
    assert verdicts[">/quick"] == verdicts[">/second"] == "done"
    # What was finished is cached, in its own stage and for the whole.
    again = strake.build("--target=quick")
    assert executed(again) == []
    assert list(steps(again).values()).count("CACHED") >= 2


def test_finished_work_of_an_interrupted_build_is_cached(strake):
    strake.dockerfile("FROM busybox\nRUN echo one >/one\n"
                      "RUN --mount=type=cache,target=/c if [ -e /c/x ]; then echo two >/two; "
                      "else touch /c/x; echo be''gun; sleep 1000; fi\n")
    process = strake.popen("build", "--progress=plain", *strake.bases(["busybox"]),
                           strake.context, stderr=-1)
    seen = b""
    while b" begun" not in seen:
        chunk = os.read(process.stderr.fileno(), 4096)
        assert chunk, seen
        seen += chunk
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    result = strake.build()
    assert [n.split("RUN ")[1][:8] for n in executed(result)] == ["--mount="]
