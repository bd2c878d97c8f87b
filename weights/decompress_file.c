// One compressed tensor file into the original.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weights/compress_header.h"
#include "weights/json.h"
#include "weights/reader.h"

enum { TASK_HASH = 100, HASH_BYTES = 4 << 20, HASH_BUFFER = 1 << 17 };

// A tensor of the file to write: what its header says of it.
typedef struct part {
    const char *name; // borrowed from the header
    uint64_t begin, end;
    const ecd_tensor *tensor;
    ecd_tensor_reader reader;
    ecd_span span;
} part;

typedef struct file_work {
    ecd_checkpoint *cp;
    cJSON *header;
    ecd_original made; // of published ECF8 that others wrote: its header names no original's
    part *parts; // in the order of their bytes
    size_t count, first; // first: not done
    uint64_t data_start, size_bytes; // of the file to write
    ecd_writer writer;
    bool open;
    ecd_task *in_flight; // pieces, one a thread at most
    size_t in_flight_count;
    const char *expected; // SHA-256 of the original; NULL: not recorded
    ecd_hash hash;        // over the bytes written, in order
    uint64_t hashed_bytes;
    bool hashing;
} file_work;

static int compare_parts(const void *a, const void *b)
{
    const part *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static bool offset_of(const cJSON *value, uint64_t *out)
{
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble < 9007199254740992.0))
        return false;
    *out = (uint64_t)value->valuedouble;
    return true;
}

static ecd_status fail_part(const file_work *f, const char *name, ecd_diag *diag)
{
    ecd_diag_tensor(diag, name);
    ecd_diag_file(diag, f->cp->files[0]->path);
    return ECD_DATA;
}

static ecd_status read_parts(file_work *f, ecd_diag *diag)
{
    const cJSON *entry;
    f->parts = calloc((size_t)cJSON_GetArraySize(f->header) + 1, sizeof *f->parts);
    if (!f->parts)
        return ecd_fail_memory(diag, sizeof *f->parts, "a header");
    cJSON_ArrayForEach(entry, f->header)
    {
        if (!strcmp(entry->string, "__metadata__"))
            continue;
        const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
        part *p = &f->parts[f->count];
        p->name = entry->string;
        if (cJSON_GetArraySize(offsets) != 2 || !offset_of(offsets->child, &p->begin) ||
            !offset_of(offsets->child->next, &p->end)) {
            (void)ecd_fail(diag, ECD_DATA, "ecf8.header: bad data_offsets, expected two integers from 0 to 2^53 - 1");
            return fail_part(f, entry->string, diag);
        }
        f->count++;
    }
    qsort(f->parts, f->count, sizeof *f->parts, compare_parts);
    return ECD_OK;
}

static ecd_status find_tensor(const file_work *f, part *p, uint64_t at, ecd_diag *diag)
{
    char *current = ecd_names_current(p->name);
    if (!current)
        return ecd_fail_memory(diag, strlen(p->name), "a tensor's name");
    size_t unit = 1;
    p->tensor = ecd_checkpoint_find(f->cp, current);
    free(current);
    p->span.units = p->tensor ? ecd_tensor_units(p->tensor, &unit) : 0;
    if (p->tensor && p->begin == at && p->end >= p->begin && p->end - p->begin == p->span.units * unit)
        return ECD_OK;
    (void)ecd_fail(diag, ECD_DATA, "%s the tensor that ecf8.header lists at bytes %llu to %llu of the original",
                   p->tensor ? "its size or place is not that of" : "the file lacks", (unsigned long long)p->begin,
                   (unsigned long long)p->end);
    return fail_part(f, p->name, diag);
}

static ecd_status write_header(file_work *f, const char *text, const char *to, ecd_diag *diag)
{
    size_t length = strlen(text);
    uint8_t prefix[8];
    ecd_status status = ecd_writer_open(to, &f->writer, diag);
    f->open = !status;
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)length >> (8 * i));
    if (!status)
        status = ecd_writer_write(&f->writer, prefix, sizeof prefix, diag);
    if (!status)
        status = ecd_writer_write(&f->writer, text, length, diag);
    return status ? status : ecd_writer_flush(&f->writer, diag);
}

static ecd_status open_original(ecd_job *job, file_work *f, const char *text, ecd_diag *diag)
{
    ecd_status status = ecd_json_parse(text, strlen(text), 0, &f->header, diag);
    if (status) {
        ecd_diag_file(diag, job->from);
        return status;
    }
    status = read_parts(f, diag);
    uint64_t at = 0;
    for (size_t i = 0; !status && i < f->count; i++) {
        status = find_tensor(f, &f->parts[i], at, diag);
        at = f->parts[i].end;
    }
    f->data_start = 8 + strlen(text);
    f->size_bytes = f->data_start + at;
    f->expected = ecd_note_value(f->cp, "sha256");
    if (!f->expected)
        f->expected = job->expected;
    if (!status)
        status = write_header(f, text, job->to, diag);
    return status;
}

static bool holds_groups(const ecd_checkpoint *cp)
{
    for (size_t i = 0; i < cp->count; i++)
        if (cp->tensors[i].encoding == ECD_ENCODING_PUBLISHED)
            return true;
    return false;
}

static ecd_status file_open(ecd_job *job, ecd_diag *diag)
{
    file_work *f = job->own = calloc(1, sizeof *f);
    if (!f)
        return ecd_fail_memory(diag, sizeof *f, "a tensor file");
    f->in_flight = calloc(job->work->threads, sizeof *f->in_flight);
    if (!f->in_flight)
        return ecd_fail_memory(diag, job->work->threads * sizeof *f->in_flight, "a tensor file");
    ecd_hash_begin(&f->hash);
    ecd_status status = ecd_tensor_file_resolved(job->from, &f->cp, diag);
    if (status)
        return status;
    const char *text = ecd_note_value(f->cp, "header");
    if (!text && holds_groups(f->cp)) {
        f->made = (ecd_original){.cp = f->cp, .expand = true};
        if ((status = ecd_original_read(&f->made, diag)))
            return status;
        text = f->made.plain;
    }
    if (text)
        return open_original(job, f, text, diag);
    job->calls->free(job); // it was not compressed
    job->calls = &ecd_copy_calls;
    return job->calls->open(job, diag);
}

// Up to where all bytes are written.
static uint64_t written_bytes(const file_work *f)
{
    if (f->first == f->count)
        return f->size_bytes;
    const part *p = &f->parts[f->first];
    if (p->span.state != ECD_SPAN_OPEN) // nothing of it; its reader is not there, or is being made
        return f->data_start + p->begin;
    uint64_t least = p->span.next;
    for (size_t i = 0; i < f->in_flight_count; i++)
        if (f->in_flight[i].item == p && f->in_flight[i].first < least)
            least = f->in_flight[i].first;
    return f->data_start + p->begin + least * p->reader.unit_bytes;
}

static bool claim_hash(file_work *f, ecd_task *task)
{
    if (!f->expected || f->hashing)
        return false;
    uint64_t ready = written_bytes(f) - f->hashed_bytes;
    if (!ready || (ready < HASH_BYTES && f->first < f->count))
        return false;
    *task = (ecd_task){.kind = TASK_HASH, .first = f->hashed_bytes, .count = ready < HASH_BYTES ? ready : HASH_BYTES};
    f->hashing = true;
    return true;
}

static ecd_claim file_claim(ecd_job *job, ecd_task *task)
{
    file_work *f = job->own;
    while (f->first < f->count && f->parts[f->first].span.state == ECD_SPAN_DONE)
        f->first++;
    if (claim_hash(f, task))
        return ECD_CLAIM_TASK;
    for (size_t i = f->first, open = 0; i < f->count && open <= job->work->threads; i++) {
        part *p = &f->parts[i];
        if (p->span.state == ECD_SPAN_DONE)
            continue;
        open++;
        if (!ecd_span_claim(&p->span, task))
            continue;
        task->item = p;
        if (task->kind == ECD_TASK_PIECE)
            f->in_flight[f->in_flight_count++] = *task;
        return ECD_CLAIM_TASK;
    }
    bool hashed = !f->expected || f->hashed_bytes == f->size_bytes;
    return f->first == f->count && hashed ? ECD_CLAIM_END : ECD_CLAIM_WAIT;
}

// From the file again: what is compared is what was written.
static ecd_status hash_piece(const ecd_work *work, file_work *f, const ecd_task *task, ecd_diag *diag)
{
    uint8_t *buffer;
    ecd_status status = ecd_work_scratch(work, task, HASH_BUFFER, &buffer, diag);
    for (uint64_t at = task->first, end = at + task->count; !status && at < end;) {
        size_t want = end - at < HASH_BUFFER ? (size_t)(end - at) : HASH_BUFFER;
        ssize_t got = pread(f->writer.fd, buffer, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got ? errno : EIO;
            status = ecd_fail_errno(diag, f->writer.path, "read back");
            break;
        }
        ecd_hash_add(&f->hash, buffer, (size_t)got);
        at += (uint64_t)got;
    }
    return status;
}

static ecd_status write_piece(const ecd_work *work, file_work *f, const ecd_task *task, ecd_diag *diag)
{
    const part *p = task->item;
    const uint8_t *data;
    uint8_t *piece = NULL;
    uint64_t size = task->count * p->reader.unit_bytes;
    bool coded = p->tensor->encoding != ECD_ENCODING_RAW;
    ecd_status status = coded ? ecd_work_scratch(work, task, size, &piece, diag) : ECD_OK;
    if (!status)
        status = ecd_tensor_reader_read(&p->reader, task->first, task->count, piece, &data, diag);
    if (!status)
        status = ecd_writer_patch(&f->writer, f->data_start + p->begin + task->first * p->reader.unit_bytes, data, size,
                                  diag);
    ecd_tensor_reader_drop(&p->reader, task->first, task->count);
    return status;
}

static ecd_status file_run(ecd_job *job, const ecd_task *task, ecd_diag *diag)
{
    file_work *f = job->own;
    part *p = task->item;
    if (task->kind == TASK_HASH)
        return hash_piece(job->work, f, task, diag);
    if (task->kind == ECD_TASK_BEGIN)
        return ecd_tensor_reader_open(p->tensor, &p->reader, diag);
    return write_piece(job->work, f, task, diag);
}

static void file_finish(ecd_job *job, const ecd_task *task)
{
    file_work *f = job->own;
    part *p = task->item;
    if (task->kind == TASK_HASH) {
        f->hashed_bytes += task->count;
        f->hashing = false;
        return;
    }
    size_t i = 0;
    while (i < f->in_flight_count && (f->in_flight[i].item != p || f->in_flight[i].first != task->first))
        i++;
    if (task->kind == ECD_TASK_PIECE)
        f->in_flight[i] = f->in_flight[--f->in_flight_count];
    ecd_span_finish(&p->span, task);
    ecd_work_count(job, ecd_span_progress(&p->span, p->tensor->size_bytes));
    if (p->span.state == ECD_SPAN_DONE) {
        ecd_tensor_reader_close(&p->reader);
        job->tensors.all++;
        job->tensors.coded += p->tensor->encoding != ECD_ENCODING_RAW;
    }
}

static ecd_status file_close(ecd_job *job, ecd_diag *diag)
{
    file_work *f = job->own;
    job->coded = true;
    job->written_bytes = f->size_bytes;
    if (f->expected) {
        ecd_hash_end(&f->hash, job->sha256);
        ecd_status status = ecd_job_check_sum(job, f->expected, diag);
        if (status)
            return status;
    }
    f->open = false;
    return ecd_writer_commit(&f->writer, diag);
}

static void file_free(ecd_job *job)
{
    file_work *f = job->own;
    for (size_t i = 0; i < f->count; i++)
        ecd_tensor_reader_close(&f->parts[i].reader);
    if (f->open)
        ecd_writer_abandon(&f->writer);
    free(f->in_flight);
    free(f->parts);
    cJSON_Delete(f->header);
    ecd_original_free(&f->made);
    ecd_checkpoint_close(f->cp);
    free(f);
    job->own = NULL;
}

const ecd_job_calls ecd_decompress_calls = {file_open, file_claim, file_run, file_finish, file_close, file_free};
