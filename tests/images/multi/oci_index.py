#!/usr/bin/python3
"""Write an OCI layout with one index of busybox images; standard library only.

    oci_index.py OUT HOST-BUSYBOX ARCH=FILE...

The host's own busybox comes first. Each image has /etc/architecture, so that a test sees which one
it got without running anything.
"""

import os
import platform
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import oci_layout as layouts  # noqa: E402

SUFFIXES = {"arm": "/v7"}


def add_image(layout, arch, program, runnable):
    entries = []
    for info, data in layouts.busybox_entries(runnable, False):
        if info.name == "bin/[":  # the first name carries the bytes
            info, data = layouts.entry("bin/[", mode=0o755, data=program)
        entries.append((info, data))
    entries.append(layouts.entry("etc/architecture", data=arch.encode() + b"\n"))
    layer, diff_id = layout.layer(lambda tar: layouts.add_entries(tar, entries))
    image = {
        "created": layouts.CREATED, "architecture": arch, "os": "linux",
        "config": {"Env": [layouts.PATH], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": layouts.CREATED, "created_by": "ADD busybox.tar / # test image"}],
    }
    where = {"architecture": arch, "os": "linux"}
    if arch == "arm":
        image["variant"] = where["variant"] = "v7"
    config = layout.json_blob(image, layouts.OCI + "config.v1+json")
    manifest = layout.json_blob({
        "schemaVersion": 2, "mediaType": layouts.OCI + "manifest.v1+json", "config": config,
        "layers": [layer]}, layouts.OCI + "manifest.v1+json")
    return dict(manifest, platform=where)


def main():
    out, runnable = sys.argv[1:3]
    shutil.rmtree(out, ignore_errors=True)
    layout = layouts.Layout(out)
    host = layouts.ARCH.get(platform.machine(), platform.machine())
    programs = [(host, runnable)]
    programs += [s.split("=", 1) for s in sys.argv[3:] if not s.startswith(host + "=")]
    manifests = []
    for arch, path in programs:
        with open(path, "rb") as f:
            manifests.append(add_image(layout, arch, f.read(), runnable))
    index = layout.json_blob({"schemaVersion": 2, "mediaType": layouts.OCI + "index.v1+json",
                              "manifests": manifests}, layouts.OCI + "index.v1+json")
    named = dict(index, annotations={"org.opencontainers.image.ref.name": "latest"})
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                        ("index.json", {"schemaVersion": 2,
                                        "mediaType": layouts.OCI + "index.v1+json",
                                        "manifests": [named]})):
        with open(os.path.join(out, name), "w") as f:
            layouts.json.dump(value, f, sort_keys=True)


if __name__ == "__main__":
    main()
