#!/usr/bin/env bash
# What the tests of installed libraries share; they source it. Sets up a scratch folder, which goes at the end.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
quiet() { "$@" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }; }
fail() {
    echo "${0##*/}: $*"
    exit 1
}
# expect WHAT GOT WANTED
expect() { [ "$2" = "$3" ] || fail "$1: expected"$'\n'"$3"$'\n'"found"$'\n'"$2"; }

# check_exports LIBRARY MARK PREFIX HEADER...: exported is what the headers declare by a line that begins with MARK, and nothing
# else.
check_exports() {
    local library=$1 mark=$2 prefix=$3
    shift 3
    expect "exported symbols" "$(nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | sort)" \
        "$(cat "$@" | grep "^$mark" | grep -oE "${prefix}_[a-z0-9_]+\(" | tr -d '(' | sort -u)"
}
soname() { readelf -d "$1" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p'; }
needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

# check_headers INCLUDE_FOLDER: each header there, by itself, as C17 and as C++17.
check_headers() {
    local header
    for header in "$1"/*.h; do
        "$CC" -std=c17 -fsyntax-only -Wall -Wextra -Wstrict-prototypes -Werror -I"$1" -x c - <<<"#include <${header##*/}>"
        "$CXX" -std=c++17 -fsyntax-only -Wall -Wextra -Werror -I"$1" -x c++ - <<<"#include <${header##*/}>"
    done
}
