"""A registry that has a real image and tampers with it on the way: pull, build and push through the
program, rows T11-T16, F8 and F9 of the catalogue. The protocol's own rows are in
tests/unit/registry/test_http.c."""

import hashlib
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

MT = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CUT = 16 << 10


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/v2/<behaviour>/img/...; server.image is the layout's content."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", send=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if send is None else body[:send])
        if send is not None and send < len(body):
            self.close_connection = True

    def do_GET(self):
        self.server.seen.append("%s %s" % (self.path, self.headers.get("Authorization")))
        match = re.match(r"/v2/([^/]+)/img/(manifests|blobs)/(.*)", self.path)
        if not match:
            return self.answer(404, b"{}")
        how, kind, name = match.groups()
        if kind == "manifests":
            return self.manifest(how, name)
        body = self.server.image.get(name)
        if body is None:
            return self.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
        layer = name in self.server.layers
        return getattr(self, "blob_" + how, self.whole)(body, layer)

    do_HEAD = do_GET

    # --- manifests -------------------------------------------------------------------------

    def manifest(self, how, name):
        m = dict(self.server.manifest)
        kind = MT
        if name.startswith("sha256:") and name in self.server.image:
            return self.answer(200, self.server.image[name], Content_Type=MT)
        if how == "both":
            m["manifests"] = []
        elif how == "type":
            kind = INDEX
        elif how == "more":
            m["layers"] = m["layers"] * 2
        elif how == "urls":
            m["layers"] = [dict(m["layers"][0], urls=["http://127.0.0.1:%d/elsewhere" %
                                                      self.server.server_address[1]])]
            m["layers"][0]["digest"] = "sha256:" + "1" * 64
        elif how == "climb":
            m["layers"] = [dict(m["layers"][0], digest="sha256:../../../etc/passwd")]
        elif how == "negative":
            m["layers"] = [dict(m["layers"][0], size=-1)]
        body = json.dumps(m).encode()
        if how == "twice":
            body = body[:-1] + b',"layers":[]}'
        elif how == "deep":
            body = b"[" * 10000 + b"]" * 10000
        elif how == "otherconfig":
            body = json.dumps(dict(m, config=self.server.other)).encode()
        self.answer(200, body, Content_Type=kind, Docker_Content_Digest="sha256:" + "0" * 64)

    # --- blobs -----------------------------------------------------------------------------

    def whole(self, body, layer):
        self.answer(200, body)

    def blob_flip(self, body, layer):
        self.answer(200, body[:-1] + bytes([body[-1] ^ 1]) if layer else body)

    def blob_front(self, body, layer):
        """Damaged where the unpacking begins, long before the digest is known."""
        self.answer(200, body[:40] + b"\0" * 40 + body[80:] if layer else body)

    def blob_short(self, body, layer):
        self.answer(200, body[:-1000] if layer else body)

    def blob_long(self, body, layer):
        self.answer(200, body + b"x" if layer else body)

    def blob_cut(self, body, layer):
        """CUT bytes at a time, going on where the client asks."""
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not layer or not asked:
            return self.answer(200, body, CUT if layer else None)
        start = int(asked.group(1))
        self.answer(206, body[start:], CUT, Content_Range="bytes %d-%d/%d" % (
            start, len(body) - 1, len(body)))

    def blob_norange(self, body, layer):
        """A little more each time, always from the begin."""
        if layer:
            self.server.tries += 1
        self.answer(200, body, self.server.tries * (len(body) // 3) + 1 if layer else None)

    def blob_wrongrange(self, body, layer):
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not layer or not asked:
            return self.answer(200, body, CUT if layer else None)
        self.answer(206, body[100:], CUT, Content_Range="bytes 100-%d/%d" % (
            len(body) - 1, len(body)))

    def blob_refuse(self, body, layer):
        if layer:
            return self.answer(403, b'{"errors":[{"code":"DENIED","message":"not \\u001b[31myours"}]}')
        self.answer(200, body)


@pytest.fixture(scope="module")
def server(layouts):
    layout = layouts("busybox")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.image = {}
    for name in os.listdir(layout + "/blobs/sha256"):
        with open(layout + "/blobs/sha256/" + name, "rb") as f:
            httpd.image["sha256:" + name] = f.read()
    index = json.load(open(layout + "/index.json"))
    httpd.manifest = json.loads(httpd.image[index["manifests"][0]["digest"]])
    httpd.layers = [d["digest"] for d in httpd.manifest["layers"]]
    config = json.loads(httpd.image[httpd.manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"] = ["sha256:" + "2" * 64]
    other = json.dumps(config).encode()
    httpd.image[digest(other)] = other
    httpd.other = dict(httpd.manifest["config"], digest=digest(other), size=len(other))
    httpd.seen = []
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield httpd
    httpd.shutdown()


@pytest.fixture
def pull(strake, server):
    """pull(behaviour) → result; few tries, and no waiting between them."""
    strake.env["STRAKE_CONFIG"] = strake.write(
        "registries.conf", "[http]\nretries = 2\nretry-pause = 1\n", root=strake.mkdir("config"))
    server.seen.clear()
    server.tries = 0

    def run(how):
        return strake.run("pull", "127.0.0.1:%d/%s/img:1" % (server.server_address[1], how),
                          check=False)
    return run


def test_survives(strake, server, pull):
    """F8: cut every 16 KiB and resumed; Range ignored, begun anew. T15: a header that lies."""
    for how in ("cut", "norange", "plain"):
        result = pull(how)
        assert result.code == 0, result
        assert re.fullmatch(r"Digest: sha256:[1-9a-f][0-9a-f]*\n", result.out)
        out = strake.run("run", "--rm", "127.0.0.1:%d/%s/img:1" % (server.server_address[1], how),
                         "echo", "alive").out
        assert out == "alive\n"
        strake.run("rmi", "127.0.0.1:%d/%s/img:1" % (server.server_address[1], how))
        strake.run("prune", "--all", "--force", check=False)
    assert sum("Range" not in s and "blobs" in s for s in server.seen) > 2


@pytest.mark.parametrize("how, message", [
    ("flip", "digest"),  # T11
    ("front", ""),
    ("short", "ended after"),
    ("long", "longer than"),
    ("otherconfig", "diff id"),
    ("climb", "digest"),
    ("negative", "size"),
    ("both", "a manifest and an index at once"),  # T12
    ("type", ""),
    ("twice", "duplicate"),
    ("deep", ""),
    ("more", "layers"),
    ("wrongrange", "100-"),  # F8
    ("refuse", "not \\x1b[31myours"),  # F9, B12: the registry's own words, harmless
])
def test_refused(strake, pull, how, message):
    result = pull(how)
    assert result.code == 1 and message in result.err and "\x1b" not in result.err, result
    assert "img" not in strake.run("images").out


def test_urls(strake, server, pull):
    """T13: no request goes where a descriptor's urls point."""
    assert pull("urls").code == 1
    assert not any("elsewhere" in s for s in server.seen)


def test_no_credentials_for_others(strake, server, pull):
    """T16: neither another port's login nor .netrc is sent."""
    port = server.server_address[1]
    auth = {"auth": "dXNlcjpzZWNyZXQ="}
    strake.write("config.json", json.dumps({"auths": {
        "127.0.0.1": auth, "127.0.0.1:%d" % (port + 1): auth, "127.0.0.1:%d.evil" % port: auth}}),
        root=strake.mkdir("home/.docker"))
    strake.write(".netrc", "machine 127.0.0.1 login user password secret\n", mode=0o600,
                 root=strake.env["HOME"])
    assert pull("plain").code == 0
    assert server.seen and all(s.endswith(" None") for s in server.seen)
