// Against an earlier report: what is slower or larger now by more than both spreads explain.
#include "app/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "weights/json.h"

static const double TOLERANCE = 0.02; // of a median, below which a difference is noise

// What a rise of means something by itself.
static const ecd_bench_figure watched[] = {ECD_BENCH_OPEN,    ECD_BENCH_DENOISE,        ECD_BENCH_VAE,
                                           ECD_BENCH_PICTURE, ECD_BENCH_DECODE_EXPOSED, ECD_BENCH_READ,
                                           ECD_BENCH_PEAK_RSS};

ecd_status ecd_bench_read_old(const char *path, cJSON **out, ecd_diag *diag)
{
    ecd_status status = ecd_json_read(path, out, diag);
    if (status || cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(*out, "points")))
        return status;
    cJSON_Delete(*out);
    *out = NULL;
    status = ecd_fail(diag, ECD_DATA, "no \"points\", expected what ecdit bench --json prints");
    ecd_diag_file(diag, path);
    return status;
}

static bool number_of(const cJSON *object, const char *key, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    *out = cJSON_IsNumber(item) ? item->valuedouble : 0;
    return cJSON_IsNumber(item);
}

static const cJSON *find_point(const cJSON *old, const ecd_bench_point *point)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(old, "points"))
    {
        double batch, budget;
        number_of(item, "budget_bytes", &budget); // null: none
        if (number_of(item, "batch", &batch) && batch == (double)point->batch && budget == (double)point->budget_bytes)
            return item;
    }
    return NULL;
}

// Medians apart by more than the tolerance, and the ranges do not touch.
static int direction(const ecd_bench_summary *before, const ecd_bench_summary *now)
{
    if (now->min > before->max && now->median > before->median * (1 + TOLERANCE))
        return 1;
    return now->max < before->min && now->median < before->median * (1 - TOLERANCE) ? -1 : 0;
}

static bool read_summary(const cJSON *object, const char *key, ecd_bench_summary *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    out->defined = number_of(item, "median", &out->median) && number_of(item, "min", &out->min) &&
                   number_of(item, "max", &out->max);
    return out->defined;
}

static ecd_status compare_path(const ecd_bench *b, int index, ecd_bench_path path, const cJSON *before, int changes[3],
                               ecd_diag *diag)
{
    static const char *const words[] = {"better", "same", "worse"};
    char text[ECD_BENCH_TEXT];
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++) {
        const ecd_bench_figure_info *info = &ecd_bench_figures[watched[i]];
        ecd_bench_summary then, now;
        if (!read_summary(before, info->key, &then))
            continue;
        ecd_status status = ecd_bench_figure_of(b, index, path, watched[i], &now, diag);
        if (status)
            return status;
        int change = direction(&then, &now);
        double unit = info->unit == ECD_BENCH_BYTES ? 0x1p20 : 1;
        changes[change + 1]++;
        if (change)
            printf("  %-6s %s, %s: %s %.4g (%.4g-%.4g) was %.4g (%.4g-%.4g) %s\n", words[change + 1],
                   ecd_bench_point_text(&b->points[index], text), ecd_bench_path_names[path], info->title,
                   now.median / unit, now.min / unit, now.max / unit, then.median / unit, then.min / unit,
                   then.max / unit, info->unit == ECD_BENCH_BYTES ? "MiB" : "s");
    }
    return ECD_OK;
}

// Figures of another machine or setting say nothing about the program.
static void warn_context(const ecd_bench *b, const cJSON *old)
{
    const struct {
        const char *key, *value;
    } texts[] = {{"model", b->model_name}, {"backend", b->context.backend}, {"compute", b->context.compute}};
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"threads", b->context.threads}, {"steps", (double)b->settings.steps}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *then = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(old, texts[i].key));
        if (!then || strcmp(then, texts[i].value))
            printf("  note: %s was %.100s\n", texts[i].key, then ? then : "not stated");
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double then;
        if (!number_of(old, numbers[i].key, &then) || then != numbers[i].value)
            printf("  note: %s was %g\n", numbers[i].key, then);
    }
}

ecd_status ecd_bench_print_comparison(const ecd_bench *b, const cJSON *old, ecd_diag *diag)
{
    int changes[3] = {0};
    char text[ECD_BENCH_TEXT];
    ecd_status status = ECD_OK;
    printf("\nAgainst %s\n", b->settings.compare);
    warn_context(b, old);
    for (int i = 0; i < b->point_count; i++) {
        const cJSON *point = find_point(old, &b->points[i]);
        if (!point)
            printf("  note: %s was not measured\n", ecd_bench_point_text(&b->points[i], text));
        for (int path = 0; !status && point && path < ECD_BENCH_PATHS; path++)
            if (!b->points[i].refused[path])
                status =
                    compare_path(b, i, (ecd_bench_path)path,
                                 cJSON_GetObjectItemCaseSensitive(point, ecd_bench_path_names[path]), changes, diag);
    }
    printf("  %d figures worse, %d better, %d within their spread\n", changes[2], changes[0], changes[1]);
    return status;
}
