#!/usr/bin/env bash
# Builds everything of a release into a folder: programs for each platform, Debian packages, a list of what they are made of,
# a Homebrew formula, checksums. The same commit gives the same bytes, in whatever folder and on whatever day it is built
# (with the Go of go.mod; GNU tar, gzip and dpkg-deb besides).
#
#   build/release.sh DIST [PLATFORM...]     e.g. build/release.sh dist linux/amd64; by default all that are released
#   VERSION=v1.2.3                          instead of what git says
set -euo pipefail
cd "$(dirname "$0")/.."

dist=${1:?usage: build/release.sh DIST [PLATFORM...]}
shift
platforms=("$@")
[ ${#platforms[@]} -gt 0 ] || platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64)
if [ -z "${RELEASE_DIRTY-}" ] && [ -n "$(git status --porcelain)" ]; then
	echo "release: there are changes that are not committed: nobody could build this again" >&2
	exit 1
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CGO_ENABLED=0 LC_ALL=C TZ=UTC
if [ ! -d .git ]; then
	echo "release: this is a worktree, of which Go records no commit in programs: build in a clone" >&2
	exit 1
fi
commit=$(git rev-parse --short=12 HEAD)
version=${VERSION:-$(git describe --tags --exact-match 2>/dev/null || echo "v0.0.0-$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)-$commit")}
number=${version#v}
case $number in [0-9]*) ;; *) echo "release: version $version is no v1.2.3" >&2 && exit 1 ;; esac

rm -rf "$dist" && mkdir -p "$dist"
dist=$(cd "$dist" && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

# programs OS: what is released for it. Containers and the installer of machines are Linux's.
programs() {
	local all=() p
	for p in cmd/*/; do
		case $1:$p in darwin:cmd/labctl-provider-nspawn/ | darwin:cmd/labctl-install/) ;; *) all+=("./$p") ;; esac
	done
	printf '%s\n' "${all[@]}"
}

# package FOLDER ARCH: a Debian package of the programs in FOLDER/bin.
package() {
	local root=$stage/deb
	rm -rf "$root" && mkdir -p "$root/DEBIAN" "$root/usr/lib/labctl" "$root/usr/bin" "$root/usr/share/doc/labctl"
	cp "$1"/bin/* "$root/usr/lib/labctl/"
	ln -s ../lib/labctl/labctl "$root/usr/bin/labctl" # plugins are looked for beside the program itself
	cp README.md "$root/usr/share/doc/labctl/" && cp LICENSE "$root/usr/share/doc/labctl/copyright"
	sed -e "s/@VERSION@/$number/" -e "s/@ARCH@/$2/" -e "s/@SIZE@/$(du -ks "$root/usr" | cut -f1)/" build/debian-control >"$root/DEBIAN/control"
	find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	chmod -R u=rwX,go=rX "$root"
	dpkg-deb --root-owner-group -Zxz -z2 --build "$root" "$dist/labctl_${number}_$2.deb" >/dev/null
}

for platform in "${platforms[@]}"; do
	os=${platform%/*} arch=${platform#*/}
	name=labctl_${number}_${os}_$arch
	mkdir -p "$stage/$name/bin"
	# The version and commit are what the go command takes from git and records (-buildvcs); see labctl version.
	# provider.release names it where the tag does not.
	mapfile -t list < <(programs "$os")
	GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=true -ldflags "-s -w -buildid= -X github.com/labctl-dev/labctl/provider.release=$version" -o "$stage/$name/bin/" "${list[@]}"
	cp README.md LICENSE "$stage/$name/"
	go run ./build/sbom "$version" "$stage/$name"/bin/* >"$dist/$name.cdx.json"
	if [ "$os" = linux ] && command -v dpkg-deb >/dev/null; then package "$stage/$name" "$arch"; fi
	tar -C "$stage" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - "$name" | gzip -9n >"$dist/$name.tar.gz"
done

# sum PLATFORM: its checksum. A formula has all four.
sum() { sha256sum "$dist/labctl_${number}_$1.tar.gz" | cut -d' ' -f1; }
[ ${#platforms[@]} -lt 4 ] || sed -e "s/@VERSION@/$number/" -e "s/@darwin_arm64@/$(sum darwin_arm64)/" -e "s/@darwin_amd64@/$(sum darwin_amd64)/" \
	-e "s/@linux_arm64@/$(sum linux_arm64)/" -e "s/@linux_amd64@/$(sum linux_amd64)/" build/homebrew.rb >"$dist/labctl.rb"
(cd "$dist" && sha256sum -- *.tar.gz *.cdx.json $(ls -- *.deb 2>/dev/null) >SHA256SUMS)
echo "$version is in $dist:"
ls -1 "$dist"
