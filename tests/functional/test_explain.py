"""Why a step runs: strake explain, build --explain, --dry-run, and the history of builds."""

import json
import os

from conftest import executed

DOCKERFILE = """\
FROM busybox AS build
ARG VERSION=1
ENV LEVEL=a
WORKDIR /src
COPY . .
RUN cat *.txt >/out; echo $VERSION
FROM scratch
COPY --from=build /out /out
"""


def explain(strake, *args, command=("explain",), bases=("busybox",)):
    """{step's name after "] ": (verdict, reasons)}."""
    out = strake.run(*command, "--format=json", *strake.bases(bases), *args, strake.context).out
    return {s["name"].split("] ", 1)[1]: (s["verdict"], s.get("why", []))
            for s in json.loads(out)["steps"]}


def reasons(step):
    return [(r["kind"], r.get("what"), r.get("old"), r.get("new")) for r in step[1]]


def test_plan_of_files_arguments_and_what_follows(strake):
    strake.write("a.txt", "a\n")
    strake.write("b.txt", "b\n")
    strake.write(".dockerignore", "Dockerfile\n")
    strake.dockerfile(DOCKERFILE)
    first = explain(strake)
    assert first["WORKDIR /src"][0] == "run"
    assert [r["kind"] for r in first["WORKDIR /src"][1]] == ["new"]
    strake.build()
    assert {v for v, _ in explain(strake).values()} == {"cached"}

    strake.write("a.txt", "other\n")
    strake.write("c.txt", "c\n")
    os.unlink(os.path.join(strake.context, "b.txt"))
    plan = explain(strake)
    assert plan["WORKDIR /src"] == ("cached", [])
    verdict, why = plan["COPY . ."]
    assert verdict == "run" and len(why) == 1
    assert (why[0]["kind"], why[0]["added"], why[0]["changed"], why[0]["removed"]) == (
        "files", ["c.txt"], ["a.txt"], ["b.txt"])
    # What comes after depends on what the copy makes, and nothing of its own is new.
    assert plan["RUN cat *.txt >/out; echo 1"] == ("maybe", [])
    assert plan["COPY --from=build /out /out"] == ("maybe", [])
    # Nothing was run, so nothing is on record now that was not before.
    assert explain(strake) == plan

    plan = explain(strake, "--build-arg", "VERSION=2")
    assert plan["RUN cat *.txt >/out; echo 2"][0] == "run"
    assert reasons(plan["RUN cat *.txt >/out; echo 2"]) == [("build-arg", "VERSION", "1", "2")]
    text = strake.run("build", "--dry-run", *strake.bases(["busybox"]), strake.context).out
    assert "RUN     [build 2/4] COPY . .  (line 5)\n" in text
    assert "\n            removed  b.txt\n" in text
    assert "depends on [build 2/4] COPY . .: cached if that comes out equal" in text
    assert "1 of 5 steps would run, 2 more may; 2 cached." in text


RUN_STEP = "FROM busybox AS s\n%s\nRUN %s\n"

# One field of a RUN's key after the other: what is before it, the step, the options; the reason.
CHANGES = [
    ("ENV A=1", "true", [], [("env", "A", None, "1")]),
    ("ENV A=2", "true", [], [("env", "A", "1", "2")]),
    ("ENV MY_TOKEN=hunter2", "true", [], None),
    ("", "true && true", [], [("command", None, "true", "true && true")]),
    ('SHELL ["/bin/sh", "-ec"]', "true", [], [("shell", None, "/bin/sh -c", "/bin/sh -ec")]),
    ("USER 5", "true", [], [("user", None, None, "5")]),
    ("", "--network=none true", [], [("network", None, "default", "none")]),
    ("", "--mount=type=tmpfs,target=/t true", [], [("mount", None, None, "type=tmpfs,target=/t")]),
    ("", "true", ["--shm-size=1m"], [("shm-size", None, None, "1048576")]),
    ("", "true", ["--ulimit=nofile=99"], [("ulimit", None, None, "nofile=99")]),
    ("", "true", ["--add-host=h:1.2.3.4"], [("add-host", None, None, "h")]),
    ("", "true", ["--build-arg=BUILDKIT_SANDBOX_HOSTNAME=h"], [("hostname", None, None, "h")]),
    ("", "true", ["--no-cache"], [("no-cache", None, None, None)]),
    ("", "true", ["--no-cache-filter=s"], [("no-cache", "s", None, None)]),
    ("", '["true"]', [], None),
    ("", "<<E\ntrue\nE", [], None),
]


def test_each_field_of_run_is_named(strake):
    strake.build(dockerfile=RUN_STEP % ("", "true"))
    for before, step, options, expected in CHANGES:
        strake.dockerfile(RUN_STEP % (before, step))
        plan = explain(strake, *options)
        name = [n for n in plan if n.startswith("RUN")][0]
        verdict, why = plan[name]
        assert verdict == "run" and why, (before, step, options, plan)
        kinds = [r["kind"] for r in why]
        assert "other" not in kinds, (before, step, why)
        if expected is not None:
            assert reasons(plan[name]) == expected
        if before.startswith("ENV A="):
            strake.build()
    strake.dockerfile(RUN_STEP % ("ENV MY_TOKEN=hunter2", "true"))
    strake.build()
    strake.dockerfile(RUN_STEP % ("ENV MY_TOKEN=hunter3", "true"))
    _, why = explain(strake)["RUN true"]
    assert [r["what"] for r in why] == ["MY_TOKEN"] and "hunter" not in json.dumps(why)
    for name in ("meta.db", "meta.db-wal", "logs/builds.jsonl"):
        with open(os.path.join(strake.store, name), "rb") as f:
            assert b"hunter3" not in f.read(), name


def test_copy_base_and_lost_results(strake):
    strake.write("f", "1")
    strake.build(dockerfile="FROM busybox\nCOPY f /d/\nRUN cat /d/f\n")
    for flags, kind in (("--chown=1 f /d/", "chown"), ("--chmod=700 f /d/", "chmod"),
                        ("f /e/", "destination"), ("--link f /d/", "options"),
                        ("--exclude=x f /d/", "exclude")):
        strake.dockerfile("FROM busybox\nCOPY %s\nRUN cat /d/f\n" % flags)
        (_, why), = [s for n, s in explain(strake).items() if n.startswith("COPY")]
        assert [r["kind"] for r in why] == [kind], flags
    # A line put in above: the steps below it are still compared with themselves.
    strake.dockerfile("FROM busybox\nRUN touch /new\nCOPY f /d/\nRUN cat /d/f\n")
    plan = explain(strake)
    assert [r["kind"] for r in plan["RUN touch /new"][1]] == ["new"]
    assert plan["COPY f /d/"] == ("maybe", []) and plan["RUN cat /d/f"] == ("maybe", [])
    # Another base.
    strake.dockerfile("FROM alpine\nCOPY f /d/\nRUN cat /d/f\n")
    kind, _, old, new = reasons(explain(strake, bases=["alpine"])["COPY f /d/"])[0]
    assert (kind, old.split("@")[0][-14:], new.split("@")[0][-13:]) == (
        "base-image", "busybox:latest", "alpine:latest")
    # The result was collected.
    strake.dockerfile("FROM busybox\nCOPY f /d/\nRUN cat /d/f\n")
    assert {v for v, _ in explain(strake).values()} == {"cached"}
    strake.run("prune")
    plan = explain(strake)
    assert [r["kind"] for r in plan["COPY f /d/"][1]] == ["gone"]


def test_two_branches_are_compared_with_themselves(strake):
    strake.dockerfile("FROM busybox\nCOPY src /src\n")
    for branch in ("x", "y"):
        for i in range(20):
            strake.write("src/%d" % i, branch)
        strake.build()
    for i in range(20):
        strake.write("src/%d" % i, "x")
    strake.write("src/3", "edited")
    (why,) = explain(strake)["COPY src /src"][1]
    assert why["changed"] == ["src/3"] and not why["added"] and not why["removed"]


def test_explain_while_building_and_history(strake):
    strake.write("in.txt", "1\n")
    strake.build(dockerfile=DOCKERFILE)
    strake.write("in.txt", "2\n")
    result = strake.build("--explain", "-t", "named")
    assert executed(result)
    assert "why: files of the build context: 1 changed\n" in result.err
    assert "why: an earlier step came out different: [build 2/4] COPY . .\n" in result.err

    strake.run("build", "-q", "--target=build", *strake.bases(["busybox"]), strake.context)
    strake.dockerfile("FROM busybox\nRUN seq 100000; echo oops >&2; exit 3\n")
    strake.build(check=False)

    builds = json.loads(strake.run("history", "builds", "--format=json").out)
    assert [(b["outcome"], b["cached"], b["ran"]) for b in builds] == [
        ("failed", 1, 1), ("ok", 4, 0), ("ok", 2, 3), ("ok", 1, 4)]
    assert builds[2]["tags"] == ["named"] and builds[1]["target"] == "build"
    failed = builds[0]
    assert failed["line"] == 2 and "exit code: 3" in failed["error"]
    assert [s["verdict"] for s in failed["steps"]] == ["cached", "failed"]
    copy = [s for s in builds[2]["steps"] if s["name"].endswith("COPY . .")][0]
    assert copy["why"][0]["changed"] == ["in.txt"] and copy["ms"] >= 0

    text = strake.run("history", "builds").out
    assert [line.split()[0] for line in text.splitlines()[1:]] == [b["id"] for b in builds]
    text = strake.run("history", "builds", builds[2]["id"][:6]).out
    assert "changed  in.txt" in text and "outcome      ok" in text
    # All that was printed, where the terminal showed the end of it.
    log = strake.run("history", "builds", "latest", "--log", "2").out
    assert log.splitlines() == [str(i) for i in range(1, 100001)] + ["oops"]
    bad = strake.run("history", "builds", "latest", "--log", "9", check=False)
    assert bad.code == 2 and "1 to 2" in bad.err
    bad = strake.run("history", "builds", "zzz", check=False)
    assert bad.code == 1 and "no such build: zzz" in bad.err


def test_dry_run_of_a_broken_copy_fails(strake):
    strake.dockerfile("FROM busybox\nCOPY nowhere /\n")
    result = strake.run("explain", *strake.bases(["busybox"]), strake.context, check=False)
    assert result.code == 1 and "nowhere" in result.err and "Dockerfile:2" in result.err


def test_heredocs_bind_mounts_and_the_live_view(strake):
    text = ("FROM busybox\nCOPY <<E /x\nhello\nE\nRUN <<E\necho one\nE\n"
            "RUN --mount=type=bind,source=d,target=/d cat /d/f\n")
    strake.write("d/f", "1")
    strake.build(dockerfile=text)
    strake.write("d/f", "2")
    strake.dockerfile(text.replace("hello", "hallo").replace("echo one", "echo one\necho two"))
    steps = [why for verdict, why in explain(strake).values() if verdict == "run"]
    assert [[(r["kind"], r.get("old"), r.get("new")) for r in why] for why in steps] == [
        [("command", "hello\n", "hallo\n")], [("command", "echo one\n", "echo one\necho two\n")],
        [("files", None, None)]]
    assert steps[2][0]["changed"] == ["d/f"]
    assert steps[1][0]["text"].endswith('"echo one" -> "echo one\\necho two"')
    # The live view keeps nothing of the reasons it showed: they are told again at the end.
    result = strake.run("build", "--progress=tty", "--explain", *strake.bases(["busybox"]),
                        strake.context)
    assert "\nWhy these steps ran:\n" in result.err
    assert "\n      changed  d/f\n" in result.err.split("Why these steps ran:")[1]
