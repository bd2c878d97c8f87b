#!/usr/bin/env bash
# Sets up, builds with warnings as errors, and runs the tests.
#
#   tests/run.sh                     everything in release, then the passes under sanitizers
#   tests/run.sh release             one preset alone: release, asan or tsan
#   tests/run.sh asan -R store       what follows goes to ctest
#
# The sanitizers' passes are short: asan runs the tests labelled unit, fuzz, cli and oom, but for those on the CUDA emulator (which
# checks every access itself) and those of pictures' bits; tsan those of the store.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs=$(nproc)
failed=()

# run_preset PRESET CTEST_OPTION...
run_preset() {
    local preset=$1
    shift
    echo "== $preset"
    cmake --preset "$preset" -DECD_WERROR=ON -DECD_TESTS=ON >/dev/null
    # The tests that are programs of their own: all that the pass of the threads needs.
    local targets=()
    [ "$preset" != tsan ] || mapfile -t targets < <(ctest --preset tsan -N "$@" | sed -n 's/^ *Test *#[0-9]*: /--target=/p')
    cmake --build --preset "$preset" -j "$jobs" "${targets[@]}"
    # Tests are light: the SIMD and thread counts that they set themselves matter more than how many run at once.
    ctest --preset "$preset" -j "$jobs" "$@" || failed+=("$preset")
}

app/setup.sh --tests
if [ $# -gt 0 ]; then
    run_preset "$@"
else
    run_preset release
    run_preset asan -L '^(unit|fuzz|cli|oom)$' -E '_cuda|^(cli_levels|test_golden)$'
    run_preset tsan -R 'store|thread'
    tests/lint/report_format.sh .
fi
if [ ${#failed[@]} -gt 0 ]; then
    echo "tests failed under: ${failed[*]}" >&2
    exit 1
fi
