#!/usr/bin/python3
"""join_index.py OUT LAYOUT... - the images of several OCI layouts, one a platform, as one index."""

import hashlib
import json
import os
import shutil
import sys

INDEX = "application/vnd.oci.image.index.v1+json"


def blob(layout, digest):
    return os.path.join(layout, "blobs/sha256", digest.split(":")[1])


def load(path):
    with open(path) as f:
        return json.load(f)


def main():
    out, manifests = sys.argv[1], []
    os.makedirs(os.path.join(out, "blobs/sha256"))
    for layout in sys.argv[2:]:
        entry = load(os.path.join(layout, "index.json"))["manifests"][0]
        config = load(blob(layout, load(blob(layout, entry["digest"]))["config"]["digest"]))
        shutil.copytree(os.path.join(layout, "blobs"), os.path.join(out, "blobs"),
                        dirs_exist_ok=True)
        manifests.append({
            "mediaType": entry["mediaType"], "digest": entry["digest"], "size": entry["size"],
            "platform": {k: config[k] for k in ("architecture", "os", "variant") if k in config}})
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    with open(blob(out, digest), "wb") as f:
        f.write(data)
    with open(os.path.join(out, "index.json"), "w") as f:
        json.dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
            {"mediaType": INDEX, "digest": digest, "size": len(data),
             "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}, f)
    with open(os.path.join(out, "oci-layout"), "w") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')


if __name__ == "__main__":
    main()
