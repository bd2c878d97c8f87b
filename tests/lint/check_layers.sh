#!/usr/bin/env bash
# check_layers.sh ROOT: every #include in the product goes down the layers and names its file from the root.
# Prints each breach as file:line: text, and fails if there is one.
set -euo pipefail
cd "$1"

# What a module may include of the others; its own folder always. app may include everything.
allowed() {
    case "$1" in
    codec | base) echo '' ;;
    kernels) echo 'codec base' ;;
    weights) echo 'kernels codec base' ;;
    vae | text | dit/transformer | dit/sampler) echo 'weights kernels codec base dit/noise' ;;
    dit/noise) echo 'base' ;;
    dit/pipeline) echo 'dit/transformer dit/sampler dit/noise text vae weights kernels codec base' ;;
    lib) echo 'dit/pipeline dit/transformer dit/sampler dit/noise text vae weights kernels codec base' ;;
    app) echo 'lib dit/pipeline dit/transformer dit/sampler dit/noise text vae weights kernels codec base' ;;
    *) echo '' ;;
    esac
}

# The module of a path: its folder, in dit/ the folder below (dit/noise.c, dit/noise.h: dit/noise).
module_of() {
    case "$1" in
    dit/*/*) echo "$1" | cut -d/ -f1-2 ;;
    dit/*) echo "${1%.*}" ;;
    *) echo "${1%%/*}" ;;
    esac
}

folders=()
for folder in app lib dit text vae weights kernels codec base; do
    [ ! -d "$folder" ] || folders+=("$folder")
done
intrinsics='immintrin|x86intrin|[a-z]mmintrin|arm_neon|arm_sve|cuda|cublas|cudnn|nvrtc|dnnl|oneapi/'
breaches=0
breach() {
    echo "$1"
    breaches=$((breaches + 1))
}

while IFS=: read -r file line text; do
    from=$(module_of "$file")
    name=$(sed -E 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]*)[>"].*/\1/' <<<"$text")
    if [[ "$text" == *'<'* ]]; then
        if [[ "$name" =~ ^($intrinsics) ]] && [ "$from" != kernels ] && [ "$from" != codec ]; then
            breach "$file:$line: <$name>: only kernels/ and codec/ know an instruction set or a device"
        fi
        continue
    fi
    if [ ! -e "$name" ]; then
        breach "$file:$line: \"$name\" is no path from the root of the repository"
        continue
    fi
    to=$(module_of "$name")
    if [ "$from" != "$to" ] && ! grep -qw -- "$to" <<<"$(allowed "$from")"; then
        breach "$file:$line: $from must not include $to (\"$name\")"
    fi
done < <(grep -rnE --include='*.[ch]' --include='*.cu' --include='*.cuh' --include='*.inc' \
    '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' "${folders[@]}")

while IFS=: read -r file line text; do
    case "$(module_of "$file")" in
    kernels | codec) ;;
    *) breach "$file:$line: instruction sets belong into kernels/ and codec/: $text" ;;
    esac
done < <(grep -rnE --include='*.[ch]' '__attribute__\(\(target|__AVX|__SSE|__ARM_NEON|_mm(256|512)?_[a-z]' "${folders[@]}")
[ "$breaches" -eq 0 ]
