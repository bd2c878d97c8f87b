// One line a point: where compression wins, and what it takes.
#include "app/bench.h"

#include <inttypes.h>
#include <stdio.h>

enum { CELL = 48 };

// The median, "-" where the path was refused.
static ecd_status cell(const ecd_bench *b, int point, ecd_bench_path path, ecd_bench_figure figure, int digits,
                       char out[CELL], ecd_diag *diag)
{
    ecd_bench_summary s;
    double unit = ecd_bench_figures[figure].unit == ECD_BENCH_BYTES ? 0x1p20 : 1;
    snprintf(out, CELL, "-");
    if (b->points[point].refused[path])
        return ECD_OK;
    ecd_status status = ecd_bench_figure_of(b, point, path, figure, &s, diag);
    if (!status)
        snprintf(out, CELL, "%.*f", digits, s.median / unit);
    return status;
}

static ecd_status print_line(const ecd_bench *b, int index, ecd_diag *diag)
{
    static const struct {
        ecd_bench_figure figure;
        int digits, width;
    } columns[] = {{ECD_BENCH_PICTURE, 2, 8}, {ECD_BENCH_STEP, 2, 7},      {ECD_BENCH_DECODE_EXPOSED, 2, 7},
                   {ECD_BENCH_READ, 0, 8},    {ECD_BENCH_PREDICTED, 0, 7}, {ECD_BENCH_PEAK_RSS, 0, 7}};
    const ecd_bench_point *point = &b->points[index];
    char budget[CELL] = "none", text[CELL];
    bool both = !point->refused[ECD_BENCH_ECF8] && !point->refused[ECD_BENCH_RAW];
    ecd_bench_summary ratio = {0};
    if (point->budget_bytes)
        snprintf(budget, sizeof budget, "%.0f", (double)point->budget_bytes / 0x1p20);
    ecd_status status = both ? ecd_bench_ratio_of(b, index, ECD_BENCH_PICTURE, &ratio, diag) : ECD_OK;
    for (int path = 0; !status && path < ECD_BENCH_PATHS; path++) {
        printf("%8s %5" PRId64 " %-4s", path ? "" : budget, point->batch, ecd_bench_path_names[path]);
        for (size_t i = 0; !status && i < sizeof columns / sizeof *columns; i++) {
            status = cell(b, index, (ecd_bench_path)path, columns[i].figure, columns[i].digits, text, diag);
            printf(" %*s", columns[i].width, text);
        }
        if (!path && ratio.defined)
            printf("  %.3f (%.3f-%.3f)", ratio.median, ratio.min, ratio.max);
        printf("%s\n", point->refused[path] ? "  does not fit" : "");
    }
    return status;
}

ecd_status ecd_bench_print_sweep(const ecd_bench *b, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    printf("\n  budget batch path  picture    step exposed     read  pred.    peak  ecf8/raw\n"
           "     MiB                   s       s       s      MiB    MiB     MiB\n");
    for (int i = 0; !status && i < b->point_count; i++)
        status = print_line(b, i, diag);
    return status;
}
