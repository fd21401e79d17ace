"""What the store takes: du, prune, the ceiling that builds keep."""

import json
import os
import re

from conftest import executed

CACHES = """\
FROM busybox AS build
RUN --mount=type=cache,id=npm,target=/c dd if=/dev/zero of=/c/f bs=100k count=3 2>/dev/null
RUN --mount=type=cache,id=go,target=/c dd if=/dev/zero of=/c/f bs=100k count=2 2>/dev/null
RUN dd if=/dev/urandom of=/big bs=100k count=5 2>/dev/null; touch /x
FROM busybox
COPY --from=build /big /big
"""


def du(strake):
    return json.loads(strake.run("du", "-v", "--format=json").out)


def test_du_and_prune(strake):
    strake.build("-t", "kept", dockerfile=CACHES)
    usage = du(strake)
    items = usage["items"]
    caches = {i["id"]: i["unique"] for i in items if i["kind"] == "cache"}
    assert set(caches) == {"/npm", "/go"}
    assert 300 << 10 <= caches["/npm"] < 350 << 10 and 200 << 10 <= caches["/go"] < 250 << 10
    # The copy between stages is a hard link: neither layer's removal frees the file.
    both = [i for i in items if i["shared"] >= 500 << 10]
    assert {re.sub(r".*\] (\w+).*", r"\1", i["what"]) for i in both} == {"RUN", "COPY"}
    assert sorted(i["in_use"] for i in both) == [False, True]
    assert usage["layers"] < sum(i["unique"] + i["shared"] for i in items if i["kind"] == "layer")
    text = strake.run("du").out
    assert "strake prune would free" in text and "builds keep the store below" in text

    dry = strake.run("prune", "--dry-run").out
    assert re.search(r"^layer .* no image needs it$", dry, re.M) and "npm" not in dry
    assert du(strake)["total"] == usage["total"]
    assert strake.run("prune", "--filter", "until=1h").out == "Total reclaimed space: 0B\n"
    out = strake.run("prune", "--filter", "id=npm").out
    assert re.search(r"^cache +/npm +3\d\dkB  asked for$", out, re.M)
    out = strake.run("prune", "--filter", "type=exec.cachemount").out
    assert re.search(r"^cache +/go ", out, re.M) and "layer" not in out
    out = strake.run("prune").out
    assert "layer" in out
    assert strake.run("run", "--rm", "kept", "wc", "-c", "/big").out.split()[0] == "512000"
    assert strake.run("history", "builds").out.count("\n") == 2
    strake.run("prune", "--all")
    assert strake.run("history", "builds").out.count("\n") == 1
    assert strake.run("images", "-q").out == ""
    for bad, hint in (("until=soon", "24h"), ("type=cachemount", "cache-mount"), ("x=1", "until=AGE")):
        result = strake.run("prune", "--filter", bad, check=False)
        assert result.code == 2 and hint in result.err


def test_builds_keep_below_the_ceiling(strake):
    """F20, with 10 builds instead of 10,000: the store stays below its limit plus what the build in
    flight holds, the tagged image stays, and the newest results stay cached."""
    strake.env["STRAKE_KEEP"] = "6m"
    strake.dockerfile("FROM busybox\nCOPY f /f\nRUN cat /f >/g\n")
    strake.write("f", os.urandom(1000))
    strake.build("-t", "tagged")
    most = 0
    for _ in range(10):
        strake.write("f", os.urandom(1 << 19))
        result = strake.build()
        store = du(strake)
        most = max(most, store["layers"] + store["blobs"] + store["caches"])
    assert most <= 6 << 20
    assert executed(strake.build()) == []
    assert strake.run("run", "--rm", "tagged", "wc", "-c", "/g").out.split()[0] == "1000"
    assert "tagged" in strake.run("images").out
    removed = [b for b in (strake.build() for _ in range(2)) if "over its limit" in b.err]
    assert not removed, "a cached build collects nothing"
    assert result.code == 0

    strake.env["STRAKE_KEEP"] = "much"
    result = strake.build(check=False)
    assert result.code == 2 and "STRAKE_KEEP=much" in result.err
