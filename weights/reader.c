#include "weights/reader.h"

#include <stdlib.h>

enum { DROP_BYTES = 16 << 20 };

uint64_t ecd_tensor_units(const ecd_tensor *tensor, size_t *unit_bytes)
{
    *unit_bytes = tensor->dtype ? ecd_dtype_size(tensor->dtype) : 1;
    return tensor->dtype ? tensor->count : tensor->size_bytes;
}

ecd_status ecd_tensor_reader_open(const ecd_tensor *tensor, ecd_tensor_reader *out, ecd_diag *diag)
{
    *out = (ecd_tensor_reader){.tensor = tensor};
    out->units = ecd_tensor_units(tensor, &out->unit_bytes);
    if (tensor->encoding == ECD_ENCODING_RAW)
        return ECD_OK;
    ecd_status status = ecd_coded_open(tensor, tensor->data, tensor->size_bytes, &out->coded, diag);
    if (status)
        return status;
    size_t tables = ecd_coded_table_bytes(&out->coded);
    out->tables = malloc(tables + 1);
    status = out->tables ? ecd_coded_decoder_init(&out->coded, out->tables, tables, &out->decoder, diag)
                         : ecd_fail_memory(diag, tables, "decoding a tensor");
    if (status)
        ecd_tensor_reader_close(out);
    return status;
}

ecd_status ecd_tensor_reader_read(const ecd_tensor_reader *reader, uint64_t first, uint64_t count, uint8_t *piece,
                                  const uint8_t **data, ecd_diag *diag)
{
    *data = piece;
    if (reader->tensor->encoding != ECD_ENCODING_RAW)
        return ecd_coded_decode_range(&reader->coded, &reader->decoder, first, count, piece,
                                      count * reader->unit_bytes, true, diag);
    *data = reader->tensor->data + first * reader->unit_bytes;
    return ECD_OK;
}

void ecd_tensor_reader_drop(const ecd_tensor_reader *reader, uint64_t first, uint64_t count)
{
    const ecd_tensor *t = reader->tensor;
    uint64_t last = first + count;
    double each = reader->units ? (double)t->size_bytes / (double)reader->units : 0;
    if (t->encoding == ECD_ENCODING_RAW)
        ecd_file_dont_need(t->file, t->offset_bytes + first * reader->unit_bytes, count * reader->unit_bytes);
    else if (last == reader->units ||
             (uint64_t)(each * (double)last) / DROP_BYTES != (uint64_t)(each * (double)first) / DROP_BYTES)
        // Where a container's sections meet these units is its own affair: all of it, now and then.
        ecd_file_dont_need(t->file, t->offset_bytes, t->size_bytes);
}

void ecd_tensor_reader_close(ecd_tensor_reader *reader)
{
    free(reader->tables);
    reader->tables = NULL;
}

bool ecd_span_claim(ecd_span *span, ecd_task *task)
{
    if (span->state == ECD_SPAN_NEW) {
        span->state = ECD_SPAN_BEGINNING;
        task->kind = ECD_TASK_BEGIN;
        return true;
    }
    if (span->state != ECD_SPAN_OPEN || span->next >= span->units)
        return false;
    uint64_t left = span->units - span->next;
    task->kind = ECD_TASK_PIECE;
    task->first = span->next;
    task->count = left < ECD_SPAN_UNITS ? left : ECD_SPAN_UNITS;
    span->next += task->count;
    return true;
}

void ecd_span_finish(ecd_span *span, const ecd_task *task)
{
    if (task->kind == ECD_TASK_BEGIN)
        span->state = ECD_SPAN_OPEN;
    else
        span->finished += task->count;
    if (span->finished == span->units)
        span->state = ECD_SPAN_DONE;
}

uint64_t ecd_span_progress(ecd_span *span, uint64_t size_bytes)
{
    double share = span->units ? (double)span->finished / (double)span->units : 1;
    uint64_t done = (uint64_t)(share * (double)size_bytes), fresh = done - span->counted_bytes;
    span->counted_bytes = done;
    return fresh;
}
