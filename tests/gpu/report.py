#!/usr/bin/env python3
"""report.py WORK OUT REVISION SECONDS FLUX: what tests/gpu.sh's steps left in WORK, as OUT/gpu.json and tables at the end of OUT/gpu.txt.

WORK has steps.tsv (name, seconds, exit status or null, words), device.csv, NAME.out (a step's standard output, JSON of most)
and NAME.csv (of a profile). The tables are as docs/GPU.md has them.
"""
import csv
import json
import os
import re
import sys

TOP_KERNELS = 20
UNITS_MS = {"ns": 1e-6, "nsecond": 1e-6, "us": 1e-3, "usecond": 1e-3, "ms": 1, "msecond": 1, "s": 1e3, "second": 1e3}


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def read_json(path):
    try:
        return json.loads(read(path))
    except ValueError:
        return None


def read_steps(work):
    steps = []
    for line in read(os.path.join(work, "steps.tsv")).splitlines():
        name, seconds, status, words = line.split("\t", 3)
        steps.append({"step": name, "seconds": int(seconds), "status": None if status == "null" else int(status), "words": words})
    return steps


def short_name(kernel):
    """Without its types and arguments: void (anonymous namespace)::f<(int)3>(float *) is f<3>."""
    kernel = re.sub(r"\((anonymous namespace|int|bool|unsigned int)\)", "", kernel)
    kernel = re.sub(r"^(static )?void ", "", kernel).replace("<unnamed>", "").replace("::", " ").strip()
    depth, end = 0, len(kernel)
    for i, c in enumerate(kernel):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0 and i:
            end = i
            break
    return kernel[:end].split(" ", 1)[-1] if kernel.startswith(" ") else kernel[:end]


def read_profile(path):
    """ncu's lines are launches, nsys's are kernels. [{kernel, launches, ms}], longest first; None where there is no table."""
    lines = read(path).splitlines()
    begin = next((i for i, line in enumerate(lines) if '"Kernel Name"' in line or line.startswith("Time (%)")), None)
    if begin is None:
        return None
    kernels = {}
    for row in csv.DictReader(lines[begin:]):
        if row.get("Metric Name") == "gpu__time_duration.sum" and row.get("Metric Unit") in UNITS_MS:
            name, launches = row["Kernel Name"], 1
            ms = float(row["Metric Value"].replace(",", "")) * UNITS_MS[row["Metric Unit"]]
        elif row.get("Total Time (ns)") and row.get("Name"):
            name, launches, ms = row["Name"], int(row["Instances"]), float(row["Total Time (ns)"]) * 1e-6
        else:
            continue
        kernel = kernels.setdefault(short_name(name), {"kernel": short_name(name), "launches": 0, "ms": 0.0})
        kernel["launches"] += launches
        kernel["ms"] += ms
    return sorted(kernels.values(), key=lambda k: -k["ms"]) or None


def table(title, heads, rows):
    if not rows:
        return []
    return ["", title, "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)] + ["| " + " | ".join(row) + " |" for row in rows]


def median(figures, key):
    summary = (figures or {}).get(key)
    return summary["median"] if summary else None


def seconds(value):
    return "" if value is None else f"{value:.4f}"


def megabytes(value):
    return "" if value is None else f"{value / 1e6:.0f}" if value >= 1e8 else f"{value / 1e6:.1f}"


def pair(point, key):
    return f"{megabytes(median(point['ecf8'], key))} / {megabytes(median(point['raw'], key))}"


def bench_rows(name, bench, budgets):
    rows = []
    for point in bench["points"]:
        what = f"{bench['model']} {bench['width']}x{bench['height']}, {bench['compute']}, {bench['steps']} steps"
        cells = [name, what, str(point["batch"])]
        if budgets:
            cells.append("all" if point["budget_bytes"] is None else megabytes(point["budget_bytes"]))
        refused = [path + ": " + point[path]["refused"] for path in ("ecf8", "raw") if "refused" in point[path]]
        step = [median(point[path], "step_seconds") for path in ("ecf8", "raw")]
        ratio = median(point.get("ratio"), "step_seconds")
        cells += [seconds(step[0]), seconds(step[1]), "" if ratio is None else f"{ratio:.2f}", pair(point, "weights_bytes"),
                  pair(point, "device_peak_bytes")]
        if budgets:
            cells.append(pair(point, "sent_step_bytes"))
        rows.append(cells + ["; ".join(refused) or ("same" if bench["same"] else "differ")])
    return rows


def bench_tables(results):
    heads = ["step", "model", "batch", "s a step, ECF8", "raw", "ratio", "weights, MB", "device's peak, MB", "pictures"]
    plain, budgets = [], []
    for name, bench in results.items():
        if name.startswith("bench_") and bench:
            limited = any(point["budget_bytes"] is not None for point in bench["points"])
            (budgets if limited else plain).extend(bench_rows(name, bench, limited))
    return (table("Pictures", heads, plain) +
            table("Budgets of device memory", heads[:3] + ["budget, MB"] + heads[3:8] + ["sent a step, MB"] + heads[8:], budgets))


def decode_tables(results):
    rows = []
    if results.get("bandwidth"):
        for rate in results["bandwidth"]["rates"]:
            forms = [rate[form] for form in ("ecf8", "ecf8_16384", "published")]
            rows.append([rate["weights"], str(rate["bytes"]), f"{rate['copy_gb_s']:.4g}"] +
                        [f"{form['gb_s']:.4g}" for form in forms] + [f"{form['bytes'] / rate['bytes']:.3f}" for form in forms])
    lines = table("Decoding to FP8 by the backend, GB/s of weights", ["weights", "bytes", "copy", "ECF8", "tiles of 16384", "published 0.2.0"] +
                  ["bytes, ECF8", "of 16384", "published"], rows)
    for name in ("decode", "decode_small"):
        decode = results.get(name)
        if decode:
            rows = [[rate["what"], str(rate["tile_weights"]), f"{rate['of_bytes']:.3f}", str(rate["blocks"]), f"{rate['us']:.1f}",
                     f"{rate['g_weights_s']:.4g}"] for rate in decode["rates"]]
            lines += table(f"Decoding {decode['weights']} weights by the kernels, {decode['device']}",
                           ["what", "tiles of", "of the bytes", "blocks", "us", "10^9 weights/s"], rows)
    return lines


def profile_tables(profiles):
    lines = []
    for name, kernels in profiles.items():
        whole = sum(kernel["ms"] for kernel in kernels)
        rows = [[kernel["kernel"][:90].replace("|", "/"), str(kernel["launches"]), f"{kernel['ms']:.3f}", f"{100 * kernel['ms'] / whole:.1f}"]
                for kernel in kernels[:TOP_KERNELS]]
        rows.append(["all kernels", str(sum(kernel["launches"] for kernel in kernels)), f"{whole:.3f}", "100"])
        lines += table(f"Kernels by time: {name}", ["kernel", "launches", "ms", "%"], rows)
    return lines


def other_lines(results, work):
    lines = [""]
    for name in ("check_f32", "check_bf16"):
        said = read(os.path.join(work, name + ".out")).splitlines()
        lines += [f"{name}: {said[-1]}"] if said else []
    if results.get("identity"):
        lines.append(f"identity: same {str(results['identity']['same']).lower()}, " +
                     ", ".join(f"{level['runs']} runs ({level['level']})" for level in results["identity"]["levels"]))
    for name in ("emoji", "flux_large"):
        drawn = results.get(name)
        if drawn:
            plan = drawn["plan"]
            lines.append(f"{name}: {plan['width']}x{plan['height']}, {plan['steps']} steps, " + ", ".join(
                f"{key} {value:.3f} s" for key, value in drawn["seconds"].items()) +
                f", device's peak {megabytes(drawn['device']['peak_bytes'])} MB, planned {megabytes(plan['predicted_peak_bytes'])}")
    return lines


def main():
    work, out, revision, took, flux = sys.argv[1:]
    steps = read_steps(work)
    names = [step["step"] for step in steps]
    results = {name: read_json(os.path.join(work, name + ".out")) for name in names
               if re.match("(bench|identity|emoji|flux_large|bandwidth|decode)", name)}
    profiles = {name: read_profile(os.path.join(work, name + ".csv")) for name in names if name.startswith("profile")}
    devices = list(csv.reader(read(os.path.join(work, "device.csv")).splitlines(), skipinitialspace=True))
    report = {"device": dict(zip(devices[0], devices[1])) if len(devices) > 1 else None, "revision": revision, "seconds": int(took),
              "flux": flux, "failed": [step["step"] for step in steps if step["status"] not in (0, None)],
              "left_out": [step["step"] for step in steps if step["status"] is None]}
    report.update(results)
    report.update(profiles)
    report["steps"] = steps
    with open(os.path.join(out, "gpu.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1, allow_nan=False)
        file.write("\n")
    lines = other_lines(results, work) + decode_tables(results) + bench_tables(results)
    lines += profile_tables({name: kernels for name, kernels in profiles.items() if kernels})
    with open(os.path.join(out, "gpu.txt"), "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
