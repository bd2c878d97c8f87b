// What is measured: each memory budget with each batch size.
#include "app/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// "600M,1.5G,all": budgets between commas; "all" is none. One of 0 for a list that was not given.
static ecd_status parse_budgets(const char *list, uint64_t out[ECD_BENCH_MAX_BUDGETS], int *count, ecd_diag *diag)
{
    char word[32];
    const char *text = list;
    *count = 0;
    if (!list) {
        out[(*count)++] = 0;
        return ECD_OK;
    }
    for (;; text++) {
        size_t length = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), text);
        if (*count == ECD_BENCH_MAX_BUDGETS)
            return ecd_fail(diag, ECD_USAGE, "--budgets: expected at most %d", ECD_BENCH_MAX_BUDGETS);
        uint64_t *budget = &out[(*count)++];
        *budget = 0;
        if (strcmp(word, "all") && (length >= sizeof word || !ecd_parse_bytes(word, budget) || !*budget))
            return ecd_fail(diag, ECD_USAGE, "--budgets %.100s: expected memory sizes such as 600M or 1.5G, or all",
                            list);
        text += length;
        if (!*text)
            return ECD_OK;
    }
}

ecd_status ecd_bench_make_points(ecd_bench *b, ecd_diag *diag)
{
    uint64_t budgets[ECD_BENCH_MAX_BUDGETS];
    const ecd_option_list *batches = &b->settings.batches;
    int count;
    ecd_status status = parse_budgets(b->settings.budgets, budgets, &count, diag);
    if (status)
        return status;
    size_t points = (size_t)(count * batches->count), samples = points * ECD_BENCH_PATHS * (size_t)(b->settings.runs + 1);
    b->points = calloc(points, sizeof *b->points);
    b->samples = calloc(samples, sizeof *b->samples);
    if (!b->points || !b->samples)
        return ecd_fail_memory(diag, samples * sizeof *b->samples, "the measurements");
    for (int i = 0; i < count; i++)
        for (int j = 0; j < batches->count; j++)
            b->points[b->point_count++] = (ecd_bench_point){.budget_bytes = budgets[i], .batch = batches->values[j]};
    return ECD_OK;
}

const char *ecd_bench_point_text(const ecd_bench_point *point, char out[ECD_BENCH_TEXT])
{
    int used = snprintf(out, ECD_BENCH_TEXT, "batch %" PRId64, point->batch);
    if (point->budget_bytes)
        snprintf(out + used, ECD_BENCH_TEXT - (size_t)used, ", budget %.0fM", (double)point->budget_bytes / 0x1p20);
    return out;
}
