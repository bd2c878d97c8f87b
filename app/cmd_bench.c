// ecdit bench: the same pictures from compressed and from raw weights, in turn.
#define _GNU_SOURCE
#include "app/bench.h"
#include "app/common.h"
#include "app/generate.h"
#include "app/plot.h"
#include "app/synthetic.h"
#include "lib/image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The command line as a shell would take it again. Before parsing, which reorders argv.
static ecd_status keep_command(int argc, char **argv, char **out, ecd_diag *diag)
{
    size_t size = 0;
    FILE *text = open_memstream(out, &size);
    if (!text)
        return ecd_fail_memory(diag, 0, "the command line");
    fputs("ecdit", text);
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        bool plain =
            *word &&
            strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,=+:@%") == strlen(word);
        fputs(plain ? " " : " '", text);
        for (; *word; word++)
            *word == '\'' ? fputs("'\\''", text) : fputc(*word, text);
        fputs(plain ? "" : "'", text);
    }
    bool lost = ferror(text);
    lost = fclose(text) || lost;
    return lost ? ecd_fail_memory(diag, size, "the command line") : ECD_OK;
}

static ecd_status parse(int argc, char **argv, ecd_bench_settings *s, ecd_diag *diag)
{
    const ecd_option options[] = {
        {"synthetic", 0, ECD_OPTION_CHOICE, &s->synthetic, &s->has_synthetic, 0, 0, ecd_synthetic_names},
        {"scratch", 0, ECD_OPTION_TEXT, &s->scratch, NULL, 0, 0, NULL},
        {"budgets", 0, ECD_OPTION_TEXT, &s->budgets, NULL, 0, 0, NULL},
        {"batch", 0, ECD_OPTION_INT_LIST, &s->batches, NULL, 1, ECD_BENCH_MAX_BATCH, NULL},
        {"steps", 0, ECD_OPTION_INT, &s->steps, NULL, 1, 1000, NULL},
        {"size", 0, ECD_OPTION_SIZE, &s->size, NULL, 1, ECD_IMAGE_MAX_SIDE, NULL},
        {"runs", 0, ECD_OPTION_INT, &s->runs, NULL, 0, ECD_BENCH_MAX_RUNS, NULL},
        {"backend", 0, ECD_OPTION_CHOICE, &s->backend, NULL, 0, 0, ecd_backend_names},
        {"compute", 0, ECD_OPTION_CHOICE, &s->compute, NULL, 0, 0, ecd_compute_names},
        {"threads", 0, ECD_OPTION_INT, &s->threads, NULL, 1, 1024, NULL},
        {"json", 0, ECD_OPTION_FLAG, &s->json, NULL, 0, 0, NULL},
        {"csv", 0, ECD_OPTION_TEXT, &s->csv, NULL, 0, 0, NULL},
        {"plot", 0, ECD_OPTION_TEXT, &s->plot, NULL, 0, 0, NULL},
        {"compare", 0, ECD_OPTION_TEXT, &s->compare, NULL, 0, 0, NULL},
    };
    int first;
    *s = (ecd_bench_settings){.batches = {.values = {1}, .count = 1}, .runs = 5};
    ecd_status status = ecd_options_parse(argc, argv, options, sizeof options / sizeof *options, &first, diag);
    if (status)
        return status;
    if (argc - first > 1)
        return ecd_fail(diag, ECD_USAGE, "%s: one MODEL is enough", argv[first + 1]);
    s->model = first < argc ? argv[first] : NULL;
    if (s->model && s->has_synthetic)
        return ecd_fail(diag, ECD_USAGE, "MODEL %s and --synthetic: expected one of them", s->model);
    if (s->json && s->compare)
        return ecd_fail(diag, ECD_USAGE, "--json and --compare: expected one of them, both print to standard output");
    return ECD_OK;
}

static void show_progress(const ecd_bench *b, const ecd_bench_point *point, int64_t run, ecd_bench_path path)
{
    char text[ECD_BENCH_TEXT];
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s, ", ecd_bench_point_text(point, text));
    if (run < 0)
        fprintf(stderr, "warming up, %s", ecd_bench_path_names[path]);
    else
        fprintf(stderr, "run %" PRId64 " of %" PRId64 ", %s", run + 1, b->settings.runs, ecd_bench_path_names[path]);
    fflush(stderr);
}

static void clear_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

// A path that does not fit a budget is a result, not a failure of the bench.
static ecd_status measure_path(ecd_bench *b, int index, ecd_bench_path path, int64_t run, ecd_diag *diag)
{
    ecd_bench_point *point = &b->points[index];
    ecd_bench_sample sample;
    if (point->refused[path])
        return ECD_OK;
    show_progress(b, point, run, path);
    ecd_status status = ecd_bench_measure(b, path, point, &sample, diag);
    if (status == ECD_RESOURCE && point->budget_bytes) {
        point->refused[path] = true;
        snprintf(point->reason[path], ECD_BENCH_REASON, "%.*s", ECD_BENCH_REASON - 1, diag->what);
        return ECD_OK;
    }
    if (!status)
        snprintf(point->reason[path], ECD_BENCH_REASON, "%s", sample.plan);
    if (!status && run >= 0)
        ecd_bench_samples(b, index, path)[run] = sample;
    return status;
}

// In turn, so that what else the machine does meets both paths; run -1 warms the page cache and the CPU.
static ecd_status measure(ecd_bench *b, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int i = 0; i < b->point_count; i++)
        for (int64_t run = -1; run < b->settings.runs; run++)
            for (int path = 0; !status && path < ECD_BENCH_PATHS; path++)
                status = measure_path(b, i, (ecd_bench_path)path, run, diag);
    clear_progress();
    return status;
}

static ecd_status print(const ecd_bench *b, const cJSON *old, ecd_diag *diag)
{
    if (b->settings.json)
        return ecd_bench_print_json(b, diag);
    ecd_status status = ecd_bench_print_table(b, diag);
    if (!status && old)
        status = ecd_bench_print_comparison(b, old, diag);
    return status ? status : ecd_app_flush_stdout(diag);
}

// --runs 0: the folders are made, or found, and named; nothing is measured.
static ecd_status print_folders(const ecd_bench *b, ecd_diag *diag)
{
    for (int path = 0; path < ECD_BENCH_PATHS; path++)
        printf("%-4s %s\n", ecd_bench_path_names[path], b->folders[path]);
    return ecd_app_flush_stdout(diag);
}

static ecd_status run(ecd_bench *b, ecd_diag *diag)
{
    ecd_writer writer = {0};
    cJSON *old = NULL;
    const char *csv = b->settings.csv;
    ecd_status status = b->settings.compare ? ecd_bench_read_old(b->settings.compare, &old, diag) : ECD_OK;
    if (!status)
        status = ecd_bench_prepare(b, diag);
    if (!status && !b->settings.runs) {
        status = print_folders(b, diag);
        goto out;
    }
    if (!status && b->settings.plot)
        status = ecd_plot_check(b->settings.plot, diag);
    if (!status && csv) // before measuring: an output that cannot be written is told at once
        status = ecd_writer_open(csv, &writer, diag);
    if (status)
        goto out;
    status = measure(b, diag);
    if (!status && csv)
        status = ecd_bench_write_csv(b, &writer, diag);
    if (!status && csv)
        status = ecd_writer_commit(&writer, diag);
    if (csv)
        ecd_writer_abandon(&writer);
    if (!status && b->settings.plot)
        status = ecd_bench_write_plot(b, diag);
    if (!status)
        status = print(b, old, diag);
out:
    cJSON_Delete(old);
    return status;
}

int ecd_cmd_bench(int argc, char **argv)
{
    ecd_bench b = {0};
    ecd_diag diag = {0};
    ecd_status status = keep_command(argc, argv, &b.command, &diag);
    if (!status)
        status = parse(argc, argv, &b.settings, &diag);
    if (!status)
        status = run(&b, &diag);
    ecd_bench_free(&b);
    return status ? ecd_app_fail(&diag) : ECD_OK;
}
