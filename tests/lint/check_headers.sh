#!/usr/bin/env bash
# check_headers.sh ROOT [COMPILER_OPTION...]: every header compiles alone as C17 without a warning, and the
# public ones as C++ too. Headers that are included for their body (*.inc, *_impl.h) are not headers in this sense. Where the
# CUDA runtime has no header the tests' own stands in.
set -euo pipefail
root=$1
shift
cd "$root"
cc=${CC:-cc}
cxx=${CXX:-c++}
warnings=(-fsyntax-only -Wall -Wextra -Wstrict-prototypes -Werror)
failed=0

for folder in app lib dit text vae weights kernels codec base; do
    [ -d "$folder" ] || continue
    while read -r header; do
        # Through a file that includes it: compiled directly, an unused static function in it would be reported.
        if ! "$cc" -std=c17 "${warnings[@]}" -I. "$@" -idirafter tests/cuda_emu/include -x c - <<<"#include \"$header\""; then
            echo "$header does not compile alone"
            failed=1
        fi
    done < <(find "$folder" -name '*.h' ! -name '*_impl.h' | sort)
done
for public in codec/ecf8.h lib/ecdit.h; do
    if [ -e "$public" ] && command -v "$cxx" >/dev/null &&
        ! "$cxx" -std=c++17 -fsyntax-only -Wall -Wextra -Werror -I. -x c++ - <<<"#include \"$public\""; then
        echo "$public does not compile as C++"
        failed=1
    fi
done
exit $failed
