#!/bin/bash
# api.sh [--write]: compares the public API with ios/api/Dormouse.txt, or writes it there. It also
# makes sure that nothing of the generated code is public.
set -eu
cd "$(dirname "$0")/../.."
committed=ios/api/Dormouse.txt

scratch=.build/graphs

swift package --manifest-cache none --scratch-path "$scratch" dump-symbol-graph \
  --minimum-access-level public --skip-synthesized-members >/dev/null
mkdir -p .build/api
if [ ! ios/toolchain/api.swift -ot .build/api/api ]; then
  swiftc -O -o .build/api/api ios/toolchain/api.swift
fi
api() {
  find "$scratch"/*/symbolgraph -name "$1.symbols.json" -o -name "$1@*.symbols.json" |
    sort | xargs .build/api/api
}
if [ -n "$(api DormouseGenerated)" ]; then
  echo "the generated code has public declarations:" >&2
  api DormouseGenerated >&2
  exit 1
fi
if [ "${1:-}" = --write ]; then
  mkdir -p "$(dirname "$committed")"
  api Dormouse >"$committed"
  echo "$(wc -l <"$committed") declarations in $committed"
  exit 0
fi
api Dormouse >.build/api/Dormouse.txt
if ! diff -u "$committed" .build/api/Dormouse.txt; then
  echo "the public API has changed: if it should, run ios/toolchain/api.sh --write" >&2
  exit 1
fi
echo "the public API is the committed one, $(wc -l <"$committed") declarations"
