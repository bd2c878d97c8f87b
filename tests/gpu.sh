#!/usr/bin/env bash
# Everything that only a machine with a GPU can show, in under 10 minutes: builds, checks each operation of the cuda backend
# against ref, draws the reference pictures, compares compressed with raw, measures, and looks for memory faults.
#
#   tests/gpu.sh [FOLDER]         results into FOLDER ($OUT, or gpu-results): gpu.json (all figures), gpu.txt (tables) and
#                                 steps.log (what each step said)
#   tests/gpu.sh --pack FILE      needs no GPU: builds, and puts the programs with their libraries into FILE (.tar.xz)
#
#   ECD_GPU_BUILD=DIR|FILE        what was built before (target ecd_device) or packed, for a machine that cannot build
#   ECD_GPU_STEPS="bench_* emoji" only the steps of these names or patterns; --steps lists all in their order
#   ECD_GPU_SECONDS=N             for all of it (585); ECD_GPU_LIMIT=N for a step at most
#   ECD_GPU_FLUX=NAME             flux1-dev (whole: 32 GB of disk, and 450 s of all processors together to make it) or flux1-short
#                                 (6 of its 57 blocks); by what the machine has
#   ECD_GPU_SCRATCH=DIR           keeps the synthetic weights there, for a second call
#   ECD_GPU_SMALL=1               tiny models, for a rehearsal on the emulated device (tests/gpu/emulated.sh)
#
# Wants a driver, cuBLASLt 12 or 13 and cuDNN 8 or 9 (the system's, the toolkit's, $LD_LIBRARY_PATH's, or pip's nvidia/*/lib), python3;
# to build, the CUDA Toolkit and what app/setup.sh --tests installs, without oneDNN. Its tools are used where they are: ncu (or nsys), and
# compute-sanitizer. A step that fails does not stop the others, and one for which no time is left is left out; the exit status
# says whether there was any of either (1), or no GPU that can be used (3). Steps whose tool is not there are told, and no fault.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
programs=(app/ecdit tests/ecd_check_device tests/cuda_bandwidth tests/cuda_decode)
tests=(dit flux pipeline vae text_encoder graphs fp8)
for test in "${tests[@]}"; do programs+=("tests/test_${test}_device"); done
for folder in ${CUDA_HOME:+"$CUDA_HOME/bin"} /usr/local/cuda/{bin,compute-sanitizer} /usr/local/nvidia/bin /opt/nvidia/nsight-compute/*; do
    [ -n "${ECD_GPU_SMALL:-}" ] || [ ! -d "$folder" ] || PATH=$PATH:$folder
done
began=$SECONDS
whole=${ECD_GPU_SECONDS:-585}
failed=0 patience=1
out='' build=$root/build/gpu

fail() {
    echo "gpu.sh: $2" >&2
    exit "$1"
}
# shellcheck source=tests/gpu/build.sh
. tests/gpu/build.sh

# ---- steps

# The steps that a step is made for.
makes_for() {
    case $1 in
    make_flux) echo text text_raw profile_flux profile_flux_raw flux_large ;;
    make_dit) echo profile_dit ;;
    text | text_raw) echo "${1/text/profile_flux}" ;;
    esac
}

# wanted NAME: by ECD_GPU_STEPS, itself or what it is made for.
wanted() {
    local pattern name patterns names
    read -ra patterns <<<"${ECD_GPU_STEPS:-*}"
    read -ra names <<<"$1 $(makes_for "$1")"
    for pattern in "${patterns[@]}"; do
        for name in "${names[@]}"; do
            # shellcheck disable=SC2053 # a pattern is meant to be one
            [[ $name != $pattern ]] || return 0
        done
    done
    return 1
}

# note NAME SECONDS STATUS WORDS: of a step that is over, or was none (STATUS null).
note() {
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$work/steps.tsv"
    printf '%-24s %4d s  %s\n' "$1" "$2" "$4" | tee -a "$out/gpu.txt"
    [ "$3" = 0 ] || [[ $4 == 'left out: no '*' here' ]] || failed=1
}

# step NAME LIMIT_S COMMAND...: runs it, and keeps how it ended, and its standard output for the report.
step() {
    local name=$1 limit=$(($2 * patience)) status=0 start=$SECONDS left=$((whole - (SECONDS - began))) words=ok
    shift 2
    wanted "$name" || return 0
    if [ -n "${listing:-}" ]; then
        echo "$name"
        return
    fi
    if [ "$left" -lt 2 ]; then
        note "$name" 0 null 'left out: no time'
        return
    fi
    [ "$limit" -le "${ECD_GPU_LIMIT:-$limit}" ] || limit=$ECD_GPU_LIMIT
    [ "$limit" -le "$left" ] || limit=$left
    timeout -k 5 "$limit" "$@" >"$work/$name.out" 2>"$work/$name.log" </dev/null || status=$?
    case "$status" in
    0) ;;
    124 | 137) words="out of time ($limit s)" ;;
    *) words="failed ($status): $(cat "$work/$name.log" "$work/$name.out" | grep -v -e '^\[' -e '^$' | tail -n 1 | cut -c 1-160)" ;;
    esac
    { echo "== $name: $*"; head -c 200000 "$work/$name.log"; head -c 200000 "$work/$name.out"; } >>"$out/steps.log"
    note "$name" $((SECONDS - start)) "$status" "$words"
}

# with TOOL NAME LIMIT_S COMMAND...: a step for which the tool is necessary.
with() {
    local tool=$1
    shift
    if [ -n "${listing:-}" ] || command -v "$tool" >/dev/null; then
        step "$@"
    elif wanted "$1"; then
        note "$1" 0 null "left out: no $tool here"
    fi
}

# sanitize TOOL TEST LIMIT_S
sanitize() {
    with compute-sanitizer "$1_$2" "$3" compute-sanitizer --tool "$1" --error-exitcode 9 "$build/tests/test_$2_device"
}

# profile NAME LIMIT_S COMMAND...: the time of each kernel. Graphs are off: their kernels are then launched one by one.
profile() {
    local name=$1 limit=$2
    shift 2
    if command -v ncu >/dev/null || ! command -v nsys >/dev/null; then
        with ncu "$name" "$limit" env ECD_CUDA_GRAPHS=0 ncu --metrics gpu__time_duration.sum --clock-control none --csv \
            --print-units base --log-file "$work/$name.csv" "$@"
    else
        # shellcheck disable=SC2016 # for the inner shell
        with nsys "$name" "$limit" env ECD_CUDA_GRAPHS=0 bash -c 'to=$1; shift; nsys profile -t cuda -f true -o "$to" "$@" &&
            nsys stats -r cuda_gpu_kern_sum -f csv "$to.nsys-rep" >"$to.csv"' profile "$work/$name" "$@"
    fi
}

# ---- what is run, by worth: what comes last is left out where time is short

# Sizes, and whether the whole of FLUX.1 can be made and held here.
choose() {
    local free memory
    model=emoji dit=dit-xl-2-256 dit_budgets=250M,500M flux_budgets=4G,8G size=512x512 large=1024x1024
    flux=flux1-short runs=2 dit_steps=20 flux_steps=8 few=() batches=1,4 patience=1 bandwidth=(320 20) decode=(320 10) decode_small=(28 20)
    if [ -n "${ECD_GPU_SMALL:-}" ]; then
        model=$root/tests/data/models/dit_a_fp8_tensor dit=dit-tiny dit_budgets=34.3M,all flux_budgets=1M,37.5M flux=flux1-tiny
        size=32x32 large=64x64 runs=1 dit_steps=1 flux_steps=1 few=(--steps 1) batches=1,2 patience=20 bandwidth=(1 1 1) decode=(1 1) decode_small=(1 1)
        return
    fi
    free=$(df --output=avail -B1G "$scratch" | tail -n 1)
    memory=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -n 1 || true)
    if [ "$(nproc)" -ge 12 ] && [ "$free" -ge 45 ] && [ "${memory%%[!0-9]*}" -ge 40000 ] 2>/dev/null; then flux=flux1-dev; fi
    flux=${ECD_GPU_FLUX:-$flux}
    [ "$flux" = flux1-dev ] || flux_budgets=1.6G
}

run_steps() {
    local ecdit=$build/app/ecdit type test form source bench draw
    for type in f32 bf16; do step "check_$type" 60 "$build/tests/ecd_check_device" "$type"; done
    for test in "${tests[@]}"; do step "test_$test" 60 "$build/tests/test_${test}_device"; done
    step identity 90 "$ecdit" verify --pictures "$model" --backend cuda --json
    step emoji 30 "$ecdit" generate "$model" --class 3 "${few[@]}" --backend cuda --json -o "$work/emoji.png"
    # Decoding: what a block of FLUX.1 has, a block of DiT-XL/2.
    step bandwidth 45 "$build/tests/cuda_bandwidth" "${bandwidth[@]}"
    step decode 45 "$build/tests/cuda_decode" "${decode[@]}"
    step decode_small 20 "$build/tests/cuda_decode" "${decode_small[@]}"
    # Pictures on both paths.
    bench=("$ecdit" bench --backend cuda --json --scratch "$scratch" --runs "$runs")
    step bench_emoji 45 "${bench[@]}" "${few[@]}" "$model" --batch "$batches"
    step bench_emoji_no_graphs 30 env ECD_CUDA_GRAPHS=0 "${bench[@]}" "${few[@]}" "$model"
    local bench_dit=("${bench[@]}" --synthetic "$dit" --steps "$dit_steps")
    step make_dit 60 "${bench_dit[@]}" --runs 0
    step bench_dit 60 "${bench_dit[@]}" --batch "$batches"
    step bench_dit_no_graphs 30 env ECD_CUDA_GRAPHS=0 "${bench_dit[@]}"
    profile profile_dit 45 "$ecdit" generate "$scratch/$dit-e4m3-ecf8" --class 3 --backend cuda --steps 1 --quiet -o "$work/x.png"
    local bench_flux=("${bench[@]}" --synthetic "$flux" --size "$size" --steps "$flux_steps" --runs 1)
    step make_flux 120 "${bench_flux[@]}" --runs 0
    step bench_flux 90 "${bench_flux[@]}"
    # One step of each path, by kernels; the text is encoded before.
    draw=("$ecdit" generate --prompt 'a red fox' --backend cuda --cache-text "$work" --steps 1 --size "$size" --quiet -o "$work/x.png")
    for form in '' _raw; do
        source=$scratch/$flux-ecf8
        [ -z "$form" ] || source=$scratch/$flux
        step "text$form" 60 "${draw[@]}" "$source"
        profile "profile_flux$form" 60 "${draw[@]}" "$source"
    done
    for test in dit flux; do sanitize memcheck "$test" 60; done
    step bench_flux_fp8 60 "${bench_flux[@]}" --compute fp8
    step flux_large 60 "$ecdit" generate "$scratch/$flux-ecf8" --prompt 'a red fox' --backend cuda --cache-text "$work" --steps 4 \
        --size "$large" --json -o "$work/large.png"
    step bench_dit_tuned 45 env ECD_CUDA_TUNE=1 XDG_CACHE_HOME="$work/tuned" "${bench_dit[@]}"
    step bench_dit_budgets 60 "${bench_dit[@]}" --runs 1 --budgets "$dit_budgets"
    step bench_flux_budgets 120 "${bench_flux[@]}" --budgets "$flux_budgets"
    for test in dit flux; do sanitize racecheck "$test" 60; done
    for test in dit flux; do sanitize initcheck "$test" 60; done
    step bench_flux_batch 60 "${bench_flux[@]}" --batch 4
}

# ----

finish() {
    local left
    python3 tests/gpu/report.py "$work" "$out" "$(cat "$build/revision" 2>/dev/null || git rev-parse HEAD 2>/dev/null || echo unknown)" \
        "$((SECONDS - began))" "$flux" || failed=1
    left=$(awk -F '\t' '$3 == "null" && $4 ~ /no time/ { printf "%s ", $1 }' "$work/steps.tsv")
    [ -z "$left" ] || echo "gpu.sh: for what was left out: ECD_GPU_STEPS='${left% }' tests/gpu.sh"
    echo "gpu.sh: $out/gpu.json, $out/gpu.txt, $((SECONDS - began)) s"
    exit "$failed"
}

if [ "${1:-}" = --steps ]; then
    listing=1 work=. scratch=. XDG_CACHE_HOME=.
    choose
    run_steps
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "${1:-}" = --pack ]; then
    [ $# -eq 2 ] || fail 1 'expected --pack FILE'
    out=$work whole=3600 patience=10
    ECD_GPU_STEPS='configure build' build_programs
    [ "$failed" = 0 ] || fail 1 "$(tail -n 5 "$work/steps.log")"
    pack "$2"
    exit 0
fi
out=${1:-${OUT:-gpu-results}}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out/gpu.json" "$out/steps.log"
: >"$out/gpu.txt"
: >"$work/steps.tsv"
command -v python3 >/dev/null || fail 1 'there is no python3'
nvidia-smi -L >/dev/null 2>&1 || fail 3 'no GPU, or no driver'
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv | tee "$work/device.csv" "$out/gpu.txt" || true
scratch=${ECD_GPU_SCRATCH:-$work/scratch} # gigabytes of synthetic weights
mkdir -p "$scratch"
export ECDIT_MODELS=${ECDIT_MODELS:-$root/weights} XDG_CACHE_HOME=${XDG_CACHE_HOME:-$work/cache}
choose

if [ -f "${ECD_GPU_BUILD:-}" ]; then
    build=$work/build
    python3 -m tarfile -e "$ECD_GPU_BUILD" "$build"
elif [ -n "${ECD_GPU_BUILD:-}" ]; then
    build=$(cd "$ECD_GPU_BUILD" && pwd)
else
    ECD_GPU_STEPS='configure build' build_programs
fi
find_libraries
[ -x "$build/app/ecdit" ] || fail 1 "$build/app/ecdit is not there; see $out/steps.log"
# A device that cannot be used fails most steps, but some tests are skipped without one, and pass.
status=0
timeout 60 "$build/app/ecdit" generate "$model" --class 3 --steps 1 --backend cuda --quiet -o "$work/first.png" >"$work/first.log" 2>&1 || status=$?
[ "$status" -ne 3 ] || fail 3 "$(tail -n 1 "$work/first.log")"
run_steps
finish
