#include "app/work.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <unistd.h>

#include "app/common.h"
#include "base/process.h"

typedef struct display {
    bool terminal, quiet, shown;
    uint64_t last_ns;
} display;

// "3:07", "2:05:40"
static const char *clock_text(double seconds, char *out, size_t size)
{
    unsigned long long all = seconds > 0 ? (unsigned long long)(seconds + 0.5) : 0;
    if (all >= 3600)
        snprintf(out, size, "%llu:%02llu:%02llu", all / 3600, all / 60 % 60, all % 60);
    else
        snprintf(out, size, "%llu:%02llu", all / 60, all % 60);
    return out;
}

// What an earlier run has done counts as done, but not for the rate.
static double rate_of(uint64_t done_bytes, uint64_t kept_bytes, uint64_t elapsed_ns)
{
    uint64_t own = done_bytes > kept_bytes ? done_bytes - kept_bytes : 0;
    return elapsed_ns ? (double)own / ((double)elapsed_ns * 1e-9) : 0;
}

static bool show_progress(void *opaque, const ecd_work_progress *p)
{
    display *d = opaque;
    ecd_diag diag = {0};
    char left[32];
    bool stop = ecd_interrupt_check(&diag) != ECD_OK;
    if (!d->terminal || d->quiet || (d->shown && p->elapsed_ns - d->last_ns < 100000000))
        return stop;
    double rate = rate_of(p->done_bytes, p->kept_bytes, p->elapsed_ns);
    double share = p->total_bytes ? (double)p->done_bytes / (double)p->total_bytes : 1;
    fprintf(stderr, "\r\033[K%3.0f%%  %.1f of %.1f MB  %.0f MB/s  %s left  %s", share * 100, (double)p->done_bytes * 1e-6,
            (double)p->total_bytes * 1e-6, rate * 1e-6,
            rate > 0 ? clock_text((double)(p->total_bytes - p->done_bytes) / rate, left, sizeof left) : "?",
            p->file ? p->file : "");
    fflush(stderr);
    d->shown = true;
    d->last_ns = p->elapsed_ns;
    return stop;
}

static void show_notice(void *opaque, const char *text)
{
    const display *d = opaque;
    if (!d->quiet)
        fprintf(stderr, "ecdit: %s\n", text);
}

static bool add_modes(cJSON *root, const ecd_work_report *r)
{
    static const char *const names[ECD_WORK_MODES] = {"raw", "constant", "pairs", "singles"};
    cJSON *modes = cJSON_AddObjectToObject(root, "tensors_by_mode");
    bool ok = modes != NULL;
    for (int i = 0; ok && i < ECD_WORK_MODES; i++)
        ok = cJSON_AddNumberToObject(modes, names[i], (double)r->tensors_by_mode[i]);
    return ok;
}

static ecd_status print_json(const ecd_work_command *command, const ecd_work_report *r, ecd_diag *diag)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"files", r->files},
        {"files_coded", r->files_coded},
        {"files_taken_over", r->files_taken_over},
        {"tensors", r->tensors},
        {"tensors_coded", r->tensors_coded},
        {"tensors_shared", r->tensors_shared},
        {"tensors_quantized", r->tensors_quantized},
        {"source_bytes", r->source_bytes},
        {"written_bytes", r->written_bytes},
    };
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddStringToObject(root, "done", command->done);
    for (size_t i = 0; ok && i < sizeof numbers / sizeof *numbers; i++)
        ok = cJSON_AddNumberToObject(root, numbers[i].name, (double)numbers[i].value);
    if (ok && command->encodes)
        ok = add_modes(root, r);
    ok = ok && cJSON_AddNumberToObject(root, "seconds", (double)r->elapsed_ns * 1e-9) &&
         cJSON_AddNumberToObject(root, "bytes_per_second", rate_of(r->source_bytes, r->kept_bytes, r->elapsed_ns)) &&
         cJSON_AddNumberToObject(root, "peak_rss_bytes", (double)ecd_peak_rss_bytes());
    char *text = ok ? cJSON_Print(root) : NULL;
    ecd_status status = text ? ECD_OK : ecd_fail_memory(diag, 1024, "the report");
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
    return status;
}

static void print_text(const ecd_work_command *command, const ecd_work_report *r)
{
    printf("%s: %llu files, %llu tensors", command->done, (unsigned long long)r->files, (unsigned long long)r->tensors);
    if (r->written_bytes)
        printf(", %.2f MB -> %.2f MB (%.1f%%)", (double)r->source_bytes * 1e-6, (double)r->written_bytes * 1e-6,
               r->source_bytes ? 100.0 * (double)r->written_bytes / (double)r->source_bytes : 100.0);
    printf(", %.2f s, %.0f MB/s\n", (double)r->elapsed_ns * 1e-9,
           rate_of(r->source_bytes, r->kept_bytes, r->elapsed_ns) * 1e-6);
}

int ecd_work_command_run(const ecd_work_command *command, int argc, char **argv)
{
    static const char *const types[] = {"e4m3", NULL}, *const levels[] = {"fast", "balanced", "best", NULL};
    static const char *const formats[] = {"ecf8", "ecf8-0.2.0", NULL};
    static const ecd_level level_of[] = {ECD_LEVEL_FAST, ECD_LEVEL_BALANCED, ECD_LEVEL_BEST};
    bool json = false, quantize = false;
    int type = 0, level = 1, format = 0, first = 0;
    int64_t threads = 0;
    ecd_diag diag = {0};
    ecd_work_report report = {0};
    display shown = {.terminal = isatty(STDERR_FILENO)};
    const char *config = NULL;
    const ecd_option options[] = {
        {.name = "json", .kind = ECD_OPTION_FLAG, .value = &json},
        {.name = "quiet", .kind = ECD_OPTION_FLAG, .value = &shown.quiet},
        {.name = "threads", .kind = ECD_OPTION_INT, .value = &threads, .min = 1, .max = 1024},
        {.name = "quantize", .kind = ECD_OPTION_CHOICE, .value = &type, .given = &quantize, .choices = types},
        {.name = "level", .kind = ECD_OPTION_CHOICE, .value = &level, .choices = levels},
        {.name = "config", .kind = ECD_OPTION_TEXT, .value = &config},
        {.name = "format", .kind = ECD_OPTION_CHOICE, .value = &format, .choices = formats},
    };
    ecd_status status = ecd_options_parse(argc, argv, options, command->encodes ? 7 : 3, &first, &diag);
    if (!status && argc - first != 2)
        status = ecd_fail(&diag, ECD_USAGE, "%d arguments, expected 2: %s %s", argc - first, argv[0], command->names);
    if (status)
        return ecd_app_fail(&diag);
    ecd_compress_options work = {.quantize_e4m3 = quantize,
                                 .level = level_of[level],
                                 .published = format == 1,
                                 .config = config,
                                 .threads = (unsigned)threads,
                                 .progress = show_progress,
                                 .notice = show_notice,
                                 .opaque = &shown};
    status = command->call(argv[first], argv[first + 1], &work, &report, &diag);
    if (shown.shown)
        fputs("\r\033[K", stderr);
    if (!status && json)
        status = print_json(command, &report, &diag);
    else if (!status)
        print_text(command, &report);
    if (!status)
        status = ecd_app_flush_stdout(&diag);
    return status ? ecd_app_fail(&diag) : ECD_OK;
}
