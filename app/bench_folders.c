// The folders that the two paths read. Synthetic models, and the other form of a model measured under budgets (what
// does not fit streams from disk, so each path needs files of its own form), are made in the scratch folder and kept.
#define _GNU_SOURCE
#include "app/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/common.h"
#include "app/find_model.h"
#include "app/synthetic.h"
#include "base/process.h"
#include "weights/compress.h"
#include "weights/tree.h"

typedef struct display {
    const char *doing, *name;
    uint64_t last_ns;
    bool shown;
} display;

static bool show(display *d, uint64_t done, uint64_t total)
{
    ecd_diag diag;
    uint64_t now = ecd_now_ns();
    if (isatty(STDERR_FILENO) && now - d->last_ns > 100000000) {
        fprintf(stderr, "\r\033[K%s %s: %.0f of %.0f MB", d->doing, d->name, (double)done * 1e-6, (double)total * 1e-6);
        fflush(stderr);
        d->last_ns = now;
        d->shown = true;
    }
    return ecd_interrupt_check(&diag) != ECD_OK;
}

static bool show_making(void *user, uint64_t done, uint64_t total)
{
    return show(user, done, total);
}

static bool show_work(void *user, const ecd_work_progress *p)
{
    return show(user, p->done_bytes, p->total_bytes);
}

static void done(const display *d)
{
    if (d->shown)
        fputs("\r\033[K", stderr);
}

// --scratch, or "ecdit" in the user's cache folder; made if it is not there.
static ecd_status find_scratch(const ecd_bench *b, char **out, ecd_diag *diag)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length;
    if (b->settings.scratch)
        length = asprintf(out, "%s", b->settings.scratch);
    else if (cache && *cache)
        length = asprintf(out, "%s/ecdit", cache);
    else if (home && *home)
        length = asprintf(out, "%s/.cache/ecdit", home);
    else
        return ecd_fail(diag, ECD_USAGE, "no scratch folder: expected --scratch, since $HOME is not set");
    if (length < 0) {
        *out = NULL;
        return ecd_fail_memory(diag, 0, "a path");
    }
    for (char *at = *out + 1;; at++) {
        char was = *at;
        if (was && was != '/')
            continue;
        *at = 0;
        bool bad = mkdir(*out, 0777) && errno != EEXIST && errno != EROFS && errno != EACCES;
        ecd_status status = bad || (!was && !ecd_path_is_folder(*out)) ? ecd_fail_errno(diag, *out, "create") : ECD_OK;
        *at = was;
        if (status || !was)
            return status;
    }
}

static char *named(const char *scratch, const char *name, const char *ending)
{
    char *path;
    return asprintf(&path, "%s/%s%s", scratch, name, ending) < 0 ? NULL : path;
}

static ecd_status make_source(const char *name, const char *path, ecd_diag *diag)
{
    display d = {.doing = "making", .name = name};
    if (ecd_path_exists(path))
        return ECD_OK;
    ecd_status status = ecd_synthetic_make(name, path, show_making, &d, diag);
    done(&d);
    return status;
}

typedef ecd_status work_call(const char *source, const char *target, const ecd_compress_options *options,
                             ecd_work_report *report, ecd_diag *diag);

static ecd_status make_form(work_call *work, const char *doing, bool quantize, const char *from, const char *to,
                            ecd_diag *diag)
{
    display d = {.doing = doing, .name = to};
    ecd_work_report report;
    if (ecd_path_exists(to))
        return ECD_OK;
    const ecd_compress_options options = {.quantize_e4m3 = quantize, .progress = show_work, .opaque = &d};
    ecd_status status = work(from, to, &options, &report, diag);
    done(&d);
    return status;
}

// NAME as published, rounded to E4M3 and compressed, and the same weights uncompressed: those published where they are
// E4M3 already.
static ecd_status find_synthetic(ecd_bench *b, const char *scratch, ecd_diag *diag)
{
    const char *name = ecd_synthetic_names[b->settings.synthetic];
    bool fp8 = ecd_synthetic_is_fp8(name);
    char *source = named(scratch, name, ""), *ecf8 = named(scratch, name, fp8 ? "-ecf8" : "-e4m3-ecf8");
    char *raw = named(scratch, name, fp8 ? "" : "-e4m3");
    ecd_status status = source && ecf8 && raw ? ECD_OK : ecd_fail_memory(diag, 0, "a path");
    b->folders[ECD_BENCH_ECF8] = ecf8;
    b->folders[ECD_BENCH_RAW] = raw;
    if (!status && (!ecd_path_exists(ecf8) || !ecd_path_exists(raw)))
        status = make_source(name, source, diag);
    if (!status)
        status = make_form(ecd_compress, "compressing", !fp8, source, ecf8, diag);
    if (!status)
        status = make_form(ecd_decompress, "expanding", false, ecf8, raw, diag);
    free(source);
    if (!status) {
        b->model_path = strdup(ecf8);
        b->model_name = strdup(name);
    }
    return status;
}

static bool is_compressed(const char *folder)
{
    char *path = ecd_path_join(folder, "transformer/config.json"), *text = NULL;
    bool found = path && !ecd_file_read_text(path, 16 << 20, &text, NULL, NULL) && strstr(text, "\"ecf8\"");
    free(path);
    free(text);
    return found;
}

// A name for a model's other form that changes when its files do.
static ecd_status print_of(const char *folder, char out[ECD_SHA256_TEXT], ecd_diag *diag)
{
    ecd_tree tree = {0};
    char *text = NULL;
    size_t size = 0;
    ecd_status status = ecd_tree_list(folder, &tree, diag);
    if (status)
        return status;
    FILE *list = open_memstream(&text, &size);
    for (size_t i = 0; list && i < tree.count; i++)
        fprintf(list, "%s %" PRIu64 " %" PRId64 "\n", tree.entries[i].path, tree.entries[i].size_bytes,
                tree.entries[i].changed_ns);
    if (!list || fclose(list))
        status = ecd_fail_memory(diag, size, "a list of files");
    else
        ecd_sha256((const uint8_t *)text, size, out);
    free(text);
    ecd_tree_free(&tree);
    return status;
}

static ecd_status find_other_form(ecd_bench *b, const char *scratch, ecd_diag *diag)
{
    char print[ECD_SHA256_TEXT], name[ECD_BENCH_TEXT];
    bool compressed = is_compressed(b->model_path);
    ecd_status status = print_of(b->model_path, print, diag);
    if (status)
        return status;
    snprintf(name, sizeof name, "%.80s-%.12s", b->model_name, print);
    char *other = named(scratch, name, compressed ? "-raw" : "-ecf8"), *same = strdup(b->model_path);
    b->folders[compressed ? ECD_BENCH_RAW : ECD_BENCH_ECF8] = other;
    b->folders[compressed ? ECD_BENCH_ECF8 : ECD_BENCH_RAW] = same;
    if (!other || !same)
        return ecd_fail_memory(diag, 0, "a path");
    return compressed ? make_form(ecd_decompress, "expanding", false, same, other, diag)
                      : make_form(ecd_compress, "compressing", false, same, other, diag);
}

ecd_status ecd_bench_find_folders(ecd_bench *b, ecd_diag *diag)
{
    char *scratch = NULL;
    bool scratched = b->settings.has_synthetic || b->settings.budgets;
    ecd_status status = scratched ? find_scratch(b, &scratch, diag) : ECD_OK;
    if (!status && b->settings.has_synthetic) {
        status = find_synthetic(b, scratch, diag);
    } else if (!status) {
        status = ecd_find_model(b->settings.model, &b->model_path, diag);
        b->model_name = status ? NULL : ecd_model_name(b->model_path);
        if (!status && b->model_name && scratched)
            status = find_other_form(b, scratch, diag);
        for (int path = 0; !status && !scratched && path < ECD_BENCH_PATHS; path++)
            b->folders[path] = strdup(b->model_path);
    }
    if (!status && (!b->model_name || !b->model_path || !b->folders[0] || !b->folders[1]))
        status = ecd_fail_memory(diag, 0, "a path");
    free(scratch);
    return status;
}
