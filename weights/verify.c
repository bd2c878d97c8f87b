// Two folders that should hold the same.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"
#include "weights/json.h"
#include "weights/stream.h"

enum { CONFIG_MAX_BYTES = 16 << 20 };

static ecd_status compare_streams(ecd_tensor_stream *x, ecd_tensor_stream *y, ecd_diag *diag)
{
    const uint8_t *p, *q;
    uint64_t m, n, at = 0;
    for (;;) {
        ecd_status status = ecd_tensor_stream_next(x, &p, &m, diag);
        if (!status)
            status = ecd_tensor_stream_next(y, &q, &n, diag);
        if (status || (!m && !n))
            return status;
        uint64_t same = 0;
        if (m != n || memcmp(p, q, m)) {
            while (same < m && same < n && p[same] == q[same])
                same++;
            return ecd_tensor_fail(x->tensor, diag, "differs from %s at decoded byte %llu", y->tensor->file->path,
                                   (unsigned long long)(at + same));
        }
        at += m;
    }
}

// Trailing ones do not count: reading drops them of old attention weights.
static bool same_shape(const ecd_tensor *x, const ecd_tensor *y)
{
    for (int i = 0; i < ECD_MAX_DIMS; i++)
        if ((i < x->dims ? x->shape[i] : 1) != (i < y->dims ? y->shape[i] : 1))
            return false;
    return true;
}

static ecd_status compare_tensors(const ecd_tensor *x, const ecd_tensor *y, ecd_diag *diag)
{
    ecd_tensor_stream s = {0}, t = {0};
    char got[160], expected[160];
    if (x->dtype != y->dtype)
        return ecd_tensor_fail(x, diag, "type %s, expected %s as in %s", ecd_dtype_name(x->dtype),
                               ecd_dtype_name(y->dtype), y->file->path);
    if (!same_shape(x, y))
        return ecd_tensor_fail(x, diag, "shape %s, expected %s as in %s", ecd_tensor_shape_text(x, got, sizeof got),
                               ecd_tensor_shape_text(y, expected, sizeof expected), y->file->path);
    ecd_status status = ecd_tensor_stream_open(x, &s, diag);
    if (!status)
        status = ecd_tensor_stream_open(y, &t, diag);
    if (!status)
        status = compare_streams(&s, &t, diag);
    ecd_tensor_stream_close(&s);
    ecd_tensor_stream_close(&t);
    ecd_file_dont_need(x->file, x->offset_bytes, x->size_bytes);
    ecd_file_dont_need(y->file, y->offset_bytes, y->size_bytes);
    return status;
}

static ecd_status lacks(const ecd_checkpoint *cp, const ecd_tensor *tensor, ecd_diag *diag)
{
    (void)ecd_fail(diag, ECD_DATA, "tensor is missing, expected it as in %s", tensor->file->path);
    ecd_diag_tensor(diag, tensor->name);
    ecd_diag_file(diag, cp->files[0]->path);
    return ECD_DATA;
}

static ecd_status compare_tensor_files(ecd_work *work, const char *a, const char *b, ecd_diag *diag)
{
    ecd_checkpoint *x = NULL, *y = NULL;
    ecd_status status = ecd_tensor_file_resolved(a, &x, diag);
    if (!status)
        status = ecd_tensor_file_resolved(b, &y, diag);
    for (size_t i = 0; !status && i < y->count; i++) {
        const ecd_tensor *wanted = &y->tensors[i], *got = ecd_checkpoint_find(x, wanted->name);
        status = got ? compare_tensors(got, wanted, diag) : lacks(x, wanted, diag);
        work->report->tensors++;
        if (!status)
            status = ecd_work_step(work, wanted->size_bytes, diag);
    }
    for (size_t i = 0; !status && i < x->count; i++)
        if (!ecd_checkpoint_find(y, x->tensors[i].name))
            status = lacks(y, &x->tensors[i], diag);
    ecd_checkpoint_close(x);
    ecd_checkpoint_close(y);
    return status;
}

static ecd_status differ(const char *a, const char *b, uint64_t offset, ecd_diag *diag)
{
    (void)ecd_fail(diag, ECD_DATA, "differs from %s", b);
    ecd_diag_file(diag, a);
    ecd_diag_offset(diag, offset);
    return ECD_DATA;
}

static ecd_status compare_bytes(const char *a, const char *b, ecd_diag *diag)
{
    ecd_file x, y = {0};
    uint64_t at = 0;
    ecd_status status = ecd_file_map(a, &x, diag);
    if (!status)
        status = ecd_file_map(b, &y, diag);
    if (!status && (x.size_bytes != y.size_bytes || (x.size_bytes && memcmp(x.data, y.data, x.size_bytes)))) {
        while (at < x.size_bytes && at < y.size_bytes && x.data[at] == y.data[at])
            at++;
        status = differ(a, b, at, diag);
    }
    ecd_file_unmap(&x);
    ecd_file_unmap(&y);
    return status;
}

// The text of a config, or of an index, without the marks of compression; the caller frees.
static ecd_status plain_text(const char *path, bool index, char **out, ecd_diag *diag)
{
    char *text = NULL;
    ecd_status status = ecd_file_read_text(path, index ? ECD_JSON_MAX_BYTES : CONFIG_MAX_BYTES, &text, NULL, diag);
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

static ecd_status compare_texts(const char *a, const char *b, bool index, ecd_diag *diag)
{
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

static ecd_status compare_files(ecd_work *work, const char *a, const char *b, bool torch, ecd_diag *diag)
{
    if (torch || ecd_ends_with(b, ".safetensors"))
        return compare_tensor_files(work, a, b, diag);
    bool index = ecd_ends_with(b, ".safetensors.index.json") || ecd_ends_with(b, ".bin.index.json");
    if (index || !strcmp(strrchr(b, '/') + 1, "config.json"))
        return compare_texts(a, b, index, diag);
    return compare_bytes(a, b, diag);
}

static ecd_status verify_entry(ecd_work *work, const ecd_tree_entry *entry, const char *a, const char *b,
                               ecd_diag *diag)
{
    if (entry->folder)
        return ECD_OK;
    char *other = other_format(a);
    bool torch = other && (ecd_ends_with(other, ".bin") || ecd_ends_with(b, ".bin"));
    if (other)
        a = other;
    if (!ecd_path_exists(a)) {
        (void)ecd_fail(diag, ECD_DATA, "is missing, expected it as in %s", b);
        ecd_diag_file(diag, a);
        return ECD_DATA;
    }
    uint64_t before = work->progress.done_bytes;
    work->progress.file = entry->path;
    work->limit_bytes = before + entry->size_bytes;
    work->report->files++;
    ecd_status status = compare_files(work, a, b, torch, diag);
    free(other);
    uint64_t told = work->progress.done_bytes - before;
    return status ? status : ecd_work_step(work, entry->size_bytes > told ? entry->size_bytes - told : 0, diag);
}

ecd_status ecd_verify(const char *a, const char *b, const ecd_compress_options *options, ecd_work_report *report,
                      ecd_diag *diag)
{
    ecd_tree tree;
    ecd_work work;
    *report = (ecd_work_report){0};
    if (!ecd_path_is_folder(a)) {
        (void)ecd_fail(diag, ECD_USAGE, ecd_path_exists(a) ? "not a folder" : "there is no such folder");
        ecd_diag_file(diag, a);
        return ECD_USAGE;
    }
    ecd_status status = ecd_tree_list(b, &tree, diag);
    if (status)
        return status;
    ecd_work_begin(&work, options, report, &tree);
    for (size_t i = 0; !status && i < tree.count; i++) {
        char *x = ecd_path_join(a, tree.entries[i].path), *y = ecd_path_join(b, tree.entries[i].path);
        status = x && y ? verify_entry(&work, &tree.entries[i], x, y, diag)
                        : ecd_fail_memory(diag, strlen(a), "a path");
        free(x);
        free(y);
    }
    ecd_tree_free(&tree);
    return status;
}
