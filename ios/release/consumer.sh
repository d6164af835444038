#!/bin/bash
# consumer.sh MODEL: depends on a release as an app does, on Linux, and runs it.
#
# Makes a bare clone of this repository, tags a release in it, and builds a package that names the
# clone by its URL and the tag by its version. The static library is not part of a release on
# Linux; the app says where it is. Then makes sure that the app sees nothing of the generated code.
set -eu

if [ $# -ne 1 ]; then
  echo "usage: consumer.sh MODEL" >&2
  exit 2
fi
model=$1
cd "$(dirname "$0")/../.."
repository=$(pwd -P)
version=9.9.9
scratch=$repository/.build/consumer
rm -rf "$scratch"
mkdir -p "$scratch"

# A working clone makes the release; apps see the bare one. HEAD is what counts, not what is
# uncommitted; what is generated comes from the working tree.
git clone -q --no-local "file://$repository" "$scratch/clone"
mkdir -p "$scratch/clone/ios/Generated"
cp -r ios/Generated/Swift ios/Generated/C "$scratch/clone/ios/Generated/"
export GIT_AUTHOR_NAME=release GIT_AUTHOR_EMAIL=release@localhost
export GIT_COMMITTER_NAME=release GIT_COMMITTER_EMAIL=release@localhost
"$scratch/clone/ios/release/tag.sh" "$version" https://example.org/DormouseFFI.xcframework.zip \
  "$(printf '%064d' 7)"
git clone -q --bare "$scratch/clone" "$scratch/dormouse.git"
if git -C "$scratch/dormouse.git" cat-file -e HEAD:ios/Generated 2>/dev/null; then
  echo "the branch carries generated code" >&2
  exit 1
fi

cp -r ios/release/consumer "$scratch/app"
cd "$scratch/app"
export DORMOUSE_RELEASE_URL="file://$scratch/dormouse.git" DORMOUSE_RELEASE_VERSION=$version
# Caches of its own: SwiftPM remembers which commit a version of a URL was, for good.
options=(
  --manifest-cache none --cache-path "$scratch/cache" --security-path "$scratch/security"
  -Xlinker "-L$repository/ios/Generated/lib"
)
swift build "${options[@]}" --product consumer
answer=$(.build/debug/consumer "$model")
echo "$answer"
grep -q '\[endOfTurn\]$' <<<"$answer"

if swift build "${options[@]}" --target intruder >intruder.log 2>&1; then
  echo "an app reaches the generated code" >&2
  exit 1
fi
for name in ModelHandle engineVersion Failure handle DormouseGenerated.engineVersion; do
  case $name in
    DormouseGenerated.*) says="ByName.swift:.*error: .*'${name#*.}'" ;;
    *) says="Intruder.swift:.*error: .*'$name'" ;;
  esac
  if ! grep -qE "$says" intruder.log; then
    echo "an app reaches $name:" >&2
    cat intruder.log >&2
    exit 1
  fi
done
echo "a package that names the release by its URL builds and runs, and sees the API alone"
