// ecdit bench: the same pictures from compressed and from raw weights, in turn.
#define _GNU_SOURCE
#include "app/bench.h"
#include "app/common.h"
#include "app/find_model.h"
#include "app/generate.h"
#include "app/model_defaults.h"

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
        {"batch", 0, ECD_OPTION_INT_LIST, &s->batches, NULL, 1, ECD_BENCH_MAX_BATCH, NULL},
        {"steps", 0, ECD_OPTION_INT, &s->steps, NULL, 1, 1000, NULL},
        {"runs", 0, ECD_OPTION_INT, &s->runs, NULL, 1, ECD_BENCH_MAX_RUNS, NULL},
        {"backend", 0, ECD_OPTION_CHOICE, &s->backend, NULL, 0, 0, ecd_backend_names},
        {"compute", 0, ECD_OPTION_CHOICE, &s->compute, NULL, 0, 0, ecd_compute_names},
        {"threads", 0, ECD_OPTION_INT, &s->threads, NULL, 1, 1024, NULL},
        {"json", 0, ECD_OPTION_FLAG, &s->json, NULL, 0, 0, NULL},
        {"csv", 0, ECD_OPTION_TEXT, &s->csv, NULL, 0, 0, NULL},
    };
    int first;
    *s = (ecd_bench_settings){.batches = {.values = {1}, .count = 1}, .runs = 5};
    ecd_status status = ecd_options_parse(argc, argv, options, sizeof options / sizeof *options, &first, diag);
    if (status)
        return status;
    if (argc - first > 1)
        return ecd_fail(diag, ECD_USAGE, "%s: one MODEL is enough", argv[first + 1]);
    s->model = first < argc ? argv[first] : NULL;
    return ECD_OK;
}

// All that can be known to be wrong before a measurement.
static ecd_status plan(ecd_bench *b, ecd_diag *diag)
{
    ecd_bench_settings *s = &b->settings;
    ecd_model_folder folder = {0};
    ecd_transformer_info info;
    int64_t steps;
    ecd_status status = ecd_find_model(s->model, &b->model_path, diag);
    if (status)
        return status;
    size_t count = (size_t)s->batches.count * ECD_BENCH_PATHS * (size_t)s->runs;
    b->model_name = ecd_model_name(b->model_path);
    b->samples = calloc(count, sizeof *b->samples);
    if (!b->model_name || !b->samples)
        return ecd_fail_memory(diag, count * sizeof *b->samples, "the measurements");
    status = ecd_model_folder_open(b->model_path, &folder, diag);
    if (!status)
        status = ecd_transformer_describe(folder.transformer_class, folder.transformer, &info, diag);
    if (!status)
        status = ecd_model_defaults(&folder, &steps, &b->guidance, diag);
    if (!status) {
        b->classes = info.num_classes;
        s->steps = s->steps ? s->steps : steps;
    }
    ecd_model_folder_close(&folder);
    return status;
}

static void show_progress(const ecd_bench *b, int batch_index, int64_t run, ecd_bench_path path)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[Kbatch %" PRId64 ", ", b->settings.batches.values[batch_index]);
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

// In turn, so that what else the machine does meets both paths; run -1 warms the page cache and the CPU.
static ecd_status measure_batch(ecd_bench *b, int batch_index, ecd_diag *diag)
{
    int64_t batch = b->settings.batches.values[batch_index];
    for (int64_t run = -1; run < b->settings.runs; run++) {
        for (int path = 0; path < ECD_BENCH_PATHS; path++) {
            ecd_bench_sample sample;
            show_progress(b, batch_index, run, (ecd_bench_path)path);
            ecd_status status = ecd_bench_measure(b, (ecd_bench_path)path, batch, &sample, diag);
            if (status)
                return status;
            if (run >= 0)
                ecd_bench_samples(b, batch_index, (ecd_bench_path)path)[run] = sample;
        }
    }
    return ECD_OK;
}

static ecd_status measure(ecd_bench *b, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int i = 0; !status && i < b->settings.batches.count; i++)
        status = measure_batch(b, i, diag);
    clear_progress();
    return status;
}

static ecd_status run(ecd_bench *b, ecd_diag *diag)
{
    ecd_writer writer = {0};
    const char *csv = b->settings.csv;
    ecd_status status = plan(b, diag);
    if (!status && csv) // before measuring: an output that cannot be written is told at once
        status = ecd_writer_open(csv, &writer, diag);
    if (status)
        return status;
    status = measure(b, diag);
    if (!status && csv)
        status = ecd_bench_write_csv(b, &writer, diag);
    if (!status && csv)
        status = ecd_writer_commit(&writer, diag);
    if (csv)
        ecd_writer_abandon(&writer);
    if (status)
        return status;
    return b->settings.json ? ecd_bench_print_json(b, diag) : ecd_bench_print_table(b, diag);
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
    free(b.command);
    free(b.samples);
    free(b.model_path);
    free(b.model_name);
    return status ? ecd_app_fail(&diag) : ECD_OK;
}
