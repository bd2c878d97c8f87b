// Two folders that should hold the same.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/component.h"
#include "weights/compress_internal.h"
#include "weights/json.h"
#include "weights/publish.h"

static ecd_status differ(const char *a, const char *b, uint64_t offset, ecd_diag *diag)
{
    (void)ecd_fail(diag, ECD_DATA, "differs from %s", b);
    ecd_diag_file(diag, a);
    ecd_diag_offset(diag, offset);
    return ECD_DATA;
}

// Other files: one task after the other, each a piece.
typedef struct bytes {
    ecd_file x, y;
    uint64_t next, finished;
} bytes;

static ecd_status bytes_open(ecd_job *job, ecd_diag *diag)
{
    bytes *f = job->own = calloc(1, sizeof *f);
    if (!f)
        return ecd_fail_memory(diag, sizeof *f, "a file");
    ecd_status status = ecd_file_map(job->from, &f->x, diag);
    return status ? status : ecd_file_map(job->to, &f->y, diag);
}

static ecd_claim bytes_claim(ecd_job *job, ecd_task *task)
{
    bytes *f = job->own;
    uint64_t common = f->x.size_bytes < f->y.size_bytes ? f->x.size_bytes : f->y.size_bytes, left = common - f->next;
    if (!left)
        return f->finished == common ? ECD_CLAIM_END : ECD_CLAIM_WAIT;
    task->first = f->next;
    task->count = left < ECD_PIECE_BYTES ? left : ECD_PIECE_BYTES;
    f->next += task->count;
    return ECD_CLAIM_TASK;
}

static ecd_status bytes_run(ecd_job *job, const ecd_task *task, ecd_diag *diag)
{
    const bytes *f = job->own;
    const uint8_t *x = f->x.data + task->first, *y = f->y.data + task->first;
    uint64_t at = 0;
    bool same = !memcmp(x, y, task->count);
    while (!same && x[at] == y[at])
        at++;
    ecd_file_dont_need(&f->x, task->first, task->count);
    ecd_file_dont_need(&f->y, task->first, task->count);
    return same ? ECD_OK : differ(job->from, job->to, task->first + at, diag);
}

static void bytes_finish(ecd_job *job, const ecd_task *task)
{
    ((bytes *)job->own)->finished += task->count;
    ecd_work_count(job, task->count);
}

static ecd_status bytes_close(ecd_job *job, ecd_diag *diag)
{
    const bytes *f = job->own;
    return f->x.size_bytes == f->y.size_bytes ? ECD_OK : differ(job->from, job->to, f->finished, diag);
}

static void bytes_free(ecd_job *job)
{
    bytes *f = job->own;
    ecd_file_unmap(&f->x);
    ecd_file_unmap(&f->y);
    free(f);
}

static const ecd_job_calls bytes_calls = {bytes_open, bytes_claim, bytes_run, bytes_finish, bytes_close, bytes_free};

// The text of a config, or of an index, without the marks of compression; the caller frees.
static ecd_status plain_text(const char *path, bool index, char **out, ecd_diag *diag)
{
    char *text = NULL;
    ecd_status status = ecd_file_read_text(path, index ? (size_t)ECD_JSON_MAX_BYTES : ECD_CONFIG_MAX_BYTES, &text, NULL, diag);
    *out = NULL;
    if (!status && ecd_ends_with(path, ".bin.index.json")) {
        char *renamed = ecd_index_renamed(text);
        free(text);
        text = renamed;
        status = text ? ECD_OK : ecd_fail_memory(diag, 1024, "an index");
    }
    if (!status)
        status = index ? ecd_index_unmark(text, out, diag) : ecd_config_unmark(text, out, diag);
    if (!status && !*out) {
        *out = text;
        text = NULL;
    }
    free(text);
    return status;
}

static ecd_status texts_open(ecd_job *job, ecd_diag *diag)
{
    const char *a = job->from, *b = job->to;
    bool index = ecd_ends_with(b, ".index.json");
    char *x = NULL, *y = NULL;
    ecd_status status = plain_text(a, index, &x, diag);
    if (!status)
        status = plain_text(b, index, &y, diag);
    if (!status && strcmp(x, y)) {
        uint64_t at = 0;
        while (x[at] == y[at])
            at++;
        status = differ(a, b, at, diag);
    }
    free(x);
    free(y);
    return status;
}

static const ecd_job_calls texts_calls = {.open = texts_open};

// Where `path` is missing: the same weights in the other format. The caller frees; NULL if there is none.
static char *other_format(const char *path)
{
    static const char *const ends[][2] = {
        {".bin", ".safetensors"},
        {".safetensors", ".bin"},
        {".bin.index.json", ".safetensors.index.json"},
        {".safetensors.index.json", ".bin.index.json"},
    };
    for (size_t i = 0; !ecd_path_exists(path) && i < sizeof ends / sizeof *ends; i++) {
        char *other = NULL;
        if (!ecd_ends_with(path, ends[i][0]) ||
            asprintf(&other, "%.*s%s", (int)(strlen(path) - strlen(ends[i][0])), path, ends[i][1]) < 0)
            continue;
        if (ecd_path_exists(other))
            return other;
        free(other);
    }
    return NULL;
}

typedef struct comparison {
    const char *a, *b; // roots
    ecd_tree tree;     // of b
    ecd_work work;
} comparison;

static ecd_status is_missing(const char *path, const char *there, ecd_diag *diag)
{
    (void)ecd_fail(diag, ECD_DATA, "is missing, expected it as in %s", there);
    ecd_diag_file(diag, path);
    return ECD_DATA;
}

// Takes over both paths.
static ecd_status add_pair(comparison *c, const ecd_tree_entry *entry, char *a, char *b, ecd_diag *diag)
{
    ecd_job *job;
    char *other = a && b ? other_format(a) : NULL;
    bool torch = ecd_torch_named(b ? b : "") && ecd_tree_weights_are_torch(&c->tree, entry->path);
    if (other) {
        torch |= ecd_ends_with(other, ".bin") || ecd_ends_with(b, ".bin");
        free(a);
        a = other;
    }
    if (a && b && !ecd_path_exists(a)) {
        ecd_status status = is_missing(a, b, diag);
        free(a);
        free(b);
        return status;
    }
    ecd_status status = ecd_work_add(&c->work, &bytes_calls, entry, a, b, &job, diag);
    if (status)
        return status;
    job->torch = torch;
    if (torch || ecd_ends_with(b, ".safetensors"))
        job->calls = &ecd_verify_calls;
    else if (ecd_ends_with(b, ".safetensors.index.json") || ecd_ends_with(b, ".bin.index.json") ||
             !strcmp(strrchr(b, '/') ? strrchr(b, '/') + 1 : b, "config.json"))
        job->calls = &texts_calls;
    return ECD_OK;
}

static bool is_compared(const ecd_tree_entry *entry)
{
    // What only a compressed folder has.
    return !entry->folder && strcmp(entry->path, ECD_MANIFEST_NAME) && !ecd_publish_is_pattern_file(entry->path);
}

// Files of a that b lacks, under either format's name.
static ecd_status check_extra(const comparison *c, ecd_diag *diag)
{
    ecd_tree tree;
    ecd_status status = ecd_tree_list(c->a, &tree, diag);
    for (size_t i = 0; !status && i < tree.count; i++) {
        if (!is_compared(&tree.entries[i]))
            continue;
        char *b = ecd_path_join(c->b, tree.entries[i].path), *a = ecd_path_join(c->a, tree.entries[i].path);
        char *other = a && b ? other_format(b) : NULL;
        if (!a || !b)
            status = ecd_fail_memory(diag, 1024, "a path");
        else if (!other && !ecd_path_exists(b))
            status = is_missing(b, a, diag);
        free(other);
        free(a);
        free(b);
    }
    if (tree.entries)
        ecd_tree_free(&tree);
    return status;
}

static ecd_status check_kinds(const char *a, const char *b, ecd_diag *diag)
{
    const char *const paths[] = {a, b};
    for (int i = 0; i < 2; i++)
        if (!ecd_path_exists(paths[i])) {
            (void)ecd_fail(diag, ECD_USAGE, "there is no such folder or file");
            ecd_diag_file(diag, paths[i]);
            return ECD_USAGE;
        }
    if (ecd_path_is_folder(a) == ecd_path_is_folder(b) || ecd_component_is_file(a) || ecd_component_is_file(b))
        return ECD_OK;
    (void)ecd_fail(diag, ECD_USAGE, "%s, expected both to be folders, or both files",
                   ecd_path_is_folder(a) ? "a folder" : "not a folder");
    ecd_diag_file(diag, a);
    return ECD_USAGE;
}

static ecd_status plan(comparison *c, bool single, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (size_t i = 0; !status && i < c->tree.count; i++) {
        const ecd_tree_entry *entry = &c->tree.entries[i];
        if (single)
            status = add_pair(c, entry, strdup(c->a), strdup(c->b), diag);
        else if (is_compared(entry))
            status = add_pair(c, entry, ecd_path_join(c->a, entry->path), ecd_path_join(c->b, entry->path), diag);
    }
    return status || single ? status : check_extra(c, diag);
}

// A single file and a folder: components that the file holds.
static ecd_status plan_parts(comparison *c, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (size_t i = 0; !status && i < c->tree.count; i++) {
        const ecd_tree_entry *entry = &c->tree.entries[i];
        ecd_job *job;
        status = ecd_work_add(&c->work, &ecd_verify_calls, entry, strdup(c->a), ecd_path_join(c->b, entry->path), &job,
                              diag);
        if (!status)
            job->part = entry->part;
    }
    return status;
}

ecd_status ecd_verify(const char *a, const char *b, const ecd_compress_options *options, ecd_work_report *report,
                      ecd_diag *diag)
{
    comparison c = {.a = a, .b = b};
    char *folder = NULL;
    *report = (ecd_work_report){0};
    ecd_status status = check_kinds(a, b, diag);
    if (status)
        return status;
    bool single = !ecd_path_is_folder(b), parts = single == ecd_path_is_folder(a);
    if (parts && single) { // the file first
        c.a = b;
        c.b = a;
    }
    status = parts    ? ecd_tree_parts(c.a, NULL, &c.tree, diag)
             : single ? ecd_tree_single(b, &folder, &c.tree, diag)
                      : ecd_tree_list(b, &c.tree, diag);
    if (status)
        return status;
    status = ecd_work_begin(&c.work, options, report, &c.tree, diag);
    if (!status)
        status = parts ? plan_parts(&c, diag) : plan(&c, single, diag);
    if (!status)
        status = ecd_work_run(&c.work, diag);
    ecd_work_end(&c.work);
    ecd_tree_free(&c.tree);
    free(folder);
    return status;
}
