#!/usr/bin/env bash
# run.sh ECDIT CASES [FOLDER]: runs a transcript of commands and compares what each says and leaves.
#
#   # a comment
#   ! needs perl: command -v perl      the whole transcript is skipped (77) unless the command succeeds
#   $ ecdit generate --steps 0         a command, for bash, in an empty folder of the transcript's own
#   > more of it                       (continued)
#   1> text                            expected on standard output, line by line
#   2> text                            expected on standard error
#   1~ pattern, 2~ pattern             the same, as a pattern of the shell
#   ? 1                                expected exit status (0)
#
# A stream without expected lines must stay empty. Commands see ecdit, $models (the small models of tests/data), $emoji
# (the shipped model) and the functions below.
set -euo pipefail

program=$(realpath "$1")
cases=$(realpath "$2")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
root=$(realpath "$here/../..")
export models=$root/tests/data/models emoji=$root/weights/emoji bad=$root/tests/data/bad here
export ECDIT_MODELS=$root/tests/data/models:$root/weights
unset ECD_CPU

work=$(mktemp -d "${3:-${TMPDIR:-/tmp}}/ecdit-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/here"
ln -s "$program" "$work/bin/ecdit"
export PATH=$work/bin:$PATH
cd "$work/here"

# json_valid: is standard input one JSON value? By what the machine has; without either nothing is checked.
json_valid() {
    if command -v python3 >/dev/null; then
        python3 -m json.tool >/dev/null
    elif command -v jq >/dev/null; then
        jq -e . >/dev/null
    else
        cat >/dev/null
    fi
}

# sha256 of each picture in the JSON on standard input, one a line.
hashes() {
    grep -o '"sha256":[[:space:]]*"[0-9a-f]*"' | grep -o '[0-9a-f]\{64\}'
}

# on_small_disk SIZE COMMAND: with a file system of SIZE at small/, which nobody else sees.
on_small_disk() {
    mkdir -p small
    # shellcheck disable=SC2016 # for the inner shell
    unshare -m -r bash -c 'mount -t tmpfs -o size="$0" tmpfs small && eval "$1"' "$1" "$2"
}

# in_cgroup BYTES COMMAND: in a cgroup of its own (version 1 or 2) whose memory is limited to BYTES.
in_cgroup() {
    local group file=memory.limit_in_bytes code=0
    group=/sys/fs/cgroup/memory/ecdit-test-$$
    if ! mkdir "$group" 2>/dev/null; then
        group=/sys/fs/cgroup/ecdit-test-$$ file=memory.max
        mkdir "$group" 2>/dev/null || return 77
    fi
    # shellcheck disable=SC2016 # for the inner shell
    echo "$1" 2>/dev/null >"$group/$file" &&
        bash -c 'echo $$ >"$0/cgroup.procs" && eval "$1"' "$group" "$2" || code=$?
    rmdir "$group"
    return "$code"
}

# interrupted SECONDS COMMAND...: sends it SIGINT that long after it began to catch it (before, a background process of a
# script ignores it); the status is the command's.
interrupted() {
    local seconds=$1 pid
    shift
    "$@" &
    pid=$!
    until [ $((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$pid/status") & 2)) -ne 0 ]; do sleep 0.1; done
    sleep "$seconds"
    kill -INT "$pid"
    wait "$pid"
}

# left_over PATTERN: waits for all processes with it in their command line to end; after 10 s says how many there are.
left_over() {
    local count=0 i
    for i in {1..100}; do
        count=$(cat /proc/[0-9]*/cmdline 2>/dev/null | grep -cza "$1") || return 0
        sleep 0.1
    done
    echo "$count words after $i looks"
}
export -f json_valid hashes on_small_disk interrupted left_over in_cgroup

failures=0 count=0 line=0 begun=0 command='' status=0
expected_out=() expected_err=()

fail() {
    echo "$cases:$begun: $command"
    printf '    %s\n' "$@"
    failures=$((failures + 1))
}

# compare NAME FILE EXPECTED...: each expected line begins with ">" (a text) or "~" (a pattern).
compare() {
    local name=$1 file=$2 got=() i
    shift 2
    mapfile -t got <"$file"
    if [ ${#got[@]} -ne $# ]; then
        fail "$name has ${#got[@]} lines, expected $#:" "${got[@]}"
        return
    fi
    for i in "${!got[@]}"; do
        # shellcheck disable=SC2053 # a pattern is meant to be one
        case $1 in
        '>'*) [ "${got[i]}" = "${1#>}" ] || fail "$name: ${got[i]}" "expected: ${1#>}" ;;
        *) [[ ${got[i]} == ${1#\~} ]] || fail "$name: ${got[i]}" "expected like: ${1#\~}" ;;
        esac
        shift
    done
}

run_case() {
    local code=0
    [ -n "$command" ] || return 0
    count=$((count + 1))
    bash -c "$command" >"$work/out" 2>"$work/err" </dev/null || code=$?
    [ "$code" -eq "$status" ] || fail "exit status $code, expected $status"
    compare 'standard output' "$work/out" "${expected_out[@]}"
    compare 'standard error' "$work/err" "${expected_err[@]}"
    command='' status=0 expected_out=() expected_err=()
}

while IFS= read -r text; do
    line=$((line + 1))
    case $text in
    '' | '#'*) ;;
    '! '*)
        text=${text#! }
        if ! bash -c "${text#*: }" >/dev/null 2>&1; then
            echo "skipped: ${text%%: *}"
            exit 77
        fi
        ;;
    '$ '*)
        run_case
        begun=$line
        command=${text#\$ }
        ;;
    '> '*) command+=$'\n'${text#> } ;;
    '1> '*) expected_out+=(">${text#1> }") ;;
    '2> '*) expected_err+=(">${text#2> }") ;;
    '1~ '*) expected_out+=("~${text#1~ }") ;;
    '2~ '*) expected_err+=("~${text#2~ }") ;;
    '? '*) status=${text#\? } ;;
    *)
        echo "$cases:$line: $text: expected a line as run.sh describes"
        exit 1
        ;;
    esac
done <"$cases"
run_case
echo "$count commands, $failures failures"
[ "$count" -gt 0 ] && [ "$failures" -eq 0 ]
