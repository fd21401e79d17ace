#!/bin/bash
# install-deps.sh [--check] GROUP... - Debian packages strake needs: build, run, test, demo, examples, vm, bench.
#
# Installs with apt-get what is missing, through sudo when not root. When nothing is missing it does
# nothing, so an ordinary user without sudo can build and test on a prepared machine. --check only
# tells. LSB: Debian 12 or newer, and what derives from it.
set -euo pipefail

declare -A packages=(
	[build]="gcc libc6-dev make meson ninja-build pkg-config libcurl4-openssl-dev
		libdeflate-dev libisal-dev libzstd-dev libarchive-dev libsqlite3-dev libjansson-dev
		libseccomp-dev libcap-dev"
	# loaded at first use, or started as programs
	[run]="libcurl4 libarchive13 libseccomp2 uidmap passt ca-certificates git"
	[demo]="mmdebstrap busybox-static python3"
	[test]="mmdebstrap busybox-static python3 python3-pytest python3-pytest-xdist skopeo umoci podman crun runc buildah
		docker-registry docker.io strace clang clang-format fuse-overlayfs slirp4netns
		libcap2-bin attr acl xz-utils bzip2 zstd valgrind qemu-user-static libfaketime"
	[examples]="mmdebstrap busybox-static python3 docker-registry skopeo"
	[vm]="mmdebstrap busybox-static python3 e2fsprogs util-linux git qemu-system-x86"
	[bench]="mmdebstrap busybox-static python3 skopeo buildah runc docker.io docker-registry"
)

check=
[ "${1:-}" = --check ] && { check=1; shift; }
[ $# -gt 0 ] || set -- build run

installed() {
	# a renamed package (libcurl4t64, libarchive13t64) provides the old name
	dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed ||
		dpkg-query -W -f='${db:Status-Status}\n' "$1t64" 2>/dev/null | grep -qx installed
}

# A tool may come from elsewhere than the package that carries it.
provided() {
	case $1 in
	docker.io) command -v dockerd >/dev/null && command -v docker >/dev/null ;;
	gcc | make | git | skopeo | umoci | podman | crun | buildah | strace | valgrind | clang | clang-format | \
		meson | zstd | python3 | hyperfine | mmdebstrap | pkg-config)
		command -v "$1" >/dev/null
		;;
	*) false ;;
	esac
}

command -v dpkg-query >/dev/null || {
	echo "install-deps: this is no Debian system; install by hand what README.md lists" >&2
	exit 0
}

missing=()
for group; do
	[ -n "${packages[$group]:-}" ] || { echo "install-deps: no group '$group'" >&2; exit 2; }
	for p in ${packages[$group]}; do
		installed "$p" || provided "$p" || [[ " ${missing[*]-} " == *" $p "* ]] || missing+=("$p")
	done
done

[ ${#missing[@]} -gt 0 ] || exit 0
if [ -n "$check" ]; then
	echo "${missing[*]}"
	exit 1
fi

sudo=()
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "install-deps: missing packages: ${missing[*]}" >&2
		echo "install-deps: run as root: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	sudo=(sudo)
fi
echo "install-deps: installing ${missing[*]}" >&2
"${sudo[@]}" apt-get update -q >&2
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
	"${missing[@]}" >&2
