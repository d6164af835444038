# For the checks of this folder, which say what they do in README.md.
set -eu
smoke=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$smoke/../.." && pwd)
out=$smoke/target
tools=$out/tools
mkdir -p "$out"

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

quiet_mvn() {
    mvn -q -B -ntp -Dstyle.color=never "$@"
}

# Copies the tools, once.
need_tools() {
    [ -e "$tools/done" ] && [ "$tools/done" -nt "$smoke/tools.pom.xml" ] && return
    rm -rf "$tools"
    quiet_mvn -f "$smoke/tools.pom.xml" dependency:copy-dependencies -DoutputDirectory="$tools"
    touch "$tools/done"
}

# Resolves the artefact of the repository $1, a folder, with everything that it asks for, into $out/$2;
# further words go to Maven. What Maven remembers of an earlier one is forgotten first.
resolve() {
    [ -d "$1/dev/dormouse/dormouse-android" ] || fail "$1 is no folder that \`cargo xtask package android\` wrote"
    repository=$(cd "$1" && pwd) folder=$out/$2
    shift 2
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
    [ -n "$version" ] || fail "there is no version in Cargo.toml"
    # Maven ends even this with an escape of the terminal's.
    local_repository=$(quiet_mvn -f "$smoke/tools.pom.xml" help:evaluate -Dexpression=settings.localRepository -DforceStdout |
        sed 's/\x1b\[[0-9;]*m//g')
    [ -d "$local_repository" ] || fail "Maven does not say where its repository is: $local_repository"
    rm -rf "$folder" "$local_repository/dev/dormouse/dormouse-android"
    quiet_mvn -f "$smoke/consumer.pom.xml" "$@" \
        -Ddormouse.repository="file://$repository" -Ddormouse.version="$version" \
        dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$folder" \
        dependency:tree -DoutputFile="$folder/graph.txt"
    aar=dormouse-android-$version.aar
    cmp "$repository/dev/dormouse/dormouse-android/$version/$aar" "$folder/$aar" || fail "another $aar was resolved"
    # An AAR's classes are a jar in it.
    for aar in "$folder"/*.aar; do
        unzip -qp "$aar" classes.jar >"${aar%.aar}.classes.jar"
    done
}

# The jars of $1, as a class path.
class_path() {
    printf '%s:' "$1"/*.jar
}

# The names of the classes in the jar $1.
classes() {
    unzip -Z1 "$1" | grep '\.class$' || true
}
