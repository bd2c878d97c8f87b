// One line a measurement: what the table's medians are made of. Files of several machines can be joined.
#define _GNU_SOURCE
#include "app/bench.h"

#include "app/common.h"
#include "base/cpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// RFC 4180: in double quotes, a quote doubled.
static void put_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void put_head(FILE *out)
{
    fputs("model,version,cpu,level,backend,compute,threads,steps,budget_bytes,batch,path,run", out);
    for (int i = 0; i < ECD_BENCH_FIGURES; i++)
        fprintf(out, ",%s", ecd_bench_figures[i].key);
    fputc('\n', out);
}

static void put_line(FILE *out, const ecd_bench *b, int point, ecd_bench_path path, int64_t run)
{
    const ecd_bench_sample *sample = &ecd_bench_samples(b, point, path)[run];
    char cpu[ECD_BENCH_TEXT];
    put_quoted(out, b->model_name);
    fprintf(out, ",%s,", ecd_app_version());
    put_quoted(out, ecd_cpu_model(cpu, sizeof cpu));
    fprintf(out, ",%s,%s,%s,%d,%" PRId64 ",%" PRIu64 ",%" PRId64 ",%s,%" PRId64, ecd_cpu_level_name(ecd_cpu()),
            b->context.backend, b->context.compute, b->context.threads, b->settings.steps,
            b->points[point].budget_bytes, b->points[point].batch, ecd_bench_path_names[path], run + 1);
    for (int i = 0; i < ECD_BENCH_FIGURES; i++)
        fprintf(out, ecd_bench_figures[i].unit == ECD_BENCH_BYTES ? ",%.0f" : ",%.9f", sample->values[i]);
    fputc('\n', out);
}

ecd_status ecd_bench_write_csv(const ecd_bench *b, ecd_writer *writer, ecd_diag *diag)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return ecd_fail_memory(diag, 0, "the CSV");
    put_head(out);
    for (int i = 0; i < b->point_count; i++)
        for (int64_t run = 0; run < b->settings.runs; run++)
            for (int path = 0; path < ECD_BENCH_PATHS; path++)
                if (!b->points[i].refused[path])
                    put_line(out, b, i, (ecd_bench_path)path, run);
    bool lost = ferror(out);
    lost = fclose(out) || lost;
    ecd_status status = lost ? ecd_fail_memory(diag, size, "the CSV") : ecd_writer_write(writer, text, size, diag);
    free(text);
    return status;
}
