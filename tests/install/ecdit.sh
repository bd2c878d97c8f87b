#!/usr/bin/env bash
# ecdit.sh BUILD ROOT CC CXX: libecdit as others get it. Installs the component libecdit, moves it, builds the program of
# docs/LIBRARY.md and consumer/ against it by pkg-config and by CMake, as C and as C++, shared and static; and compares their
# pictures with those of the ecdit program.
set -euo pipefail
build=$1 root=$2
export CC=$3 CXX=$4 CMAKE_GENERATOR=Ninja # make is not among what the set-up installs
# shellcheck source=tests/install/common.sh
source "$root/tests/install/common.sh"
program=$build/app/ecdit emoji=$root/weights/emoji where=$scratch/moved

quiet cmake --install "$build" --component libecdit --prefix "$scratch/first"
mv "$scratch/first" "$where"
library=$(find "$where" -name libecdit.so.0.1.0)
check_exports "$library" ECDIT_API ecdit "$where/include/ecdit.h"
expect "soname" "$(soname "$library")" libecdit.so.0
expect "headers" "$(cd "$where/include" && echo ./*)" ./ecdit.h

PKG_CONFIG_PATH=$(dirname "$(find "$where" -name ecdit.pc)")
export PKG_CONFIG_PATH
folder=$(pkg-config --variable=libdir ecdit)
expect "version" "$(pkg-config --modversion ecdit)" 0.1.0
read -ra shared <<<"$(pkg-config --cflags --libs ecdit)"
read -ra static <<<"$(pkg-config --static --cflags --libs ecdit)"

# The document's program: shared as C, and as C++.
# shellcheck disable=SC2016 # Markdown's marks
sed -n '/^```c$/,/^```$/p' "$root/docs/LIBRARY.md" | grep -v '^```' >"$scratch/draw.c"
"$CC" -std=c17 -Wall -Wextra -Werror "$scratch/draw.c" "${shared[@]}" -Wl,-rpath,"$folder" -o "$scratch/draw"
"$CXX" -std=c++17 -Wall -Wextra -Werror -x c++ "$scratch/draw.c" -x none "${shared[@]}" -Wl,-rpath,"$folder" -o "$scratch/draw_cpp"
# The consumer: static by pkg-config, shared and static by CMake.
consumer=$root/tests/install/consumer
"$CC" -std=c17 -Wall -Wextra -Werror "$consumer/consumer.c" "$folder/libecdit.a" -Wl,--as-needed "${static[@]}" -o "$scratch/static"
quiet cmake -S "$consumer" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$where"
quiet cmake --build "$scratch/build" -j 2

for binary in "$scratch/draw" "$scratch/draw_cpp" "$scratch/build/consumer"; do
    needed "$binary" | grep -q libecdit.so.0 || fail "$binary: not linked with the shared library"
done
for binary in "$scratch/static" "$scratch/build/consumer_static"; do
    ! needed "$binary" | grep -q libecdit || fail "$binary: linked with the shared library"
done

# The same pictures as the program's: SHA-256 of their RGB bytes.
"$program" generate "$emoji" --class cat,owl --seed 7 --steps 2 --json -o "$scratch/{name}.png" |
    grep -o '"sha256":[[:space:]]*"[0-9a-f]*"' | grep -o '[0-9a-f]\{64\}' >"$scratch/wanted"
expect "pictures of the program" "$(wc -l <"$scratch/wanted")" 2
# pictures_of PROGRAM [TEXTS]
pictures_of() {
    local binary=$1
    shift
    "$binary" "$emoji" "$scratch/cat" "$scratch/owl" "$@" >"$scratch/said" 2>&1 || fail "$binary: $(cat "$scratch/said")"
    expect "what the library prints" "$(cat "$scratch/said")" ""
    expect "pictures" "$(sha256sum "$scratch/cat" "$scratch/owl" | cut -c 1-64)" "$(cat "$scratch/wanted")"
}
pictures_of "$scratch/build/consumer" "$root/tests/data/models/flux_c"
pictures_of "$scratch/build/consumer_static"
pictures_of "$scratch/static"

# The document's program writes the same picture too, and says what it cannot do.
"$scratch/draw" "$emoji" cat "$scratch/drawn.png" 2
"$program" diff "$scratch/drawn.png" "$scratch/cat.png" >"$scratch/log" || fail "$(cat "$scratch/log")"
grep -q '^the same ' "$scratch/log" || fail "not the same picture: $(cat "$scratch/log")"
code=0
"$scratch/draw_cpp" "$scratch/nothing" cat "$scratch/none.png" 2>"$scratch/log" || code=$?
expect "exit status for a model that is not there" "$code" 1
expect "what is said of it" "$(cut -d : -f 1 "$scratch/log")" ECDIT_ERR_USAGE
[ ! -e "$scratch/none.png" ] || fail "a picture of nothing"
