"""cp, case by case the same as docker's: what lands where, and what is refused.

cp_rules.json holds what docker did (RECORD=1 asks a docker daemon again).
"""

import io
import json
import os
import tarfile

from conftest import remove_tree

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(HERE, "cp_rules.json")

# container path below /t; destination in a directory that prepare_out made
OUT = [("f", "new"), ("f", "dir"), ("f", "dir/"), ("f", "file"), ("f", "absent/"),
       ("f", "absent/x"), ("f", "file/"), ("f", "lf"), ("f", "ld"), ("f", "."), ("f/", "new"),
       ("d", "new"), ("d", "new/"), ("d", "dir"), ("d", "dir/"), ("d", "file"), ("d", "dir2"),
       ("d", "absent/x"), ("d", "ld"), ("d/", "dir"), ("d/.", "dir"), ("d/.", "new"),
       ("d/.", "file"), ("d/./", "dir"), ("d/sub/..", "dir"), ("d/abs", "dir"), ("d/abs/", "dir"),
       ("d/abs/.", "dir"), ("lf", "new"), ("lf", "dir"), ("-L lf", "new"), ("-L lf", "dir"),
       ("ld", "dir"), ("-L ld", "dir"), ("ld/", "dir"), ("ld/one", "dir"), ("ln", "dir"),
       ("-L ln", "dir"), ("nope", "dir"), ("f/x", "dir"), ("../t/d/one", "dir"),
       ("d/sub", "dir2/d/keep"), ("d/../f", "dir")]

# source in the directory that prepare_in made; container path below /c<number of the case>
IN = [("f", "new"), ("f", "e"), ("f", "e/"), ("f", "f"), ("f", "absent/"), ("f", "absent/x"),
      ("f", "lf"), ("f", "ld"), ("f", "d/abs"), ("f", "ln"), ("f", "f/"), ("d", "new"),
      ("d", "new/"), ("d", "e"), ("d", "x"), ("d", "f"), ("d/.", "e"), ("d/.", "new"),
      ("d/", "e"), ("d/sub/..", "e"), ("lf", "new"), ("lf", "e"), ("-L lf", "e"), ("ld", "e"),
      ("-L ld", "e"), ("ld/", "e"), ("ld/.", "e"), ("ln", "e"), ("-L ln", "e"), ("nope", "e"),
      ("d", "absent/x"), ("d", "ld"), ("d", "e/../x"), ("f", "e/f")]

MAKE = ("mkdir -p $r/d/sub $r/e $r/x/d; echo one >$r/d/one; echo two >$r/d/sub/two; echo f >$r/f; "
        "ln -s f $r/lf; ln -s d $r/ld; ln -s nowhere $r/ln; ln -s $r/d/sub $r/d/abs; "
        "echo old >$r/e/f; echo old >$r/x/d/keep")
DOCKERFILE = "FROM busybox\nRUN for r in /t $(seq -f /c%%g 0 %d); do %s; done\n" % (
    len(IN) - 1, MAKE)


def tree(path):
    found = {}
    for folder, directories, files in os.walk(path):
        for name in directories + files:
            full = os.path.join(folder, name)
            rel = os.path.relpath(full, path)
            if os.path.islink(full):
                found[rel] = "->" + os.readlink(full)
            elif os.path.isdir(full):
                found[rel] = "dir"
            else:
                with open(full) as f:
                    found[rel] = f.read()
    return found


def in_tar(data):
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for m in tar.getmembers():
            name = m.name.lstrip("./")
            if name.startswith("c") and name[1:2].isdigit():
                found[name] = "->" + m.linkname if m.issym() else "dir" if m.isdir() else (
                    tar.extractfile(m).read().decode())
    return found


def prepare_out(path, owner):
    remove_tree(path)
    os.makedirs(path + "/dir")
    os.makedirs(path + "/dir2/d")
    for name in ("file", "dir2/d/keep"):
        with open(os.path.join(path, name), "w") as f:
            f.write("old\n")
    os.symlink("file", path + "/lf")
    os.symlink("dir", path + "/ld")
    for folder, directories, files in os.walk(path):
        for name in ["."] + directories + files:
            os.chown(os.path.join(folder, name), owner.uid, owner.gid, follow_symlinks=False)


def prepare_in(path):
    os.makedirs(path + "/d/sub")
    for name, text in {"f": "F\n", "d/one": "1\n", "d/sub/two": "2\n"}.items():
        with open(os.path.join(path, name), "w") as f:
            f.write(text)
    for name, target in {"lf": "f", "ld": "d", "ln": "gone"}.items():
        os.symlink(target, os.path.join(path, name))


def play(strake, program, read):
    """What every case did: whether it was accepted, and what is there afterwards."""
    results = {"out": {}, "in": {}}
    # What lands where does not depend on who copies: some of each will do for the second user.
    few = slice(None, None, None if strake.user.kind != "rootless" else 5)
    for source, dest in OUT[few]:
        *flags, source = source.split()
        target = strake.path("target")
        prepare_out(target, strake.user)
        good = program("cp", *flags, "cp:/t/" + source, target + "/" + dest)
        results["out"]["%s %s" % (" ".join([*flags, source]), dest)] = [good, tree(target)]
    accepted = {}
    for i, (source, dest) in list(enumerate(IN))[few]:
        *flags, source = source.split()
        accepted[i] = program("cp", *flags, strake.path("in") + "/" + source,
                              "cp:/c%d/%s" % (i, dest))
    everything = in_tar(read("export", "cp"))
    for i in accepted:
        source, dest = IN[i]
        top = "c%d/" % i
        results["in"]["%s %s" % (source, dest)] = [accepted[i], {
            name[len(top):]: what.replace("/c%d/" % i, "/") for name, what in everything.items()
            if name.startswith(top) and len(name) > len(top)}]
    return results


def test_as_docker_does(strake, request):
    prepare_in(strake.path("in"))
    strake.build("-t", "cp:1", "-o", "type=docker,dest=" + strake.path("cp.tar"),
                 dockerfile=DOCKERFILE)
    if os.environ.get("RECORD") and strake.user.is_root:
        docker = request.getfixturevalue("docker")
        docker("load", "-i", strake.path("cp.tar"))
        docker("create", "--name", "cp", "cp:1")

        def read(*args):
            docker(*args, "-o", strake.path("x.tar"))
            with open(strake.path("x.tar"), "rb") as f:
                return f.read()
        recorded = play(strake, lambda *a: docker(*a, check=False).returncode == 0, read)
        with open(FILE, "w") as f:
            json.dump(recorded, f, indent=1, sort_keys=True)
            f.write("\n")
    with open(FILE) as f:
        expected = json.load(f)
    strake.run("create", "--name", "cp", "cp:1")

    def read_own(*args):
        strake.run(*args, "-o", strake.path("own.tar"))
        with open(strake.path("own.tar"), "rb") as f:
            return f.read()
    got = play(strake, lambda *a: strake.run(*a, check=False).code == 0, read_own)
    for way in ("out", "in"):
        assert got[way] and set(got[way]) <= set(expected[way])
        different = {case: (got[way][case], expected[way][case]) for case in got[way]
                     if got[way][case] != expected[way][case]}
        assert not different, "\n".join("%s %s\n  got      %r\n  expected %r" % (way, case, *pair)
                                        for case, pair in different.items())
