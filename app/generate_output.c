#define _GNU_SOURCE
#include "app/generate.h"

#include "app/common.h"
#include "app/preview.h"
#include "base/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void ecd_generate_tell_plan(const ecd_generate *g)
{
    ecd_pipeline_report report;
    char text[512];
    ecd_generate_report(g, &report);
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
    double share = phase == ECD_PHASE_DENOISE ? (double)done / total : 1;
    double begun = phase == ECD_PHASE_DENOISE ? (double)g->drawn : (double)g->drawn - done; // before the batch
    double finished = (begun + share * (double)g->batch_size) / (double)g->to_draw;
    double elapsed = (double)(ecd_now_ns() - g->draw_start_ns) * 1e-9;
    double left = finished > 0 ? elapsed / finished - elapsed : 0;
    fprintf(stderr, "\r\033[K%s %d/%d, picture %zu of %zu, %.1f s left", phase == ECD_PHASE_DENOISE ? "step" : "decoded",
            done, total, g->drawn + 1 < g->to_draw ? g->drawn + 1 : g->to_draw, g->to_draw, left > 0 ? left : 0);
    fflush(stderr);
    g->progress_shown = true;
}

void ecd_generate_recipe(const ecd_generate *g, const ecd_picture *picture, ecd_recipe *out)
{
    const ecd_settings *s = &g->settings;
    const char *sampler = ecd_generate_sampler(s->sampler);
    *out = (ecd_recipe){.width = g->width,
                        .height = g->height,
                        .steps = picture->steps,
                        .guidance = picture->guidance,
                        .vae_tile = ecd_generate_tile(s, g->width, g->height),
                        .max_tokens = g->texts ? ecd_texts_tokens(g->texts) : 0};
    snprintf(out->version, sizeof out->version, "%s", ecd_app_version());
    snprintf(out->model, sizeof out->model, "%s", g->model_name);
    snprintf(out->sampler, sizeof out->sampler, "%s", sampler ? sampler : "auto");
    snprintf(out->backend, sizeof out->backend, "%s", g->backend->name);
    snprintf(out->compute, sizeof out->compute, "%s", ecd_compute_names[g->backend->compute]);
    snprintf(out->weights, sizeof out->weights, "%s", ecd_weights_names[s->weights]);
    ecd_generate_recipe_init(g, out);
}

// Writes rgb with the recipe of pictures[from .. from + count).
static ecd_status write_file(ecd_generate *g, const char *file, size_t from, size_t count, const uint8_t *rgb, int64_t width,
                             int64_t height, ecd_diag *diag)
{
    ecd_recipe recipe;
    const char **labels = calloc(count, sizeof *labels);
    char *text = NULL, software[64];
    ecd_status status = ECD_OK;
    ecd_generate_recipe(g, &g->pictures[from], &recipe);
    recipe.count = count;
    recipe.images = calloc(count, sizeof *recipe.images);
    if (!labels || !recipe.images) {
        status = ecd_fail_memory(diag, count * sizeof *recipe.images, "a recipe");
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        const ecd_picture *picture = &g->pictures[from + i];
        labels[i] = picture->label;
        recipe.images[i] = (ecd_recipe_image){.class_id = picture->request.class_id,
                                              .prompt = (char *)(uintptr_t)picture->prompt,
                                              .seed = picture->request.seed};
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

// A file of a list that cannot be written fails alone.
ecd_status ecd_generate_sink(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    ecd_generate *g = user;
    size_t at = g->batch_pictures[index];
    ecd_picture *picture = &g->pictures[at];
    ecd_status status = ecd_interrupt_check(diag);
    if (status)
        return status;
    picture->size = (ecd_option_size){width, height};
    ecd_sha256(rgb, (size_t)(width * height * 3), picture->sha256);
    if (g->settings.grid)
        ecd_sheet_put(&g->sheet, (int64_t)at, rgb);
    else
        status = write_file(g, picture->file, at, 1, rgb, width, height, diag);
    g->drawn++;
    if (status)
        return ecd_generate_fail_picture(g, at, status, diag);
    picture->state = ECD_PICTURE_DRAWN;
    if (g->settings.show) {
        ecd_generate_clear_progress(g);
        status = ecd_preview_show(stderr, ecd_preview_of_environment(), rgb, width, height, 0, diag);
    }
    return status;
}

ecd_status ecd_generate_write_sheet(ecd_generate *g, ecd_diag *diag)
{
    const ecd_image *image = &g->sheet.image;
    return write_file(g, g->sheet_file, 0, g->count, image->pixels, image->width, image->height, diag);
}
