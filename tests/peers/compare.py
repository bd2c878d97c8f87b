"""ecdit against diffusers on torch: the same weights, type, steps, sampler, threads and batch, in turn.

    compare.py ECDIT FOLDER... [--dtypes f32,bf16] [--batches 1] [--steps 2] [--runs 2] [--threads N] [--compressed]

FOLDER is a DiT model folder as published; with --compressed the folder FOLDER-e4m3-ecf8 beside it is measured too. Run it
with the python of a venv that holds torch and diffusers (run.sh makes one). Prints one table; pictures are compared.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = [("open", "s", 1), ("first_step", "s", 1), ("step", "s", 1), ("vae", "s", 1), ("total", "s", 1), ("cpu", "s", 1),
        ("peak_bytes", "MiB", 2**20)]


def run_diffusers(folder, dtype, batch, args, out):
    command = [sys.executable, os.path.join(HERE, "diffusers_dit.py"), folder, "--steps", str(args.steps), "--dtype",
               dtype, "--threads", str(args.threads), "--batch", str(batch), "--out", out]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout.strip().splitlines()[-1])


def run_ecdit(folder, dtype, batch, args, out):
    # Class by number; COUNT pictures of it have the seeds 0, 1, ... as diffusers' generators do.
    command = [args.ecdit, "generate", folder, "--class", "207", "-n", str(batch), "--steps", str(args.steps),
               "--guidance", "4", "--compute", dtype, "--threads", str(args.threads), "--json", "--quiet", "-o",
               out + ".png"]
    begin, before = time.time(), os.times()
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    total, after = time.time() - begin, os.times()
    report = json.loads(result.stdout)
    seconds = report["seconds"]
    for seed, image in enumerate(report["images"]):
        os.replace(image["file"], f"{out}-{seed}.png")
    later = seconds["denoise"] * (args.steps - 1) / args.steps
    return {"open": seconds["open"], "first_step": total - later - seconds["vae"],
            "step": seconds["denoise"] / args.steps, "vae": seconds["vae"] / batch, "total": total,
            "cpu": after.children_user + after.children_system - before.children_user - before.children_system,
            "peak_bytes": report["peak_rss_bytes"], "versions": "ecdit, " + report["plan"]["detail"]}


def difference(a, b):
    """The largest difference of two pictures, of 255."""
    import numpy
    from PIL import Image
    x, y = (numpy.asarray(Image.open(p).convert("RGB")).astype(int) for p in (a, b))
    return abs(x - y).max() if x.shape == y.shape else "other size"


def compare(folder, dtype, batch, args, scratch):
    ways = {"ecdit": (run_ecdit, folder), "diffusers": (run_diffusers, folder)}
    if args.compressed:
        ways["ecf8"] = (run_ecdit, folder + "-e4m3-ecf8")
    results = {name: [] for name in ways}
    for _ in range(args.runs):
        for name, (function, path) in ways.items():
            results[name].append(function(path, dtype, batch, args, os.path.join(scratch, name)))
    name = os.path.basename(folder.rstrip("/"))
    print(f"\n{name}, {dtype}, batch {batch}, {args.steps} steps, {args.threads} threads, {args.runs} runs in turn")
    print(f"{'':12}" + "".join(f"{way:>22}" for way in ways) + f"{'ecdit/diffusers':>26}")
    for key, unit, scale in ROWS:
        line = f"{key.replace('_bytes', ''):8}{unit:>4}"
        for way in ways:
            values = [r[key] / scale for r in results[way]]
            line += f"{statistics.median(values):10.2f} {f'({min(values):.1f}-{max(values):.1f})':>11}"
        ratios = [a[key] / b[key] for a, b in zip(results["ecdit"], results["diffusers"])]
        print(line + f"{statistics.median(ratios):14.3f} {f'({min(ratios):.2f}-{max(ratios):.2f})':>11}")
    worst = [difference(os.path.join(scratch, f"ecdit-{i}.png"), os.path.join(scratch, f"diffusers-{i}.png"))
             for i in range(batch)]
    print(f"largest difference of the pictures, of 255: {', '.join(map(str, worst))}")
    print("; ".join(results[way][0]["versions"] for way in ways))
    imported = results["diffusers"][0]["imported_bytes"] / 2**20
    print(f"of diffusers' peak, {imported:.0f} MiB are there when torch and diffusers are imported")
    sys.stdout.flush()


def cpu_name():
    with open("/proc/cpuinfo") as f:
        return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ecdit")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--batches", default="1")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compressed", action="store_true")
    args = parser.parse_args()
    print(f"{cpu_name()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as scratch:
        for folder in args.folders:
            for dtype in args.dtypes.split(","):
                for batch in args.batches.split(","):
                    compare(folder, dtype, int(batch), args, scratch)


main()
