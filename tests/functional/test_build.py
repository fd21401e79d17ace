"""Issue 2's core: multi-stage builds end to end, caching, targets, contexts."""

import os
import re
import stat

from conftest import executed, steps

TWO_STAGES = """\
FROM busybox AS build
ARG GREETING=hello
WORKDIR /src
COPY input.txt .
RUN tr a-z A-Z <input.txt >output.txt && echo "$GREETING" >>output.txt
FROM scratch
COPY --from=build /src/output.txt /output.txt
"""


def test_two_stages(strake):
    strake.write("input.txt", "text\n")
    image = strake.image(dockerfile=TWO_STAGES)
    assert set(image.tree()) == {"output.txt"}
    assert image.file("output.txt") == b"TEXT\nhello\n"


def test_build_argument(strake):
    strake.write("input.txt", "x\n")
    image = strake.image("--build-arg", "GREETING=moin", dockerfile=TWO_STAGES)
    assert image.file("output.txt") == b"X\nmoin\n"


def test_second_build_runs_no_step(strake):
    strake.write("input.txt", "text\n")
    first = strake.build("-t", "x", dockerfile=TWO_STAGES)
    assert len(executed(first)) == 1
    second = strake.build("-t", "x")
    assert executed(second) == []
    assert "CACHED" in steps(second).values()
    assert not executed(second, "COPY") and not executed(second, "WORKDIR")


def test_changed_input_runs_again(strake):
    strake.write("input.txt", "one\n")
    strake.build(dockerfile=TWO_STAGES)
    strake.write("input.txt", "two\n")
    image = strake.image()
    assert image.file("output.txt") == b"TWO\nhello\n"


def test_touched_input_is_cached(strake):
    path = strake.write("input.txt", "one\n")
    assert len(executed(strake.build(dockerfile=TWO_STAGES))) == 1
    os.utime(path, (1, 1))
    assert executed(strake.build()) == []


def test_same_size_and_time_is_noticed(strake):
    """A known trap of caches that compare size and mtime alone (SEMANTICS 88)."""
    path = strake.write("input.txt", "one\n")
    os.utime(path, (1000, 1000))
    strake.build(dockerfile=TWO_STAGES)
    strake.write("input.txt", "two\n")
    os.utime(path, (1000, 1000))
    assert strake.image().file("output.txt") == b"TWO\nhello\n"


def test_argument_misses_later_runs_only(strake):
    text = ("FROM busybox\nRUN echo before >/b\nARG X=1\nRUN echo after >/a\n")
    strake.build(dockerfile=text)
    result = strake.build("--build-arg", "X=2")
    assert len(executed(result)) == 1 and "after" in executed(result)[0]


def test_equal_output_keeps_what_follows_cached(strake):
    """SEMANTICS 72: a re-run step whose tree is the same cuts off."""
    text = "FROM busybox\nCOPY seed /seed\nRUN wc -c </seed >/n; rm /seed\nRUN echo later >/l\n"
    strake.write("seed", "aaa")
    strake.build(dockerfile="FROM busybox AS a\nCOPY seed /seed\nRUN wc -c </seed >/n\n"
                            "FROM busybox\nCOPY --from=a /n /n\nRUN echo later >/l\n")
    strake.write("seed", "bbb")
    result = strake.build()
    assert [n for n in executed(result) if "later" in n] == []
    assert [n for n in executed(result) if "wc -c" in n]
    assert text


def test_no_cache(strake):
    strake.write("input.txt", "x\n")
    strake.build(dockerfile=TWO_STAGES)
    assert len(executed(strake.build("--no-cache"))) == 1


def test_target(strake):
    text = ("FROM busybox AS a\nRUN echo a >/a\nFROM busybox AS b\nRUN echo b >/b\n"
            "FROM busybox AS c\nRUN echo c >/c\n")
    result = strake.build("--target", "b", dockerfile=text)
    assert len(executed(result)) == 1 and "echo b" in executed(result)[0]
    assert "b" in strake.image("--target", "B").tree()
    assert "a" in strake.image("--target", "0").tree()
    assert "c" in strake.image().tree()


def test_unneeded_stage_is_not_built(strake):
    result = strake.build(dockerfile="FROM busybox AS broken\nRUN exit 3\n"
                                     "FROM busybox\nRUN true\n")
    assert len(executed(result)) == 1


def test_stages_run_side_by_side(strake):
    """Two stages that wait for each other through a shared cache mount can only end together."""
    stage = ("FROM busybox AS %s\nRUN --mount=type=cache,id=meet,target=/m "
             "touch /m/%s; i=0; until [ -e /m/%s ]; do i=$((i+1)); [ $i -lt 600 ] || exit 1; "
             "sleep 0.1; done; touch /%s\n")
    text = (stage % ("a", "a", "b", "a") + stage % ("b", "b", "a", "b") +
            "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n")
    assert {"a", "b"} <= set(strake.image(dockerfile=text).tree())


def test_from_stage(strake):
    image = strake.image(dockerfile="FROM busybox AS one\nENV A=1\nRUN echo 1 >/one\n"
                                    "FROM one\nRUN test \"$A\" = 1 && cat /one >/two\n")
    tree = image.tree()
    assert "one" in tree and "two" in tree
    assert "A=1" in image.config["config"]["Env"]


def test_copy_from_index_name_and_image(strake):
    text = ("FROM scratch AS zero\nCOPY f /f0\nFROM scratch AS one\nCOPY f /f1\n"
            "FROM scratch\nCOPY --from=0 /f0 /\nCOPY --from=ONE /f1 /\n"
            "COPY --from=busybox /bin/busybox /busybox\n")
    strake.write("f", "f")
    assert set(strake.image(dockerfile=text).tree()) == {"f0", "f1", "busybox"}


def test_named_context_directory(strake):
    other = strake.mkdir("other")
    strake.write("data", "named", root=other)
    image = strake.image("--build-context", "extra=" + other,
                         dockerfile="FROM scratch\nCOPY --from=extra data /\n")
    assert image.file("data") == b"named"


def test_named_context_replaces_stage(strake):
    other = strake.mkdir("other")
    strake.write("f", "from context", root=other)
    image = strake.image("--build-context", "src=" + other,
                         dockerfile="FROM busybox AS src\nRUN echo stage >/f\n"
                                    "FROM scratch\nCOPY --from=src /f /\n")
    assert image.file("f") == b"from context"


def test_image_of_local_store_as_base(strake):
    strake.write("f", "base")
    strake.build("-t", "mybase:1", dockerfile="FROM scratch\nCOPY f /f\nENV X=y\n")
    strake.write("g", "top")
    image = strake.image(dockerfile="FROM mybase:1\nCOPY g /g\n")
    assert set(image.tree()) == {"f", "g"}
    assert "X=y" in image.config["config"]["Env"]


def test_dockerfile_elsewhere_and_own_ignore_file(strake):
    elsewhere = strake.mkdir("elsewhere")
    strake.write("My.Dockerfile", "FROM scratch\nCOPY . /\n", root=elsewhere)
    strake.write("My.Dockerfile.dockerignore", "b\n", root=elsewhere)
    strake.write(".dockerignore", "a\n")
    strake.write("a", "a")
    strake.write("b", "b")
    tree = strake.image("-f", os.path.join(elsewhere, "My.Dockerfile")).tree()
    assert "a" in tree and "b" not in tree


def test_dockerfile_on_standard_input(strake):
    strake.write("f", "f")
    strake.image("-f", "-", input="FROM scratch\nCOPY f /\n")


def test_dockerignore(strake):
    strake.write(".dockerignore", "# comment\n*.log\n!keep.log\nnode_modules\n**/*.tmp\n")
    for name in ("a.log", "keep.log", "sub/b.log", "node_modules/m.js", "x/y/z.tmp", "src.c"):
        strake.write(name, name)
    tree = strake.image(dockerfile="FROM scratch\nCOPY . /\n").tree()
    files = {p for p, e in tree.items() if e.type == "f"}
    assert files == {".dockerignore", "Dockerfile", "keep.log", "sub/b.log", "src.c"}


def test_config_of_every_instruction(strake):
    image = strake.image(dockerfile="""\
FROM scratch
ARG WHO=world
ENV GREETING="hello $WHO" OTHER=x
LABEL a=b "c d"='e f'
WORKDIR /work
WORKDIR sub
USER 1000:2000
EXPOSE 80 53/UDP 8000-8002
VOLUME /data ["/logs"]
VOLUME ["/cache"]
STOPSIGNAL SIGTERM
SHELL ["/bin/busybox", "sh", "-c"]
ENTRYPOINT ["/entry", "point"]
CMD run $GREETING
HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --retries=4 CMD check me
MAINTAINER someone
""")
    config = image.config["config"]
    assert config["Env"][-2:] == ["GREETING=hello world", "OTHER=x"]
    assert config["Labels"] == {"a": "b", "c d": "e f"}
    assert config["WorkingDir"] == "/work/sub"
    assert config["User"] == "1000:2000"
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"}
    assert "/cache" in config["Volumes"] and "/data" in config["Volumes"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Shell"] == ["/bin/busybox", "sh", "-c"]
    assert config["Entrypoint"] == ["/entry", "point"]
    assert config["Cmd"] == ["/bin/busybox", "sh", "-c", "run $GREETING"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "check me"], "Interval": 5000000000,
                                     "Timeout": 3000000000, "StartPeriod": 60000000000,
                                     "Retries": 4}
    assert image.config["author"] == "someone"
    assert image.manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"


def test_history_shape(strake):
    strake.write("f", "f")
    image = strake.image(dockerfile="FROM busybox\nARG A=1\nENV E=v\nRUN echo $A\nCOPY f /f\n"
                                    "WORKDIR /w\nCMD [\"sh\"]\n")
    history = image.history[1:]  # the base has one
    assert [h["created_by"] for h in history] == [
        "ARG A=1", "ENV E=v", "RUN |1 A=1 /bin/sh -c echo $A # buildkit", "COPY f /f # buildkit",
        "WORKDIR /w", 'CMD ["sh"]']
    assert [bool(h.get("empty_layer")) for h in history] == [True, True, False, False, False, True]
    assert {h["comment"] for h in history} == {"buildkit.dockerfile.v0"}
    assert len(image.layers) == 1 + 3


def test_layer_holds_only_the_change(strake):
    image = strake.image(dockerfile="FROM busybox\nRUN mkdir /d && echo x >/d/f && rm /etc/group\n")
    names = image.layer_names(1)
    assert "d/f" in names and "etc/.wh.group" in names
    assert not [n for n in names if n.startswith(("bin/", "proc/", "sys/", "dev/"))]
    assert "etc/group" not in image.tree() and "etc/passwd" in image.tree()


def test_reproducible_with_source_date_epoch(strake):
    strake.write("f", "f")
    text = "FROM busybox\nCOPY f /f\nRUN echo x >/x\n"
    digests = []
    for name in ("one", "two"):
        image = strake.image("--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1000000000",
                             name=name, dockerfile=text)
        assert image.config["created"] == "2001-09-09T01:46:40Z"
        digests.append(image.config["rootfs"]["diff_ids"][:2])
    assert digests[0] == digests[1]


def test_image_without_a_dated_step_is_one_image(strake):
    """Neither a step nor a base says when: the first build does, until another is asked for."""
    text = "FROM scratch\nLABEL a=b\nCMD [\"/x\"]\n"
    first = strake.image(dockerfile=text).config
    assert first["created"][:2] == "20" and {h["created"] for h in first["history"]} == {
        first["created"]}
    assert strake.image(name="again").config == first
    assert strake.image("--label", "c=d", name="other").config["created"] > first["created"]
    anew = strake.image("--no-cache", name="anew").config
    assert anew["created"] > first["created"]
    assert strake.image(name="last").config == anew
    epoch = strake.image("--build-arg", "SOURCE_DATE_EPOCH=1000000000", name="epoch").config
    assert epoch["created"] == "2001-09-09T01:46:40Z"


def test_epoch_is_the_time_of_what_is_copied(strake):
    """A checkout of another day gives the same layers, as with BuildKit; archives keep theirs."""
    text = ("FROM busybox AS a\nRUN mkdir /d && echo 1 >/d/x\nFROM scratch\nCOPY f sub /new/\n"
            "COPY --from=a /d /d\nWORKDIR /w/x\n")
    layers = []
    for when in (1200000000, 1300000000):
        for name in ("f", "sub/g"):
            path = strake.write(name, name)
            os.utime(path, (when, when))
        image = strake.image(dockerfile=text, env={"SOURCE_DATE_EPOCH": "1000000000"})
        tree = image.tree()
        assert {p: e.mtime for p, e in tree.items()} == dict.fromkeys(
            ["new", "new/f", "new/g", "d", "d/x", "w", "w/x"], 1000000000)
        layers.append(image.config["rootfs"]["diff_ids"])
    assert layers[0] == layers[1]
    # without an epoch they keep their own
    tree = strake.image(dockerfile=text, name="plain").tree()
    assert tree["new/f"].mtime == 1300000000 and tree["d/x"].mtime > 1500000000


def test_iidfile_and_quiet(strake):
    strake.dockerfile("FROM scratch\nENV A=b\n")
    out = strake.path("iid")
    result = strake.run("build", "-q", "--iidfile", out, strake.context)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", result.out)
    assert result.err == ""
    with open(out) as f:
        assert f.read().strip() == result.out.strip()


def test_setuid_bit_and_modes_of_the_context(strake):
    strake.write("tool", "#!", mode=0o4755)
    strake.write("secret", "s", mode=0o600)
    tree = strake.image(dockerfile="FROM scratch\nCOPY tool secret /\n").tree()
    assert tree["tool"].mode == 0o4755 and tree["secret"].mode == 0o600
    assert {(e.uid, e.gid) for e in tree.values()} == {(0, 0)}


def test_owners_survive_a_stage(strake):
    image = strake.image(dockerfile="FROM busybox AS a\nRUN mkdir /d && echo x >/d/f && "
                                    "chown -R 1234:4321 /d\nFROM scratch\nCOPY --from=a /d /d\n"
                                    "COPY --from=a --chown=7:8 /d/f /g\n")
    tree = image.tree()
    assert (tree["d/f"].uid, tree["d/f"].gid) == (1234, 4321)
    assert (tree["g"].uid, tree["g"].gid) == (7, 8)


def test_big_build_of_many_steps(strake):
    text = "FROM busybox\n" + "".join("RUN echo %d >>/log\n" % i for i in range(40))
    image = strake.image(dockerfile=text)
    assert image.file("log").split() == [b"%d" % i for i in range(40)]


def test_shared_store_of_two_builds_at_once(strake):
    strake.dockerfile("FROM busybox\nRUN sleep 1; cat /proc/sys/kernel/random/uuid >/u\n")
    arguments = ["build", "--progress=plain", *strake.bases(["busybox"])]
    import subprocess
    children = [strake.popen(*arguments, "-t", "t%d" % i, strake.context,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(3)]
    for child in children:
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    ids = set(strake.run("run", "t%d" % i, "cat", "/u").out for i in range(3))
    assert len(ids) == 1 and len(ids.pop()) == 37, "the same step ran more than once"


def test_files_of_outputs_belong_to_the_caller(strake):
    target = strake.path("image.tar")
    strake.build("-o", "type=oci,dest=" + target, dockerfile="FROM scratch\nENV A=b\n")
    st = os.stat(target)
    assert (st.st_uid, st.st_gid) == (strake.user.uid, strake.user.gid)
    assert stat.S_ISREG(st.st_mode)
