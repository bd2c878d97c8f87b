#!/usr/bin/env bash
# ecf8.sh BUILD ROOT CC CXX: libecf8 as others get it. Installs the component ecf8 of the tree's build, and of codec/
# configured by itself; builds codec/example against each by pkg-config and by CMake, as C and as C++, shared and
# static; and looks at what is exported and needed.
set -euo pipefail
build=$1 root=$2
export CC=$3 CXX=$4 CMAKE_GENERATOR=Ninja # make is not among what the set-up installs
# shellcheck source=tests/install/common.sh
source "$root/tests/install/common.sh"
same_again() {
    "$@" | grep -q 'the same again$' || fail "$* does not give back the weights"
}

# check_library FILE HEADER...: the soname; exported is what the headers declare, and nothing else; libc and libm are enough.
check_library() {
    local library=$1
    shift
    check_exports "$library" ECF8_API ecf8 "$@"
    expect "soname" "$(soname "$library")" libecf8.so.1
    expect "libraries beyond libc and libm" "$(needed "$library" | grep -vE '^lib[cm]\.so' || true)" ""
    expect "functions that allocate" "$(nm -D --undefined-only "$library" | awk '{ print $2 }' | sed 's/@.*//' |
        grep -E '^(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|strdup|mmap|brk|sbrk|fopen)$' ||
        true)" ""
}

# by_pkg_config PREFIX
by_pkg_config() {
    local flags
    PKG_CONFIG_PATH=$(dirname "$(find "$1" -name ecf8.pc)")
    LD_LIBRARY_PATH=$(pkg_config --variable=libdir ecf8)
    export LD_LIBRARY_PATH
    expect "version" "$(pkg_config --modversion ecf8)" 1.0.0
    read -ra flags <<<"$(pkg_config --cflags --libs ecf8)"
    "$CC" -std=c17 -Wall -Wextra -Werror "$root/codec/example/example.c" "${flags[@]}" -o "$1/shared"
    "$CXX" -std=c++17 -Wall -Wextra -Werror -x c++ "$root/codec/example/example.c" -x none "${flags[@]}" -o "$1/cpp"
    read -ra flags <<<"$(pkg_config --static --cflags --libs ecf8)"
    "$CC" -std=c17 -static "$root/codec/example/example.c" "${flags[@]}" -o "$1/static"
    same_again "$1/shared"
    same_again "$1/cpp"
    same_again "$1/static"
    readelf -d "$1/shared" | grep -q 'libecf8.so.1' || fail "the shared library is not what was linked"
    unset LD_LIBRARY_PATH
}
pkg_config() { PKG_CONFIG_PATH=$PKG_CONFIG_PATH pkg-config "$@"; }

# by_cmake PREFIX
by_cmake() {
    local name
    quiet cmake -S "$root/codec/example" -B "$1/example" -DCMAKE_PREFIX_PATH="$1"
    quiet cmake --build "$1/example" -j 2
    for name in example example_static example_cpp; do
        same_again "$1/example/$name"
    done
    ! readelf -d "$1/example/example_static" | grep -q libecf8 || fail "ecf8::ecf8_static links the shared library"
}

tree=$scratch/tree alone=$scratch/alone
quiet cmake --install "$build" --component ecf8 --prefix "$tree"
quiet cmake -S "$root/codec" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1
quiet cmake --build "$scratch/build" -j 2
quiet cmake --install "$scratch/build" --prefix "$alone"
files() { (cd "$1" && find . ! -type d | sed 's/Targets-[a-z]*\.cmake/Targets-CONFIG.cmake/' | sort); }
expect "files of codec/ by itself, as of the tree" "$(files "$alone")" "$(files "$tree")"
expect "headers" "$(find "$tree/include" -type f -name '*.h' ! -name ecf8.h ! -name ecf8_published.h)" ""

for prefix in "$tree" "$alone"; do
    check_library "$(find "$prefix" -name libecf8.so.1.0.0)" "$prefix"/include/*.h
    check_headers "$prefix/include"
    by_pkg_config "$prefix"
done
# Where it was installed is of no account: a moved folder works as well. (One configuring is enough: the files are the same.)
mv "$alone" "$scratch/moved"
by_pkg_config "$scratch/moved"
by_cmake "$scratch/moved"
