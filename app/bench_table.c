#include "app/bench.h"

#include "app/common.h"
#include "base/cpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STRINGIFY(x) #x
#define TEXT(x) STRINGIFY(x)

const char *ecd_bench_compiler(void)
{
#ifdef __clang__
    return "clang " TEXT(__clang_major__) "." TEXT(__clang_minor__) "." TEXT(__clang_patchlevel__);
#else
    return "gcc " TEXT(__GNUC__) "." TEXT(__GNUC_MINOR__) "." TEXT(__GNUC_PATCHLEVEL__);
#endif
}

enum { CELL = 64 };

// "0.1234 (0.1200-0.1300)", "18.25" where all are the same, "-" where there is nothing to say.
static void format(const ecd_bench_summary *s, double unit, int digits, char out[CELL])
{
    if (!s->defined)
        snprintf(out, CELL, "-");
    else if (s->min == s->max)
        snprintf(out, CELL, "%.*f", digits, s->median / unit);
    else
        snprintf(out, CELL, "%.*f (%.*f-%.*f)", digits, s->median / unit, digits, s->min / unit, digits, s->max / unit);
}

static ecd_status print_figure(const ecd_bench *b, int point, ecd_bench_figure figure, ecd_diag *diag)
{
    static const char *const units[] = {[ECD_BENCH_SECONDS] = "s", [ECD_BENCH_BYTES] = "MiB", [ECD_BENCH_RATE] = "1/h"};
    static const int digits[] = {[ECD_BENCH_SECONDS] = 4, [ECD_BENCH_BYTES] = 2, [ECD_BENCH_RATE] = 1};
    const ecd_bench_figure_info *info = &ecd_bench_figures[figure];
    ecd_bench_summary summary;
    char cells[ECD_BENCH_PATHS][CELL], ratio[CELL];
    for (int path = 0; path < ECD_BENCH_PATHS; path++) {
        snprintf(cells[path], CELL, "-");
        if (b->points[point].refused[path])
            continue;
        ecd_status status = ecd_bench_figure_of(b, point, (ecd_bench_path)path, figure, &summary, diag);
        if (status)
            return status;
        format(&summary, info->unit == ECD_BENCH_BYTES ? 0x1p20 : 1, digits[info->unit], cells[path]);
    }
    summary.defined = false;
    bool both = !b->points[point].refused[ECD_BENCH_ECF8] && !b->points[point].refused[ECD_BENCH_RAW];
    ecd_status status = both ? ecd_bench_ratio_of(b, point, figure, &summary, diag) : ECD_OK;
    if (status)
        return status;
    format(&summary, 1, 3, ratio);
    printf("  %-21s %-4s %-26s %-26s %s\n", info->title, units[info->unit], cells[ECD_BENCH_ECF8], cells[ECD_BENCH_RAW],
           ratio);
    return ECD_OK;
}

static void print_head(const ecd_bench *b)
{
    const ecd_bench_context *c = &b->context;
    char cpu[ECD_BENCH_TEXT];
    printf("%s: %" PRId64 "x%" PRId64 " pixels, %" PRId64 " steps, guidance %g, %" PRId64 " run%s of each path\n",
           b->model_name, c->width, c->height, b->settings.steps, b->guidance, b->settings.runs,
           b->settings.runs == 1 ? "" : "s");
    printf("%s, level %s, %d thread%s, backend %s (%s), compute %s\n", ecd_cpu_model(cpu, sizeof cpu),
           ecd_cpu_level_name(ecd_cpu()), c->threads, c->threads == 1 ? "" : "s", c->backend, c->detail, c->compute);
    printf("ecdit %s, %s\n", ecd_app_version(), ecd_bench_compiler());
    printf("$ %s\n", b->command);
}

static ecd_status print_point(const ecd_bench *b, int index, ecd_diag *diag)
{
    const ecd_bench_point *point = &b->points[index];
    char title[ECD_BENCH_TEXT];
    printf("\n%-28s %-26s %-26s %s\n", ecd_bench_point_text(point, title), "ecf8", "raw", "ecf8/raw");
    for (int path = 0; path < ECD_BENCH_PATHS; path++)
        if (point->refused[path] || point->budget_bytes)
            printf("  %-4s %s\n", ecd_bench_path_names[path], point->reason[path]);
    bool device = !strcmp(b->context.backend, "cuda");
    ecd_status status = ECD_OK;
    for (int figure = 0; !status && figure < ECD_BENCH_FIGURES; figure++)
        if (device || (figure != ECD_BENCH_SENT && figure != ECD_BENCH_SENT_STEP && figure != ECD_BENCH_DEVICE))
            status = print_figure(b, index, (ecd_bench_figure)figure, diag);
    return status;
}

ecd_status ecd_bench_print_table(const ecd_bench *b, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    print_head(b);
    for (int i = 0; !status && i < b->point_count; i++)
        status = print_point(b, i, diag);
    if (!status && b->point_count > 1)
        status = ecd_bench_print_sweep(b, diag);
    if (status)
        return status;
    printf("\nMedians (least-most); ratios run by run. Seconds are a picture's, opening apart.\n"
           "The pictures are the same on both paths, to the last byte.\n");
    return ecd_app_flush_stdout(diag);
}
