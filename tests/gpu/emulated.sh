#!/usr/bin/env bash
# emulated.sh BUILD [all]: rehearses tests/gpu.sh, the same lines, on the emulated device: BUILD's emulated programs under the
# names of a device's, and stand-ins for NVIDIA's tools. In short the steps that take a second, and each way to end; all: every
# step (ten minutes; build cuda_decode_emulated too), with results in gpu-emulated/.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "$1" && pwd)/tests
command -v python3 >/dev/null || exit 77
device=$(mktemp -d)
trap 'rm -rf "$device"' EXIT
mkdir -p "$device/app" "$device/tests" "$device/bin"
link() { [ ! -e "$build/$2" ] || ln -s "$build/$2" "$device/$1"; }
link app/ecdit ecdit_emulated
link tests/ecd_check_device ecd_check_cuda_emulated
for test in dit flux pipeline vae text_encoder; do link "tests/test_${test}_device" "test_${test}_cuda"; done
for test in graphs fp8; do link "tests/test_${test}_device" "test_cuda_$test"; done
for program in bandwidth decode; do link "tests/cuda_$program" "cuda_${program}_emulated"; done

# tool NAME: a script of what standard input says, in place of what had the name.
tool() {
    rm -f "$device/$1"
    { echo '#!/usr/bin/env bash' && cat; } >"$device/$1"
    chmod +x "$device/$1"
}
tool bin/nvidia-smi <<'END'
case "$*" in
*name,driver*) printf 'name, driver_version, memory.total [MiB], clocks.max.sm [MHz], power.limit [W]\nemulated, 0, 8192 MiB, 1 MHz, 1 W\n' ;;
*memory*) echo 8192 ;;
-L) echo 'GPU 0: emulated' ;;
esac
END
# The command after the options, and a table as ncu --csv writes it.
tool bin/ncu <<'END'
while [ "${1#--}" != "$1" ]; do
    case $1 in
    --csv) shift ;;
    --log-file) log=$2 && shift 2 ;;
    *) shift 2 ;;
    esac
done
"$@"
printf '%s\n' '==PROF== Connected' '"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"' \
    '"0","1","void (anonymous namespace)::widen<(int)3>(const T1 *, float *)","gpu__time_duration.sum","ns","1,500,000"' \
    '"1","1","void (anonymous namespace)::widen<(int)3>(const T1 *, float *)","gpu__time_duration.sum","ns","500,000"' \
    '"2","1","attention(float *)","gpu__time_duration.sum","us","3,000"' >"$log"
END
tool bin/compute-sanitizer <<'END'
shift 4
exec "$@"
END

# Folders of NVIDIA's own tools are not looked into.
path=$device/bin
while read -r folder; do
    if [ -x "$folder/bash" ] || ! PATH=$folder command -v ncu nsys compute-sanitizer >/dev/null; then path+=:$folder; fi
done < <(tr : '\n' <<<"$PATH")

failures=0
# expect WHAT COMMAND...
expect() {
    "${@:2}" && return
    echo "expected: $1"
    failures=$((failures + 1))
}
# rehearse STATUS VARIABLE=VALUE...: gpu.sh with results in $out, and its exit status.
rehearse() {
    local status=0
    env -u CUDA_HOME PATH="$path" ECD_GPU_BUILD="$device" ECD_GPU_SMALL=1 "${@:2}" "$here/../gpu.sh" "$out" \
        >"$device/said" 2>&1 || status=$?
    [ "$status" -eq "$1" ] || { cat "$device/said" && expect "exit status $1, not $status" false; }
}
# holds PYTHON...: of gpu.json as r.
holds() {
    python3 -c "import json, sys
r = json.load(open(sys.argv[1]))
steps = {s['step']: s for s in r['steps']}
wrong = [text for text in sys.argv[2:] if not eval(text)]
print(*('expected: ' + text for text in wrong), sep='\n', end='\n' if wrong else '')
sys.exit(bool(wrong))" "$out/gpu.json" "$@" || failures=$((failures + 1))
}

if [ "${2:-}" = all ]; then
    out=$PWD/gpu-emulated
    rehearse 0 ECD_GPU_SECONDS=3600
    cat "$out/gpu.txt"
    holds "[s['step'] for s in r['steps']] == '''$(ECD_GPU_SMALL=1 "$here/../gpu.sh" --steps)'''.split() and not r['failed'] and not r['left_out']"
    holds "all(r[name] for name in steps if not name.startswith(('check', 'test', 'make', 'text', 'memcheck', 'racecheck', 'initcheck')))"
    exit "$failures"
fi
out=$device/out
rehearse 0 ECD_GPU_STEPS='bandwidth emoji bench_emoji profile_dit memcheck_dit' ECD_GPU_SCRATCH="$device/scratch"
holds "list(steps) == ['emoji', 'bandwidth', 'bench_emoji', 'make_dit', 'profile_dit', 'memcheck_dit'] and r['device']['name'] == 'emulated'" \
    "all(s['status'] == 0 and s['words'] == 'ok' for s in r['steps']) and not r['failed'] and not r['left_out']" \
    "all(rate[form]['gb_s'] > 0 for rate in r['bandwidth']['rates'] for form in ('ecf8', 'ecf8_16384', 'published'))" \
    "[p['batch'] for p in r['bench_emoji']['points']] == [1, 2] and r['bench_emoji']['same'] and r['emoji']['seconds']['denoise'] > 0" \
    "r['profile_dit'] == [{'kernel': 'attention', 'launches': 1, 'ms': 3.0}, {'kernel': 'widen<3>', 'launches': 2, 'ms': 2.0}]"
expect 'tables' grep -qE '^\| bench_emoji \| dit_a_fp8_tensor 16x16, bf16, 1 steps \| 2 \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ / [0-9.]+ \| [0-9.]+ / [0-9.]+ \| same \|$' "$out/gpu.txt"
expect 'what programs said' grep -q 'tests passed\|PASSED' "$out/steps.log"
# From a pack: a step that fails and one that takes too long; CUDA's libraries in a Python environment.
mkdir -p "$device/site/nvidia/cublas/lib"
tool bin/ldconfig <<<'exit 1'
# shellcheck disable=SC2016 # for the script
tool tests/test_dit_device <<<'echo "it is broken: $LD_LIBRARY_PATH" >&2; exit 7'
tool tests/test_flux_device <<<'exec sleep 60'
tar -C "$device" -chf "$device/pack.tar" app/ecdit tests/test_{dit,flux}_device
rehearse 1 ECD_GPU_STEPS='test_dit test_flux' ECD_GPU_LIMIT=2 ECD_GPU_BUILD="$device/pack.tar" PYTHONPATH="$device/site"
holds "steps['test_dit']['status'] == 7 and steps['test_dit']['words'].startswith('failed (7): it is broken')" \
    "steps['test_flux']['status'] == 124 and steps['test_flux']['words'] == 'out of time (2 s)'" \
    "r['failed'] == ['test_dit', 'test_flux'] and not r['left_out']"
expect 'CUDA libraries of Python' grep -qF "$device/site/nvidia/cublas/lib" "$out/steps.log"
# No time is left, or there is no tool; nsys for ncu.
rm "$device"/bin/{compute-sanitizer,ncu}
rehearse 1 ECD_GPU_STEPS='test_pipeline racecheck_flux' ECD_GPU_SECONDS=1
holds "steps['test_pipeline']['status'] is None and steps['test_pipeline']['words'] == 'left out: no time'" \
    "r['left_out'][0] == 'test_pipeline' and not r['failed']"
expect 'what is left' grep -qF "ECD_GPU_STEPS='test_pipeline" "$device/said"
tool bin/nsys <<'END'
case $1 in
profile) shift 7 && exec "$@" ;;
stats) printf '%s\n' 'Processing [x.sqlite]...' 'Time (%),Total Time (ns),Instances,Avg (ns),Name' '60.0,3000000,2,1500000,"f(int, int)"' ;;
esac
END
if ! PATH=$path command -v ncu compute-sanitizer >/dev/null; then
    rehearse 0 ECD_GPU_STEPS='racecheck_flux profile_dit' ECD_GPU_SCRATCH="$device/scratch"
    holds "steps['racecheck_flux']['words'] == 'left out: no compute-sanitizer here'" \
        "r['profile_dit'] == [{'kernel': 'f', 'launches': 2, 'ms': 3.0}]"
fi
# What cannot be: to build without libraries, to use a device that is none, and no device.
rehearse 1 ECD_GPU_BUILD='' PKG_CONFIG_LIBDIR="$device"
expect 'what is missing' grep -q '^gpu.sh: cannot build here: there is no .*cmocka, libcjson.*setup.sh' "$device/said"
rehearse 3 ECD_EMU_DEVICES=0
expect 'why' grep -q 'no CUDA device' "$device/said"
tool bin/nvidia-smi <<<'exit 9'
rehearse 3 ECD_GPU_STEPS=emoji
exit "$failures"
