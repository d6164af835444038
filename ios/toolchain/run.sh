#!/bin/bash
# run.sh DIR COMMAND [ARGUMENT...]: runs COMMAND in the working folder with Swift on its PATH.
#
# DIR is what setup-linux.sh made; it is not looked at where `swift` is on the PATH already.
# Within DIR the repository has the path that it has outside, and so have the folders that
# $DORMOUSE_TINY_MODELS and $DORMOUSE_MODELS name (to be read only); of the environment the
# DORMOUSE_ variables are kept. The mounts are in a name space of their own and end with the
# command.
set -eu

if [ $# -lt 2 ]; then
  echo "usage: run.sh DIR COMMAND [ARGUMENT...]" >&2
  exit 2
fi
root=$1
shift
if command -v swift >/dev/null; then
  exec "$@"
fi
if [ ! -x "$root/usr/libexec/swift/bin/swift" ]; then
  echo "no swift on the PATH and none in $root: run setup-linux.sh $root" >&2
  exit 3
fi

here=$(pwd -P)
repository=$(cd "$(dirname "$0")/../.." && pwd -P)
environment=()
while IFS= read -r name; do
  environment+=("$name=${!name}")
done < <(compgen -e | grep '^DORMOUSE_')

export SWIFT_ROOT=$root REPOSITORY=$repository HERE=$here
# shellcheck disable=SC2016 # the inner shell is to read these
exec unshare --mount --propagation private bash -c '
  set -eu
  into() {
    mkdir -p "$SWIFT_ROOT$1"
    mount --rbind "$1" "$SWIFT_ROOT$1"
  }
  mount -t proc proc "$SWIFT_ROOT/proc"
  into /dev
  into "$REPOSITORY"
  for folder in "${DORMOUSE_TINY_MODELS:-}" "${DORMOUSE_MODELS:-}"; do
    case $folder in
      "" | "$REPOSITORY"/*) ;;
      *)
        into "$folder"
        mount -o remount,bind,ro "$SWIFT_ROOT$folder"
        ;;
    esac
  done
  exec chroot "$SWIFT_ROOT" /usr/bin/env -i --chdir="$HERE" HOME=/root LANG=C.UTF-8 \
    PATH=/usr/libexec/swift/bin:/usr/bin:/bin "$@"
' run.sh "${environment[@]}" "$@"
