#!/usr/bin/env bash
# Sets up, builds with warnings as errors, and runs the tests.
#
#   tests/run.sh                     everything in release, then the passes under sanitizers
#   tests/run.sh release             one preset alone: release, asan or tsan
#   tests/run.sh asan -R store       what follows goes to ctest
#
# The sanitizers' passes are short: asan runs the tests labelled unit, fuzz, cli and oom, but for those of pictures' bits and
# those on the CUDA emulator, which checks every access itself and is not built there; tsan those of the store.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs=$(nproc)
failed=()

# configure PRESET. Kernels of CUDA are compiled for one architecture: no test runs them but on the emulator.
configure() {
    local options=(-DECD_WERROR=ON -DECD_TESTS=ON)
    [ "$1" != release ] || options+=(-DCMAKE_CUDA_ARCHITECTURES=90-real)
    cmake --preset "$1" "${options[@]}" >/dev/null
}

# run_preset PRESET CTEST_OPTION...: of a preset that is configured.
run_preset() {
    local preset=$1
    shift
    echo "== $preset"
    # The tests that are programs of their own: all that the pass of the threads needs.
    local targets=()
    [ "$preset" != tsan ] || mapfile -t targets < <(ctest --preset tsan -N "$@" | sed -n 's/^ *Test *#[0-9]*: /--target=/p')
    cmake --build --preset "$preset" -j "$jobs" "${targets[@]}"
    # Tests are light: the SIMD and thread counts that they set themselves matter more than how many run at once.
    ctest --preset "$preset" -j "$jobs" "$@" || failed+=("$preset")
    echo "== $preset: $SECONDS s so far"
}

app/setup.sh --tests
if [ $# -gt 0 ]; then
    configure "$1"
    run_preset "$@"
else
    configuring=()
    for preset in release asan tsan; do
        configure "$preset" &
        configuring+=($!)
    done
    for process in "${configuring[@]}"; do
        wait "$process"
    done
    run_preset release
    run_preset asan -L '^(unit|fuzz|cli|oom)$' -E '^(cli_levels|cli_same|cli_tile|test_golden)$'
    run_preset tsan -R 'store|thread'
    tests/lint/report_format.sh .
fi
if [ ${#failed[@]} -gt 0 ]; then
    echo "tests failed under: ${failed[*]}" >&2
    exit 1
fi
