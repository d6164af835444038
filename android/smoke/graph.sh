#!/bin/sh
# The graph of a consumer has JNA once, as an AAR, and no class twice.
#   graph.sh REPOSITORY
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || fail "usage: graph.sh REPOSITORY"

# Says what is wrong with the resolved artefacts in the folder $1.
faults() {
    jna=$(grep -c ' net\.java\.dev\.jna:jna:' "$1/graph.txt" || true)
    [ "$jna" = 1 ] || echo "JNA is there $jna times"
    grep -q ' net\.java\.dev\.jna:jna:aar:' "$1/graph.txt" || echo "JNA is not there as an AAR"
    for jar in "$1"/*.jar; do
        # Descriptions of a module are each jar's own.
        classes "$jar" | grep -v 'module-info\.class$' || true
    done | sort | uniq -d | sed 's/^/twice: /'
}

resolve "$1" consumer
cat "$out/consumer/graph.txt"
found=$(faults "$out/consumer")
[ -z "$found" ] || fail "$(echo "$found" | head -20)"
classes=$(for jar in "$out"/consumer/*.jar; do classes "$jar"; done | wc -l)
[ "$classes" -gt 1000 ] || fail "only $classes classes were looked at"

resolve "$1" consumer-wrong -P jna-twice
found=$(faults "$out/consumer-wrong")
echo "$found" | grep -q '^JNA is there 2 times' || fail "JNA as a jar beside the AAR was not found"
echo "$found" | grep -q '^twice: com/sun/jna/Native.class' || fail "the classes of JNA twice were not found"
echo "graph: $classes classes, each once; JNA once, as an AAR; JNA twice is found"
