#!/bin/bash
# simulator.sh: runs the package's tests in an iOS simulator, on macOS with Xcode.
#
# The XCFramework must be in place (`cargo xtask package apple`), and $DORMOUSE_TINY_MODELS name the
# folder of the tiny models. A simulator's process sees the Mac's files, and of its environment what
# begins with TEST_RUNNER_, without that.
set -eu
cd "$(dirname "$0")/../.."

if [ -z "${DORMOUSE_TINY_MODELS:-}" ]; then
  echo "DORMOUSE_TINY_MODELS is to name the folder of the tiny models" >&2
  exit 2
fi
for name in DORMOUSE_TINY_MODELS DORMOUSE_MODELS DORMOUSE_LONG; do
  if [ -n "${!name:-}" ]; then export "TEST_RUNNER_$name=${!name}"; fi
done

# Any iPhone will do: which there are changes with each Xcode.
device=$(xcrun simctl list devices available |
  sed -nE 's/^ *iPhone.*\(([0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12})\).*/\1/p' | head -n 1)
if [ -z "$device" ]; then
  echo "there is no simulator of an iPhone: see xcrun simctl list devices" >&2
  exit 3
fi
xcodebuild test -scheme Dormouse -destination "platform=iOS Simulator,id=$device" \
  -derivedDataPath .build/simulator
