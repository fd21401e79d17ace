"""images, image and container groups, --format, inspect --layers, diff, commit, export, import."""

import io
import json
import os
import subprocess
import tarfile

import pytest

OFF = "--network=none"  # most tests need no network, and its start takes time

DOCKERFILE = """FROM busybox
LABEL kind=test
RUN mkdir /d && dd if=/dev/zero of=/d/big bs=1k count=300 2>/dev/null && echo a >/d/small
RUN rm /d/big && echo b >/d/small && echo c >/d/new && ln /d/new /d/hard
RUN rm -rf /d && mkdir /d && echo last >/d/last
ENV A=1
"""


@pytest.fixture
def one(strake):
    strake.build("-t", "one:1", dockerfile=DOCKERFILE)
    return strake


def test_layers(one):
    report = json.loads(one.run("inspect", "--layers", "--format", "json", "one:1").out)
    base, first, second, third = report["Layers"]
    assert base["CreatedBy"] and base["Wasted"] == 0 and base["Changed"] == base["Removed"] == 0
    assert (first["Added"], first["Changed"], first["Removed"]) == (2, 0, 0)
    assert (first["Size"], first["Wasted"]) == (300 * 1024 + 2, 300 * 1024 + 2)
    assert (second["Added"], second["Changed"], second["Removed"]) == (2, 1, 1)
    assert (second["Size"], second["Wasted"]) == (4, 4)
    assert (third["Added"], third["Changed"], third["Removed"]) == (1, 0, 3)
    assert report["Wasted"] == 300 * 1024 + 6 and report["Size"] == sum(
        layer["Size"] for layer in report["Layers"])
    assert report["WastedPaths"][0] == {"Path": "/d/big", "Bytes": 300 * 1024, "Copies": 1}
    assert {"Path": "/d/small", "Bytes": 4, "Copies": 2} in report["WastedPaths"]
    expected = 100.0 * (report["Size"] - report["Wasted"]) / report["Size"]
    assert abs(report["Efficiency"] - expected) < 1e-6
    table = one.run("inspect", "--layers", "one:1").out
    assert table.startswith("LAYER") and "/d/big" in table and "rm /d/big" in table
    assert one.run("inspect", "--layers", "-f", "{{len .Layers}} {{.Wasted}}", "one:1").out == (
        "4 %d\n" % (300 * 1024 + 6))


def test_layers_with_hard_links(strake):
    """Bytes that a visible hard link still leads to are not wasted."""
    strake.build("-t", "h", dockerfile="FROM scratch\nCOPY --from=busybox /bin/busybox /bin/sh\n"
                 "COPY --from=busybox /bin/busybox /bin/ln\n"
                 "RUN [\"/bin/ln\", \"/bin/sh\", \"/b\"]\n")
    strake.build("-t", "h2", dockerfile="FROM busybox\nRUN echo x >/a && ln /a /b\nRUN rm /a\n")
    report = json.loads(strake.run("inspect", "--layers", "--format", "json", "h2").out)
    assert report["Wasted"] == 0


def test_diff_of_images(one):
    one.build("-t", "two:1", dockerfile=DOCKERFILE.replace("ENV A=1", """
RUN chmod 600 /d/last && echo new >/n && rm /bin/vi && ln -s x /l && mkdir /e
ENV A=2 B=3
USER 5"""))
    lines = one.run("diff", "one:1", "two:1").out.strip().split("\n")
    assert "D /bin/vi" in [line.split("   ")[0] for line in lines]
    assert "C /d/last   (mode 0644 -> 0600)" in lines
    assert "A /n   (4B)" in lines and "A /l" in lines and "A /e/" in lines
    assert {"D config Env: A=1", "A config Env: A=2", "A config Env: B=3"} <= set(lines)
    assert 'C config User: (none) -> "5"' in lines
    assert lines[-1].startswith("3 added, 1 changed, 1 removed, ")
    assert not [line for line in lines if line.startswith("C /bin")], "no time is compared"
    data = json.loads(one.run("diff", "--format", "json", "one:1", "two:1").out)
    assert (data["Added"], data["Changed"], data["Removed"]) == (3, 1, 1)
    assert data["Config"]["User"] == {"From": None, "To": "5"}
    assert {"Kind": "A", "Path": "/n", "Type": "file", "Size": 4} in data["Files"]
    same = one.run("diff", "one:1", "one:1").out
    assert same == "0 added, 0 changed, 0 removed, +0B; 0 of the configuration differ\n"
    back = one.run("diff", "--format", "{{.Added}} {{.Removed}}", "two:1", "one:1").out
    assert back == "1 3\n"
    assert one.run("diff", "one:1", "none", check=False).code == 1


def test_diff_commit_export_import(one):
    one.run("run", "--name", "c", "--network", "none", "one:1", "sh", "-c",
            "echo m >/d/mine; rm /d/last; echo x >>/etc/passwd; mkdir -p /deep/er; "
            "rm -rf /root; mkdir /root; echo in >/root/f; touch /tmp/t; rm /tmp/t", check=False)
    changes = one.run("diff", "c").out.split("\n")
    assert {"A /d/mine", "D /d/last", "C /etc/passwd", "A /deep", "A /deep/er", "A /root/f",
            "C /d", "C /etc"} <= set(changes)
    ident = one.run("commit", "-m", "note", "-a", "me", "-c", "CMD [\"cat\", \"/d/mine\"]",
                    "-c", "ENV NEW=yes", "c", "kept:1").out.strip()
    assert ident.startswith("sha256:")
    assert one.run("run", OFF, "--rm", "kept:1").out == "m\n"
    config = json.loads(one.run("inspect", "kept:1").out)[0]
    assert "NEW=yes" in config["Config"]["Env"] and config["Author"] == "me"
    assert config["History"][-1]["comment"] == "note"
    # the container goes on by itself: the image has a copy
    one.run("cp", "-", "c:/d", input=one_file("mine", b"changed\n"))
    assert one.run("run", OFF, "--rm", "kept:1").out == "m\n"
    result = one.run("commit", "-c", "RUN true", "c", check=False)
    assert result.code != 0 and "changes files" in result.err
    one.run("export", "-o", one.path("c.tar"), "c")
    with tarfile.open(one.path("c.tar")) as tar:
        assert tar.extractfile("d/mine").read() == b"changed\n"
        assert "d/last" not in tar.getnames() and "bin/sh" in tar.getnames()
    with open(one.path("c.tar"), "rb") as f:
        data = f.read()
    ident = one.run("import", "-c", "CMD cat /d/mine", "-m", "from a tar", "-", "imported:1",
                    input=data).out.strip()
    assert one.run("run", OFF, "--rm", "imported:1").out == "changed\n"
    image = json.loads(one.run("image", "inspect", "imported:1").out)[0]
    assert image["Id"] == ident and len(image["RootFS"]["Layers"]) == 1
    assert image["History"][0]["comment"] == "from a tar"
    result = one.run("import", one.path("none.tar"), check=False)
    assert result.code == 1 and "none.tar" in result.err
    result = one.run("import", "-", input=b"not a tar at all" * 100, check=False)
    assert result.code == 1
    assert one.run("import", "-", input=one_file("../../x", b"1"), check=False).code == 1
    one.run("rm", "c")


def one_file(name, content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_images(one):
    one.run("tag", "one:1", "reg.example:5000/group/one:v2")
    one.build("-t", "other", "--label", "kind=else", dockerfile="FROM scratch\nLABEL x=y\n")
    one.build("-t", "other", dockerfile="FROM scratch\nLABEL x=z\n")  # leaves one without a name

    def listed(*args):
        return sorted(one.run("images", "--format", "{{.Repository}}:{{.Tag}}", *args).out.split())
    assert listed() == ["<none>:<none>", "one:1", "other:latest", "reg.example:5000/group/one:v2"]
    assert listed("-f", "dangling=true") == ["<none>:<none>"]
    assert listed("-f", "dangling=false", "-f", "label=kind=test") == [
        "one:1", "reg.example:5000/group/one:v2"]
    assert listed("-f", "reference=on*") == ["one:1"]
    assert listed("-f", "reference=*/*/one") == ["reg.example:5000/group/one:v2"]
    assert listed("-f", "reference=one:1", "-f", "reference=other") == ["one:1", "other:latest"]
    assert listed("one") == ["one:1"] and listed("one:2") == []
    head, *rows = one.run("images", "--digests").out.strip().split("\n")
    assert head.split() == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert len(rows) == 4
    assert len(set(one.run("images", "-q").out.split())) == 3, "an id once"
    full = one.run("image", "ls", "-q", "--no-trunc", "one").out.strip()
    assert full.startswith("sha256:") and len(full) == 71
    row = json.loads(one.run("images", "--format", "json", "one").out)
    assert row["Repository"] == "one" and row["ID"] == full[7:19]
    table = one.run("images", "--format", "table {{.ID}}\\t{{.Tag}}", "one").out
    assert table == "IMAGE ID       TAG\n%s   1\n" % full[7:19]
    assert one.run("images", "-f", "nope=1", check=False).code == 2
    assert one.run("images", "-f", "before=nope", check=False).code == 1
    result = one.run("images", "--format", "{{.Repositry}}", check=False)
    assert result.code == 2 and ".Repository" in result.err
    # rmi: by name, by id, in use
    result = one.run("rmi", full[7:19], check=False)
    assert result.code == 1 and "several repositories" in result.err
    assert one.run("rmi", "reg.example:5000/group/one:v2").out == (
        "Untagged: reg.example:5000/group/one:v2\n")
    one.run("create", OFF, "--name", "user", "one:1")
    result = one.run("rmi", "one:1", check=False)
    assert result.code == 1 and "user" in result.err
    one.run("rm", "user")
    assert one.run("rmi", full[7:19]).out == "Untagged: one:1\nDeleted: %s\n" % full
    assert "deleted: sha256:" in one.run("image", "prune", "-f").out
    assert listed() == ["other:latest"]
    assert one.run("image", "nonsense", check=False).code == 2


def test_templates(one):
    one.run("create", OFF, "--name", "c", "-l", "b=2", "-l", "a=1", "-e", "X=y", "-p", "8080:80",
            "one:1", "sh", "-c", "true")

    def show(template, *what):
        return one.run("inspect", "--format", template, *(what or ("c",))).out[:-1]
    assert show("{{.Name}} {{.State.Status}} {{.State.Running}}") == "/c created false"
    assert show("{{json .Config.Cmd}}") == '["sh","-c","true"]'
    assert show("{{.Config.Cmd}}") == "[sh -c true]"
    assert show("{{.Config.Labels}}") == "map[a:1 b:2 kind:test]"
    assert show("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}") == "a=1;b=2;kind=test;"
    assert show('{{index .Config.Labels "b"}}{{index .Config.Cmd 1}}') == "2-c"
    assert show('{{(index (index .HostConfig.PortBindings "80/tcp") 0).HostPort}}') == "8080"
    assert show("{{range .Config.Env}}{{println .}}{{end}}").count("\n") == 3
    assert show('{{if eq .State.Status "created"}}new{{else}}old{{end}}') == "new"
    assert show("{{if .State.Running}}a{{else if gt .State.ExitCode 1}}b{{else}}c{{end}}") == "c"
    assert show('{{with .Config.Labels.a}}[{{.}}]{{else}}none{{end}}') == "[1]"
    assert show("{{with .Config.Labels.z}}x{{else}}none{{end}}") == "none"
    assert show('{{join .Config.Cmd "|"}} {{len .Config.Cmd}} {{upper "ab"}}') == "sh|-c|true 3 AB"
    assert show("{{.Config.Image | printf \"%6s!\"}}{{/* nothing */}}") == " one:1!"
    assert show("a {{- .Config.Image -}} b") == "aone:1b"
    assert show("{{$x := .Config.Image}}{{range .Config.Cmd}}{{$x}}{{end}}") == "one:1" * 3
    assert show("{{range .Mounts}}x{{else}}empty{{end}}") == "empty"
    assert show("{{.Config.Nope}}") == "<no value>"
    assert show("{{not true}} {{and 1 0}} {{or 0 \"z\"}}") == "false 0 z"
    assert show("{{slice \"abcdef\" 1 3}}") == "bc"
    assert show('{{(split "a,b" ",")}} {{title "xy"}} {{truncate "abcd" 2}}|{{pad "x" 1 2}}|') == (
        "[a b] Xy ab| x  |")
    assert show("{{.RepoTags}} {{.Config.Labels.kind}}", "one:1") == "[one:1] test"
    for bad in ("{{.Nope}}", "{{end}}", "{{if .Id}}", "{{nope .Id}}", "{{.Id", "{{(.Id}}", '{{"x}}',
                "{{len}}", "{{}}"):
        assert one.run("inspect", "-f", bad, "c", check=False).code == 2, bad
    one.run("rm", "c")


def test_volume_commands(one):
    assert one.run("volume", "create", "data").out == "data\n"
    one.run("run", "--rm", OFF, "-v", "data:/v", "one:1", "sh", "-c", "echo x >/v/f")
    one.run("create", OFF, "--name", "c", "-v", "data:/v", "-v", "second:/w", "one:1")
    assert one.run("volume", "ls", "-q").out == "data\n", "made when it is first mounted"
    result = one.run("volume", "rm", "data", check=False)
    assert result.code == 1 and "used by a container" in result.err
    info = json.loads(one.run("volume", "inspect", "data").out)[0]
    assert info["Name"] == "data" and info["Mountpoint"].endswith("/volumes/data/data")
    one.run("prune", "--all")
    assert one.run("volume", "ls", "-q", "--filter", "dangling=false").out == "data\n"
    one.run("container", "prune", "-f")
    assert one.run("ps", "-aq").out == ""
    assert one.run("volume", "rm", "data").out == "data\n"
    assert one.run("volume", "rm", "data", check=False).code == 1
    one.run("volume", "create", "e")
    assert one.run("volume", "prune", check=False).code == 2
    assert one.run("volume", "prune", "-a").out == "e\n"
    assert one.run("volume", "ls", "-q").out == ""


def test_exec(one):
    one.run("run", "-d", "--name", "c", OFF, "-e", "A=image", "one:1", "sleep", "1000")
    result = one.run("exec", "c", "sh", "-c", "echo $A $B; pwd; id -u; exit 7", check=False)
    assert (result.code, result.out) == (7, "image\n/\n0\n")
    out = one.run("exec", "-e", "B=b", "-w", "/d", "-u", "12:34", "c", "sh", "-c",
                  "echo $B; pwd; id -u; id -g; hostname; ps | grep -c sleep").out.split("\n")
    assert out[:4] == ["b", "/d", "12", "34"] and out[5] != "0"
    assert one.run("exec", "-i", "c", "cat", input="through\n").out == "through\n"
    assert one.run("exec", "c", "nope", check=False).code == 127
    assert one.run("exec", "c", "/d", check=False).code == 126
    one.run("exec", "-d", "c", "sh", "-c", "sleep 0.2; touch /done")
    one.run("exec", "c", "sh", "-c", "while [ ! -e /done ]; do :; done")
    # the same confinement as the container's own command
    caps = one.run("exec", "c", "grep", "CapEff", "/proc/self/status").out
    assert caps == one.run("exec", "c", "grep", "CapEff", "/proc/1/status").out
    assert one.run("exec", "c", "readlink", "/proc/1/ns/mnt").out == one.run(
        "exec", "c", "readlink", "/proc/self/ns/mnt").out
    assert "2" in one.run("exec", "c", "sh", "-c", "ls /proc/self/fd | tail -n 2 | head -n 1").out
    waiting = one.popen("exec", "c", "sh", "-c", "echo up; exec sleep 1000", stdout=subprocess.PIPE)
    assert waiting.stdout.readline() == b"up\n"
    one.run("kill", "c")
    assert waiting.wait(30) == 137
    result = one.run("exec", "c", "true", check=False)
    assert result.code == 1 and "not running" in result.err
    one.run("rm", "c")
