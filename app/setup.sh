#!/usr/bin/env bash
# Installs what ecdit needs to be built, by package name, on Debian 12 and 13 and their like. Run it as often as you
# want: what is there already costs nothing.
#
#   app/setup.sh           compiler, build tools, libraries, oneDNN 3
#   app/setup.sh --tests   and what the tests need; where nvcc is, what reads CUDA machine code too
#
# oneDNN may be missing: without it ecdit builds with its own SIMD kernels and computes slower. CUDA is optional and is not
# installed by this: where the toolkit's nvcc is found the GPU backend is built, and it wants cuBLASLt and cuDNN when it runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build_packages=(gcc libc6-dev cmake ninja-build pkg-config libcjson-dev libzip-dev libpng-dev libstb-dev nettle-dev zlib1g-dev
    libutf8proc-dev libpcre2-dev)
test_packages=(g++ libcmocka-dev liblz4-dev libzstd-dev shellcheck openmpi-bin)
wheel_packages=(python3 python3-pip ca-certificates)
onednn=.deps/onednn

say() { echo "setup: $*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "cannot run as root, and sudo is not there; as root run: $*"
        return 1
    fi
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Those of the packages named that are not installed, one a line.
missing() {
    local package
    for package in "$@"; do
        installed "$package" || echo "$package"
    done
}

updated=no
update_lists() {
    [ "$updated" = no ] || return 0
    as_root apt-get update -q >&2
    updated=yes
}

install() {
    local wanted
    mapfile -t wanted < <(missing "$@")
    [ ${#wanted[@]} -gt 0 ] || return 0
    say "installing ${wanted[*]}"
    update_lists
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${wanted[@]}" >&2
}

# The distribution's oneDNN, where it is version 3.
onednn_of_system() {
    if installed libdnnl-dev; then
        pkg-config --atleast-version=3 dnnl 2>/dev/null || dpkg --compare-versions \
            "$(dpkg-query -W -f '${Version}' libdnnl-dev)" ge 3
        return
    fi
    local candidate
    update_lists || return 1
    candidate=$(apt-cache policy libdnnl-dev | awk '$1 == "Candidate:" { print $2 }')
    [ -n "$candidate" ] && [ "$candidate" != "(none)" ] || return 1
    dpkg --compare-versions "$candidate" ge 3 && install libdnnl-dev
}

# The wheels are zip files of headers and one shared library: nothing is installed into Python.
onednn_of_wheels() {
    [ "$(uname -m)" = x86_64 ] || { say "oneDNN's wheels are for x86_64 only, this is $(uname -m)"; return 1; }
    python3 -m pip --version >/dev/null 2>&1 || install "${wheel_packages[@]}" || return 1
    local scratch wheel folder
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder's name is wanted as it is now
    trap "rm -rf '$scratch'" EXIT
    say "fetching oneDNN 2023.2.0 (39 MB)"
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        -r app/onednn.txt -d "$scratch/wheels" >&2 || return 1
    for wheel in "$scratch"/wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$scratch/unpacked" || return 1
    done
    mkdir -p "$scratch/onednn/lib" || return 1
    for folder in "$scratch"/unpacked/*.data/data; do
        if [ -d "$folder/include" ]; then
            cp -r "$folder/include" "$scratch/onednn/" || return 1
        fi
        if [ -e "$folder/lib/libdnnl.so.3" ]; then
            cp "$folder/lib/libdnnl.so.3" "$folder/share/doc/onednn/LICENSE" \
                "$folder/share/doc/onednn/THIRD-PARTY-PROGRAMS" "$scratch/onednn/" || return 1
        fi
    done
    mv "$scratch/onednn/libdnnl.so.3" "$scratch/onednn/lib/" || return 1
    ln -s libdnnl.so.3 "$scratch/onednn/lib/libdnnl.so" || return 1
    rm -rf "$onednn" && mkdir -p .deps && mv "$scratch/onednn" "$onednn"
}

# Beside nvcc there may be no cuobjdump; without it tests/cuda_static is skipped.
cuobjdump_of_wheels() {
    local nvcc scratch wheel
    nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
    [ -x "$nvcc" ] && [ ! -x "${nvcc%/*}/cuobjdump" ] && [ ! -x .deps/cuda/bin/cuobjdump ] || return 0
    [ "$(uname -m)" = x86_64 ] && python3 -m pip --version >/dev/null 2>&1 || return 1
    scratch=$(mktemp -d)
    say "fetching cuobjdump and nvdisasm (6 MB)"
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        -r app/cuda_static.txt -d "$scratch" >&2 || return 1
    for wheel in "$scratch"/*.whl; do
        python3 -m zipfile -e "$wheel" "$scratch/unpacked" || return 1
    done
    mkdir -p .deps/cuda/bin && cp "$scratch"/unpacked/nvidia/cu*/bin/* .deps/cuda/bin/ && chmod +x .deps/cuda/bin/*
    rm -rf "$scratch"
}

tests=no
case "${1:-}" in
'') ;;
--tests) tests=yes ;;
*)
    say "unknown option $1, expected nothing or --tests"
    exit 1
    ;;
esac

if ! command -v apt-get >/dev/null; then
    say "this is no Debian: install by hand what these packages hold: ${build_packages[*]} libdnnl-dev (version 3)"
    exit 0
fi
[ "$tests" = no ] || build_packages+=("${test_packages[@]}")
install "${build_packages[@]}"
[ "$tests" = no ] || cuobjdump_of_wheels || say "no cuobjdump: CUDA machine code is not measured"
if [ -e "$onednn/lib/libdnnl.so" ] && [ -e "$onednn/include/oneapi/dnnl/dnnl.h" ]; then
    say "all there, oneDNN in $onednn"
elif onednn_of_system; then
    say "all there, oneDNN of the system"
elif onednn_of_wheels; then
    say "all there, oneDNN unpacked into $onednn"
else
    say "no oneDNN: could not be fetched. ecdit builds without it and computes with its own SIMD kernels, slower;"
    say "run app/setup.sh again when the network is there"
fi
