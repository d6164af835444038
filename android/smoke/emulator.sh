#!/bin/sh
# An app that R8 made of the AAR runs on the Android that adb is connected to, an emulator or a phone,
# and answers as on a JVM.
#   emulator.sh REPOSITORY MODEL        MODEL scripted.gguf
#   emulator.sh --no-run REPOSITORY     only makes the app, for which no Android is needed
. "$(dirname "$0")/common.sh"
[ $# -eq 2 ] || fail "usage: emulator.sh REPOSITORY MODEL | emulator.sh --no-run REPOSITORY"
case $1 in
--no-run) repository=$2 model= ;;
*) repository=$1 model=$(realpath "$2") ;;
esac
answer='Hello 🐭 from the dormouse: 冬眠!'
need_tools
resolve "$repository" consumer
here=$out/emulator
rm -rf "$here"
mkdir -p "$here"

java -cp "$(class_path "$tools")" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -no-stdlib -no-reflect -jvm-target 17 \
    -Werror -cp "$(class_path "$out/consumer")" -d "$here/app.jar" "$smoke/Smoke.kt"
java "$smoke/JavaCore.java" "$here/java-core.jar"
echo '-keep class app.SmokeKt { public static void main(java.lang.String[]); }' >"$here/app.pro"
unzip -qp "$out"/consumer/dormouse-android-*.aar proguard.txt >"$here/aar.pro"
java -cp "$(class_path "$tools")" com.android.tools.r8.R8 --release --min-api 26 --output "$here/app.zip" \
    --lib "$here/java-core.jar" --lib "$(echo "$tools"/android-all-*.jar)" \
    --pg-conf "$here/app.pro" --pg-conf "$here/aar.pro" "$here/app.jar" "$out"/consumer/*.jar >"$here/r8.log" 2>&1 ||
    { tail -20 "$here/r8.log" >&2; fail "R8 does not make an app of it"; }
unzip -Z1 "$here/app.zip" | grep -q '^classes\.dex$' || fail "R8 wrote no classes.dex"
if [ -z "$model" ]; then
    echo "emulator: the app is $(wc -c <"$here/app.zip") bytes; it was not run"
    exit
fi

abi=$(adb shell getprop ro.product.cpu.abi | tr -d '\r')
for aar in dormouse-android jna; do
    unzip -qjo "$out"/consumer/$aar-*.aar "jni/$abi/*" -d "$here" || fail "$aar has no library for $abi"
done
to=/data/local/tmp/dormouse-smoke
adb shell "rm -rf $to && mkdir -p $to"
for file in "$here/app.zip" "$here"/lib*.so "$model"; do
    adb push "$file" $to/ >/dev/null
done
# As the shell's user, without an activity: that is enough of Android for the two libraries, its VM and
# its loader.
adb shell "cd $to && CLASSPATH=$to/app.zip LD_LIBRARY_PATH=$to app_process -Djava.library.path=$to \
    /system/bin app.SmokeKt $to/$(basename "$model")" >"$here/out" 2>"$here/err" || {
    cat "$here/out" "$here/err" >&2
    adb logcat -d -t 50 >&2
    fail "the app ends with an error"
}
[ "$(tr -d '\r' <"$here/out")" = "$answer" ] || { cat "$here/out" >&2; fail "the app does not give the answer"; }
adb shell rm -rf $to
echo "emulator: the app answers on $(adb shell getprop ro.build.version.release | tr -d '\r'), $abi"
