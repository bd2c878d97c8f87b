"""One run of diffusers' DiTPipeline, in a process of its own: prints one line of JSON.

    diffusers_dit.py FOLDER --steps N --dtype f32|bf16 --threads N --batch N --out PREFIX

Times are taken around the transformer's and the VAE's calls; the peak of memory is the kernel's (VmHWM).
"""
import time

BEGIN = time.time()

import argparse
import json
import os


def process_start():
    """When this process began, imports and interpreter included."""
    with open("/proc/self/stat") as f:
        ticks = int(f.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/uptime") as f:
        uptime = float(f.read().split()[0])
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))


def peak_bytes():
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    start = min(process_start(), BEGIN)

    import torch
    import diffusers

    imported = peak_bytes()
    torch.set_num_threads(args.threads)
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    try:
        pipe = diffusers.DiTPipeline.from_pretrained(args.folder, dtype=dtype, use_safetensors=False)
    except TypeError:  # before 0.36 the argument had another name
        pipe = diffusers.DiTPipeline.from_pretrained(args.folder, torch_dtype=dtype, use_safetensors=False)
    pipe.set_progress_bar_config(disable=True)

    ends, steps, decodes = [], [], []

    def timed(function, into):
        def call(*a, **k):
            begin = time.time()
            result = function(*a, **k)
            ends.append(time.time())
            into.append(ends[-1] - begin)
            return result

        return call

    pipe.transformer.forward = timed(pipe.transformer.forward, steps)
    pipe.vae.decode = timed(pipe.vae.decode, decodes)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in range(args.batch)]
    ready = time.time()
    images = pipe([207] * args.batch, guidance_scale=4.0, generator=generators, num_inference_steps=args.steps).images
    for seed, image in enumerate(images):
        image.save(f"{args.out}-{seed}.png")
    later = sorted(steps[1:]) or steps
    print(json.dumps({
        "open": ready - start,
        "first_step": ends[0] - start,
        "step": later[len(later) // 2],
        "vae": sum(decodes) / args.batch,
        "total": time.time() - start,
        "cpu": sum(os.times()[:2]),
        "imported_bytes": imported,
        "peak_bytes": peak_bytes(),
        "versions": f"diffusers {diffusers.__version__}, torch {torch.__version__}",
    }))


main()
