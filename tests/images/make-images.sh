#!/bin/bash
# make-images.sh NAME... - base images for demo, tests and bench, without a registry.
#
#   busybox   static busybox, applets as hard links        busybox:latest
#   alpine    the same as symlinks, with adduser/addgroup  alpine:latest
#   debian    Debian's minimal system with apt             debian:bookworm-slim
#   gcc       debian + gcc, libc6-dev, make                gcc:latest
#   node      debian + nodejs, npm                         node:latest
#
# Each is an OCI layout in <cache>/images/<name>, made from Debian's packages and kept until these
# scripts or the machine's apt settings change. <cache> is $STRAKE_TEST_CACHE, else
# ~/.cache/strake-tests. Needs mmdebstrap, python3, busybox-static; as an ordinary user also a
# /etc/subuid entry. The machine's mirrors, proxy and local CA certificates go into the images, so
# that `RUN apt-get update` works wherever the machine itself can.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${STRAKE_TEST_CACHE:-$HOME/.cache/strake-tests}
suite=bookworm
python=/usr/bin/python3
export SOURCE_DATE_EPOCH=1700000000
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

if [ $# = 0 ]; then
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
	exit 2
fi

mkdir -p "$cache/images" "$cache/work"
exec 9>"$cache/lock"
flock 9 # one maker at a time; a second finds the first one's result
work=$(mktemp -d "$cache/work/make.XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { echo "make-images: $*" >&2; }

need() {
	command -v "$1" >/dev/null || { say "$1 is missing: apt-get install $2"; exit 1; }
}

# What the machine adds to apt's defaults: proxies, and clock checks turned off.
apt_settings() {
	apt-config dump 2>/dev/null |
		grep -E '^Acquire::([a-z]+::Proxy(::[^ ]*)?|Check-Valid-Until|Check-Date) "[^"]+";' || true
}

local_certs() { find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null | sort; }

# The key of all inputs but the archive's packages, which move slowly and need no rebuild.
key() {
	{
		echo "$1 $suite $(uname -m)"
		cat "$here"/make-images.sh "$here"/*.py
		"$python" "$here/apt_sources.py" "$suite"
		apt_settings
		local_certs | while read -r f; do cat "$f"; done
	} | sha256sum | cut -d' ' -f1
}

fresh() { [ -f "$cache/images/$1/index.json" ] && [ "$(cat "$cache/images/$1.key" 2>/dev/null)" = "$(key "$1")" ]; }

publish() { # NAME: $work/NAME becomes <cache>/images/NAME
	rm -f "$cache/images/$1.key"
	rm -rf "$cache/images/$1"
	mv "$work/$1" "$cache/images/$1"
	key "$1" >"$cache/images/$1.key"
	say "$1: $(du -sh "$cache/images/$1" | cut -f1) in $cache/images/$1"
}

static_busybox() {
	local b
	for b in /bin/busybox /usr/bin/busybox; do
		# a dynamic program names its loader
		if [ -x "$b" ] && ! grep -qa -e '/ld-linux' -e '/ld-musl' "$b"; then
			echo "$b"
			return
		fi
	done
	say "fetching busybox-static"
	(cd "$work" && apt-get download -q busybox-static >&2 && dpkg-deb -x busybox-static_*.deb bb)
	find "$work/bb" -path '*bin/busybox' -type f | head -n1
}

# debian_tar NAME PACKAGE... - <cache>/images/.NAME.tar; the tree as mmdebstrap makes it
debian_tar() {
	local name=$1 tar=$cache/images/.$1.tar packages certs settings
	shift
	[ -f "$tar" ] && [ "$(cat "$tar.key" 2>/dev/null)" = "$(key "$name")" ] && return
	need mmdebstrap mmdebstrap
	say "$name: installing packages (a minute or two)"
	packages=$(IFS=,; echo "$*")
	settings=$work/99machine
	apt_settings >"$settings"
	"$python" "$here/apt_sources.py" "$suite" >"$work/sources.list"
	local args=(
		--variant=minbase --format=tar --skip=output/dev
		--dpkgopt='path-exclude=/usr/share/man/*'
		--dpkgopt='path-exclude=/usr/share/doc/*'
		--dpkgopt='path-include=/usr/share/doc/*/copyright'
		--dpkgopt='path-exclude=/usr/share/locale/*'
		--dpkgopt='path-exclude=/usr/share/info/*'
		--aptopt='Acquire::Languages "none"'
		--aptopt='APT::Install-Recommends "false"'
	)
	[ -n "$packages" ] && args+=(--include="$packages")
	certs=$(local_certs)
	if [ -n "$certs" ]; then
		# a machine with its own CA needs it inside too, for every https fetch
		args+=(--include=ca-certificates)
		args+=(--essential-hook='mkdir -p "$1/usr/local/share/ca-certificates"')
		for c in $certs; do
			args+=(--essential-hook="copy-in $c /usr/local/share/ca-certificates/")
		done
		args+=(--customize-hook='chroot "$1" update-ca-certificates >/dev/null')
	fi
	args+=(
		--customize-hook="copy-in $work/sources.list /etc/apt/"
		--customize-hook="copy-in $settings /etc/apt/apt.conf.d/"
		# copy-in keeps the owner the file has outside
		--customize-hook='chroot "$1" chown -R root:root /etc/apt /usr/local/share'
		--customize-hook='rm -rf "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*'
		--customize-hook='rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/machine-id'
		# as Debian's own slim images: installed packages leave no archives behind
		--customize-hook='echo "APT::Keep-Downloaded-Packages \"false\"; Dir::Cache::pkgcache \"\"; Dir::Cache::srcpkgcache \"\";" >"$1/etc/apt/apt.conf.d/docker-clean"'
	)
	mmdebstrap "${args[@]}" "$suite" "$work/$name.tar" - <"$work/sources.list" >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		say "$name: mmdebstrap failed"
		[ "$(id -u)" = 0 ] || say "as an ordinary user it needs /etc/subuid and /etc/subgid entries for $(id -un)"
		exit 1
	}
	mv "$work/$name.tar" "$tar"
	key "$name" >"$tar.key"
}

make_image() {
	local name=$1 b env=()
	if fresh "$name"; then
		return
	fi
	[ -n "$(local_certs)" ] && env=(--env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
		--env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt)
	case $name in
	busybox | alpine)
		b=$(static_busybox)
		if [ "$name" = alpine ]; then
			"$python" "$here/oci_layout.py" busybox "$work/$name" --busybox "$b" --alpine
		else
			"$python" "$here/oci_layout.py" busybox "$work/$name" --busybox "$b"
		fi
		;;
	debian)
		debian_tar debian
		"$python" "$here/oci_layout.py" tar "$work/debian" --tar "$cache/images/.debian.tar" \
			--name debian --tag bookworm-slim --tag bookworm --tag latest --tag 12-slim
		;;
	gcc | node)
		debian_tar debian
		if [ "$name" = gcc ]; then
			debian_tar gcc gcc libc6-dev make
		else
			debian_tar node nodejs npm
		fi
		"$python" "$here/oci_layout.py" tar "$work/$name" --tar "$cache/images/.$name.tar" \
			--base "$cache/images/.debian.tar" --name "$name" --tag latest "${env[@]}"
		rm -f "$cache/images/.$name.tar" "$cache/images/.$name.tar.key"
		;;
	*)
		say "unknown image '$name': busybox, alpine, debian, gcc, node"
		exit 2
		;;
	esac
	publish "$name"
}

for name; do
	make_image "$name"
done
