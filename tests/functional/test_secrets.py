"""RELIABILITY B9: values of secrets are in nothing that a build leaves, and a build whose layers or
configuration would hold one fails and names the place."""

import base64
import gzip
import os
import shlex

import pytest

pytestmark = pytest.mark.single

CANARIES = ["CANARY-env-3f1a9c77", "CANARY-file-b02e41d8", "CANARY-url-77aa01c5",
            "CANARY-printed-9d2f6e10", "CANARY-second-e5c38b04"]


def everything_below(*tops):
    for top in tops:
        for directory, _, names in os.walk(top):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as f:
                        yield path, f.read()


def occurrences(canary, *tops):
    raw = canary.encode()
    forms = [raw, base64.b64encode(raw).rstrip(b"=")[:-1], raw.hex().encode()]
    found = []
    for path, data in everything_below(*tops):
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if any(form in data for form in forms):
            found.append(path)
    return found


def test_b9_five_canaries(strake):
    secrets = strake.mkdir("secrets")
    env, file, url, printed, second = CANARIES
    strake.write("file", file + "\n", root=secrets)
    strake.write("second", second, root=secrets)
    target = strake.path("layout")
    result = strake.build(
        "--secret", "id=env,env=TOKEN", "--secret", "id=file,src=%s/file" % secrets,
        "--secret", "id=url,env=URL", "--secret", "id=printed,env=PRINTED",
        "--secret", "id=second,src=%s/second" % secrets,
        "-t", "clean", "-o", "type=oci,dest=%s,tar=false" % target,
        env={"TOKEN": env, "URL": "https://u:%s@127.0.0.1/x" % url, "PRINTED": printed},
        dockerfile="FROM busybox\n"
        "RUN --mount=type=secret,id=env,env=TOKEN --mount=type=secret,id=file "
        "test ${#TOKEN} = 19 && grep -q CANARY /run/secrets/file && echo ok >/ok\n"
        "RUN --mount=type=secret,id=url,target=/etc/netrc,mode=0440 --mount=type=secret,id=second,env=S "
        "test -s /etc/netrc && test -n \"$S\"\n"
        "RUN --mount=type=secret,id=printed cat /run/secrets/printed; echo; "
        "cat /run/secrets/printed >&2; echo after\n"
        "RUN test ! -e /run/secrets && test ! -e /etc/netrc\n")
    assert "***" in result.err and "after" in result.err
    for canary in CANARIES:
        assert canary not in result.err and canary not in result.out
        # the store with its database, journal and logs; the export; what is left in home
        assert occurrences(canary, strake.store, target, strake.env["HOME"]) == []
    for command in (["history", "clean"], ["inspect", "clean"], ["images"]):
        shown = strake.run(*command, check=False)
        assert not [c for c in CANARIES if c in shown.out + shown.err]


LEAKS = {
    "plain": ("cp /run/secrets/k /etc/token", "file /etc/token"),
    "inside": ("(head -c 1100000 /dev/zero; cat /run/secrets/k; echo tail) >/big", "file /big"),
    "base64": ("(printf x; cat /run/secrets/k) | base64 -w0 >/b", "file /b holds the value of secret "
               "k (as base64)"),
    "hex": ("cat /run/secrets/k | od -An -tx1 -v | tr -d ' \\n' >/h", "file /h holds the value of "
            "secret k (as hex)"),
    "link": ("ln -s /x/$(cat /run/secrets/k) /l", "link /l"),
    "name": ("mkdir -p /d/$(cat /run/secrets/k)", "the name /d/*** holds"),
}


@pytest.mark.parametrize("form", sorted(LEAKS))
def test_b9_leak_fails_the_build(strake, form):
    command, message = LEAKS[form]
    path = strake.write("k", CANARIES[0] + "\n", root=strake.mkdir("secrets"))
    result = strake.build("--secret", "id=k,src=" + path, "-t", "leaky", check=False, dockerfile=(
        "FROM busybox\nRUN true\nRUN --mount=type=secret,id=k " + command + "\n"))
    assert result.code == 1 and message in result.err and "Dockerfile:3" in result.err, result
    assert "leaky" not in strake.run("images").out
    assert occurrences(CANARIES[0], strake.store) == []


def test_b9_copy_and_config(strake):
    path = strake.write("k", CANARIES[1], root=strake.mkdir("secrets"))
    strake.write("conf/app.ini", "key = %s\n" % CANARIES[1])
    secret = ["--secret", "id=k,src=" + path]
    result = strake.build(*secret, check=False, dockerfile="FROM scratch\nCOPY conf /conf\n")
    assert result.code == 1 and "file /conf/app.ini holds the value of secret k" in result.err
    assert "Dockerfile:2" in result.err
    for line in ("ENV KEY=%s", "LABEL k=%s", "RUN echo %s >/dev/null"):
        result = strake.build(*secret, check=False, dockerfile="FROM busybox\n" + line % CANARIES[1])
        assert result.code == 1, line
        assert "configuration or history holds the value of secret k" in result.err, result
    # without the secret it is a file like any other; and short values are not looked for
    strake.build(dockerfile="FROM scratch\nCOPY conf /conf\n")
    short = strake.write("short", "12345", root=strake.mkdir("secrets"))
    strake.build("--secret", "id=s,src=" + short, dockerfile="FROM busybox\nRUN echo 12345 >/f\n")


def test_b9_ssh_leaves_nothing(strake, tool):
    """The agent's socket is a mount: no stub, no key, no path of the host in the image."""
    tool("ssh-agent")
    import subprocess
    agent = os.path.join(strake.mkdir("agent"), "a.sock")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, **strake.user.arguments)
    try:
        from conftest import wait_for
        assert wait_for(lambda: os.path.exists(agent))
        image = strake.image("--ssh", "default=" + agent, dockerfile=(
            "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo %s >/used\n"
            "RUN test ! -e /run/buildkit && test -z \"$SSH_AUTH_SOCK\"\n" % shlex.quote("yes")))
    finally:
        process.terminate()
        process.wait()
    assert "used" in image.tree() and not [p for p in image.tree() if "ssh_agent" in p]
    assert occurrences(agent, strake.store) == []
