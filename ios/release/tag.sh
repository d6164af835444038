#!/bin/bash
# tag.sh VERSION URL CHECKSUM: makes the commit that apps depend on, and tags it VERSION.
#
# SwiftPM takes a package from a git tag as it is and runs no generator, so the commit of a tag
# carries what the main branch does not: ios/Generated/{Swift,C}, which must be in place, and the
# address and checksum of the XCFramework in Package.swift. The commit is made beside the branch:
# neither the working tree nor the branch changes, and nothing is pushed.
set -eu

if [ $# -ne 3 ]; then
  echo "usage: tag.sh VERSION URL CHECKSUM" >&2
  exit 2
fi
version=$1 url=$2 checksum=$3
cd "$(dirname "$0")/../.."

refuse() {
  echo "$1" >&2
  exit 1
}
grep -qxE '[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?' <<<"$version" ||
  refuse "$version is no version of the form 1.2.3"
grep -qxE '[0-9a-f]{64}' <<<"$checksum" || refuse "the checksum must be 64 hexadecimal digits"
grep -qxE 'https://[^"\\ ]+\.zip' <<<"$url" || refuse "the URL must be https and end in .zip"
if git rev-parse -q --verify "refs/tags/$version" >/dev/null; then
  refuse "there is a tag $version already"
fi
generated="ios/Generated/Swift/DormouseGenerated.swift ios/Generated/C/DormouseFFI.h"
for file in $generated; do
  [ -s "$file" ] || refuse "$file is missing: run ios/toolchain/place.sh"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git show HEAD:Package.swift |
  sed -e "s|^let releasedURL = .*|let releasedURL = \"$url\"|" \
    -e "s|^let releasedChecksum = .*|let releasedChecksum = \"$checksum\"|" >"$scratch/Package.swift"
grep -qF "\"$url\"" "$scratch/Package.swift" && grep -qF "\"$checksum\"" "$scratch/Package.swift" ||
  refuse "Package.swift has no lines for the address and the checksum"

export GIT_INDEX_FILE=$scratch/index
git read-tree HEAD
# shellcheck disable=SC2086 # two paths without spaces
git add -f $generated
git update-index --cacheinfo "100644,$(git hash-object -w "$scratch/Package.swift"),Package.swift"
commit=$(git commit-tree -p HEAD -m "chore(release): the Swift package $version" "$(git write-tree)")
git tag -m "Dormouse $version" "$version" "$commit"
echo "$version is $commit"
