// Two tensor files that should hold the same.
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"
#include "weights/reader.h"

typedef struct pair {
    const ecd_tensor *x, *y;
    ecd_tensor_reader a, b;
    ecd_span span;
} pair;

typedef struct file_work {
    ecd_checkpoint *x, *y;
    pair *pairs;
    size_t count, first; // first: not done
} file_work;

static ecd_status lacks(const ecd_checkpoint *cp, const ecd_tensor *tensor, ecd_diag *diag)
{
    (void)ecd_fail(diag, ECD_DATA, "tensor is missing, expected it as in %s", tensor->file->path);
    ecd_diag_tensor(diag, tensor->name);
    ecd_diag_file(diag, cp->files[0]->path);
    return ECD_DATA;
}

// Trailing ones do not count: reading drops them of old attention weights.
static bool same_shape(const ecd_tensor *x, const ecd_tensor *y)
{
    for (int i = 0; i < ECD_MAX_DIMS; i++)
        if ((i < x->dims ? x->shape[i] : 1) != (i < y->dims ? y->shape[i] : 1))
            return false;
    return true;
}

static ecd_status check_pair(const ecd_tensor *x, const ecd_tensor *y, ecd_diag *diag)
{
    char got[160], expected[160];
    size_t unit;
    if (x->dtype != y->dtype)
        return ecd_tensor_fail(x, diag, "type %s, expected %s as in %s", ecd_dtype_name(x->dtype),
                               ecd_dtype_name(y->dtype), y->file->path);
    if ((!x->flat && !y->flat && !same_shape(x, y)) || ecd_tensor_units(x, &unit) != ecd_tensor_units(y, &unit))
        return ecd_tensor_fail(x, diag, "shape %s, expected %s as in %s", ecd_tensor_shape_text(x, got, sizeof got),
                               ecd_tensor_shape_text(y, expected, sizeof expected), y->file->path);
    return ECD_OK;
}

// The text of the header of the original: what a compressed file carries, or the file's own.
static const char *original_header(const ecd_checkpoint *cp, uint64_t *size)
{
    const char *text = ecd_note_value(cp, "header");
    const ecd_file *file = cp->files[0];
    *size = text ? strlen(text) : 0;
    for (int i = 7; !text && i >= 0; i--)
        *size = *size << 8 | file->data[i];
    return text ? text : (const char *)file->data + 8;
}

// Of an original and its compressed form: names, types, order, metadata and padding too.
static ecd_status compare_headers(const file_work *f, ecd_diag *diag)
{
    uint64_t size, other;
    const char *x = original_header(f->x, &size), *y = original_header(f->y, &other);
    if (!ecd_note_value(f->x, "header") && !ecd_note_value(f->y, "header")) // neither is compressed
        return ECD_OK;
    if (size == other && !memcmp(x, y, size))
        return ECD_OK;
    (void)ecd_fail(diag, ECD_DATA, "the header (order, metadata, padding) is not that of %s", f->y->files[0]->path);
    ecd_diag_file(diag, f->x->files[0]->path);
    return ECD_DATA;
}

static ecd_status match(file_work *f, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    f->pairs = calloc(f->y->count + 1, sizeof *f->pairs);
    if (!f->pairs)
        return ecd_fail_memory(diag, f->y->count * sizeof *f->pairs, "a list of tensors");
    for (size_t i = 0; !status && i < f->y->count; i++) {
        const ecd_tensor *y = &f->y->tensors[i], *x = ecd_checkpoint_find(f->x, y->name);
        size_t unit;
        status = x ? check_pair(x, y, diag) : lacks(f->x, y, diag);
        f->pairs[f->count++] = (pair){.x = x, .y = y, .span.units = ecd_tensor_units(y, &unit)};
    }
    for (size_t i = 0; !status && i < f->x->count; i++)
        if (!ecd_checkpoint_find(f->y, f->x->tensors[i].name))
            status = lacks(f->y, &f->x->tensors[i], diag);
    return status;
}

static ecd_status file_open(ecd_job *job, ecd_diag *diag)
{
    file_work *f = job->own = calloc(1, sizeof *f);
    if (!f)
        return ecd_fail_memory(diag, sizeof *f, "a tensor file");
    ecd_status status = job->part ? ecd_job_open_part(job, job->from, &f->x, diag)
                                  : ecd_tensor_file_resolved(job->from, &f->x, diag);
    if (!status)
        status = job->part ? ecd_job_open_part(job, job->to, &f->y, diag)
                           : ecd_tensor_file_resolved(job->to, &f->y, diag);
    if (!status)
        status = match(f, diag);
    if (!status && !job->torch && !job->part)
        status = compare_headers(f, diag);
    return status;
}

static ecd_claim file_claim(ecd_job *job, ecd_task *task)
{
    file_work *f = job->own;
    while (f->first < f->count && f->pairs[f->first].span.state == ECD_SPAN_DONE)
        f->first++;
    for (size_t i = f->first, open = 0; i < f->count && open <= job->work->threads; i++) {
        pair *p = &f->pairs[i];
        if (p->span.state == ECD_SPAN_DONE)
            continue;
        open++;
        if (ecd_span_claim(&p->span, task)) {
            task->item = p;
            return ECD_CLAIM_TASK;
        }
    }
    return f->first == f->count ? ECD_CLAIM_END : ECD_CLAIM_WAIT;
}

static ecd_status begin(pair *p, ecd_diag *diag)
{
    ecd_status status = ecd_tensor_reader_open(p->x, &p->a, diag);
    return status ? status : ecd_tensor_reader_open(p->y, &p->b, diag);
}

static ecd_status compare(const pair *p, const ecd_task *task, uint8_t *pieces, ecd_diag *diag)
{
    const uint8_t *x, *y;
    uint64_t size = task->count * p->a.unit_bytes, at = 0;
    ecd_status status = ecd_tensor_reader_read(&p->a, task->first, task->count, pieces, &x, diag);
    if (!status)
        status = ecd_tensor_reader_read(&p->b, task->first, task->count, pieces + size, &y, diag);
    if (status || !memcmp(x, y, size))
        return status;
    while (x[at] == y[at])
        at++;
    return ecd_tensor_fail(p->x, diag, "differs from %s at decoded byte %llu", p->y->file->path,
                           (unsigned long long)(task->first * p->a.unit_bytes + at));
}

static ecd_status file_run(ecd_job *job, const ecd_task *task, ecd_diag *diag)
{
    pair *p = task->item;
    if (task->kind == ECD_TASK_BEGIN)
        return begin(p, diag);
    uint64_t size = 2 * task->count * p->a.unit_bytes;
    bool coded = p->x->encoding != ECD_ENCODING_RAW || p->y->encoding != ECD_ENCODING_RAW;
    uint8_t *pieces = NULL;
    ecd_status status = ecd_work_scratch(job->work, task, coded ? size : 1, &pieces, diag);
    if (!status)
        status = compare(p, task, pieces, diag);
    ecd_tensor_reader_drop(&p->a, task->first, task->count);
    ecd_tensor_reader_drop(&p->b, task->first, task->count);
    return status;
}

static void file_finish(ecd_job *job, const ecd_task *task)
{
    pair *p = task->item;
    ecd_span_finish(&p->span, task);
    ecd_work_count(job, ecd_span_progress(&p->span, p->y->size_bytes));
    if (p->span.state == ECD_SPAN_DONE) {
        ecd_tensor_reader_close(&p->a);
        ecd_tensor_reader_close(&p->b);
        job->tensors.all++;
    }
}

static void file_free(ecd_job *job)
{
    file_work *f = job->own;
    for (size_t i = 0; i < f->count; i++) {
        ecd_tensor_reader_close(&f->pairs[i].a);
        ecd_tensor_reader_close(&f->pairs[i].b);
    }
    free(f->pairs);
    ecd_checkpoint_close(f->x);
    ecd_checkpoint_close(f->y);
    free(f);
}

const ecd_job_calls ecd_verify_calls = {file_open, file_claim, file_run, file_finish, NULL, file_free};
