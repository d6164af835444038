#!/bin/sh
# An app that R8 shrank with nothing but the rules in the AAR runs, and fails without any one of them.
#   shrink.sh REPOSITORY LIBRARY MODEL     LIBRARY for this machine, MODEL scripted.gguf
. "$(dirname "$0")/common.sh"
[ $# -eq 3 ] || fail "usage: shrink.sh REPOSITORY LIBRARY MODEL"
library=$(realpath "$2") model=$(realpath "$3")
answer='Hello 🐭 from the dormouse: 冬眠!'
need_tools
resolve "$1" consumer
here=$out/shrink
rm -rf "$here"
mkdir -p "$here/native"

java -cp "$(class_path "$tools")" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -no-stdlib -no-reflect -jvm-target 17 \
    -Werror -cp "$(class_path "$out/consumer")" -d "$here/app.jar" "$smoke/Smoke.kt"
# Of the JDK what is Java's core, as Android has no desktop either; and Android for the rest.
java "$smoke/JavaCore.java" "$here/java-core.jar"
# JNA's native part for this machine.
unzip -qjo "$tools"/jna-*.jar "com/sun/jna/linux-$(uname -m | tr _ -)/libjnidispatch.so" -d "$here/native"
# Found by its name, as on Android.
cp "$library" "$here/native/libdormouse_ffi.so"
# What an app's manifest tells R8 on Android.
echo '-keep class app.SmokeKt { public static void main(java.lang.String[]); }' >"$here/app.pro"
unzip -qp "$out"/consumer/dormouse-android-*.aar proguard.txt >"$here/all.pro"
[ -s "$here/all.pro" ] || fail "the AAR has no rules"

# Shrinks with the rules $1.pro, and runs it: on this VM, then as on Android, where both libraries are
# looked for by their names.
shrinks_and_runs() {
    rm -f "$here/$1.jar"
    java -cp "$(class_path "$tools")" com.android.tools.r8.R8 --release --classfile --output "$here/$1.jar" \
        --lib "$here/java-core.jar" --lib "$(echo "$tools"/android-all-*.jar)" \
        --pg-conf "$here/app.pro" --pg-conf "$here/$1.pro" "$here/app.jar" "$out"/consumer/*.jar \
        >"$here/$1.log" 2>&1 || return 1
    runs "$1" "" -Djna.boot.library.path="$here/native" -Ddormouse.library="$here/native/libdormouse_ffi.so" || return 1
    runs "$1" Dalvik -Djava.library.path="$here/native" -Djna.library.path="$here/native"
}

# Runs $1.jar on a VM by the name $2, or its own, with further words for it.
runs() {
    name=$1 vm=$2
    shift 2
    timeout 60 java -Dfile.encoding=UTF-8 "$@" -cp "$here/$name.jar" app.SmokeKt "$model" ${vm:+"$vm"} \
        >"$here/$name.out" 2>>"$here/$name.log" || return 1
    [ "$(cat "$here/$name.out")" = "$answer" ]
}

shrinks_and_runs all || { tail -20 "$here/all.log" >&2; fail "with all rules it does not run"; }
cat "$here/all.out"
before=$(cat "$here/app.jar" "$out"/consumer/*.jar | wc -c)
echo "shrunk from $before to $(wc -c <"$here/all.jar") bytes"

rules=$(grep -n '^-' "$here/all.pro" | cut -d: -f1)
[ -n "$rules" ] || fail "no rule was found in the AAR's"
for line in $rules; do
    rule=$(sed -n "${line}p" "$here/all.pro")
    # Each in a line of its own, so that a line can be taken away.
    case $rule in *{*[!}]) fail "not a rule in one line: $rule" ;; esac
    sed "${line}d" "$here/all.pro" >"$here/without-$line.pro"
    if shrinks_and_runs "without-$line"; then
        fail "it runs without: $rule"
    fi
    why=$(grep -m1 -E 'Error|Exception|Missing class' "$here/without-$line.log" || echo "it gave no answer")
    echo "fails without: $rule"
    echo "    $why" | cut -c1-160
done
echo "shrink: runs with the AAR's rules, and not without any one"
