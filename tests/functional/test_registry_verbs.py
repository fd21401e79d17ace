"""strake registry tags|referrers|rm: the distribution spec's discovery and management."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from test_push import get, repository  # noqa: F401


class Pages(BaseHTTPRequestHandler):
    """Tags in pages; /v2/<how>/tags/list."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        path, _, query = self.path.partition("?")
        how = path.split("/")[2]
        links = {"good": {"": "</v2/good/tags/list?last=b>; rel=\"next\"", "last=b": None},
                 "endless": {"": "</v2/endless/tags/list?last=a>; rel=next",
                             "last=a": "<list?last=a>; rel=\"next\""},
                 "away": {"": "<http://localhost:1/v2/away/tags/list>; rel=\"next\""},
                 "nonsense": {"": "<<>;;; rel=next"}}
        tags = {"good": {"": ["a", "b"], "last=b": ["\u001b[31mred", "c"]}}.get(how, {})
        body = json.dumps({"name": how, "tags": tags.get(query, ["t"])}).encode()
        if how == "null":
            body = b'{"name":"null","tags":null}'
        if how == "odd":
            body = b'{"tags":[1,2]}'
        self.send_response(200)
        link = links.get(how, {}).get(query)
        if link:
            self.send_header("Link", link)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def pages():
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield "127.0.0.1:%d" % httpd.server_address[1]
    httpd.shutdown()


def test_pages(strake, pages):
    assert strake.run("registry", "tags", pages + "/good").out == "a\nb\n\\x1b[31mred\nc\n"
    assert json.loads(strake.run("registry", "tags", "--json", pages + "/good").out) == [
        "a", "b", "\u001b[31mred", "c"]
    assert strake.run("registry", "tags", pages + "/null").out == ""
    for how, message in (("endless", "does not end"), ("away", "localhost, which is refused"),
                         ("odd", "not a list of tags")):
        result = strake.run("registry", "tags", pages + "/" + how, check=False)
        assert result.code == 1 and message in result.err, result


def test_real_registry(strake, registry, repository):  # noqa: F811
    """Tags, an attestation attached as a referrer, deletion by digest."""
    name = "%s/%s" % (registry, repository)
    for tag in ("1", "2"):
        strake.build("--push", "-t", "%s:%s" % (name, tag), dockerfile="FROM busybox\nENV V=%s\n" % tag)
    assert sorted(strake.run("registry", "tags", name).out.split()) == ["1", "2"]
    digest = get(registry, repository + "/manifests/1")[2]
    assert strake.run("registry", "referrers", "--json", name + ":1").out == "[]\n"
    result = strake.run("registry", "rm", name + ":1", check=False)
    assert result.code == 1 and "NAME@sha256" in result.err
    result = strake.run("registry", "rm", name, check=False)
    assert result.code != 0 and "which tag or digest" in result.err
    out = strake.run("registry", "rm", "%s@%s" % (name, digest)).out
    assert out == "Deleted: %s@%s\n" % (name, digest)
    assert strake.run("pull", name + ":1", check=False).code == 1
    strake.run("pull", name + ":2")
    result = strake.run("registry", "tags", name + "-nope", check=False)
    assert result.code == 1 and "NAME_UNKNOWN" in result.err


def test_referrers(strake, registry, repository):  # noqa: F811
    name = "%s/%s" % (registry, repository)
    strake.build("--push", "-t", name + ":1", "--provenance=true", "--attest-form=referrers",
                 dockerfile="FROM busybox\nENV V=1\n")
    found = json.loads(strake.run("registry", "referrers", "--json", name + ":1").out)
    assert len(found) == 1 and "in-toto" in json.dumps(found)
    assert found[0]["digest"] in strake.run("registry", "referrers", name + ":1").out


def test_all_tags(strake, registry, repository):  # noqa: F811
    name = "%s/%s" % (registry, repository)
    strake.build("-t", name + ":1", "-t", name + ":two", dockerfile="FROM busybox\nENV V=1\n")
    assert strake.run("push", "-a", name).out.count("Digest: sha256:") == 2
    assert sorted(strake.run("registry", "tags", name).out.split()) == ["1", "two"]
    strake.run("rmi", name + ":1", name + ":two")
    assert strake.run("pull", "--all-tags", name).out.count("Digest: sha256:") == 2
    out = strake.run("images", name).out
    assert " 1 " in out and " two " in out
    result = strake.run("push", "-a", name + ":1", check=False)
    assert result.code != 0 and "means every tag" in result.err
