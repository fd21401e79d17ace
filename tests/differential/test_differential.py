"""Builds each case of cases/*.txt with strake and with the peer, and compares the images: config,
history and every file of the final root file system. casefile.py has the format."""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import casefile  # noqa: E402
import oci  # noqa: E402
from peer import CONFIG_KEYS, Peer, describe, failed  # noqa: E402

CASES = casefile.load()
harness = sys.modules["functional_harness"]


@pytest.fixture(scope="session")
def peer(base, layouts, request):
    selected = [item.callspec.params["case"] for item in request.session.items
                if "case" in getattr(getattr(item, "callspec", None), "params", {})]
    peer = Peer(base, layouts("busybox"), selected, harness)
    yield peer
    peer.stop()


def compare(ours, theirs):
    """{field: (ours, theirs)} of everything that differs."""
    differences = {}

    def check(field, a, b):
        if a != b:
            differences[field] = (a, b)

    check("result", ours["result"], theirs["result"])
    if differences:
        return differences
    for key in CONFIG_KEYS:
        check(key, ours["config"].get(key), theirs["config"].get(key))
    a, b = ours["history"], theirs["history"]
    for i in range(max(len(a), len(b))):
        check("history %d" % i, a[i] if i < len(a) else None, b[i] if i < len(b) else None)
    for path in sorted(set(ours["tree"]) | set(theirs["tree"])):
        check(path, ours["tree"].get(path), theirs["tree"].get(path))
    return differences


def strake_result(strake, case):
    casefile.write_context(case, strake.context, strake.user.uid, strake.user.gid)
    target = strake.path("image")
    build = strake.run("build", "--progress=plain", *strake.bases(["busybox"]), "-o",
                       "type=oci,dest=%s,tar=false" % target, *case.args, strake.context,
                       check=False)
    if build.code:
        return failed(build.err)
    return json.loads(json.dumps(describe(oci.open_layout(target))))


def show(differences, fields):
    return "\n".join("%s\n  strake %s\n  peer   %s" % (
        f, json.dumps(differences[f][0]), json.dumps(differences[f][1])) for f in fields)


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_same_as_peer(strake, peer, case):
    theirs = peer.result(case)
    ours = strake_result(strake, case)
    differences = compare(ours, theirs)
    new = [f for f in differences if f not in case.differs]
    messages = "\n--- strake\n%s\n--- peer\n%s" % (ours["message"], theirs["message"])
    assert not new, "differs from the peer:\n%s%s" % (show(differences, new), messages)
    gone = [f for f in case.differs if f not in differences]
    assert not gone, "no longer differs from the peer, as the case says: %s" % gone
    if "result" not in case.differs:
        assert bool(case.fails) == (ours["result"] == "failed"), messages
    if case.fails:
        assert case.fails in ours["message"], messages


def test_enough_cases():
    assert len(CASES) >= 120
