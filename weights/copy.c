// A file that is copied as it is: one task after the other, each a piece.
#include <stdlib.h>

#include "weights/compress_internal.h"

typedef struct copy {
    ecd_file source;
    ecd_writer writer;
    bool open, busy;
    ecd_hash hash;
    uint64_t at;
} copy;

static ecd_status copy_open(ecd_job *job, ecd_diag *diag)
{
    copy *c = job->own = calloc(1, sizeof *c);
    if (!c)
        return ecd_fail_memory(diag, sizeof *c, "copying a file");
    ecd_hash_begin(&c->hash);
    ecd_status status = ecd_file_map(job->from, &c->source, diag);
    if (!status)
        c->open = !(status = ecd_writer_open(job->to, &c->writer, diag));
    return status;
}

static ecd_claim copy_claim(ecd_job *job, ecd_task *task)
{
    copy *c = job->own;
    if (c->at >= c->source.size_bytes)
        return ECD_CLAIM_END;
    if (c->busy)
        return ECD_CLAIM_WAIT;
    uint64_t left = c->source.size_bytes - c->at;
    task->first = c->at;
    task->count = left < ECD_PIECE_BYTES ? left : ECD_PIECE_BYTES;
    c->busy = true;
    return ECD_CLAIM_TASK;
}

static ecd_status copy_run(ecd_job *job, const ecd_task *task, ecd_diag *diag)
{
    copy *c = job->own;
    const uint8_t *data = c->source.data + task->first;
    ecd_file_will_need(&c->source, task->first + task->count, 2 * ECD_PIECE_BYTES);
    ecd_hash_add(&c->hash, data, task->count);
    ecd_status status = ecd_writer_write(&c->writer, data, task->count, diag);
    ecd_file_dont_need(&c->source, task->first, task->count);
    return status;
}

static void copy_finish(ecd_job *job, const ecd_task *task)
{
    copy *c = job->own;
    c->at += task->count;
    c->busy = false;
    ecd_work_count(job, task->count);
}

static ecd_status copy_close(ecd_job *job, ecd_diag *diag)
{
    copy *c = job->own;
    ecd_hash_end(&c->hash, job->sha256);
    job->written_bytes = c->writer.written_bytes;
    c->open = false;
    return ecd_writer_commit(&c->writer, diag);
}

static void copy_free(ecd_job *job)
{
    copy *c = job->own;
    if (c && c->open)
        ecd_writer_abandon(&c->writer);
    if (c)
        ecd_file_unmap(&c->source);
    free(c);
}

const ecd_job_calls ecd_copy_calls = {copy_open, copy_claim, copy_run, copy_finish, copy_close, copy_free};
