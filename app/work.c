#include "app/work.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <unistd.h>

#include "app/common.h"

typedef struct display {
    bool terminal, shown;
    uint64_t last_ns;
} display;

static bool show_progress(void *opaque, const ecd_work_progress *p)
{
    display *d = opaque;
    ecd_diag diag = {0};
    bool stop = ecd_interrupt_check(&diag) != ECD_OK;
    if (!d->terminal || (d->shown && p->elapsed_ns - d->last_ns < 100000000))
        return stop;
    double seconds = (double)p->elapsed_ns * 1e-9;
    double share = p->total_bytes ? (double)p->done_bytes / (double)p->total_bytes : 1;
    double left = share > 0 ? seconds / share - seconds : 0;
    fprintf(stderr, "\r\033[K%3.0f%%  %.0f MB/s  %.0f s left  %s", share * 100,
            seconds > 0 ? (double)p->done_bytes * 1e-6 / seconds : 0, left, p->file ? p->file : "");
    fflush(stderr);
    d->shown = true;
    d->last_ns = p->elapsed_ns;
    return stop;
}

static ecd_status print_json(const ecd_work_command *command, const ecd_work_report *r, ecd_diag *diag)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"files", r->files},
        {"files_coded", r->files_coded},
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
    ok = ok && cJSON_AddNumberToObject(root, "seconds", (double)r->elapsed_ns * 1e-9);
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
    double seconds = (double)r->elapsed_ns * 1e-9;
    printf("%s: %llu files, %llu tensors", command->done, (unsigned long long)r->files, (unsigned long long)r->tensors);
    if (r->written_bytes)
        printf(", %.2f MB -> %.2f MB (%.1f%%)", (double)r->source_bytes * 1e-6, (double)r->written_bytes * 1e-6,
               r->source_bytes ? 100.0 * (double)r->written_bytes / (double)r->source_bytes : 100.0);
    printf(", %.2f s, %.0f MB/s\n", seconds, seconds > 0 ? (double)r->source_bytes * 1e-6 / seconds : 0);
}

int ecd_work_run(const ecd_work_command *command, int argc, char **argv)
{
    static const char *const types[] = {"e4m3", NULL};
    bool json = false, quantize = false;
    int type = 0, first = 0;
    ecd_diag diag = {0};
    ecd_work_report report = {0};
    display shown = {.terminal = isatty(STDERR_FILENO)};
    const ecd_option options[] = {
        {.name = "json", .kind = ECD_OPTION_FLAG, .value = &json},
        {.name = "quantize", .kind = ECD_OPTION_CHOICE, .value = &type, .given = &quantize, .choices = types},
    };
    ecd_status status = ecd_options_parse(argc, argv, options, command->can_quantize ? 2 : 1, &first, &diag);
    if (!status && argc - first != 2)
        status = ecd_fail(&diag, ECD_USAGE, "%d arguments, expected 2: %s %s", argc - first, argv[0], command->names);
    if (status)
        return ecd_app_fail(&diag);
    ecd_compress_options work = {.quantize_e4m3 = quantize, .progress = show_progress, .opaque = &shown};
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
