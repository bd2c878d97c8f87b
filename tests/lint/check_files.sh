#!/usr/bin/env bash
# check_files.sh ROOT: files stay small and speak of no machine. Data (tests/data, the shipped model) is not looked at.
#   - sources, scripts and build files have at most 600 lines
#   - no absolute path of somebody's machine, no address of a package host, no mark of work left undone
set -euo pipefail
cd "$1"
breaches=0
breach() {
    echo "$1"
    breaches=$((breaches + 1))
}
# Put together from pieces, so that this file does not find itself.
slash=/
machine_paths="(^|[^[:alnum:]_.}])${slash}(work|root|home|Users|mnt)${slash}|pythonhosted\.|deb\.debian\."
unfinished='TO''DO|FIX''ME'

mapfile -t files < <(find . \( -path './.git' -o -path './.deps' -o -path './build*' -o -path './tests/data' -o -path './weights/emoji' \) \
    -prune -o -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.sh' -o -name '*.md' -o -name '*.cmake' \
    -o -name 'CMakeLists.txt' -o -name '*.py' -o -path './.ci/*' \) -print | sort)
while read -r lines file; do
    [ "$lines" -le 600 ] || [ "$file" = total ] || breach "$file: $lines lines, expected at most 600"
done < <(wc -l "${files[@]}")
while read -r found; do
    breach "$found"
done < <(grep -HnE "$machine_paths|$unfinished" "${files[@]}" || true)
[ "$breaches" -eq 0 ]
