#!/bin/bash
# make.sh - <cache>/images/multi: one index with busybox for this machine, arm64, arm/v7 and 386.
#
# Foreign programs come from Debian's packages, through an apt state of our own: the machine's apt
# never hears of another architecture. Kept until this folder's scripts change. <cache> is
# $STRAKE_TEST_CACHE, else ~/.cache/strake-tests. Needs busybox-static, python3.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${STRAKE_TEST_CACHE:-$HOME/.cache/strake-tests}
suite=bookworm
python=/usr/bin/python3
out=$cache/images/multi

mkdir -p "$cache/images" "$cache/work"
exec 9>"$cache/lock.multi"
flock 9
key=$(cat "$here"/make.sh "$here"/*.py "$here"/../oci_layout.py | sha256sum | cut -d' ' -f1)
[ -f "$out/index.json" ] && [ "$(cat "$out.key" 2>/dev/null)" = "$key" ] && exit 0

work=$(mktemp -d "$cache/work/multi.XXXXXX")
trap 'rm -rf "$work"' EXIT
say() { echo "make-multi: $*" >&2; }

busybox() { # ARCH: the path of its static busybox
	local d=$work/$1
	mkdir -p "$d/state/lists/partial" "$d/cache/archives/partial"
	: >"$d/status"
	"$python" "$here/../apt_sources.py" "$suite" | head -n1 >"$d/sources.list"
	local apt=(apt-get -q -o "Dir::State=$d/state" -o "Dir::State::status=$d/status"
		-o "Dir::Cache=$d/cache" -o "Dir::Etc::sourcelist=$d/sources.list"
		-o Dir::Etc::sourceparts=- -o "APT::Architecture=$1" -o "APT::Architectures=$1"
		-o Acquire::Languages=none -o APT::Sandbox::User=root)
	say "fetching busybox-static:$1"
	"${apt[@]}" update >&2
	(cd "$d" && "${apt[@]}" download busybox-static >&2 && dpkg-deb -x busybox-static_*.deb bb)
	find "$d/bb" -path '*bin/busybox' -type f | head -n1
}

host=$(busybox "$(dpkg --print-architecture)")
arm64=$(busybox arm64)
arm=$(busybox armhf)
i386=$(busybox i386)
"$python" "$here/oci_index.py" "$work/out" "$host" "arm64=$arm64" "arm=$arm" "386=$i386"
rm -rf "$out" "$out.key"
mv "$work/out" "$out"
echo "$key" >"$out.key"
say "multi: $(du -sh "$out" | cut -f1) in $out"
