#!/usr/bin/env bash
# Everything that only a machine with a GPU can show, in under 10 minutes: builds, checks each operation of the cuda backend
# against ref, draws the reference pictures, compares compressed with raw, measures, and looks for memory faults.
#
#   tests/gpu.sh [FOLDER]          results into FOLDER ($OUT, or gpu-results): gpu.json, gpu.txt and each step's log
#   ECD_GPU_BUILD=DIR tests/gpu.sh     with what was built there before (target ecd_device), on a machine that cannot build
#   ECD_GPU_FLUX=NAME              flux1-dev (whole: 32 GB of disk, and 450 s of all processors together to make it) or flux1-short
#                                  (6 of its 57 blocks); by what the machine has
#
# Wants a driver, the CUDA Toolkit with cuBLASLt, cuDNN 8 or 9, and what app/setup.sh --tests installs. A step that fails
# does not stop the others, and one for which no time is left is left out; the exit status says whether there was any of
# either (1), or no GPU (3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
out=${1:-${OUT:-gpu-results}}
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=${ECD_GPU_BUILD:-$root/build/gpu}
scratch=${ECD_GPU_SCRATCH:-$(mktemp -d)} # gigabytes of synthetic weights
export ECDIT_MODELS=${ECDIT_MODELS:-$root/weights}
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$scratch/cache}
began=$SECONDS
whole=585 # seconds
failed=0
steps=()
[ -n "${ECD_GPU_SCRATCH:-}" ] || trap 'rm -rf "$scratch"' EXIT

# note NAME SECONDS STATUS WORDS
note() {
    printf '%-28s %5d s  %s\n' "$1" "$2" "$4" | tee -a "$out/gpu.txt"
    steps+=("{\"step\": \"$1\", \"status\": $3, \"seconds\": $2}")
    [ "$3" = 0 ] || failed=1
}

# step NAME LIMIT_S COMMAND...: runs it into NAME.log (standard output into NAME.out), and keeps how it ended.
step() {
    local name=$1 limit=$2 status=0 start=$SECONDS left=$((whole - (SECONDS - began))) words=ok
    shift 2
    if [ "$left" -lt 5 ]; then
        note "$name" 0 null "left out: no time"
        return
    fi
    [ "$limit" -le "$left" ] || limit=$left
    timeout -k 5 "$limit" "$@" >"$out/$name.out" 2>"$out/$name.log" || status=$?
    case "$status" in
    0) ;;
    124 | 137) words="out of time ($limit s)" ;;
    *) words="failed ($status): $(cat "$out/$name.log" "$out/$name.out" | grep -v '^\[' | tail -n 1 | cut -c 1-160)" ;;
    esac
    note "$name" $((SECONDS - start)) "$status" "$words"
}

# The step's output if it is JSON, else null.
json_of() {
    if [ -s "$out/$1.out" ] && python3 -m json.tool "$out/$1.out" >/dev/null 2>&1; then
        cat "$out/$1.out"
    else
        echo null
    fi
}

# Whether the whole of FLUX.1 can be made and held here.
is_large() {
    local free memory
    free=$(df --output=avail -B1G "$scratch" | tail -n 1)
    memory=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits | head -n 1)
    [ "$(nproc)" -ge 12 ] && [ "$free" -ge 45 ] && [ "${memory%%[!0-9]*}" -ge 40000 ]
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
# A device that cannot be used fails most steps, but some tests are skipped without one, and pass.
status=0
"$ecdit" generate --class 3 --backend cuda --quiet -o "$out/first.png" 2>"$out/first.log" || status=$?
if [ "$status" -eq 3 ]; then
    cat "$out/first.log" >&2
    exit 3
fi
flux=${ECD_GPU_FLUX:-flux1-short}
[ -n "${ECD_GPU_FLUX:-}" ] || ! is_large || flux=flux1-dev

# Right first: each operation, each model, and compressed against raw.
step check_f32 60 "$build/tests/ecd_check_device" f32
step check_bf16 60 "$build/tests/ecd_check_device" bf16
for test in dit flux pipeline vae text_encoder graphs fp8; do
    step "test_$test" 60 "$build/tests/test_${test}_device"
done
step identity 90 "$ecdit" verify --pictures --backend cuda --json
step emoji 30 "$ecdit" generate --class 3 --backend cuda --json -o "$out/emoji.png"
# Then how fast: decoding a piece of 512 MiB (one and a half of FLUX.1's double blocks), and pictures on both paths.
bench=("$ecdit" bench --backend cuda --json --scratch "$scratch")
step bandwidth 60 "$build/tests/cuda_bandwidth" 512 50
step bench_emoji 60 "${bench[@]}" --runs 3 --batch 1,4
# The first with FLUX.1 makes its weights too: half a minute of 16 processors for the whole.
step bench_flux 180 "${bench[@]}" --synthetic "$flux" --size 512x512 --steps 4 --runs 1
step bench_flux_batch 60 "${bench[@]}" --synthetic "$flux" --size 512x512 --steps 2 --runs 1 --batch 4
step bench_dit_xl_2 120 "${bench[@]}" --synthetic dit-xl-2-256 --steps 10 --batch 1,4 --runs 2
step bench_dit_xl_2_budgets 90 "${bench[@]}" --synthetic dit-xl-2-256 --steps 4 --runs 1 --budgets 600M,900M,1200M
sanitizer=$(command -v compute-sanitizer || true)
if [ -n "$sanitizer" ]; then
    step memcheck 60 "$sanitizer" --tool memcheck --error-exitcode 9 "$build/tests/test_dit_device"
    step racecheck 60 "$sanitizer" --tool racecheck --error-exitcode 9 "$build/tests/test_dit_device"
else
    echo "no compute-sanitizer here: memory faults were not looked for" | tee -a "$out/gpu.txt"
fi

{
    echo "{\"device\": $(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read().strip()))'),"
    echo " \"revision\": \"$(git rev-parse HEAD 2>/dev/null || echo unknown)\", \"seconds\": $((SECONDS - began)),"
    echo " \"flux\": \"$flux\","
    for name in bandwidth identity emoji bench_emoji bench_flux bench_flux_batch bench_dit_xl_2 bench_dit_xl_2_budgets; do
        printf ' "%s": %s,\n' "$name" "$(json_of "$name")"
    done
    printf ' "steps": [%s]}\n' "$(printf '%s, ' "${steps[@]}" | sed 's/, $//')"
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
