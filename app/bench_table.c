#include "app/bench.h"

#include "app/common.h"
#include "base/cpu.h"

#include <inttypes.h>
#include <stdio.h>

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

static ecd_status print_figure(const ecd_bench *b, int batch_index, ecd_bench_figure figure, ecd_diag *diag)
{
    const ecd_bench_figure_info *info = &ecd_bench_figures[figure];
    ecd_bench_summary summary;
    char cells[ECD_BENCH_PATHS][CELL], ratio[CELL];
    for (int path = 0; path < ECD_BENCH_PATHS; path++) {
        ecd_status status = ecd_bench_figure_of(b, batch_index, (ecd_bench_path)path, figure, &summary, diag);
        if (status)
            return status;
        format(&summary, info->is_bytes ? 0x1p20 : 1, info->is_bytes ? 2 : 4, cells[path]);
    }
    ecd_status status = ecd_bench_ratio_of(b, batch_index, figure, &summary, diag);
    if (status)
        return status;
    format(&summary, 1, 3, ratio);
    printf("  %-21s %-4s %-26s %-26s %s\n", info->title, info->is_bytes ? "MiB" : "s", cells[ECD_BENCH_ECF8],
           cells[ECD_BENCH_RAW], ratio);
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

ecd_status ecd_bench_print_table(const ecd_bench *b, ecd_diag *diag)
{
    const ecd_option_list *batches = &b->settings.batches;
    print_head(b);
    for (int i = 0; i < batches->count; i++) {
        char title[CELL];
        snprintf(title, sizeof title, "batch %" PRId64, batches->values[i]);
        printf("\n%-28s %-26s %-26s %s\n", title, "ecf8", "raw", "ecf8/raw");
        for (int figure = 0; figure < ECD_BENCH_FIGURES; figure++) {
            ecd_status status = print_figure(b, i, (ecd_bench_figure)figure, diag);
            if (status)
                return status;
        }
    }
    printf("\nMedians (least-most); ratios run by run. Seconds are a picture's, opening apart.\n"
           "The pictures are the same on both paths, to the last byte.\n");
    return ecd_app_flush_stdout(diag);
}
