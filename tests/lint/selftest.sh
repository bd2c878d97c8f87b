#!/usr/bin/env bash
# selftest.sh CHECK: shows that a check of this folder passes a good example and fails on each bad one, naming it.
# shellcheck disable=SC2016 # the examples are scripts themselves
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
check=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree

fresh_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"/{app,lib,base,codec,kernels/cpu,weights,vae,dit/transformer,dit/sampler,dit/pipeline}
    printf '#include <stdint.h>\nint ecd_base(void);\n' >"$tree/base/a.h"
    printf '#include "base/a.h"\nint ecd_base(void) { return 1; }\n' >"$tree/base/a.c"
    printf '#include "base/a.h"\nint ecd_dit(void);\n' >"$tree/dit/transformer/t.h"
    printf '#include "dit/transformer/t.h"\n' >"$tree/dit/pipeline/p.h"
    printf '#include "dit/pipeline/p.h"\n' >"$tree/lib/l.h"
    printf '#include <immintrin.h>\n' >"$tree/kernels/cpu/k.c"
    printf '#ifdef __cplusplus\nextern "C" {\n#endif\nint ecf8_a(void);\n#ifdef __cplusplus\n}\n#endif\n' >"$tree/codec/ecf8.h"
    printf '#!/usr/bin/env bash\nset -euo pipefail\necho "$0"\n' >"$tree/app/good.sh"
}

# library SOURCE_TEXT: compiles it into a library of the tree.
library() {
    cc -std=c17 -w -c -x c -o "$tree/object.o" - <<<"$1"
    rm -f "$tree/libecd_x.a"
    ar qc "$tree/libecd_x.a" "$tree/object.o" 2>/dev/null
}

passes() {
    if ! "$here/check_$check.sh" "$tree" >"$scratch/out" 2>&1; then
        echo "check_$check.sh fails on a good example ($1):"
        cat "$scratch/out"
        exit 1
    fi
}

# fails TEXT: the check must fail and its output hold TEXT.
fails() {
    if "$here/check_$check.sh" "$tree" >"$scratch/out" 2>&1; then
        echo "check_$check.sh passes a bad example: $1"
        exit 1
    fi
    if ! grep -qF -- "$1" "$scratch/out"; then
        echo "check_$check.sh does not say '$1' but:"
        cat "$scratch/out"
        exit 1
    fi
}

# bad FILE TEXT EXPECTED: a fresh tree with this file in it fails.
bad() {
    fresh_tree
    printf '%b' "$2" >"$tree/$1"
    fails "$3"
}

fresh_tree
case "$check" in
layers)
    passes tree
    bad base/b.c '#include "codec/ecf8.h"\n' 'base/b.c:1: base must not include codec'
    bad codec/b.c '#include "base/a.h"\n' 'codec/b.c:1: codec must not include base'
    bad vae/b.h '#include "dit/transformer/t.h"\n' 'vae must not include dit/transformer'
    bad dit/sampler/b.c '\n  #  include "dit/transformer/t.h"\n' 'dit/sampler/b.c:2: dit/sampler must not include'
    bad weights/b.c '#include "dit/pipeline/p.h"\n' 'weights must not include dit/pipeline'
    bad dit/pipeline/b.h '#include "lib/l.h"\n' 'dit/pipeline/b.h:1: dit/pipeline must not include lib'
    bad base/b.c '#include "a.h"\n' '"a.h" is no path from the root'
    bad vae/b.c '#include <immintrin.h>\n' '<immintrin.h>: only kernels/'
    bad weights/b.c '#include <cuda_runtime.h>\n' '<cuda_runtime.h>: only kernels/'
    bad vae/b.c '__attribute__((target("avx2"))) int f;\n' 'vae/b.c:1: instruction sets belong'
    ;;
headers)
    passes tree
    bad vae/b.h 'size_t ecd_length(void);\n' 'vae/b.h does not compile alone'
    bad vae/b.h 'int ecd_old_style();\n' 'vae/b.h does not compile alone'
    bad codec/ecf8.h 'int ecf8_a(int class);\n' 'codec/ecf8.h does not compile as C++'
    ;;
symbols)
    fails 'no library below'
    library 'int printf(const char *, ...); int ecd_a(void) { static const int t[] = {1, 2}; return t[1]; } static int f(void) { return 1; }'
    passes library
    library 'int helper(void) { return 1; }'
    fails 'helper is visible'
    library 'int count(void); int ecd_a(void) { static int calls; return ++calls; }'
    fails 'mutable global calls'
    library 'int printf(const char *, ...); int ecd_a(void) { return printf("x%d", 1); }'
    fails 'calls printf'
    library 'void exit(int); void ecd_a(void) { exit(1); }'
    fails 'calls exit'
    ;;
files)
    passes tree
    fresh_tree
    printf '\n%.0s' {1..601} >"$tree/vae/b.c"
    fails './vae/b.c: 601 lines, expected at most 600'
    bad app/b.sh 'cat /ho''me/somebody/file\n' './app/b.sh:1:'
    bad vae/b.c '// TO''DO: later\n' './vae/b.c:1:'
    ;;
scripts)
    passes tree
    bad app/b.sh '#!/usr/bin/env bash\nset -euo pipefail\ncd $1\n' 'SC2086'
    bad app/b.sh '#!/usr/bin/env bash\necho hello\n' "no 'set -euo pipefail'"
    ;;
*)
    echo "unknown check $check, expected layers, headers, symbols, files or scripts"
    exit 1
    ;;
esac
