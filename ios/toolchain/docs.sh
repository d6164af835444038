#!/bin/bash
# docs.sh [OUT]: converts the API's documentation, to .build/docs unless OUT says otherwise. A
# symbol that a page names and that is not there, or a link that leads nowhere, is an error.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-.build/docs}
graphs=.build/docs-graphs
scratch=.build/graphs

swift package --manifest-cache none --scratch-path "$scratch" dump-symbol-graph \
  --minimum-access-level public --skip-synthesized-members >/dev/null
rm -rf "$graphs"
mkdir -p "$graphs"
cp "$scratch"/*/symbolgraph/Dormouse.symbols.json "$graphs/"
for extension in "$scratch"/*/symbolgraph/Dormouse@*.symbols.json; do
  if [ -e "$extension" ]; then cp "$extension" "$graphs/"; fi
done
if ! command -v docc >/dev/null; then
  # Xcode has it beside its own tools.
  docc() { xcrun docc "$@"; }
fi
docc convert ios/Sources/Dormouse/Dormouse.docc --additional-symbol-graph-dir "$graphs" \
  --fallback-display-name Dormouse --fallback-bundle-identifier dev.dormouse.Dormouse \
  --warnings-as-errors --output-path "$out"
echo "documentation of $(find "$out/data" -name '*.json' | wc -l) pages in $out"
