// ecdit generate: from classes and seeds to picture files.
#include "app/common.h"
#include "app/find_model.h"
#include "app/generate.h"
#include "app/open_backend.h"

#include "base/cpu.h"
#include "base/process.h"
#include "lib/model_defaults.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static ecd_status take_defaults(ecd_generate *g, ecd_diag *diag)
{
    ecd_settings *s = &g->settings;
    int64_t steps;
    double guidance;
    ecd_status status = ecd_model_defaults(&g->folder, &g->info, &steps, &guidance, diag);
    if (status)
        return status;
    s->steps = s->steps ? s->steps : steps;
    s->guidance = isnan(s->guidance) ? guidance : s->guidance;
    s->max_tokens = s->max_tokens ? s->max_tokens : ecd_model_max_tokens(&g->info);
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
    status = ecd_model_folder_open_with(g->model_path, g->settings.config, &g->folder, diag);
    if (!status)
        status = ecd_transformer_describe(g->folder.transformer_class, g->folder.transformer, &g->info, diag);
    if (!status)
        status = ecd_generate_check_options(g, diag);
    if (!status)
        status = take_defaults(g, diag);
    if (!status)
        status = ecd_generate_read_init(g, diag);
    if (!status)
        status = ecd_generate_plan_pictures(g, diag);
    if (!status)
        status = ecd_generate_plan_files(g, diag);
    if (!status)
        status = ecd_generate_plan_texts(g, diag);
    return status;
}

// Processes on one machine share its processors, unless the launcher has given each its own.
static int threads_of(const ecd_generate *g)
{
    int all = ecd_cpu_count();
    if (g->settings.threads || g->ranks.here == 1 || all < sysconf(_SC_NPROCESSORS_ONLN))
        return (int)g->settings.threads;
    return all > g->ranks.here ? all / g->ranks.here : 1;
}

static ecd_status open_backend(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    return ecd_app_backend_open(s->backend, s->compute, threads_of(g), &g->backend, diag);
}

static ecd_status run(ecd_generate *g, ecd_diag *diag)
{
    ecd_status status = plan(g, diag);
    if (!status)
        status = open_backend(g, diag);
    if (status)
        return status;
    ecd_generate_resume(g);
    status = ecd_generate_read_texts(g, diag);
    return status ? status : ecd_generate_draw(g, diag);
}

static void release(ecd_generate *g)
{
    for (size_t i = 0; g->pictures && i < g->count; i++)
        free(g->pictures[i].file);
    free(g->pictures);
    free(g->sheet_file);
    ecd_sheet_free(&g->sheet);
    ecd_image_free(&g->init);
    ecd_image_free(&g->fitted);
    ecd_pipeline_close(g->pipeline);
    ecd_backend_close(g->backend);
    ecd_model_folder_close(&g->folder);
    ecd_recipe_free(&g->settings.recipe);
    ecd_prompts_free(&g->prompts);
    ecd_texts_close(g->texts);
    free(g->model_path);
    free(g->model_name);
}

int ecd_cmd_generate(int argc, char **argv)
{
    ecd_generate g = {.start_ns = ecd_now_ns()};
    ecd_diag diag = {0};
    ecd_status status = ecd_ranks_read(&g.ranks, &diag);
    if (!status)
        status = ecd_generate_parse(argc, argv, &g.settings, &diag);
    if (!status)
        status = run(&g, &diag);
    if (!status)
        status = ecd_generate_print(&g, &diag);
    release(&g);
    return status ? ecd_app_fail(&diag) : (int)g.first_failure;
}
