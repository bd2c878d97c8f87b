#define _GNU_SOURCE
#include "app/generate.h"

#include "app/common.h"
#include "app/preview.h"
#include "base/process.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void ecd_generate_tell_plan(const ecd_generate *g)
{
    ecd_pipeline_report report;
    char text[512];
    ecd_pipeline_report_get(g->pipeline, &report);
    bool decided = g->settings.memory_budget ||
                   report.store.plan.counts[ECD_BLOCK_DECODED] + report.store.plan.counts[ECD_BLOCK_STREAMED] > 0;
    if (g->settings.quiet || (!decided && !isatty(STDERR_FILENO)))
        return;
    ecd_pipeline_plan_text(&report, text, sizeof text);
    fprintf(stderr, "ecdit: plan: %s\n", text);
}

void ecd_generate_clear_progress(ecd_generate *g)
{
    if (g->progress_shown)
        fputs("\r\033[K", stderr);
    g->progress_shown = false;
}

void ecd_generate_progress(void *user, ecd_phase phase, int done, int total)
{
    ecd_generate *g = user;
    if (g->settings.quiet || !isatty(STDERR_FILENO))
        return;
    size_t batch = g->count - g->batch_start < (size_t)g->batch ? g->count - g->batch_start : (size_t)g->batch;
    double share = phase == ECD_PHASE_DENOISE ? (double)done / total : 1;
    double finished = ((double)g->batch_start + share * (double)batch) / (double)g->count;
    double elapsed = (double)(ecd_now_ns() - g->draw_start_ns) * 1e-9;
    double left = finished > 0 ? elapsed / finished - elapsed : 0;
    fprintf(stderr, "\r\033[K%s %d/%d, picture %zu of %zu, %.1f s left", phase == ECD_PHASE_DENOISE ? "step" : "decoded",
            done, total, g->drawn + 1 < g->count ? g->drawn + 1 : g->count, g->count, left > 0 ? left : 0);
    fflush(stderr);
    g->progress_shown = true;
}

// Writes rgb with the recipe of pictures[from .. from + count).
static ecd_status write_file(ecd_generate *g, const char *file, size_t from, size_t count, const uint8_t *rgb, int64_t width,
                             int64_t height, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    const char *sampler = ecd_generate_sampler(s->sampler);
    ecd_recipe recipe = {.width = g->width, .height = g->height, .steps = s->steps, .guidance = s->guidance, .count = count};
    const char **labels = calloc(count, sizeof *labels);
    char *text = NULL, software[64];
    ecd_status status = ECD_OK;
    recipe.images = calloc(count, sizeof *recipe.images);
    if (!labels || !recipe.images) {
        status = ecd_fail_memory(diag, count * sizeof *recipe.images, "a recipe");
        goto out;
    }
    snprintf(recipe.version, sizeof recipe.version, "%s", ecd_app_version());
    snprintf(recipe.model, sizeof recipe.model, "%s", g->model_name);
    snprintf(recipe.sampler, sizeof recipe.sampler, "%s", sampler ? sampler : "auto");
    snprintf(recipe.backend, sizeof recipe.backend, "%s", g->backend->name);
    snprintf(recipe.compute, sizeof recipe.compute, "%s", ecd_compute_names[g->backend->compute]);
    snprintf(recipe.weights, sizeof recipe.weights, "%s", ecd_weights_names[s->weights]);
    for (size_t i = 0; i < count; i++) {
        const ecd_picture *picture = &g->pictures[from + i];
        labels[i] = picture->label;
        recipe.images[i] = (ecd_recipe_image){.class_id = picture->request.class_id, .seed = picture->request.seed};
        snprintf(recipe.images[i].sha256, sizeof recipe.images[i].sha256, "%s", picture->sha256);
    }
    if (!(text = ecd_recipe_format(&recipe, labels))) {
        status = ecd_fail_memory(diag, 0, "a recipe");
        goto out;
    }
    snprintf(software, sizeof software, "ecdit %s", ecd_app_version());
    const ecd_image_text texts[] = {{(char *)"Software", software}, {(char *)ECD_RECIPE_KEY, text}};
    status = ecd_image_write(file, rgb, width, height, texts, 2, diag);
out:
    free(text);
    free(labels);
    free(recipe.images);
    return status;
}

ecd_status ecd_generate_sink(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    ecd_generate *g = user;
    size_t at = g->batch_start + (size_t)index;
    ecd_picture *picture = &g->pictures[at];
    ecd_status status = ecd_interrupt_check(diag);
    if (status)
        return status;
    ecd_sha256(rgb, (size_t)(width * height * 3), picture->sha256);
    if (g->settings.grid)
        ecd_sheet_put(&g->sheet, (int64_t)at, rgb);
    else
        status = write_file(g, picture->file, at, 1, rgb, width, height, diag);
    if (!status && g->settings.show) {
        ecd_generate_clear_progress(g);
        status = ecd_preview_show(stderr, ecd_preview_of_environment(), rgb, width, height, 0, diag);
    }
    g->drawn++;
    return status;
}

ecd_status ecd_generate_write_sheet(ecd_generate *g, ecd_diag *diag)
{
    const ecd_image *image = &g->sheet.image;
    return write_file(g, g->sheet_file, 0, g->count, image->pixels, image->width, image->height, diag);
}

static bool add_pictures(const ecd_generate *g, cJSON *list)
{
    for (size_t i = 0; i < g->count; i++) {
        const ecd_picture *p = &g->pictures[i];
        char digits[24];
        cJSON *item = cJSON_CreateObject();
        if (!item || !cJSON_AddItemToArray(list, item))
            return false;
        snprintf(digits, sizeof digits, "%" PRIu64, p->request.seed); // raw: a double would lose a long seed's last digits
        bool ok = cJSON_AddStringToObject(item, "file", p->file ? p->file : g->sheet_file) &&
                  cJSON_AddRawToObject(item, "seed", digits) &&
                  cJSON_AddNumberToObject(item, "class_id", (double)p->request.class_id) &&
                  (!p->label || cJSON_AddStringToObject(item, "class", p->label)) &&
                  cJSON_AddStringToObject(item, "sha256", p->sha256);
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
           cJSON_AddNumberToObject(plan, "vae_weights_bytes", (double)r->vae_weights_bytes) && add_memory_plan(r, plan);
}

static ecd_status print_json(const ecd_generate *g, ecd_diag *diag)
{
    const ecd_pipeline_report *r = &g->report;
    cJSON *root = cJSON_CreateObject(), *images, *seconds, *plan;
    bool ok = root && (images = cJSON_AddArrayToObject(root, "images")) && add_pictures(g, images) &&
              (seconds = cJSON_AddObjectToObject(root, "seconds")) &&
              cJSON_AddNumberToObject(seconds, "open", (double)r->open_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "denoise", (double)r->denoise_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "vae", (double)r->vae_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "decode", (double)r->store.decode_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "decode_exposed", (double)r->store.exposed_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "read", (double)r->store.read_ns * 1e-9) &&
              cJSON_AddNumberToObject(seconds, "total", (double)(ecd_now_ns() - g->start_ns) * 1e-9) &&
              cJSON_AddNumberToObject(root, "peak_rss_bytes", (double)ecd_peak_rss_bytes()) &&
              cJSON_AddNumberToObject(root, "weights_bytes", (double)r->store.weights_bytes) &&
              cJSON_AddNumberToObject(root, "read_bytes", (double)r->store.read_bytes) &&
              (plan = cJSON_AddObjectToObject(root, "plan")) && add_plan(g, plan);
    char *text = ok ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text)
        return ecd_fail_memory(diag, 0, "the report");
    puts(text);
    free(text);
    return ECD_OK;
}

static void tell_replay(const ecd_generate *g)
{
    size_t known = 0, same = 0;
    for (size_t i = 0; i < g->count; i++) {
        known += g->pictures[i].expected != NULL;
        same += g->pictures[i].expected && !strcmp(g->pictures[i].expected, g->pictures[i].sha256);
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
    ecd_status status = ECD_OK;
    ecd_pipeline_report_get(g->pipeline, &g->report);
    tell_replay(g);
    if (g->settings.json)
        status = print_json(g, diag);
    else if (g->settings.grid)
        puts(g->sheet_file);
    else
        for (size_t i = 0; i < g->count; i++)
            puts(g->pictures[i].file);
    return status ? status : ecd_app_flush_stdout(diag);
}
