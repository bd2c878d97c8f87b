#!/usr/bin/env bash
# check_symbols.sh BUILD_FOLDER: what the libraries define and call.
#   - every symbol that a linker sees carries the prefix ecd_, ecdit_ or ecf8_
#   - no library prints, exits or aborts: that is the program's
#   - they keep no mutable global, except those of the CPU level in use
set -euo pipefail
breaches=0
breach() {
    echo "$1"
    breaches=$((breaches + 1))
}
# The one-time detection of the CPU's features (codec has its own: it depends on nothing here); and what nvcc adds to each
# launch.
allowed_globals='^(ecd_|ecf8_)?(cpu|level|detected|features)[a-z_]*(\.[0-9]+)?$|__device_stub__|__cudaFatCubinHandle'
forbidden_calls='^(_?exit|_Exit|quick_exit|abort|v?printf|puts|putchar|perror|__v?printf_chk|stdout|stderr)$'

mapfile -t libraries < <(find "$1" -path "$1/tests" -prune -o -name 'lib*.a' -print | sort)
if [ ${#libraries[@]} -eq 0 ]; then
    echo "no library below $1"
    exit 1
fi
for library in "${libraries[@]}"; do
    name=${library##*/}
    while read -r symbol; do
        breach "$name: $symbol is visible and has no prefix ecd_, ecdit_ or ecf8_"
    done < <(nm -g --defined-only "$library" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -vE '^(ecd|ecdit|ecf8)_' || true)
    [[ "$name" != libecd_app* ]] || continue # the program prints, exits, and keeps a flag for its signal handler
    while read -r symbol; do
        breach "$name: mutable global $symbol"
    done < <(nm -f sysv --defined-only "$library" 2>/dev/null | tr -d ' ' |
        awk -F'|' '$7 ~ /^\.(data|bss|tdata|tbss)$/ || $3 == "C" { print $1 }' | grep -vE "$allowed_globals" || true)
    while read -r symbol; do
        breach "$name: calls $symbol"
    done < <(nm -u "$library" 2>/dev/null | awk 'NF == 2 { print $2 }' | sort -u | grep -E "$forbidden_calls" || true)
done
[ "$breaches" -eq 0 ]
