#!/usr/bin/env bash
# run.sh ECDIT SCRATCH [compare.py's options]: ecdit beside diffusers on torch, DiT-XL/2 at 256 and 512 pixels.
#
# Installs torch and diffusers from PyPI into SCRATCH/venv and makes the synthetic models in SCRATCH/models, once; about
# 20 GB of disk. Prints one table a model, type and batch.
set -euo pipefail
if (($# < 2)); then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 1
fi
here=$(cd "$(dirname "$0")" && pwd)
ecdit=$(realpath "$1")
mkdir -p "$2"
scratch=$(realpath "$2")
shift 2
if [[ ! -x $scratch/venv/bin/python ]]; then
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet torch diffusers transformers accelerate
fi
models=${PEER_MODELS:-"dit-xl-2-256 dit-xl-2-512"}
folders=()
for model in $models; do
    "$ecdit" bench --synthetic "$model" --scratch "$scratch/models" --runs 0
    folders+=("$scratch/models/$model")
done
exec "$scratch/venv/bin/python" "$here/compare.py" "$ecdit" "${folders[@]}" --compressed "$@"
