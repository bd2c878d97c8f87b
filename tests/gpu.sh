#!/usr/bin/env bash
# Everything that only a machine with a GPU can show, in under 10 minutes: builds, checks each operation of the cuda backend
# against ref, draws the reference pictures, compares compressed with raw, measures, and looks for memory faults.
#
#   tests/gpu.sh [FOLDER]          results into FOLDER ($OUT, or gpu-results): gpu.json, gpu.txt and each step's log
#   ECD_GPU_BUILD=DIR tests/gpu.sh     with what was built there before (target ecd_device), on a machine that cannot build
#
# Wants a driver, the CUDA Toolkit with cuBLASLt, cuDNN 8 or 9, and what app/setup.sh --tests installs. A step that fails
# does not stop the others; the exit status says whether any did (3: there is no GPU).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
out=${1:-${OUT:-gpu-results}}
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=${ECD_GPU_BUILD:-$root/build/gpu}
export ECDIT_MODELS=${ECDIT_MODELS:-$root/weights}
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$out/cache}
began=$SECONDS
failed=0
steps=()

# step NAME LIMIT_S COMMAND...: runs it into NAME.log (standard output into NAME.out), and keeps how it ended.
step() {
    local name=$1 limit=$2 status=0 start=$SECONDS
    shift 2
    timeout "$limit" "$@" >"$out/$name.out" 2>"$out/$name.log" || status=$?
    local words=ok
    [ "$status" -eq 0 ] || { words="failed ($status)" && failed=1; }
    [ "$status" -ne 124 ] || words="out of time (${limit} s)"
    printf '%-28s %5d s  %s\n' "$name" $((SECONDS - start)) "$words" | tee -a "$out/gpu.txt"
    steps+=("{\"step\": \"$name\", \"status\": $status, \"seconds\": $((SECONDS - start))}")
}

# The step's output if it is JSON, else null.
json_of() {
    if [ -s "$out/$1.out" ] && python3 -m json.tool "$out/$1.out" >/dev/null 2>&1; then
        cat "$out/$1.out"
    else
        echo null
    fi
}

: >"$out/gpu.txt"
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >"$out/device.txt" 2>&1; then
    echo "gpu.sh: no GPU, or no driver" >&2
    exit 3
fi
tee -a "$out/gpu.txt" <"$out/device.txt"
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv >>"$out/gpu.txt" || true

if [ -z "${ECD_GPU_BUILD:-}" ]; then
    step configure 60 cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DECD_CUDA=ON
    step build 300 cmake --build "$build" --target ecd_device
fi
ecdit=$build/app/ecdit
if [ ! -x "$ecdit" ]; then
    echo "gpu.sh: $ecdit is not there; see $out/build.log" >&2
    exit 1
fi

step check_f32 60 "$build/tests/ecd_check_device" f32
step check_bf16 60 "$build/tests/ecd_check_device" bf16
for test in dit flux pipeline vae text_encoder graphs fp8; do
    step "test_$test" 60 "$build/tests/test_${test}_device"
done
step bandwidth 60 "$build/tests/cuda_bandwidth" 512 50
step identity 90 "$ecdit" verify --pictures --backend cuda --json
step emoji 30 "$ecdit" generate --class 3 --backend cuda --json -o "$out/emoji.png"
step bench_emoji 60 "$ecdit" bench --backend cuda --json --runs 3
if [ $((SECONDS - began)) -lt 420 ]; then
    step bench_dit_xl_2 120 "$ecdit" bench --synthetic dit-xl-2-256 --backend cuda --steps 10 --batch 1,4 --runs 2 --json
fi
sanitizer=$(command -v compute-sanitizer || true)
if [ -n "$sanitizer" ] && [ $((SECONDS - began)) -lt 540 ]; then
    step memcheck 60 "$sanitizer" --tool memcheck --error-exitcode 9 "$build/tests/test_dit_device"
fi

{
    echo "{\"device\": $(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read().strip()))'),"
    echo " \"revision\": \"$(git rev-parse HEAD 2>/dev/null || echo unknown)\", \"seconds\": $((SECONDS - began)),"
    printf ' "steps": [%s],\n' "$(printf '%s, ' "${steps[@]}" | sed 's/, $//')"
    for name in bandwidth identity emoji bench_emoji bench_dit_xl_2; do
        printf ' "%s": %s%s\n' "$name" "$(json_of "$name")" "$([ "$name" = bench_dit_xl_2 ] || echo ,)"
    done
    echo "}"
} >"$out/gpu.json"
{
    echo
    echo "decode against copy (GB/s):"
    grep -o '"weights.*' "$out/bandwidth.out" 2>/dev/null || echo "  not measured"
    for name in check_f32 check_bf16; do
        tail -n 1 "$out/$name.out" 2>/dev/null || true
    done
} >>"$out/gpu.txt"
tail -n 12 "$out/gpu.txt"
echo "gpu.sh: $out/gpu.json, $out/gpu.txt, $((SECONDS - began)) s"
exit "$failed"
