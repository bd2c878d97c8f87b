// One tensor file into its compressed form.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/coded.h"
#include "weights/compress_header.h"
#include "weights/compress_tensor.h"
#include "weights/published.h"
#include "weights/twins.h"

enum {
    TASK_HASH = 100,            // a kind beside the stages of a tensor
    HASH_BYTES = 4 << 20,       // of a task
    AHEAD_BYTES = 32 << 20,     // hashing reads the file in order, and so fetches it from the disk for the coders
    HELD_BYTES = 96 << 20,      // that tensors on their way hold together; the first may hold more
};

typedef struct file_work {
    ecd_job *job;
    ecd_checkpoint *cp;
    ecd_original original;
    size_t *twins; // an earlier tensor of the same bytes, or the tensor itself
    ecd_tensors_writer writer;
    bool open;
    ecd_item *items; // in the order of the compressed file; aliases have none
    size_t item_count, first, next, placed; // not done; not begun; not placed
    uint64_t at_bytes;                      // place of the next that is placed
    uint64_t read_bytes;                    // how far coders have come in the source
    ecd_hash hash;
    uint64_t hashed_bytes;
    bool hashing;
} file_work;

static bool is_alias(const file_work *f, size_t i)
{
    const ecd_tensor *tensors = f->cp->tensors;
    return f->twins[i] != i && !ecd_original_quantizes(&f->original, &tensors[i]) &&
           !ecd_original_quantizes(&f->original, &tensors[f->twins[i]]);
}

static ecd_item item_of(const file_work *f, const ecd_tensor *tensor)
{
    bool quantized = ecd_original_quantizes(&f->original, tensor);
    bool expanded = tensor->encoding != ECD_ENCODING_RAW;
    ecd_dtype dtype = quantized ? ECD_E4M3 : tensor->dtype;
    bool anew = quantized || expanded;
    return (ecd_item){.tensor = tensor,
                      .quantized = quantized,
                      .coded = ecd_item_codes(tensor, dtype),
                      .dtype = dtype,
                      .expanded = expanded,
                      .elements = tensor->data,
                      .size_bytes = anew ? tensor->count * ecd_dtype_size(dtype) : tensor->size_bytes};
}

// First what stays raw for certain: its elements keep the alignment that they had, containers need none.
static ecd_status list_items(file_work *f, ecd_diag *diag)
{
    size_t count = f->cp->count;
    f->items = calloc(count + 1, sizeof *f->items);
    if (!f->items)
        return ecd_fail_memory(diag, count * sizeof *f->items, "a list of tensors");
    for (int coded = 0; coded < 2; coded++)
        for (size_t i = 0; i < count; i++) {
            ecd_item item = item_of(f, &f->cp->tensors[i]);
            if (is_alias(f, i) || (item.coded || item.quantized || item.expanded) != (coded != 0))
                continue;
            item.held_bytes = ecd_item_holds(&item, f->job->work);
            f->items[f->item_count++] = item;
        }
    return ECD_OK;
}

static ecd_status resolve(ecd_checkpoint *cp, ecd_diag *diag)
{
    ecd_status status = ecd_names_update(cp, diag);
    if (!status)
        status = ecd_checkpoint_index(cp, diag);
    return status ? status : ecd_ecf8_resolve(cp, diag);
}

// Published ECF8 is expanded on the way, with the files beside that only carry notes; our own is what there should be in
// the end.
static ecd_status check_source(file_work *f, ecd_diag *diag)
{
    bool coded = false, noted = f->cp->note_count > 0;
    for (size_t i = 0; i < f->cp->count; i++)
        coded |= ecd_ends_with(f->cp->tensors[i].name, ".ecf8");
    if (!coded && !f->job->torch && (ecd_published_any(f->cp) || (noted && f->job->work->expands))) {
        f->original.expand = true;
        return resolve(f->cp, diag);
    }
    if (!coded && !noted)
        return ECD_OK;
    ecd_fail(diag, ECD_USAGE, "holds ECF8 tensors already, expected an uncompressed file");
    ecd_diag_file(diag, f->cp->files[0]->path);
    return ECD_USAGE;
}

// What is coded already is expanded on the way, but not rounded.
static ecd_status check_part(const file_work *f, ecd_diag *diag)
{
    for (size_t i = 0; i < f->cp->count; i++) {
        const ecd_tensor *t = &f->cp->tensors[i];
        if (t->encoding != ECD_ENCODING_RAW && ecd_original_quantizes(&f->original, t)) {
            (void)ecd_tensor_fail(t, diag, "ECF8 already and to be rounded, expected an uncompressed file");
            return diag ? diag->status = ECD_USAGE : ECD_USAGE;
        }
    }
    return ECD_OK;
}

static ecd_status file_open(ecd_job *job, ecd_diag *diag)
{
    file_work *f = job->own = calloc(1, sizeof *f);
    if (!f)
        return ecd_fail_memory(diag, sizeof *f, "a tensor file");
    f->job = job;
    ecd_hash_begin(&f->hash);
    ecd_status status = job->part ? ecd_job_open_part(job, job->from, &f->cp, diag)
                                  : ecd_tensor_file_open(job->from, job->torch, &f->cp, diag);
    if (status)
        return status;
    f->original = (ecd_original){.cp = f->cp, .remade = job->torch || job->part, .quantize = job->quantize};
    status = job->part ? check_part(f, diag) : check_source(f, diag);
    if (!status)
        status = ecd_twins_find(f->cp, &f->twins, diag);
    if (!status)
        status = ecd_original_read(&f->original, diag);
    if (!status)
        status = list_items(f, diag);
    if (status)
        return status;
    status = ecd_tensors_writer_open(job->to, ecd_original_room(&f->original, f->twins), f->original.metadata, &f->writer,
                                     diag);
    f->original.metadata = NULL;
    f->open = !status;
    f->at_bytes = 8 + f->writer.header_bytes;
    return status ? status : ecd_writer_flush(&f->writer.file, diag);
}

static bool claim_hash(file_work *f, uint64_t limit, ecd_task *task)
{
    uint64_t size = f->cp->files[0]->size_bytes, left = size - f->hashed_bytes;
    if (!f->original.kept || f->hashing || !left || f->hashed_bytes > limit)
        return false;
    f->hashing = true;
    *task = (ecd_task){.kind = TASK_HASH, .first = f->hashed_bytes, .count = left < HASH_BYTES ? left : HASH_BYTES};
    return true;
}

// Sizes are known in any order, places in that of the file.
static void place_items(file_work *f)
{
    for (; f->placed < f->next && f->items[f->placed].stage == ECD_STAGE_PLACE; f->placed++) {
        ecd_item *item = &f->items[f->placed];
        if (item->quantized) {
            item->scale_at_bytes = f->at_bytes;
            f->at_bytes += (uint64_t)item->tensor->shape[0] * sizeof(float);
        }
        item->at_bytes = f->at_bytes;
        f->at_bytes += ecd_item_stored_bytes(item);
        ecd_item_place(item, f->job->work);
    }
}

static void item_done(file_work *f, ecd_item *item)
{
    f->job->work->held_bytes -= item->held_bytes;
    ecd_work_count(f->job, item->tensor->size_bytes);
    ecd_item_free(item);
}

// Begins the next tensor if there is room for it.
static bool begin_item(file_work *f)
{
    ecd_work *work = f->job->work;
    if (f->next >= f->item_count)
        return false;
    ecd_item *item = &f->items[f->next];
    if (work->held_bytes && work->held_bytes + item->held_bytes > HELD_BYTES)
        return false;
    work->held_bytes += item->held_bytes;
    f->next++;
    uint64_t end = item->tensor->offset_bytes;
    f->read_bytes = end > f->read_bytes ? end : f->read_bytes;
    ecd_item_begin(item, work);
    place_items(f);
    if (item->stage == ECD_STAGE_DONE) // it was empty
        item_done(f, item);
    return true;
}

static ecd_claim file_claim(ecd_job *job, ecd_task *task)
{
    file_work *f = job->own;
    if (claim_hash(f, f->read_bytes + AHEAD_BYTES, task))
        return ECD_CLAIM_TASK;
    while (f->first < f->next && f->items[f->first].stage == ECD_STAGE_DONE)
        f->first++;
    size_t i = f->first;
    do {
        for (; i < f->next; i++)
            if (ecd_item_claim(&f->items[i], task))
                return ECD_CLAIM_TASK;
    } while (begin_item(f));
    if (claim_hash(f, UINT64_MAX, task))
        return ECD_CLAIM_TASK;
    return f->first == f->item_count && !f->hashing ? ECD_CLAIM_END : ECD_CLAIM_WAIT;
}

// The pages stay for the coders who follow; what they have not given back by then goes a while behind.
static void hash_piece(file_work *f, const ecd_task *task)
{
    const ecd_file *file = f->cp->files[0];
    ecd_file_will_need(file, task->first + task->count, 2 * HASH_BYTES);
    ecd_file_populate(file, task->first, task->count);
    ecd_hash_add(&f->hash, file->data + task->first, task->count);
    if (task->first >= AHEAD_BYTES)
        ecd_file_dont_need(file, task->first - AHEAD_BYTES, task->count);
}

static ecd_status file_run(ecd_job *job, const ecd_task *task, ecd_diag *diag)
{
    file_work *f = job->own;
    if (task->kind == TASK_HASH) {
        hash_piece(f, task);
        return ECD_OK;
    }
    return ecd_item_run(task->item, task, job->work, &f->writer.file, diag);
}

static void file_finish(ecd_job *job, const ecd_task *task)
{
    file_work *f = job->own;
    if (task->kind == TASK_HASH) {
        f->hashed_bytes += task->count;
        f->hashing = false;
        return;
    }
    ecd_item *item = task->item;
    ecd_stage before = item->stage;
    if (before == ECD_STAGE_SCAN || before == ECD_STAGE_QUANTIZE || before == ECD_STAGE_COPY) {
        double share = (double)(task->first + task->count) / (double)item->units;
        uint64_t at = item->tensor->offset_bytes + (uint64_t)(share * (double)item->tensor->size_bytes);
        f->read_bytes = at > f->read_bytes ? at : f->read_bytes;
    }
    ecd_item_finish(item, task, job->work);
    place_items(f);
    if (item->stage == ECD_STAGE_DONE)
        item_done(f, item);
}

static ecd_status note_shape(file_work *f, const ecd_tensor *tensor, ecd_diag *diag)
{
    char text[ECD_MAX_DIMS * 21 + 1] = "";
    size_t used = 0;
    for (int i = 0; i < tensor->dims; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, i ? ",%lld" : "%lld", (long long)tensor->shape[i]);
    char *key = ecd_join("ecf8.shape.", tensor->name);
    ecd_status status = key ? ecd_tensors_writer_note(&f->writer, key, text, diag)
                            : ecd_fail_memory(diag, strlen(tensor->name), "a tensor's name");
    free(key);
    return status;
}

static ecd_status list_scale(file_work *f, const ecd_item *item, ecd_diag *diag)
{
    int64_t shape[2] = {item->tensor->shape[0], 1};
    uint64_t at, size = (uint64_t)shape[0] * sizeof(float);
    char *name = ecd_join(item->tensor->name, "_scale");
    if (!name)
        return ecd_fail_memory(diag, strlen(item->tensor->name), "a tensor's name");
    ecd_status status =
        ecd_tensors_writer_place(&f->writer, name, ecd_dtype_name(ECD_F32), shape, 2, size, &at, diag);
    if (!status)
        status = ecd_job_note_scale(f->job, name, diag);
    f->job->plain_bytes += size;
    f->job->tensors.quantized++;
    free(name);
    return status;
}

// The header's entry of a tensor whose bytes are written.
static ecd_status list_item(file_work *f, const ecd_item *item, ecd_diag *diag)
{
    const ecd_tensor *t = item->tensor;
    ecd_work_tensors *counts = &f->job->tensors;
    bool coded = item->blob_bytes && item->blob_bytes < item->size_bytes;
    int64_t shape = (int64_t)item->blob_bytes;
    uint64_t at;
    ecd_status status = item->quantized ? list_scale(f, item, diag) : ECD_OK;
    counts->by_mode[coded ? item->mode : ECF8_MODE_RAW]++;
    f->job->plain_bytes += item->size_bytes;
    if (status)
        return status;
    if (!coded) {
        const char *dtype = item->quantized ? ecd_dtype_name(item->dtype) : ecd_original_dtype(&f->original, t);
        return ecd_tensors_writer_place(&f->writer, t->name, dtype, t->shape, t->dims, item->size_bytes, &at, diag);
    }
    counts->coded++;
    char *name = ecd_join(t->name, ".ecf8");
    status = name ? ecd_tensors_writer_place(&f->writer, name, ecd_dtype_name(ECD_U8), &shape, 1, item->blob_bytes, &at,
                                             diag)
                  : ecd_fail_memory(diag, strlen(t->name), "a tensor's name");
    free(name);
    return !status && t->dims != 2 ? note_shape(f, t, diag) : status;
}

static ecd_status note_alias(file_work *f, size_t i, ecd_diag *diag)
{
    const ecd_tensor *tensor = &f->cp->tensors[i];
    char *key = ecd_join("ecf8.alias.", tensor->name);
    ecd_status status = key ? ecd_tensors_writer_note(&f->writer, key, f->cp->tensors[f->twins[i]].name, diag)
                            : ecd_fail_memory(diag, strlen(tensor->name), "a tensor's name");
    free(key);
    f->job->tensors.shared++;
    f->job->plain_bytes += tensor->size_bytes;
    return status;
}

static ecd_status file_close(ecd_job *job, ecd_diag *diag)
{
    file_work *f = job->own;
    ecd_status status = ecd_tensors_writer_note(&f->writer, "ecf8.header", f->original.plain, diag);
    if (f->original.kept)
        ecd_hash_end(&f->hash, job->sha256);
    else if (f->original.expand && ecd_note_value(f->cp, "header") && ecd_note_value(f->cp, "sha256"))
        snprintf(job->sha256, sizeof job->sha256, "%s", ecd_note_value(f->cp, "sha256")); // of the same original
    if (!status && *job->sha256)
        status = ecd_tensors_writer_note(&f->writer, "ecf8.sha256", job->sha256, diag);
    for (size_t i = 0; !status && i < f->item_count; i++)
        status = list_item(f, &f->items[i], diag);
    for (size_t i = 0; !status && i < f->cp->count; i++)
        if (is_alias(f, i))
            status = note_alias(f, i, diag);
    if (status)
        return status;
    job->tensors.all = f->cp->count;
    job->coded = true;
    job->stored_bytes = f->writer.data_bytes;
    job->written_bytes = 8 + f->writer.header_bytes + f->writer.data_bytes;
    f->open = false;
    return ecd_tensors_writer_commit(&f->writer, diag);
}

static void file_free(ecd_job *job)
{
    file_work *f = job->own;
    for (size_t i = 0; i < f->item_count; i++)
        ecd_item_free(&f->items[i]);
    if (f->open)
        ecd_tensors_writer_abandon(&f->writer);
    free(f->items);
    free(f->twins);
    ecd_original_free(&f->original);
    ecd_checkpoint_close(f->cp);
    free(f);
}

const ecd_job_calls ecd_compress_calls = {file_open, file_claim, file_run, file_finish, file_close, file_free};
