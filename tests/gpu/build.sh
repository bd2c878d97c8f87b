#!/usr/bin/env bash
# Read by tests/gpu.sh: building what a device runs, packing it, finding libraries. build, work and programs are gpu.sh's.
# shellcheck disable=SC2154
set -euo pipefail

# What is not here of what building needs, in words.
missing() {
    local name
    command -v ninja >/dev/null || command -v make >/dev/null || printf ', ninja'
    for name in cmake cc c++ pkg-config nvcc; do command -v "$name" >/dev/null || printf ', %s' "$name"; done
    for name in cmocka libcjson libzip libpng nettle libutf8proc libpcre2-8; do
        ! command -v pkg-config >/dev/null || pkg-config --exists "$name" || printf ', %s' "$name"
    done
}

# For the card that is here alone, which is faster; without one, as kernels/cuda/CMakeLists.txt says.
build_programs() {
    local lack capability go_on=-k options=(-DCMAKE_BUILD_TYPE=Release -DECD_CUDA=ON -DECD_ONEDNN=OFF)
    lack=$(missing)
    [ -z "$lack" ] || fail 1 "cannot build here: there is no ${lack#, } (app/setup.sh --tests installs all but nvcc; or --pack elsewhere)"
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 || true)
    [[ ! $capability =~ ^[0-9]+\.[0-9]$ ]] || options+=("-DCMAKE_CUDA_ARCHITECTURES=${capability/./}-real")
    if command -v ninja >/dev/null; then options+=(-G Ninja) go_on=-k0; fi
    # Those of a pack find their libraries beside them, and libraries theirs.
    options+=("-DCMAKE_BUILD_RPATH=\$ORIGIN/../lib" "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags")
    rm -f "${programs[@]/#/$build/}" # what cannot be built is not run as it was
    step configure 60 cmake -S . -B "$build" "${options[@]}"
    step build 300 cmake --build "$build" --target ecd_device -j "$(nproc)" -- "$go_on"
}

# The programs, stripped, and the libraries that are not every Linux's. The programs are alike: xz makes one of ten of them.
pack() {
    local to=$work/pack program
    mkdir -p "$to/app" "$to/tests" "$to/lib"
    for program in "${programs[@]}"; do strip -o "$to/$program" "$build/$program"; done
    ldd "${programs[@]/#/$build/}" | awk '$3 ~ /^\// && $1 !~ /^lib(c|m|dl|rt|pthread)\.so/ { print $3 }' | sort -u | xargs cp -Lt "$to/lib"
    git rev-parse HEAD >"$to/revision" 2>/dev/null || echo unknown >"$to/revision"
    tar -C "$to" -c . | xz -9 -T1 >"$1"
    echo "gpu.sh: $1, $(stat -c %s "$1") bytes"
}

# CUDA's libraries where the loader does not know them: in a Python environment, or the toolkit's.
find_libraries() {
    local folder folders
    if ldconfig -p | grep -c 'libcublasLt\.so\.1[23]' >/dev/null && ldconfig -p | grep -c 'libcudnn\.so\.[89]' >/dev/null; then return; fi
    mapfile -t folders < <(python3 -c 'import glob, sys
for folder in sys.path:
    print(*glob.glob((folder or ".") + "/nvidia/*/lib"), sep="\n")')
    for folder in "${folders[@]}" ${CUDA_HOME:+"$CUDA_HOME/lib64"} /usr/local/cuda/lib64; do
        [ ! -d "$folder" ] || LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    done
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}
}
