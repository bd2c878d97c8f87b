// The report on standard output: file names, or one JSON object.
#define _GNU_SOURCE
#include "app/generate.h"

#include "app/common.h"
#include "base/process.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add_subject(const ecd_picture *p, cJSON *item)
{
    if (p->prompt)
        return cJSON_AddStringToObject(item, "prompt", p->prompt) &&
               cJSON_AddNumberToObject(item, "width", (double)p->size.width) &&
               cJSON_AddNumberToObject(item, "height", (double)p->size.height);
    return cJSON_AddNumberToObject(item, "class_id", (double)p->request.class_id) &&
           (!p->label || cJSON_AddStringToObject(item, "class", p->label));
}

static bool add_pictures(const ecd_generate *g, cJSON *list)
{
    for (size_t i = 0; i < g->count; i++) {
        const ecd_picture *p = &g->pictures[i];
        char digits[24];
        if (p->state != ECD_PICTURE_DRAWN && p->state != ECD_PICTURE_THERE)
            continue;
        cJSON *item = cJSON_CreateObject();
        if (!item || !cJSON_AddItemToArray(list, item))
            return false;
        snprintf(digits, sizeof digits, "%" PRIu64, p->request.seed); // raw: a double would lose a long seed's last digits
        bool ok = cJSON_AddStringToObject(item, "file", p->file ? p->file : g->sheet_file) &&
                  cJSON_AddRawToObject(item, "seed", digits) &&
                  add_subject(p, item) && cJSON_AddStringToObject(item, "sha256", p->sha256) &&
                  (p->state != ECD_PICTURE_THERE || cJSON_AddTrueToObject(item, "there_already"));
        if (!ok || (p->expected && !cJSON_AddBoolToObject(item, "replay_same", !strcmp(p->expected, p->sha256))))
            return false;
    }
    return true;
}

// What became of the weights under the budget, and what it was chosen for.
static bool add_memory_plan(const ecd_pipeline_report *r, cJSON *plan)
{
    const ecd_store_report *s = &r->store;
    char text[512];
    ecd_pipeline_plan_text(r, text, sizeof text);
    return cJSON_AddStringToObject(plan, "memory", text) &&
           cJSON_AddNumberToObject(plan, "predicted_peak_bytes", (double)s->planned_bytes) &&
           cJSON_AddNumberToObject(plan, "blocks_expanded", s->plan.counts[ECD_BLOCK_READY]) &&
           cJSON_AddNumberToObject(plan, "blocks_decoded", s->plan.counts[ECD_BLOCK_DECODED]) &&
           cJSON_AddNumberToObject(plan, "blocks_streamed", s->plan.counts[ECD_BLOCK_STREAMED]) &&
           cJSON_AddNumberToObject(plan, "blocks_streamed_raw", (double)s->streamed_raw) &&
           cJSON_AddNumberToObject(plan, "blocks_bytes", (double)s->plan.held_bytes) &&
           cJSON_AddNumberToObject(plan, "program_bytes", (double)r->program_bytes) &&
           cJSON_AddNumberToObject(plan, "canvas_bytes", (double)r->canvas_bytes) &&
           cJSON_AddBoolToObject(plan, "vae_staged", r->vae_staged) &&
           cJSON_AddNumberToObject(plan, "decode_bytes_per_s", s->rates.decode) &&
           cJSON_AddNumberToObject(plan, "read_bytes_per_s", s->rates.read) &&
           cJSON_AddNumberToObject(plan, "multiplies_per_s", s->rates.multiply) &&
           cJSON_AddNumberToObject(plan, "predicted_step_seconds", s->plan.seconds) &&
           cJSON_AddBoolToObject(plan, "direct_io", s->direct);
}

// Of a device: what went over its bus, and its memory.
static bool add_device(const ecd_generate *g, cJSON *root)
{
    const ecd_store_report *s = &g->report.store;
    ecd_device_memory memory;
    if (g->backend->host_memory)
        return true;
    g->backend->ops->device_memory(g->backend, &memory);
    cJSON *device = cJSON_AddObjectToObject(root, "device");
    return device && cJSON_AddNumberToObject(device, "peak_bytes", (double)memory.peak) &&
           cJSON_AddNumberToObject(device, "pinned_bytes", (double)s->pinned_bytes) &&
           cJSON_AddNumberToObject(device, "sent_at_opening_bytes", (double)s->sent_bytes) &&
           cJSON_AddNumberToObject(device, "sent_for_steps_bytes", (double)s->read_bytes) &&
           cJSON_AddNumberToObject(device, "sent_a_step_bytes", (double)s->plan.read_bytes);
}

static bool add_plan(const ecd_generate *g, cJSON *plan)
{
    const ecd_settings *s = &g->settings;
    const ecd_pipeline_report *r = &g->report;
    const char *sampler = ecd_generate_sampler(s->sampler);
    return cJSON_AddStringToObject(plan, "model", g->model_name) &&
           cJSON_AddStringToObject(plan, "weights", ecd_weights_names[s->weights]) &&
           cJSON_AddStringToObject(plan, "backend", g->backend->name) &&
           cJSON_AddStringToObject(plan, "detail", g->backend->detail) &&
           cJSON_AddStringToObject(plan, "compute", ecd_compute_names[g->backend->compute]) &&
           cJSON_AddNumberToObject(plan, "threads", g->backend->threads) &&
           cJSON_AddStringToObject(plan, "sampler", sampler ? sampler : "auto") &&
           cJSON_AddNumberToObject(plan, "steps", (double)s->steps) &&
           cJSON_AddNumberToObject(plan, "guidance", s->guidance) &&
           cJSON_AddNumberToObject(plan, "width", (double)g->width) &&
           cJSON_AddNumberToObject(plan, "height", (double)g->height) &&
           cJSON_AddNumberToObject(plan, "batch", (double)g->batch) &&
           cJSON_AddNumberToObject(plan, "raw_bytes", (double)r->store.raw_bytes) &&
           cJSON_AddNumberToObject(plan, "buffer_bytes", (double)r->store.buffer_bytes) &&
           cJSON_AddNumberToObject(plan, "activation_bytes", (double)r->activation_bytes) &&
           cJSON_AddNumberToObject(plan, "vae_bytes", (double)r->vae_bytes) &&
           cJSON_AddNumberToObject(plan, "vae_weights_bytes", (double)r->vae_weights_bytes) &&
           (!r->vae_tile || cJSON_AddNumberToObject(plan, "vae_tile", (double)r->vae_tile)) &&
           (!g->texts ||
            (cJSON_AddNumberToObject(plan, "max_sequence_length", (double)ecd_texts_tokens(g->texts)) &&
             cJSON_AddNumberToObject(plan, "texts_encoded", (double)ecd_texts_encoded(g->texts)) &&
             cJSON_AddNumberToObject(plan, "texts_from_cache", (double)ecd_texts_from_cache(g->texts)))) &&
           add_memory_plan(r, plan);
}

// Of one of several processes on a line, which others may be printed between.
static char *make_json(const ecd_generate *g)
{
    const ecd_pipeline_report *r = &g->report;
    bool several = g->ranks.count > 1;
    cJSON *root = cJSON_CreateObject(), *images, *seconds, *plan;
    bool ok = root && (images = cJSON_AddArrayToObject(root, "images")) && add_pictures(g, images) &&
              (!several || cJSON_AddNumberToObject(root, "rank", g->ranks.rank)) &&
              (seconds = cJSON_AddObjectToObject(root, "seconds")) &&
              (!g->texts || cJSON_AddNumberToObject(seconds, "text", (double)g->text_ns * 1e-9)) &&
              cJSON_AddNumberToObject(seconds, "open", (double)r->open_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "denoise", (double)r->denoise_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "vae", (double)r->vae_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "decode", (double)r->store.decode_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "decode_exposed", (double)r->store.exposed_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "read", (double)r->store.read_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "total", (double)(ecd_now_ns() - g->start_ns) * 1e-9) &&
              cJSON_AddNumberToObject(root, "peak_rss_bytes", (double)ecd_peak_rss_bytes()) &&
              cJSON_AddNumberToObject(root, "weights_bytes", (double)r->store.weights_bytes) &&
              cJSON_AddNumberToObject(root, "read_bytes", r->store.device ? 0 : (double)r->store.read_bytes) &&
              add_device(g, root) && (plan = cJSON_AddObjectToObject(root, "plan")) && add_plan(g, plan);
    char *text = !ok ? NULL : several ? cJSON_PrintUnformatted(root) : cJSON_Print(root);
    cJSON_Delete(root);
    return text;
}

// File names, a line each.
static char *make_list(const ecd_generate *g)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    if (g->settings.grid)
        fprintf(out, "%s\n", g->sheet_file);
    for (size_t i = 0; !g->settings.grid && i < g->count; i++) {
        ecd_picture_state state = g->pictures[i].state;
        if (state == ECD_PICTURE_DRAWN || state == ECD_PICTURE_THERE)
            fprintf(out, "%s\n", g->pictures[i].file);
    }
    bool lost = ferror(out);
    lost = fclose(out) || lost;
    if (!lost)
        return text;
    free(text);
    return NULL;
}

static void tell_replay(const ecd_generate *g)
{
    size_t known = 0, same = 0;
    for (size_t i = 0; i < g->count; i++) {
        bool expected = g->pictures[i].expected && g->pictures[i].state == ECD_PICTURE_DRAWN;
        known += expected;
        same += expected && !strcmp(g->pictures[i].expected, g->pictures[i].sha256);
    }
    if (!known || g->settings.quiet)
        return;
    if (same == known)
        fputs("ecdit: replay: the same, to the last byte\n", stderr);
    else
        fprintf(stderr, "ecdit: replay: %zu of %zu pictures differ from the recorded ones (another machine or version)\n",
                known - same, known);
}

ecd_status ecd_generate_print(ecd_generate *g, ecd_diag *diag)
{
    char *text = g->settings.json ? make_json(g) : make_list(g), *line = NULL;
    tell_replay(g);
    if (text && g->settings.json && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    if (!g->settings.json) {
        line = text;
        text = NULL;
    }
    ecd_status status = line ? ecd_ranks_print(&g->ranks, line, g->settings.json, diag)
                             : ecd_fail_memory(diag, 0, "the report");
    free(text);
    free(line);
    return status;
}
