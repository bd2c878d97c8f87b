#!/usr/bin/env bash
# check_scripts.sh ROOT: shellcheck finds nothing in the scripts, and each stops at its first error.
set -euo pipefail
cd "$1"
failed=0
while read -r script; do
    shellcheck -x "$script" || failed=1
    if ! grep -q '^set -euo pipefail$' "$script"; then
        echo "$script: no 'set -euo pipefail'"
        failed=1
    fi
done < <(find . \( -path './.git' -o -path './.deps' -o -path './build*' \) -prune -o -type f \
    \( -name '*.sh' -o -path './.ci/run' \) -print | sort)
exit $failed
