#!/bin/sh
# All bytecode in the AAR finds what it names in API 26 or among the AAR's dependencies.
#   api.sh REPOSITORY
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || fail "usage: api.sh REPOSITORY"
need_tools
resolve "$1" consumer
here=$out/api
rm -rf "$here"
mkdir -p "$here"

check() {
    java -cp "$(class_path "$tools")" "$smoke/ApiLevel.java" "$(echo "$tools"/android-api-level-26-*.signature)" "$@"
}

ours=$(echo "$out"/consumer/dormouse-android-*.classes.jar)
others=$(ls "$out"/consumer/*.jar | grep -v '/dormouse-android-')
# The names have no spaces: they are Maven's.
# shellcheck disable=SC2086
check "$ours" $others || fail "the AAR's classes need more than API 26"

javac -d "$here" "$smoke/CleanerUser.java"
jar --create --file "$here/wrong.jar" -C "$here" CleanerUser.class
if check "$here/wrong.jar" >"$here/wrong.txt"; then
    fail "a user of java.lang.ref.Cleaner was not found"
fi
for name in 'no class java/lang/ref/Cleaner' 'no method java/nio/ByteBuffer.flip ()Ljava/nio/ByteBuffer;'; do
    grep -qF "CleanerUser: $name" "$here/wrong.txt" || fail "not found in the wrong class: $name"
done
echo "api: all that the AAR names is in API 26 or in its dependencies; a class that needs more is found"
