#!/usr/bin/env bash
# tokenizers.sh ECD_TOKENS FOLDER...: are the ids of 10,000 lines of mixed text those of Hugging Face's tokenizers (for a
# folder with tokenizer.json) and of sentencepiece (for one with spiece.model alone)? By hand: both are installed from
# PyPI into a scratch folder. ECD_TOKENS is the program that `ninja ecd_tokens` builds.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: tokenizers.sh ECD_TOKENS FOLDER..." >&2; exit 1; }
tokens=$1
shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check tokenizers==0.23.3 sentencepiece
"$tokens" lines "${ECD_LINES:-10000}" >"$scratch/lines"
failed=0
for folder in "$@"; do
    "$tokens" ids "$folder" <"$scratch/lines" >"$scratch/ids"
    "$scratch/venv/bin/python" "$here/compare_ids.py" "$folder" "$scratch/lines" "$scratch/ids" || failed=1
done
exit $failed
