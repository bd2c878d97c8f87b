#!/usr/bin/env python3
"""What the compiler makes of the CUDA kernels, read without a GPU.

    measure.py [--nvcc NVCC] [--cuobjdump CUOBJDUMP] [--arch 80,89,90,100] [--objects A.cu.o;B.cu.o] [--bounds] [--mix] [--bulk]

Reads the ECF8 decoders and attention from a build's object files, where given and made for the architecture, else compiles them,
and prints a table: registers, the stack's bytes (of what is spilled), shared memory, warps that an SM holds, and SASS instructions
in the main loop: of the decoders for each weight, of attention for each mma. --bounds: fails where a figure of bounds.json is
exceeded. --mix: opcodes of the main loops too. --bulk: with words by bulk copies. Exit status 77 where nvcc or cuobjdump are missing.
"""
import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = ["kernels/cuda/ecf8_decode.cu", "kernels/cuda/ecf8_product.cu", "kernels/cuda/ecf8_published.cu",
         "kernels/cuda/attention_mma.cu", "kernels/cuda/attention_wide.cu"]

# Of an SM: warps, blocks, registers, shared memory in bytes (CUDA C++ programming guide, "Compute capabilities").
SM = {
    80: (64, 32, 65536, 164 << 10),
    89: (48, 24, 65536, 100 << 10),
    90: (64, 32, 65536, 228 << 10),
    100: (64, 32, 65536, 228 << 10),
}
SYSTEM_SHARED = 1024  # that each block costs besides its own

# name in the table: mangled name, threads, dynamic shared memory, and of the main loop: weights that a lane decodes in a turn,
# votes in that turn, an instruction and how often it has it (a kernel has a main loop for each kind of container, told apart by
# their stores), the bytes of words that a weight takes (2.6 bits of exponents; 6.5 of whole bytes). Products: of 3072 columns.
DECODE_SHARED = 16384 + 13 * 2048 + 12 * 8
NATIVE, TO_BF16, CHECKED = "decode_kernelILb0ELb0E", "decode_kernelILb1ELb0E", "decode_kernelILb0ELb1E"
NO_LOOP = (0, 0, "", 0, 0)
KERNELS = {
    "pairs to FP8": (NATIVE, 384, DECODE_SHARED, (32, 16, "STG.E", 8, 2.6 / 8)),
    "pairs to BF16": (TO_BF16, 384, DECODE_SHARED, (32, 16, "STG.E.64", 8, 2.6 / 8)),
    "bytes to FP8": (NATIVE, 384, DECODE_SHARED, (16, 16, "STG.E", 4, 6.5 / 8)),
    "singles to 16 bits": (TO_BF16, 384, DECODE_SHARED, (16, 16, "STG.E.64", 4, 2.6 / 8)),
    "pairs, checksums": (CHECKED, 384, DECODE_SHARED, (32, 16, "STG.E", 8, 2.6 / 8)),
    "product, 1 row": ("product_kernelILi1E", 384, DECODE_SHARED + 3072 * 2, (4, 2, "FFMA", 4, 2.6 / 8)),
    "product, 4 rows": ("product_kernelILi4E", 384, DECODE_SHARED + 4 * 3072 * 2, (4, 2, "FFMA", 16, 2.6 / 8)),
    "product, 16 rows": ("product_kernelILi16E", 384, DECODE_SHARED + 16 * 3072 * 2, (4, 2, "FFMA", 64, 2.6 / 8)),
    "0.2.0 to FP8": ("published_kernelILb0E", 512, 512 * 64, NO_LOOP),
    "0.2.0 to BF16": ("published_kernelILb1E", 512, 512 * 64, NO_LOOP),
}
# name in the table: mangled name, threads, dynamic shared memory
ATTENTION = {
    "attention, 128 channels": ("attention_mmaILi128ELi2ELb0ELb1E", 128, (128 + 2 * 64) * (128 + 8) * 2),
    "128 channels, few blocks": ("attention_mmaILi128ELi1ELb0ELb1E", 128, (64 + 2 * 64) * (128 + 8) * 2),
    "attention, 80 channels": ("attention_mmaILi80ELi2ELb0ELb1E", 128, (128 + 2 * 64) * (80 + 8) * 2),
    "attention, 64 channels": ("attention_mmaILi64ELi2ELb0ELb1E", 128, (128 + 2 * 64) * (64 + 8) * 2),
    "attention, 512 channels": ("attention_wideILb1E", 256, 2 * 32 * (512 + 8) * 2 + 32 * 40 * (2 + 4) + 32 * 4),
}
STAGE = 512  # bytes that a refill of the ring brings


def find_tool(given, name, places):
    for place in [given, os.environ.get("ECD_" + name.upper())] + places + [shutil.which(name)]:
        if place and os.path.exists(place):
            return place
    return None


def compile_file(nvcc, arch, path, cubin, options):
    command = [nvcc, "-std=c++17", f"-arch=sm_{arch}", "-fmad=false", "-I", ROOT, "-cubin", "-o", cubin, path] + options
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def read_resources(cuobjdump, arch, path):
    """Kernel -> registers, bytes of stack (local arrays and what is spilled), static shared memory; none for another architecture."""
    done = subprocess.run([cuobjdump, "-res-usage", "-arch", f"sm_{arch}", path], capture_output=True, text=True)
    found = re.findall(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+)", done.stdout + done.stderr)
    system = SYSTEM_SHARED if arch >= 90 else 0  # is counted there
    return {name: {"registers": int(r), "spilled": int(stack), "shared": int(shared) - system} for name, r, stack, shared in found}


def read_sass(cuobjdump, arch, path):
    """Kernel -> [(address, text)]."""
    text = subprocess.run([cuobjdump, "-sass", "-arch", f"sm_{arch}", path], capture_output=True, text=True, check=True).stdout
    kernels, current = {}, None
    for line in text.splitlines():
        if m := re.search(r"Function : (\S+)", line):
            current = kernels.setdefault(m[1], [])
        elif current is not None and (m := re.match(r"\s+/\*([0-9a-f]{4,6})\*/\s+(.*?)\s*;", line)):
            current.append((int(m[1], 16), m[2]))
    return kernels


def branch_target(text):
    m = re.search(r"\bBRA(?:\.\w+)* (?:(?:UR\d+|!?U?P\w+), )*`?\(?(0x[0-9a-f]+)", text)
    return int(m[1], 16) if m else None


def opcode(text):
    return re.sub(r"^@!?U?P\w+ ", "", text).split()[0].split(".")[0]


def has_mark(body, mark, times):
    count = sum(re.sub(r"^@!?U?P\w+ ", "", t).split()[0] == mark for _, t in body)
    return count == times if mark.startswith("STG") else count >= times  # some more beside the way: patches


def main_loop(code, votes, mark, times):
    """The smallest loop, by its branch backwards, that has all the votes of a turn and `mark` so many times."""
    best = None
    for address, text in code:
        target = branch_target(text)
        if target is None or target > address:
            continue
        body = [i for i in code if target <= i[0] <= address]
        if (sum(opcode(t) in ("VOTE", "VOTEU") for _, t in body) >= votes and
                has_mark(body, mark, times) and (best is None or len(body) < len(best))):
            best = body
    return best


def split_loop(body):
    """(instructions of the way that is always gone, of a refill of the ring, of others that branches jump over)"""
    aside = {}
    end = body[-1][0]
    for address, text in body:
        target = branch_target(text)
        if target is None or target <= address or target > end or opcode(text) != "BRA" or "DIV" in text:
            continue
        over = [i for i in body if address < i[0] < target]
        kind = "refill" if any(opcode(t) in ("LDGSTS", "UBLKCP") for _, t in over) else "other"
        for i in over:
            aside.setdefault(i[0], kind)
    counts = collections.Counter(aside.get(a, "always") for a, _ in body)
    return counts["always"], counts["refill"], counts["other"]


def warps_of(arch, threads, registers, shared):
    warps, blocks, register_file, shared_file = SM[arch]
    block_warps = threads // 32
    by_registers = register_file // (-(-registers * 32 // 256) * 256) // block_warps if registers else blocks
    return block_warps * min(warps // block_warps, blocks, by_registers, shared_file // (shared + SYSTEM_SHARED))


def mma_loop(code):
    """The smallest of the loops that have the most HMMA, and how many."""
    best, most = None, 0
    for address, text in code:
        target = branch_target(text)
        if target is None or target > address:
            continue
        body = [i for i in code if target <= i[0] <= address]
        count = sum(opcode(t) == "HMMA" for _, t in body)
        if count > most or (count == most and best and len(body) < len(best)):
            best, most = body, count
    return best, most


def resources_of(resources, mangled):
    name = next((n for n in resources if mangled in n), None)
    if name is None:
        sys.exit(f"no kernel {mangled}")
    return name, resources[name]


def figures(arch, label, threads, dynamic, r):
    return {"arch": arch, "kernel": label, "registers": r["registers"], "spilled": r["spilled"], "shared": r["shared"] + dynamic,
            "warps": warps_of(arch, threads, r["registers"], r["shared"] + dynamic)}


def measure_attention(arch, resources, sass, mix):
    rows = []
    for label, (mangled, threads, dynamic) in ATTENTION.items():
        name, r = resources_of(resources, mangled)
        row = figures(arch, label, threads, dynamic, r)
        body, count = mma_loop(sass[name])
        if not count:
            sys.exit(f"sm_{arch}, {label}: no loop with HMMA")
        always, fetching, other = split_loop(body)  # other: masks, a bias, the moving of a base
        row["a_mma"] = (always + fetching) / count
        row["loop"] = {"always": always, "fetching": fetching, "other": other, "mma": count}
        if mix:
            row["mix"] = collections.Counter(opcode(t) for _, t in body)
        rows.append(row)
    return rows


def measure(arch, resources, sass, mix):
    rows = []
    for label, (mangled, threads, dynamic, (weights, votes, mark, times, word_bytes)) in KERNELS.items():
        name, r = resources_of(resources, mangled)
        row = figures(arch, label, threads, dynamic, r)
        if weights:
            body = main_loop(sass[name], votes, mark, times)
            if body is None:
                sys.exit(f"sm_{arch}, {label}: no loop with {votes} votes and {times} {mark}")
            always, refill, other = split_loop(body)
            turn = weights * 32 * word_bytes / STAGE  # refills in a turn, of the two that there is code for
            row["a_weight"] = (always + refill / 2 * turn) / weights
            row["loop"] = {"always": always, "refill": refill, "other": other, "weights": weights}
            if mix:
                row["mix"] = collections.Counter(opcode(t) for _, t in body)
        rows.append(row)
    return rows


def check(rows, bounds):
    faults = []
    for row in rows:
        for figure, most in bounds.get(f"sm_{row['arch']}", {}).get(row["kernel"], {}).items():
            value = row[figure]
            if value < most if figure == "warps" else value > most:
                faults.append(f"sm_{row['arch']}, {row['kernel']}: {figure} {value:.4g}, bound {most}")
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nvcc")
    parser.add_argument("--cuobjdump")
    parser.add_argument("--arch", default="80,89,90,100")
    parser.add_argument("--objects", default="")
    parser.add_argument("--bounds", action="store_true")
    parser.add_argument("--mix", action="store_true")
    parser.add_argument("--bulk", action="store_true")
    options = parser.parse_args()
    nvcc = find_tool(options.nvcc, "nvcc", ["/usr/local/cuda/bin/nvcc"])
    beside = [os.path.join(os.path.dirname(nvcc), "cuobjdump")] if nvcc else []
    cuobjdump = find_tool(options.cuobjdump, "cuobjdump", beside + [os.path.join(ROOT, ".deps/cuda/bin/cuobjdump")])
    if not nvcc or not cuobjdump:
        print(f"skipped: {'cuobjdump' if nvcc else 'nvcc'} is missing")
        sys.exit(77)
    os.environ["PATH"] = os.path.dirname(os.path.abspath(cuobjdump)) + os.pathsep + os.environ["PATH"]
    objects = {os.path.basename(path)[:-2]: path for path in options.objects.split(";") if path.endswith(".cu.o")}
    rows = []
    for arch in map(int, options.arch.split(",")):
        resources, sass = {}, {}
        with tempfile.TemporaryDirectory() as folder:
            for path in FILES:
                source = objects.get(os.path.basename(path))
                found = read_resources(cuobjdump, arch, source) if source else {}
                if not found:
                    source = os.path.join(folder, "kernels.cubin")
                    compile_file(nvcc, arch, path, source, ["-DECD_BULK_COPIES"] if options.bulk else [])
                    found = read_resources(cuobjdump, arch, source)
                resources.update(found)
                sass.update(read_sass(cuobjdump, arch, source))
        rows += measure(arch, resources, sass, options.mix) + measure_attention(arch, resources, sass, options.mix)
    print("| kernel | sm | registers | stack | shared, a block | warps, an SM | SASS a weight, or an mma |\n|---|---|---|---|---|---|---|")
    for r in rows:
        loop = f"{r['a_weight']:.1f}" if "a_weight" in r else f"{r['a_mma']:.2f}" if "a_mma" in r else ""
        print(f"| {r['kernel']} | {r['arch']} | {r['registers']} | {r['spilled']} | {r['shared']} | {r['warps']} | {loop} |")
    for r in rows:
        if "loop" in r and options.mix:
            print(f"\nsm_{r['arch']}, {r['kernel']}: {r['loop']}")
            print("  " + ", ".join(f"{n} {o}" for o, n in r["mix"].most_common()))
    if options.bounds:
        with open(os.path.join(ROOT, "tests/cuda_static/bounds.json"), encoding="utf-8") as f:
            faults = check(rows, json.load(f))
        print("\n".join(faults))
        sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
