#!/usr/bin/env bash
# check_layers.sh ROOT: every #include in the product goes down the layers and names its file from the root.
# Prints each breach as file:line: text, and fails if there is one.
set -euo pipefail
cd "$1"

# What a module may include of the others; its own folder always. app may include everything.
declare -A allowed=(
    [kernels]='codec base' [weights]='kernels codec base'
    [dit/noise]='base'
    [dit/pipeline]='dit/transformer dit/sampler dit/noise text vae weights kernels codec base'
    [lib]='dit/pipeline dit/transformer dit/sampler dit/noise text vae weights kernels codec base'
    [app]='lib dit/pipeline dit/transformer dit/sampler dit/noise text vae weights kernels codec base'
)
for module in vae text dit/transformer dit/sampler; do
    allowed[$module]='weights kernels codec base dit/noise'
done

# module := that of a path: its folder, in dit/ the folder below (dit/noise.c, dit/noise.h: dit/noise).
module_of() {
    case "$1" in
    dit/*/*) module=${1#dit/} && module=dit/${module%%/*} ;;
    dit/*) module=${1%.*} ;;
    *) module=${1%%/*} ;;
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

include='^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]*)[>"]'
while IFS=: read -r file line text; do
    module_of "$file"
    from=$module
    [[ "$text" =~ $include ]] || continue
    name=${BASH_REMATCH[1]}
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
    module_of "$name"
    if [ "$from" != "$module" ] && [[ " ${allowed[$from]:-} " != *" $module "* ]]; then
        breach "$file:$line: $from must not include $module (\"$name\")"
    fi
done < <(grep -rnE --include='*.[ch]' --include='*.cu' --include='*.cuh' --include='*.inc' \
    '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' "${folders[@]}")

while IFS=: read -r file line text; do
    module_of "$file"
    case "$module" in
    kernels | codec) ;;
    *) breach "$file:$line: instruction sets belong into kernels/ and codec/: $text" ;;
    esac
done < <(grep -rnE --include='*.[ch]' '__attribute__\(\(target|__AVX|__SSE|__ARM_NEON|_mm(256|512)?_[a-z]' "${folders[@]}")
[ "$breaches" -eq 0 ]
