#!/usr/bin/env bash
# check_files.sh ROOT: files stay small and speak of no machine. Data (tests/data, the shipped model) is not looked at.
#   - sources, scripts and build files have at most 600 lines, of at most 120 columns in C
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
unfinished='TO''DO|FIX''ME|XX''X[^X]'

while read -r file; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 600 ] || breach "$file: $lines lines, expected at most 600"
    case "$file" in
    *.[ch] | *.cu)
        while IFS=: read -r line _; do
            breach "$file:$line: more than 120 columns"
        done < <(grep -nE '^.{121,}' "$file" || true)
        ;;
    esac
    while read -r found; do
        breach "$file:$found"
    done < <(grep -nE "$machine_paths|$unfinished" "$file" | grep -vE 'mkstemp|mkdtemp|mktemp|part-XXXXXX' || true)
done < <(find . \( -path './.git' -o -path './.deps' -o -path './build*' -o -path './tests/data' -o -path './weights/emoji' \) \
    -prune -o -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.sh' -o -name '*.md' -o -name '*.cmake' \
    -o -name 'CMakeLists.txt' -o -name '*.py' -o -path './.ci/*' \) -print | sort)
[ "$breaches" -eq 0 ]
