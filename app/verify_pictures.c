// ecdit verify --pictures: does a model draw the same bytes however its weights are held and whoever computes?
//
// For every CPU level, the same pictures are drawn from compressed and from raw weights, by one thread and by all,
// alone and in a batch, under memory budgets from the least that works to none, each time in a process of its own
// (bench-run). ecd_bench_measure compares the hashes; levels must agree too, unless a library computes at one of them or
// the CPU lacks fused multiply-adds (docs/NUMERICS.md).
#define _GNU_SOURCE
#include "app/verify_pictures.h"

#include "app/bench.h"
#include "app/common.h"
#include "app/generate.h"
#include "base/cpu.h"
#include "lib/image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 3, STEP_BYTES = 1 << 20 };

typedef struct way {
    int64_t threads, batch;
    uint64_t budget;
} way;

typedef struct check {
    ecd_bench bench;
    int64_t all_threads;
    int drawn;                       // processes
    uint64_t least[ECD_BENCH_PATHS]; // bytes of the smallest budget; 0: not known yet
    cJSON *levels;
    ecd_bench_hash first[BATCH]; // of the first level
    const char *first_level;
    bool library; // computes at some level
} check;

static ecd_status parse(int argc, char **argv, ecd_bench_settings *s, ecd_diag *diag)
{
    bool pictures;
    const ecd_option options[] = {
        {"pictures", 0, ECD_OPTION_FLAG, &pictures, NULL, 0, 0, NULL},
        {"steps", 0, ECD_OPTION_INT, &s->steps, NULL, 1, 1000, NULL},
        {"size", 0, ECD_OPTION_SIZE, &s->size, NULL, 1, ECD_IMAGE_MAX_SIDE, NULL},
        {"backend", 0, ECD_OPTION_CHOICE, &s->backend, NULL, 0, 0, ecd_backend_names},
        {"compute", 0, ECD_OPTION_CHOICE, &s->compute, NULL, 0, 0, ecd_compute_names},
        {"threads", 0, ECD_OPTION_INT, &s->threads, NULL, 1, 1024, NULL},
        {"scratch", 0, ECD_OPTION_TEXT, &s->scratch, NULL, 0, 0, NULL},
        {"json", 0, ECD_OPTION_FLAG, &s->json, NULL, 0, 0, NULL},
    };
    int first;
    *s = (ecd_bench_settings){.batches = {.values = {1}, .count = 1}, .steps = 2, .runs = 1, .budgets = "all"};
    ecd_status status = ecd_options_parse(argc, argv, options, sizeof options / sizeof *options, &first, diag);
    if (status)
        return status;
    if (argc - first > 1)
        return ecd_fail(diag, ECD_USAGE, "%s: one MODEL is enough with --pictures", argv[first + 1]);
    s->model = first < argc ? argv[first] : NULL;
    return ECD_OK;
}

static void show(const check *c, const char *level, const char *what)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s, run %d: %s", level, c->drawn + 1, what);
}

// Draws, and says of a picture that differs how it was drawn.
static ecd_status draw(check *c, const char *level, ecd_bench_path path, const way *w, ecd_bench_sample *sample,
                       ecd_diag *diag)
{
    const ecd_bench_point point = {.budget_bytes = w->budget, .batch = w->batch};
    char how[ECD_BENCH_REASON], budget[40] = "no budget", what[sizeof diag->what];
    if (w->budget)
        snprintf(budget, sizeof budget, "budget %.1fM", (double)w->budget / 0x1p20);
    snprintf(how, sizeof how, "%s, %" PRId64 " thread%s, batch %" PRId64 ", %s", ecd_bench_path_names[path], w->threads,
             w->threads == 1 ? "" : "s", w->batch, budget);
    show(c, level, how);
    c->bench.settings.threads = w->threads;
    ecd_status status = ecd_bench_measure(&c->bench, path, &point, sample, diag);
    c->drawn++;
    if (status == ECD_DATA && !diag->file[0]) {
        snprintf(what, sizeof what, "%s", diag->what);
        ecd_fail(diag, status, "%s (%s, %s)", what, level, how);
    }
    return status;
}

// The same; but what the program itself takes varies by some pages from run to run, so where a budget is refused the
// least that then works is tried, and a little more.
static ecd_status draw_in_memory(check *c, const char *level, ecd_bench_path path, way w, ecd_bench_sample *sample,
                                 ecd_diag *diag)
{
    ecd_status status = draw(c, level, path, &w, sample, diag);
    for (int i = 0; status == ECD_RESOURCE && sample->least_bytes > 0 && i < 8; i++) {
        w.budget = (uint64_t)sample->least_bytes + (uint64_t)i * STEP_BYTES;
        status = draw(c, level, path, &w, sample, diag);
        c->drawn--; // a refusal drew nothing
    }
    return status;
}

// The smallest budget: what refusing a byte says.
static ecd_status find_least(check *c, const char *level, ecd_bench_path path, ecd_diag *diag)
{
    const way w = {c->all_threads, BATCH, 1};
    ecd_bench_sample sample = {0};
    ecd_status status = draw(c, level, path, &w, &sample, diag);
    c->drawn--;
    if (status != ECD_RESOURCE || sample.least_bytes <= 0)
        return status ? status : ecd_fail(diag, ECD_RESOURCE, "a memory budget of one byte was not refused");
    c->least[path] = (uint64_t)sample.least_bytes;
    return ECD_OK;
}

static ecd_status draw_ways(check *c, const char *level, ecd_bench_path path, ecd_diag *diag)
{
    ecd_bench_sample sample = {0};
    const way first = {c->all_threads, 1, 0};
    ecd_status status = draw(c, level, path, &first, &sample, diag);
    const uint64_t all = (uint64_t)sample.values[ECD_BENCH_PREDICTED] + 32 * STEP_BYTES;
    if (!status && !c->least[path])
        status = find_least(c, level, path, diag);
    const uint64_t least = c->least[path];
    const way others[] = {
        {1, 1, 0},
        {c->all_threads, BATCH, 0},
        {c->all_threads, 1, least},
        {1, BATCH, least},
        {c->all_threads, BATCH, (least + all) / 2},
    };
    for (size_t i = 0; !status && i < sizeof others / sizeof *others; i++)
        status = draw_in_memory(c, level, path, others[i], &sample, diag);
    return status;
}

static bool report_level(check *c, const char *level, int runs, bool same)
{
    if (!c->bench.settings.json) {
        printf("%-7s the same %d pictures in %d runs: 1 and %" PRId64
               " threads, alone and in a batch, ecf8 from %.0fM and raw from %.0fM of memory up%s%s\n",
               level, BATCH, runs, c->all_threads, (double)c->least[ECD_BENCH_ECF8] / 0x1p20,
               (double)c->least[ECD_BENCH_RAW] / 0x1p20, same ? "" : "; not the bytes of level ",
               same ? "" : c->first_level);
        return true;
    }
    cJSON *item = cJSON_CreateObject();
    cJSON *hashes = item ? cJSON_AddArrayToObject(item, "sha256") : NULL;
    bool ok = hashes && cJSON_AddStringToObject(item, "level", level) && cJSON_AddNumberToObject(item, "runs", runs) &&
              cJSON_AddNumberToObject(item, "least_ecf8_bytes", (double)c->least[ECD_BENCH_ECF8]) &&
              cJSON_AddNumberToObject(item, "least_raw_bytes", (double)c->least[ECD_BENCH_RAW]) &&
              cJSON_AddBoolToObject(item, "same_as_first_level", same);
    for (int i = 0; ok && i < BATCH; i++)
        ok = cJSON_AddItemToArray(hashes, cJSON_CreateString(c->bench.hashes[i].sha256));
    return ok && cJSON_AddItemToArray(c->levels, item);
}

// Whether the level drew what the first one did; a difference where there may be none is a fault.
static ecd_status compare_levels(check *c, const char *level, bool *same, ecd_diag *diag)
{
    c->library = c->library || strstr(c->bench.context.detail, "oneDNN");
    *same = true;
    if (!c->first_level) {
        memcpy(c->first, c->bench.hashes, sizeof c->first);
        c->first_level = level;
    }
    for (int i = 0; i < BATCH; i++) {
        *same = *same && !strcmp(c->bench.hashes[i].sha256, c->first[i].sha256);
        if (!*same && ecd_cpu_has_fma() && !c->library)
            return ecd_fail(diag, ECD_DATA, "picture %d: %s drew sha256 %s, but %s drew %s", i, level,
                            c->bench.hashes[i].sha256, c->first_level, c->first[i].sha256);
    }
    return ECD_OK;
}

static ecd_status check_level(check *c, const char *level, ecd_diag *diag)
{
    const int before = c->drawn;
    memset(c->bench.hashes, 0, sizeof c->bench.hashes);
    if (setenv("ECD_CPU", level, 1))
        return ecd_fail_memory(diag, 0, "the environment");
    for (int path = 0; path < ECD_BENCH_PATHS; path++) {
        ecd_status status = draw_ways(c, level, (ecd_bench_path)path, diag);
        if (status)
            return status;
    }
    bool same;
    ecd_status status = compare_levels(c, level, &same, diag);
    if (status)
        return status;
    return report_level(c, level, c->drawn - before, same) ? ECD_OK : ecd_fail_memory(diag, 0, "the report");
}

static ecd_status print_json(check *c, ecd_diag *diag)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddBoolToObject(root, "same", true) &&
              cJSON_AddNumberToObject(root, "steps", (double)c->bench.settings.steps) &&
              cJSON_AddItemToObject(root, "levels", c->levels);
    c->levels = ok ? NULL : c->levels;
    char *text = ok ? cJSON_Print(root) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text ? ECD_OK : ecd_fail_memory(diag, 0, "the report");
}

static ecd_status run(check *c, ecd_diag *diag)
{
    const char *asked = getenv("ECD_CPU");
    c->all_threads = c->bench.settings.threads ? c->bench.settings.threads : ecd_cpu_count();
    c->levels = cJSON_CreateArray();
    ecd_status status = c->levels ? ecd_bench_prepare(&c->bench, diag) : ecd_fail_memory(diag, 0, "the report");
    if (!status && asked)
        return check_level(c, ecd_cpu_level_name(ecd_cpu()), diag);
    for (int level = ecd_cpu_detect(); !status && level >= ECD_CPU_SCALAR; level--)
        status = check_level(c, ecd_cpu_level_name((ecd_cpu_level)level), diag);
    return status;
}

int ecd_verify_pictures(int argc, char **argv)
{
    check c = {0};
    ecd_diag diag = {0};
    ecd_status status = parse(argc, argv, &c.bench.settings, &diag);
    if (!status)
        status = run(&c, &diag);
    if (isatty(STDERR_FILENO) && c.drawn)
        fputs("\r\033[K", stderr);
    if (!status && c.bench.settings.json)
        status = print_json(&c, &diag);
    if (!status)
        status = ecd_app_flush_stdout(&diag);
    cJSON_Delete(c.levels);
    ecd_bench_free(&c.bench);
    return status ? ecd_app_fail(&diag) : ECD_OK;
}
