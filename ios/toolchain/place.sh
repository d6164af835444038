#!/bin/bash
# place.sh GENERATED [LIBRARY]: puts what Package.swift builds on into ios/Generated.
#
# GENERATED is the folder that the generator wrote DormouseGenerated.swift and DormouseFFI.h to,
# LIBRARY the static library of the engine for this machine (Linux only):
#
#   ios/Generated/Swift/DormouseGenerated.swift   visible within this package alone
#   ios/Generated/C/DormouseFFI.h
#   ios/Generated/lib/libdormouse_ffi.a
#
# Files that stay the same keep their time, so that nothing is compiled again for them.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: place.sh GENERATED [LIBRARY]" >&2
  exit 2
fi
target=$(cd "$(dirname "$0")/.." && pwd)/Generated
mkdir -p "$target/Swift" "$target/C"

put() {
  if cmp -s "$1" "$2"; then
    rm "$1"
  else
    mv "$1" "$2"
  fi
}

# The generator makes all of it public; an app that imports the module by name would see it.
sed -E 's/^( *)(required )?(public|open)( |$)/\1\2package\4/' "$1/DormouseGenerated.swift" \
  > "$target/new.swift"
if grep -nE '^ *(@[a-z]+ )*(public|open) ' "$target/new.swift" >&2; then
  echo "a declaration above would be visible to apps" >&2
  exit 1
fi
put "$target/new.swift" "$target/Swift/DormouseGenerated.swift"
cp "$1/DormouseFFI.h" "$target/new.h"
put "$target/new.h" "$target/C/DormouseFFI.h"
if [ $# = 2 ] && ! cmp -s "$2" "$target/lib/libdormouse_ffi.a"; then
  mkdir -p "$target/lib"
  cp "$2" "$target/new.a"
  mv "$target/new.a" "$target/lib/libdormouse_ffi.a"
  # SwiftPM does not know what the linker found: what has the old one in it is to be linked anew.
  build=$target/../../.build
  rm -rf "$build"/*/debug/*.xctest "$build"/*/release/*.xctest
  rm -f "$build"/bench/*/*/dormouse-bench
fi
