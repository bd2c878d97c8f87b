#include "app/bench.h"

#include "app/common.h"
#include "base/cpu.h"

#include <stdio.h>
#include <stdlib.h>

static bool add_summary(cJSON *object, const char *key, const ecd_bench_summary *s)
{
    if (!s->defined)
        return cJSON_AddNullToObject(object, key);
    cJSON *item = cJSON_AddObjectToObject(object, key);
    return item && cJSON_AddNumberToObject(item, "median", s->median) && cJSON_AddNumberToObject(item, "min", s->min) &&
           cJSON_AddNumberToObject(item, "max", s->max);
}

static bool add_point(const ecd_bench *b, int index, cJSON *list)
{
    ecd_bench_summary summary;
    const ecd_bench_point *point = &b->points[index];
    cJSON *batch = cJSON_CreateObject();
    if (!batch || !cJSON_AddItemToArray(list, batch) ||
        !(point->budget_bytes ? cJSON_AddNumberToObject(batch, "budget_bytes", (double)point->budget_bytes)
                              : cJSON_AddNullToObject(batch, "budget_bytes")) ||
        !cJSON_AddNumberToObject(batch, "batch", (double)point->batch))
        return false;
    for (int path = 0; path < ECD_BENCH_PATHS; path++) {
        cJSON *object = cJSON_AddObjectToObject(batch, ecd_bench_path_names[path]);
        if (point->refused[path]) {
            if (!object || !cJSON_AddStringToObject(object, "refused", point->reason[path]))
                return false;
            continue;
        }
        if (!object || !cJSON_AddStringToObject(object, "plan", point->reason[path]))
            return false;
        for (int i = 0; i < ECD_BENCH_FIGURES; i++) {
            if (ecd_bench_figure_of(b, index, (ecd_bench_path)path, (ecd_bench_figure)i, &summary, NULL) ||
                !add_summary(object, ecd_bench_figures[i].key, &summary))
                return false;
        }
    }
    if (point->refused[ECD_BENCH_ECF8] || point->refused[ECD_BENCH_RAW])
        return true;
    cJSON *ratio = cJSON_AddObjectToObject(batch, "ratio");
    for (int i = 0; i < ECD_BENCH_FIGURES; i++) {
        if (!ratio || ecd_bench_ratio_of(b, index, (ecd_bench_figure)i, &summary, NULL) ||
            !add_summary(ratio, ecd_bench_figures[i].key, &summary))
            return false;
    }
    return true;
}

static bool add_head(const ecd_bench *b, cJSON *root)
{
    const ecd_bench_context *c = &b->context;
    char cpu[ECD_BENCH_TEXT];
    return cJSON_AddStringToObject(root, "model", b->model_name) &&
           cJSON_AddStringToObject(root, "command", b->command) &&
           cJSON_AddStringToObject(root, "version", ecd_app_version()) &&
           cJSON_AddStringToObject(root, "compiler", ecd_bench_compiler()) &&
           cJSON_AddStringToObject(root, "cpu", ecd_cpu_model(cpu, sizeof cpu)) &&
           cJSON_AddStringToObject(root, "level", ecd_cpu_level_name(ecd_cpu())) &&
           cJSON_AddStringToObject(root, "backend", c->backend) && cJSON_AddStringToObject(root, "detail", c->detail) &&
           cJSON_AddStringToObject(root, "compute", c->compute) &&
           cJSON_AddNumberToObject(root, "threads", c->threads) &&
           cJSON_AddNumberToObject(root, "width", (double)c->width) &&
           cJSON_AddNumberToObject(root, "height", (double)c->height) &&
           cJSON_AddNumberToObject(root, "steps", (double)b->settings.steps) &&
           cJSON_AddNumberToObject(root, "guidance", b->guidance) &&
           cJSON_AddNumberToObject(root, "runs", (double)b->settings.runs);
}

static bool add_pictures(const ecd_bench *b, cJSON *root)
{
    cJSON *list = cJSON_AddArrayToObject(root, "pictures");
    for (int64_t i = 0; list && i < ECD_BENCH_MAX_BATCH && b->hashes[i].sha256[0]; i++) {
        ecd_picture_request request = ecd_bench_request(i, b->classes);
        cJSON *item = cJSON_CreateObject();
        if (!item || !cJSON_AddItemToArray(list, item) ||
            !(b->classes ? cJSON_AddNumberToObject(item, "class_id", (double)request.class_id)
                         : cJSON_AddStringToObject(item, "prompt", ECD_BENCH_PROMPT)) ||
            !cJSON_AddNumberToObject(item, "seed", (double)request.seed) ||
            !cJSON_AddStringToObject(item, "sha256", b->hashes[i].sha256))
            return false;
    }
    return list && cJSON_AddTrueToObject(root, "same"); // a difference ends the command before this
}

ecd_status ecd_bench_print_json(const ecd_bench *b, ecd_diag *diag)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root && add_head(b, root) && add_pictures(b, root);
    cJSON *list = ok ? cJSON_AddArrayToObject(root, "points") : NULL;
    ok = list != NULL;
    for (int i = 0; ok && i < b->point_count; i++)
        ok = add_point(b, i, list);
    char *text = ok ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text)
        return ecd_fail_memory(diag, 0, "the report");
    puts(text);
    free(text);
    return ecd_app_flush_stdout(diag);
}
