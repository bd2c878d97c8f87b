#include <stdarg.h>
#include <stdio.h>

#include "dit/pipeline/pipeline_internal.h"

// Of draw.c's canvas, on the host and in the backend, and the sampler's history.
static uint64_t canvas_bytes(const ecd_pipeline *p)
{
    const ecd_transformer_info *info = &p->info;
    uint64_t area = (uint64_t)(p->height * p->width), count = (uint64_t)p->options.max_pictures;
    uint64_t factor = (uint64_t)p->vae_info.factor, pixels = area * factor * factor;
    uint64_t picture = (uint64_t)info->in_channels * area, predicted = (uint64_t)info->out_channels * area;
    uint64_t condition = (uint64_t)(p->options.text_tokens * info->text_width + info->pooled_width);
    uint64_t init = p->options.init ? 2 * picture + 3 * pixels : 0; // an encoder's distribution, and what it is given
    uint64_t floats = count * (6 * picture + 2 * predicted + condition) + picture + 3 * pixels + init;
    return floats * sizeof(float) + 2 * 3 * pixels;
}

void ecd_pipeline_plan(ecd_pipeline *p, ecd_store_options *store)
{
    p->program_bytes = ecd_store_program_bytes(p->weights, p->options.backend);
    p->canvas_bytes = canvas_bytes(p);
    uint64_t vae = p->vae_bytes + (p->lean ? p->vae_info.lean_bytes : p->vae_info.weights_bytes);
    bool resident = p->options.vae == ECD_VAE_RESIDENT;
    store->outside_bytes += p->program_bytes + p->canvas_bytes + (resident ? vae : 0);
    store->aside_bytes = resident ? 0 : vae;
    store->scratch_bytes = p->vae_info.scratch_bytes;
}

typedef struct text {
    char *out;
    size_t size, used;
} text;

static void add(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t at = t->used < t->size ? t->used : t->size;
    int length = vsnprintf(t->out + at, t->size - at, format, args);
    va_end(args);
    t->used += length > 0 ? (size_t)length : 0;
}

static void add_kinds(text *t, const ecd_store_report *r)
{
    const int *counts = r->plan.counts;
    int all = counts[ECD_BLOCK_READY] + counts[ECD_BLOCK_DECODED] + counts[ECD_BLOCK_STREAMED];
    int raw = (int)r->streamed_raw, coded = counts[ECD_BLOCK_STREAMED] - raw;
    const char *comma = "";
    add(t, "%s%d blocks:", r->device ? "device: " : "", all);
    if (counts[ECD_BLOCK_READY]) {
        add(t, " %s%d expanded and kept", counts[ECD_BLOCK_READY] == all ? "all " : "", counts[ECD_BLOCK_READY]);
        comma = ",";
    }
    if (counts[ECD_BLOCK_DECODED]) {
        add(t, "%s %d ECF8 in %smemory, decoded at each use", comma, counts[ECD_BLOCK_DECODED], r->device ? "its " : "");
        comma = ",";
    }
    if (coded) {
        add(t, "%s %d ECF8 %s and decoded at each use", comma, coded, r->device ? "in host memory, sent" : "on disk, read");
        comma = ",";
    }
    if (raw)
        add(t, "%s %d raw %s at each use", comma, raw, r->device ? "in host memory, sent" : "on disk, read");
}

static void add_reason(text *t, const ecd_store_report *r)
{
    if (r->plan.counts[ECD_BLOCK_DECODED] + r->plan.counts[ECD_BLOCK_STREAMED] == 0) {
        add(t, "; there is room for all");
        return;
    }
    if (r->rates.decode > 0)
        add(t,
            "; fastest at %.2f GB/s decoding%s, %.2f GB/s %s, %.0f G multiply-adds/s: about %.3g s a step",
            r->rates.decode * 1e-9, r->device ? "" : " a thread", r->rates.read * 1e-9, r->device ? "sending" : "reading",
            r->rates.multiply * 1e-9, r->plan.seconds);
}

size_t ecd_pipeline_plan_text(const ecd_pipeline_report *report, char *out, size_t size)
{
    const ecd_store_report *r = &report->store;
    text t = {out, size, 0};
    if (size)
        out[0] = 0;
    add_kinds(&t, r);
    if (!r->planned) {
        add(&t, "; no budget");
        return t.used;
    }
    add_reason(&t, r);
    if (report->vae_staged)
        add(&t, "; the VAE comes in their place");
    if (report->vae_tile)
        add(&t, "; pictures are decoded by tiles of %lld pixels", (long long)report->vae_tile);
    if (report->vae_lean)
        add(&t, "; its weights are read as it comes to them");
    add(&t, "; peak %.1f MiB%s predicted", (double)r->planned_bytes / 0x1p20, r->device ? " of device memory" : "");
    return t.used;
}
