#!/bin/bash
# setup-linux.sh DIR: makes DIR a root file system in which Swift runs, for Debian as root.
#
# Debian has Swift from release 13 on; an older one runs it in a chroot, and nothing of release 13
# is installed on the machine itself. About 2 GB and a minute. A DIR that is complete stays as it
# is, one that was left half made is made anew. Where `swift` is on the PATH nothing is done.
set -eu

if [ $# -ne 1 ]; then
  echo "usage: setup-linux.sh DIR" >&2
  exit 2
fi
root=$1
mark=$root/.dormouse-swift-6.0

if command -v swift >/dev/null; then
  echo "swift is on the PATH: $(command -v swift)"
  exit 0
fi
if [ -e "$mark" ]; then
  exit 0
fi

refuse() {
  echo "no swift on the PATH, and it cannot be set up here: $1; see https://www.swift.org/install" >&2
  exit 3
}
grep -qx 'ID="\{0,1\}debian"\{0,1\}' /etc/os-release 2>/dev/null || refuse "this is not Debian"
[ "$(id -u)" = 0 ] || refuse "that takes root"

if ! command -v mmdebstrap >/dev/null; then
  echo "+ apt-get install mmdebstrap"
  install() {
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends mmdebstrap >/dev/null
  }
  # The lists may be old, or not there at all.
  install || { apt-get update -qq && install; }
fi

# The machine's own mirror, in either of the two ways to write it down.
mirror=$(sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' \
  /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian}

case $root in
  /*/*) rm -rf --one-file-system "$root" ;;
  *) echo "$root is not an absolute path below the root" >&2; exit 2 ;;
esac
mkdir -p "$(dirname "$root")"

# Nobody reads the manuals, and the debugger is a third of the whole.
leave_out=()
for path in /usr/share/doc /usr/share/man /usr/share/locale \
  '/usr/libexec/swift/bin/*lldb' '/usr/libexec/swift/lib/liblldb'; do
  leave_out+=("--dpkgopt=path-exclude=$path*")
done

echo "+ mmdebstrap trixie $root $mirror"
mmdebstrap --quiet --variant=apt \
  --include=swiftlang,libc6-dev,libstdc++-14-dev,git,ca-certificates \
  "${leave_out[@]}" trixie "$root" "deb $mirror trixie main"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
touch "$mark"
