// ecdit generate: from classes and seeds to picture files.
#include "app/budget.h"
#include "app/common.h"
#include "app/find_model.h"
#include "app/generate.h"
#include "app/model_defaults.h"

#include "base/process.h"

#include <math.h>
#include <stdlib.h>

static ecd_status take_defaults(ecd_generate *g, ecd_diag *diag)
{
    ecd_settings *s = &g->settings;
    int64_t steps;
    double guidance;
    ecd_status status = ecd_model_defaults(&g->folder, &steps, &guidance, diag);
    if (status)
        return status;
    s->steps = s->steps ? s->steps : steps;
    s->guidance = isnan(s->guidance) ? guidance : s->guidance;
    return ECD_OK;
}

// All that can be known to be wrong before weights are read.
static ecd_status plan(ecd_generate *g, ecd_diag *diag)
{
    ecd_status status = ecd_find_model(g->settings.model, &g->model_path, diag);
    if (status)
        return status;
    if (!(g->model_name = ecd_model_name(g->model_path)))
        return ecd_fail_memory(diag, 0, "a model's name");
    status = ecd_model_folder_open(g->model_path, &g->folder, diag);
    if (!status)
        status = ecd_transformer_describe(g->folder.transformer_class, g->folder.transformer, &g->info, diag);
    if (!status && !g->info.num_classes)
        status = ecd_fail(diag, ECD_USAGE, "%s draws texts, which the program does not take yet: the library does",
                          g->info.class_name);
    if (!status)
        status = take_defaults(g, diag);
    if (!status)
        status = ecd_generate_plan_pictures(g, diag);
    if (!status)
        status = ecd_generate_plan_files(g, diag);
    return status;
}

// What the sheet of --grid will take: sides are known from the model only when it is open, so by their usual factor.
static uint64_t sheet_bytes(const ecd_generate *g)
{
    const ecd_settings *s = &g->settings;
    uint64_t side = (uint64_t)g->info.sample_size * 8;
    uint64_t width = s->size.width ? (uint64_t)s->size.width : side;
    uint64_t height = s->size.height ? (uint64_t)s->size.height : side;
    return s->grid ? (uint64_t)g->count * width * height * 3 : 0;
}

static ecd_status open_pipeline(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    char *rates = ecd_rates_file();
    const ecd_pipeline_options options = {
        .model = g->model_path,
        .backend = g->backend,
        .store = {.mode = (ecd_weights_mode)s->weights,
                  .read_ahead = true,
                  .budget_bytes = s->memory_budget ? s->memory_budget : ecd_default_budget(),
                  .outside_bytes = sheet_bytes(g),
                  .rates_file = rates},
        .max_pictures = g->batch,
        .height = s->size.height,
        .width = s->size.width,
        .guidance = s->guidance > 1,
    };
    ecd_status status = ecd_pipeline_open(&options, &g->pipeline, diag);
    free(rates);
    return status;
}

// Pictures share the decoding of weights in a batch, so as many at once as the budget takes.
static ecd_status open_model(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    const ecd_backend_options backend = {ecd_backend_names[s->backend], (ecd_compute)s->compute, (int)s->threads};
    ecd_status status = ecd_backend_open(&backend, &g->backend, diag);
    if (status)
        return status;
    g->batch = g->count < ECD_GENERATE_BATCH ? (int64_t)g->count : ECD_GENERATE_BATCH;
    while ((status = open_pipeline(g, diag)) == ECD_RESOURCE && g->batch > 1)
        g->batch /= 2;
    if (!status)
        ecd_generate_tell_plan(g);
    if (!status)
        status = ecd_interrupt_check(diag);
    if (status)
        return status;
    ecd_pipeline_size(g->pipeline, &g->height, &g->width);
    return s->grid ? ecd_sheet_new((int64_t)g->count, g->width, g->height, &g->sheet, diag) : ECD_OK;
}

static ecd_status draw_batch(ecd_generate *g, int64_t count, ecd_diag *diag)
{
    ecd_picture_request requests[ECD_GENERATE_BATCH];
    for (int64_t i = 0; i < count; i++)
        requests[i] = g->pictures[g->batch_start + (size_t)i].request;
    const ecd_draw draw = {
        .pictures = requests,
        .count = count,
        .steps = (int)g->settings.steps,
        .guidance = (float)g->settings.guidance,
        .sampler = ecd_generate_sampler(g->settings.sampler),
        .cancel = ecd_interrupt_flag(),
        .progress = ecd_generate_progress,
        .sink = ecd_generate_sink,
        .user = g,
    };
    return ecd_pipeline_draw(g->pipeline, &draw, diag);
}

static ecd_status draw_all(ecd_generate *g, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    g->draw_start_ns = ecd_now_ns();
    for (g->batch_start = 0; !status && g->batch_start < g->count; g->batch_start += (size_t)g->batch) {
        size_t left = g->count - g->batch_start;
        status = draw_batch(g, left < (size_t)g->batch ? (int64_t)left : g->batch, diag);
    }
    if (!status && g->settings.grid)
        status = ecd_generate_write_sheet(g, diag);
    ecd_generate_clear_progress(g);
    return status;
}

static void release(ecd_generate *g)
{
    for (size_t i = 0; g->pictures && i < g->count; i++)
        free(g->pictures[i].file);
    free(g->pictures);
    free(g->sheet_file);
    ecd_sheet_free(&g->sheet);
    ecd_pipeline_close(g->pipeline);
    ecd_backend_close(g->backend);
    ecd_model_folder_close(&g->folder);
    ecd_recipe_free(&g->settings.recipe);
    free(g->model_path);
    free(g->model_name);
}

int ecd_cmd_generate(int argc, char **argv)
{
    ecd_generate g = {.start_ns = ecd_now_ns()};
    ecd_diag diag = {0};
    ecd_status status = ecd_generate_parse(argc, argv, &g.settings, &diag);
    if (!status)
        status = plan(&g, &diag);
    if (!status)
        status = open_model(&g, &diag);
    if (!status)
        status = draw_all(&g, &diag);
    if (!status)
        status = ecd_generate_print(&g, &diag);
    release(&g);
    return status ? ecd_app_fail(&diag) : ECD_OK;
}
