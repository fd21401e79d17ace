#!/bin/bash
# make-hub.sh NAME... - images with Docker Hub's names, from Debian's packages, in a registry's storage.
#
#   make-hub.sh [--list] NAME...      NAME is a folder of hub/; "all" is every one
#
# strake itself builds hub/NAME/Dockerfile upon the layouts of make-images.sh and pushes the result
# under the names that hub/names gives it. The storage, <cache>/hub/registry, is that of Debian's
# docker-registry: serve it (see examples/lib.sh) and name it as docker.io's mirror in registries.conf,
# and `FROM golang:1.20` works. An image is kept until its files or what it stands on change.
# $STRAKE is the program; default build-release.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${STRAKE_TEST_CACHE:-$HOME/.cache/strake-tests}
strake=${STRAKE:-$here/../../build-release/src/cli/strake}
hub=$cache/hub
export STRAKE_STORE=$hub/store LC_ALL=C

say() { echo "make-hub: $*" >&2; }

# names NAME: the references of hub/NAME; needs NAME: the folders it is built upon, and @layouts
names() { sed -n "s/^$1://p" "$here/hub/names" | sed 's/<.*//'; }
needs() { sed -n "s/^$1:.*<//p" "$here/hub/names"; }
is_hub() { [ -d "$here/hub/$1" ]; }

if [ $# = 0 ]; then
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
	exit 2
fi
if [ "$1" = --list ]; then
	sed -n 's/^\([a-z][^:]*\):.*/\1/p' "$here/hub/names"
	exit
fi
[ "$1" != all ] || set -- $("$0" --list)

mkdir -p "$hub/keys" "$hub/registry"
exec 8>"$hub/lock"
flock 8
work=$(mktemp -d "$hub/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Layouts first: they hold a lock of their own.
layouts=()
collect() {
	local n
	for n in $(needs "$1"); do
		case $n in @*) layouts+=("${n#@}") ;; *) collect "$n" ;; esac
	done
}
for name; do
	is_hub "$name" || { say "unknown image '$name'; there are: $("$0" --list | tr '\n' ' ')"; exit 2; }
	collect "$name"
done
STRAKE_STORE= "$here/make-images.sh" $(printf '%s\n' "${layouts[@]}" | sort -u)

key() {
	{
		cat "$here/hub/names" | grep "^$1:"
		(cd "$here/hub/$1" && find . -type f | sort | xargs sha256sum)
		local n
		for n in $(needs "$1"); do
			case $n in @*) cat "$cache/images/${n#@}.key" ;; *) key "$n" ;; esac
		done
	} | sha256sum | cut -d' ' -f1
}
fresh() { [ "$(cat "$hub/keys/$1" 2>/dev/null)" = "$(key "$1")" ]; }

registry=
start_registry() {
	[ -z "$registry" ] || return 0
	registry=$("$here/serve-hub.sh" "$hub/registry" "$work/serve")
	trap '"$here/serve-hub.sh" --stop "$work/serve"; rm -rf "$work"' EXIT
}

# make_index NAME TAG-FLAG...: one build a platform, joined in $work/NAME; this machine's stays in the
# store too, for what is built upon it
make_index() {
	local name=$1 arch parts=()
	shift
	for arch in $(cat "$here/hub/$name/platforms"); do
		"$strake" build --progress=plain $(contexts "$name") --platform "linux/$arch" \
			-o "type=oci,dest=$work/$name-$arch,tar=false" "$here/hub/$name" || return
		parts+=("$work/$name-$arch")
	done
	"$strake" build --progress=plain $(contexts "$name") "$@" "$here/hub/$name" || return
	"$here/hub/join_index.py" "$work/$name" "${parts[@]}"
}

push() { # REFERENCE as it is on Docker Hub; multi-platform ones come as a layout
	local ref=$1 path
	case $ref in */*) path=$ref ;; *) path=library/$ref ;; esac
	if [ -d "$2" ]; then
		skopeo copy -q --all --dest-tls-verify=false "oci:$2:latest" "docker://$registry/$path"
	else
		"$strake" tag "$ref" "$registry/$path"
		"$strake" push -q "$registry/$path" >/dev/null
		"$strake" rmi "$registry/$path" >/dev/null
	fi
}

contexts() { # --build-context flags for the layouts NAME stands on
	local n
	for n in $(needs "$1"); do
		case $n in
		@debian) echo "--build-context=debian:bookworm-slim=oci-layout://$cache/images/debian:bookworm-slim" ;;
		@*) echo "--build-context=${n#@}=oci-layout://$cache/images/${n#@}:latest" ;;
		esac
	done
}

make_one() {
	local name=$1 n ref tags=() start=$SECONDS log=$hub/$1.log
	for n in $(needs "$name"); do
		case $n in @*) ;; *) make_one "$n" ;; esac
	done
	if fresh "$name"; then
		return
	fi
	for ref in $(names "$name"); do tags+=(-t "$ref"); done
	say "$name: building"
	start_registry
	{
		if [ -f "$here/hub/$name/platforms" ]; then
			make_index "$name" "${tags[@]}"
		else
			"$strake" build --progress=plain $(contexts "$name") "${tags[@]}" "$here/hub/$name"
		fi
	} >"$log" 2>&1 || { tail -n 40 "$log" >&2; say "$name failed; see $log"; exit 1; }
	for ref in $(names "$name"); do push "$ref" "$work/$name"; done
	key "$name" >"$hub/keys/$name"
	say "$name: $((SECONDS - start)) s"
}

for name; do make_one "$name"; done
