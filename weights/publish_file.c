// One tensor file into published ECF8 0.2.0: what is not coded first, then a group after the other.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/published.h"
#include "weights/compress_header.h"
#include "weights/publish.h"

enum {
    TASK_HASH,   // of the original
    TASK_SPLITS, // split_positions of all groups: 8-byte integers, which want to lie first
    TASK_PLAIN,  // a tensor as it is
    TASK_GROUP,
    PIECE_BYTES = 4 << 20,
};

// A group of this file: layers first .. end - 1 of the plan.
typedef struct group {
    size_t first, end;
} group;

typedef struct file_work {
    ecd_job *job;
    const ecd_publish_plan *plan;
    ecd_checkpoint *cp;
    ecd_original original;
    ecd_tensors_writer writer;
    bool open, busy; // one task at a time: other files have tasks too
    bool *coded;     // tensors that groups hold
    group *groups;
    size_t group_count;
    ecd_hash hash;
    uint64_t hashed_bytes;
    bool splits_done;
    size_t next_plain, next_group;
} file_work;

static const ecd_tensor *weight_of(const file_work *f, const ecd_publish_layer *layer)
{
    char *name = ecd_join(layer->module, ".weight");
    const ecd_tensor *found = name ? ecd_checkpoint_find(f->cp, name) : NULL;
    free(name);
    return found;
}

static ecd_status list_groups(file_work *f, ecd_diag *diag)
{
    const ecd_publish_plan *plan = f->plan;
    f->groups = calloc(plan->count + 1, sizeof *f->groups);
    f->coded = calloc(f->cp->count + 1, sizeof *f->coded);
    if (!f->groups || !f->coded)
        return ecd_fail_memory(diag, plan->count * sizeof *f->groups, "a list of groups");
    for (size_t first = 0, end; first < plan->count; first = end) {
        end = ecd_publish_group_end(plan, first);
        if (plan->layers[first].path != f->job->entry->path)
            continue;
        f->groups[f->group_count++] = (group){first, end};
        for (size_t i = first; i < end; i++) {
            const ecd_tensor *tensor = weight_of(f, &plan->layers[i]);
            if (!tensor || tensor->count != plan->layers[i].count) { // gone since the plan was made
                (void)ecd_fail(diag, ECD_DATA, "changed while it was read");
                ecd_diag_file(diag, f->job->from);
                return ECD_DATA;
            }
            f->coded[tensor - f->cp->tensors] = true;
        }
    }
    return ECD_OK;
}

static ecd_status check_source(const file_work *f, ecd_diag *diag)
{
    bool coded = f->cp->note_count > 0;
    for (size_t i = 0; i < f->cp->count; i++)
        coded |= ecd_ends_with(f->cp->tensors[i].name, ".ecf8");
    if (!coded)
        return ECD_OK;
    (void)ecd_fail(diag, ECD_USAGE, "holds ECF8 tensors already, expected an uncompressed file");
    ecd_diag_file(diag, f->cp->files[0]->path);
    return ECD_USAGE;
}

// No header is longer: to the room of a file without groups that of their buffers and notes is added. A name is printed
// with up to 6 bytes a character.
static uint64_t header_room(const file_work *f, ecd_diag *diag, ecd_status *status)
{
    size_t *alone = calloc(f->cp->count + 1, sizeof *alone);
    if (!alone) {
        *status = ecd_fail_memory(diag, f->cp->count * sizeof *alone, "a list of tensors");
        return 0;
    }
    for (size_t i = 0; i < f->cp->count; i++)
        alone[i] = i;
    uint64_t room = ecd_original_room(&f->original, alone);
    free(alone);
    for (size_t g = 0; g < f->group_count; g++) {
        const group *at = &f->groups[g];
        room += 6 * (6 * (uint64_t)strlen(f->plan->layers[at->first].module) + 160);
        for (size_t i = at->first; i < at->end; i++)
            room += 6 * (uint64_t)strlen(f->plan->layers[i].module) + 128;
    }
    return room;
}

static ecd_status file_open(ecd_job *job, ecd_diag *diag)
{
    file_work *f = job->own = calloc(1, sizeof *f);
    if (!f)
        return ecd_fail_memory(diag, sizeof *f, "a tensor file");
    f->job = job;
    f->plan = job->work->publish;
    ecd_hash_begin(&f->hash);
    ecd_status status = ecd_tensor_file_open(job->from, false, &f->cp, diag);
    if (status)
        return status;
    f->original = (ecd_original){.cp = f->cp};
    status = check_source(f, diag);
    if (!status)
        status = ecd_checkpoint_index(f->cp, diag);
    if (!status)
        status = list_groups(f, diag);
    if (!status)
        status = ecd_original_read(&f->original, diag);
    uint64_t room = status ? 0 : header_room(f, diag, &status);
    if (status)
        return status;
    status = ecd_tensors_writer_open(job->to, room, f->original.metadata, &f->writer, diag);
    f->original.metadata = NULL;
    f->open = !status;
    return status ? status : ecd_writer_flush(&f->writer.file, diag);
}

static ecd_claim claim_as(file_work *f, ecd_task *task, int kind, uint64_t first, uint64_t count)
{
    *task = (ecd_task){.kind = kind, .first = first, .count = count};
    f->busy = true;
    return ECD_CLAIM_TASK;
}

static ecd_claim file_claim(ecd_job *job, ecd_task *task)
{
    file_work *f = job->own;
    uint64_t left = f->cp->files[0]->size_bytes - f->hashed_bytes;
    if (f->busy)
        return ECD_CLAIM_WAIT;
    if (left)
        return claim_as(f, task, TASK_HASH, f->hashed_bytes, left < PIECE_BYTES ? left : PIECE_BYTES);
    if (!f->splits_done)
        return claim_as(f, task, TASK_SPLITS, 0, 1);
    while (f->next_plain < f->cp->count && f->coded[f->next_plain])
        f->next_plain++;
    if (f->next_plain < f->cp->count)
        return claim_as(f, task, TASK_PLAIN, f->next_plain, 1);
    if (f->next_group < f->group_count)
        return claim_as(f, task, TASK_GROUP, f->next_group, 1);
    return ECD_CLAIM_END;
}

// A tensor of the group's, "<block>.<part>".
static ecd_status write_part(file_work *f, const group *g, const char *part, const char *dtype, const int64_t *shape,
                             int dims, const void *data, uint64_t size, ecd_diag *diag)
{
    const ecd_publish_layer *layer = &f->plan->layers[g->first];
    char *name = NULL;
    uint64_t at;
    if (asprintf(&name, "%.*s.%s", (int)layer->block_length, layer->module, part) < 0)
        return ecd_fail_memory(diag, layer->block_length, "a tensor's name");
    ecd_status status = ecd_tensors_writer_place(&f->writer, name, dtype, shape, dims, size, &at, diag);
    if (!status)
        status = ecd_writer_patch(&f->writer.file, at, data, size, diag);
    free(name);
    return status;
}

static ecd_status write_splits(file_work *f, const group *g, ecd_diag *diag)
{
    int64_t shape = (int64_t)(g->end - g->first - 1);
    uint64_t *splits = calloc((size_t)shape + 1, sizeof *splits), at = 0;
    if (!splits)
        return ecd_fail_memory(diag, (size_t)shape * sizeof *splits, "split positions");
    for (int64_t i = 0; i < shape; i++)
        splits[i] = at += f->plan->layers[g->first + (size_t)i].count;
    ecd_status status = write_part(f, g, "split_positions", ecd_dtype_name(ECD_I64), &shape, 1, splits,
                                   (uint64_t)shape * sizeof *splits, diag);
    free(splits);
    return status;
}

static ecd_status write_plain(file_work *f, const ecd_tensor *t, ecd_diag *diag)
{
    uint64_t at;
    ecd_status status = ecd_tensors_writer_place(&f->writer, t->name, ecd_original_dtype(&f->original, t), t->shape,
                                                 t->dims, t->size_bytes, &at, diag);
    for (uint64_t done = 0; !status && done < t->size_bytes; done += PIECE_BYTES) {
        uint64_t left = t->size_bytes - done, size = left < PIECE_BYTES ? left : PIECE_BYTES;
        status = ecd_writer_patch(&f->writer.file, at + done, t->data + done, size, diag);
        ecd_file_dont_need(t->file, t->offset_bytes + done, size);
    }
    return status;
}

static ecd_status note_shape(file_work *f, const ecd_tensor *t, ecd_diag *diag)
{
    char text[48], *key = ecd_join("ecf8.shape.", t->name);
    snprintf(text, sizeof text, "%lld,%lld", (long long)t->shape[0], (long long)t->shape[1]);
    ecd_status status = key ? ecd_tensors_writer_note(&f->writer, key, text, diag)
                            : ecd_fail_memory(diag, strlen(t->name), "a tensor's name");
    free(key);
    return status;
}

static ecd_status codec_fault(const file_work *f, const ecf8_published_error *error, ecd_diag *diag)
{
    (void)ecd_fail(diag, ECD_DATA, "ECF8 0.2.0: expected %s", error->what);
    ecd_diag_file(diag, f->job->from);
    return ECD_DATA;
}

static ecd_status pack(file_work *f, const group *g, const ecf8_published_plan *plan, uint8_t *const *parts,
                       ecd_diag *diag)
{
    ecf8_published_packer packer;
    ecf8_published_error error = {0};
    ecf8_published_pack_begin(&packer, plan, parts);
    for (size_t i = g->first; i < g->end; i++) {
        const ecd_tensor *t = weight_of(f, &f->plan->layers[i]);
        if (!t)
            return ecd_fail_memory(diag, 1024, "a tensor's name");
        if (ecf8_published_pack(&packer, t->data, t->count, &error))
            return codec_fault(f, &error, diag);
        ecd_file_dont_need(t->file, t->offset_bytes, t->size_bytes);
        ecd_status status = note_shape(f, t, diag);
        if (status)
            return status;
    }
    return ecf8_published_pack_end(&packer, &error) ? codec_fault(f, &error, diag) : ECD_OK;
}

static ecd_status write_group(file_work *f, const group *g, ecd_diag *diag)
{
    ecf8_published_plan plan = {0};
    ecf8_published_error error = {0};
    uint8_t *parts[ECF8_PUBLISHED_PARTS] = {NULL};
    ecd_status status = ECD_OK;
    for (size_t i = g->first; i < g->end; i++) {
        const ecd_tensor *t = weight_of(f, &f->plan->layers[i]);
        if (!t)
            return ecd_fail_memory(diag, 1024, "a tensor's name");
        ecf8_published_count(&plan, t->data, t->count);
    }
    if (ecf8_published_decide(&plan, &error))
        return codec_fault(f, &error, diag);
    for (unsigned i = 0; !status && i < ECF8_PUBLISHED_PARTS; i++)
        if (!(parts[i] = malloc(plan.bytes[i])))
            status = ecd_fail_memory(diag, plan.bytes[i], "a group of weights");
    if (!status)
        status = pack(f, g, &plan, parts, diag);
    for (unsigned i = 0; !status && i < ECF8_PUBLISHED_PARTS; i++) {
        bool luts = i == ECF8_PUBLISHED_LUTS;
        const int64_t shape[2] = {(int64_t)plan.bytes[i] / (luts ? 256 : 1), 256};
        status = write_part(f, g, ecf8_published_part_name((ecf8_published_part)i), ecd_dtype_name(ECD_U8), shape,
                            luts ? 2 : 1, parts[i], plan.bytes[i], diag);
    }
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++)
        free(parts[i]);
    return status;
}

static ecd_status file_run(ecd_job *job, const ecd_task *task, ecd_diag *diag)
{
    file_work *f = job->own;
    const ecd_file *file = f->cp->files[0];
    ecd_status status = ECD_OK;
    if (task->kind == TASK_PLAIN)
        return write_plain(f, &f->cp->tensors[task->first], diag);
    if (task->kind == TASK_GROUP)
        return write_group(f, &f->groups[task->first], diag);
    if (task->kind == TASK_HASH) {
        ecd_file_will_need(file, task->first + task->count, 2 * PIECE_BYTES);
        ecd_hash_add(&f->hash, file->data + task->first, task->count);
        ecd_file_dont_need(file, task->first, task->count);
    }
    for (size_t i = 0; task->kind == TASK_SPLITS && !status && i < f->group_count; i++)
        status = write_splits(f, &f->groups[i], diag);
    return status;
}

static void file_finish(ecd_job *job, const ecd_task *task)
{
    file_work *f = job->own;
    f->busy = false;
    if (task->kind == TASK_HASH) {
        f->hashed_bytes += task->count;
    } else if (task->kind == TASK_SPLITS) {
        f->splits_done = true;
    } else if (task->kind == TASK_PLAIN) {
        ecd_work_count(job, f->cp->tensors[f->next_plain++].size_bytes);
        job->tensors.by_mode[ECF8_MODE_RAW]++;
    } else {
        const group *g = &f->groups[f->next_group++];
        for (size_t i = g->first; i < g->end; i++)
            ecd_work_count(job, f->plan->layers[i].count);
        job->tensors.coded += g->end - g->first;
    }
}

static ecd_status file_close(ecd_job *job, ecd_diag *diag)
{
    file_work *f = job->own;
    ecd_hash_end(&f->hash, job->sha256);
    ecd_status status = ecd_tensors_writer_note(&f->writer, "ecf8.header", f->original.plain, diag);
    if (!status)
        status = ecd_tensors_writer_note(&f->writer, "ecf8.sha256", job->sha256, diag);
    if (status)
        return status;
    job->tensors.all = f->cp->count;
    job->coded = true;
    job->stored_bytes = f->writer.data_bytes;
    for (size_t i = 0; i < f->cp->count; i++)
        job->plain_bytes += f->cp->tensors[i].size_bytes;
    job->written_bytes = 8 + f->writer.header_bytes + f->writer.data_bytes;
    f->open = false;
    return ecd_tensors_writer_commit(&f->writer, diag);
}

static void file_free(ecd_job *job)
{
    file_work *f = job->own;
    if (f->open)
        ecd_tensors_writer_abandon(&f->writer);
    free(f->groups);
    free(f->coded);
    ecd_original_free(&f->original);
    ecd_checkpoint_close(f->cp);
    free(f);
    job->own = NULL;
}

const ecd_job_calls ecd_publish_calls = {file_open, file_claim, file_run, file_finish, file_close, file_free};
