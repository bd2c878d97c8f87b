// One tensor file into its compressed form.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/coded.h"
#include "weights/compress_internal.h"
#include "weights/json.h"
#include "weights/twins.h"
#include "weights/writer.h"

enum { CODE_AT_LEAST = 1024 }; // bytes: below, a container's header outweighs what coding saves

typedef struct job {
    ecd_work *work;
    const ecd_checkpoint *cp;
    bool torch, quantize;
    size_t *twins; // an earlier tensor of the same bytes, or the tensor itself
    char *plain;   // the header that decompressing writes
    cJSON *metadata;
    ecd_tensors_writer writer;
    ecd_diag *diag;
} job;

static bool quantizes(const job *j, const ecd_tensor *tensor)
{
    return j->quantize && tensor->dtype >= ECD_F32 && tensor->dtype <= ECD_BF16 && ecd_quantize_wants(tensor);
}

// "transformer_blocks.0.ff.net.2.weight" -> "....weight_scale"; the caller frees.
static char *scale_name(const char *name)
{
    size_t length = strlen(name);
    char *out = malloc(length + sizeof "_scale");
    if (out) {
        memcpy(out, name, length);
        memcpy(out + length, "_scale", sizeof "_scale");
    }
    return out;
}

static bool plain_add(cJSON *header, const char *name, ecd_dtype dtype, const int64_t *shape, int dims, uint64_t size,
                      uint64_t *at)
{
    cJSON *entry = ecd_tensors_entry(dtype, shape, dims, *at, *at + size);
    *at += size;
    if (entry && cJSON_AddItemToObject(header, name, entry))
        return true;
    cJSON_Delete(entry);
    return false;
}

static bool plain_add_quantized(cJSON *header, const ecd_tensor *tensor, uint64_t *at)
{
    int64_t shape[2] = {tensor->shape[0], 1};
    char *name = scale_name(tensor->name);
    bool ok = name && plain_add(header, tensor->name, ECD_E4M3, tensor->shape, tensor->dims, tensor->count, at) &&
              plain_add(header, name, ECD_F32, shape, 2, (uint64_t)shape[0] * sizeof(float), at);
    free(name);
    return ok;
}

// The header of a file that cannot be given back as it was: torch's, or one whose weights are quantised.
static char *make_plain(const job *j)
{
    cJSON *header = cJSON_CreateObject(), *metadata = cJSON_Duplicate(j->metadata, 1);
    bool ok = header && metadata && cJSON_AddItemToObject(header, "__metadata__", metadata);
    uint64_t at = 0;
    for (size_t i = 0; ok && i < j->cp->count; i++) {
        const ecd_tensor *t = &j->cp->tensors[i];
        ok = quantizes(j, t) ? plain_add_quantized(header, t, &at)
                             : plain_add(header, t->name, t->dtype, t->shape, t->dims, t->size_bytes, &at);
    }
    char *text = ok ? cJSON_PrintUnformatted(header) : NULL, *padded = NULL;
    size_t length = text ? strlen(text) : 0, whole = (length + 7) / 8 * 8;
    if (text && (padded = malloc(whole + 1))) {
        memcpy(padded, text, length);
        memset(padded + length, ' ', whole - length);
        padded[whole] = 0;
    }
    cJSON_free(text);
    if (!header || !metadata)
        cJSON_Delete(metadata);
    cJSON_Delete(header);
    return padded;
}

static ecd_status read_header(job *j)
{
    const ecd_file *file = j->cp->files[0];
    cJSON *header = NULL;
    if (j->torch) {
        j->metadata = cJSON_CreateObject();
        bool ok = j->metadata && cJSON_AddStringToObject(j->metadata, "format", "pt");
        j->plain = ok ? make_plain(j) : NULL;
        return j->plain ? ECD_OK : ecd_fail_memory(j->diag, 1024, "a header");
    }
    size_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | file->data[i];
    const char *text = (const char *)file->data + 8; // checked by ecd_safetensors_list
    ecd_status status = ecd_json_parse(text, length, 8, &header, j->diag);
    if (status)
        return status;
    bool quantized = false;
    for (size_t i = 0; i < j->cp->count; i++)
        quantized |= quantizes(j, &j->cp->tensors[i]);
    j->metadata = cJSON_DetachItemFromObjectCaseSensitive(header, "__metadata__");
    cJSON_Delete(header);
    if (!cJSON_IsObject(j->metadata)) {
        cJSON_Delete(j->metadata);
        j->metadata = cJSON_CreateObject();
    }
    j->plain = !j->metadata ? NULL : quantized ? make_plain(j) : strndup(text, length);
    return j->plain ? ECD_OK : ecd_fail_memory(j->diag, length, "a header");
}

// The length of a string as JSON, its quotes included.
static uint64_t printed_length(const char *text)
{
    cJSON *string = cJSON_CreateString(text);
    char *printed = string ? cJSON_PrintUnformatted(string) : NULL;
    uint64_t length = printed ? strlen(printed) : 6 * strlen(text) + 2; // nothing is longer than \u0000
    cJSON_free(printed);
    cJSON_Delete(string);
    return length;
}

static uint64_t digits_of(uint64_t value)
{
    uint64_t digits = 1;
    for (; value >= 10; value /= 10)
        digits++;
    return digits;
}

// No header of this file is longer: every tensor under its own name and ".ecf8", with its note, and every offset as wide
// as the last one can be. Names count as they are printed.
static uint64_t header_room(const job *j)
{
    char *metadata = cJSON_PrintUnformatted(j->metadata);
    uint64_t room = 256 + printed_length(j->plain) + (metadata ? strlen(metadata) : 0);
    uint64_t data_bytes = 0, longest = 0;
    for (size_t i = 0; i < j->cp->count; i++) {
        const ecd_tensor *t = &j->cp->tensors[i];
        uint64_t name = printed_length(t->name);
        longest = name > longest ? name : longest;
        data_bytes += t->size_bytes + (quantizes(j, t) ? (uint64_t)t->shape[0] * sizeof(float) : 0);
    }
    uint64_t digits = digits_of(data_bytes);
    for (size_t i = 0; i < j->cp->count; i++) {
        const ecd_tensor *t = &j->cp->tensors[i];
        uint64_t name = printed_length(t->name), shape = digits;
        for (int d = 0; d < t->dims; d++)
            shape += digits_of((uint64_t)t->shape[d]) + 1;
        room += 64 + name + 2 * digits + shape;
        if (j->twins[i] != i)
            room += 32 + name + longest;
        else if (t->dims != 2 && ecd_coded_dtype(t->dtype))
            room += 32 + name + shape;
        if (quantizes(j, t))
            room += 80 + name + 2 * digits + shape;
    }
    cJSON_free(metadata);
    return room;
}

static char *join(const char *a, const char *b)
{
    size_t first = strlen(a), second = strlen(b);
    char *out = malloc(first + second + 1);
    if (out) {
        memcpy(out, a, first);
        memcpy(out + first, b, second + 1);
    }
    return out;
}

static ecd_status note_shape(job *j, const ecd_tensor *tensor)
{
    char text[ECD_MAX_DIMS * 21 + 1] = "";
    size_t used = 0;
    for (int i = 0; i < tensor->dims; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, i ? ",%lld" : "%lld", (long long)tensor->shape[i]);
    char *key = join("ecf8.shape.", tensor->name);
    ecd_status status = key ? ecd_tensors_writer_note(&j->writer, key, text, j->diag)
                            : ecd_fail_memory(j->diag, strlen(tensor->name), "a tensor's name");
    free(key);
    return status;
}

static ecd_status add_blob(job *j, const ecd_tensor *tensor, const uint8_t *blob, uint64_t blob_bytes)
{
    int64_t shape = (int64_t)blob_bytes;
    char *name = join(tensor->name, ".ecf8");
    ecd_status status = name ? ecd_tensors_writer_add(&j->writer, name, ECD_U8, &shape, 1, blob, blob_bytes, j->diag)
                             : ecd_fail_memory(j->diag, strlen(tensor->name), "a tensor's name");
    free(name);
    if (!status && tensor->dims != 2)
        status = note_shape(j, tensor);
    j->work->report->tensors_coded++;
    return status;
}

// Writes elements of the tensor's shape, coded if that is smaller.
static ecd_status add_elements(job *j, const ecd_tensor *tensor, ecd_dtype dtype, const uint8_t *elements)
{
    uint64_t size = tensor->count * ecd_dtype_size(dtype), blob_bytes = 0;
    uint8_t *blob = NULL;
    ecd_status status = ECD_OK;
    if (ecd_coded_dtype(dtype) && size >= CODE_AT_LEAST) {
        bool matrix = tensor->dims >= 2;
        int64_t rows = matrix ? tensor->shape[0] : 0, cols = matrix ? (int64_t)tensor->count / rows : 0;
        status = ecd_coded_encode(dtype, elements, tensor->count, rows, cols, &blob, &blob_bytes, j->diag);
    }
    if (!status)
        status = blob ? add_blob(j, tensor, blob, blob_bytes)
                      : ecd_tensors_writer_add(&j->writer, tensor->name, dtype, tensor->shape, tensor->dims, elements,
                                               size, j->diag);
    free(blob);
    return status;
}

static ecd_status add_quantized(job *j, const ecd_tensor *tensor)
{
    int64_t shape[2] = {tensor->shape[0], 1};
    uint8_t *codes = malloc(tensor->count + 1);
    float *scale = malloc((size_t)shape[0] * sizeof *scale + 1);
    char *name = scale_name(tensor->name);
    ecd_status status = ECD_OK;
    if (!codes || !scale || !name)
        status = ecd_fail_memory(j->diag, tensor->count, "a quantised tensor");
    if (!status)
        status = ecd_quantize_rows(tensor, codes, scale, j->diag);
    if (!status)
        status = ecd_tensors_writer_add(&j->writer, name, ECD_F32, shape, 2, scale, (uint64_t)shape[0] * sizeof *scale,
                                        j->diag);
    if (!status)
        status = add_elements(j, tensor, ECD_E4M3, codes);
    j->work->report->tensors_quantized++;
    free(codes);
    free(scale);
    free(name);
    return status;
}

static ecd_status add_alias(job *j, const ecd_tensor *tensor, const ecd_tensor *twin)
{
    char *key = join("ecf8.alias.", tensor->name);
    ecd_status status = key ? ecd_tensors_writer_note(&j->writer, key, twin->name, j->diag)
                            : ecd_fail_memory(j->diag, strlen(tensor->name), "a tensor's name");
    free(key);
    j->work->report->tensors_shared++;
    return status;
}

static ecd_status add_tensor(job *j, size_t index)
{
    const ecd_tensor *tensor = &j->cp->tensors[index];
    ecd_status status;
    if (quantizes(j, tensor))
        status = add_quantized(j, tensor);
    else if (j->twins[index] != index && !quantizes(j, &j->cp->tensors[j->twins[index]]))
        status = add_alias(j, tensor, &j->cp->tensors[j->twins[index]]);
    else
        status = add_elements(j, tensor, tensor->dtype, tensor->data);
    j->work->report->tensors++;
    ecd_file_dont_need(tensor->file, tensor->offset_bytes, tensor->size_bytes); // memory stays flat
    return status ? status : ecd_work_step(j->work, tensor->size_bytes, j->diag);
}

// First what stays raw for certain: its elements keep the alignment that they had, containers need none.
static ecd_status add_tensors(job *j)
{
    for (int coded = 0; coded < 2; coded++)
        for (size_t i = 0; i < j->cp->count; i++) {
            const ecd_tensor *tensor = &j->cp->tensors[i];
            bool large = ecd_coded_dtype(tensor->dtype) && tensor->size_bytes >= CODE_AT_LEAST;
            bool may_code = large || quantizes(j, tensor);
            ecd_status status = may_code == (coded != 0) ? add_tensor(j, i) : ECD_OK;
            if (status)
                return status;
        }
    return ECD_OK;
}

static ecd_status check_source(const job *j)
{
    bool coded = j->cp->note_count > 0;
    for (size_t i = 0; i < j->cp->count; i++)
        coded |= ecd_ends_with(j->cp->tensors[i].name, ".ecf8");
    if (!coded)
        return ECD_OK;
    ecd_fail(j->diag, ECD_USAGE, "holds ECF8 tensors already, expected an uncompressed file");
    ecd_diag_file(j->diag, j->cp->files[0]->path);
    return ECD_USAGE;
}

// What the index of a sharded model has to say of this file.
static ecd_status note_file(const job *j, const char *path)
{
    ecd_work_file *file;
    ecd_status status = ecd_work_note_file(j->work, path, &file, j->diag);
    if (status)
        return status;
    file->stored_bytes = j->writer.data_bytes;
    for (size_t i = 0; !status && i < j->cp->count; i++) {
        const ecd_tensor *tensor = &j->cp->tensors[i];
        bool quantized = quantizes(j, tensor);
        file->plain_bytes +=
            quantized ? tensor->count + (uint64_t)tensor->shape[0] * sizeof(float) : tensor->size_bytes;
        char *name = quantized ? scale_name(tensor->name) : NULL;
        if (quantized)
            status = name ? ecd_work_note_scale(file, name, j->diag)
                          : ecd_fail_memory(j->diag, strlen(tensor->name), "a tensor's name");
        free(name);
    }
    return status;
}

ecd_status ecd_compress_file(ecd_work *work, const char *from, const char *to, bool torch, bool quantize,
                             ecd_diag *diag)
{
    job j = {.work = work, .torch = torch, .quantize = quantize, .diag = diag};
    ecd_checkpoint *cp = NULL;
    bool open = false;
    ecd_status status = ecd_tensor_file_open(from, torch, &cp, diag);
    if (status)
        return status;
    j.cp = cp;
    status = check_source(&j);
    if (!status)
        status = ecd_twins_find(cp, &j.twins, diag);
    if (!status)
        status = read_header(&j);
    if (status)
        goto out;
    uint64_t room = header_room(&j);
    status = ecd_tensors_writer_open(to, room, j.metadata, &j.writer, diag);
    j.metadata = NULL;
    open = !status;
    if (!status)
        status = ecd_tensors_writer_note(&j.writer, "ecf8.header", j.plain, diag);
    if (!status)
        status = add_tensors(&j);
    if (!status)
        status = note_file(&j, to);
    if (open && status) {
        ecd_tensors_writer_abandon(&j.writer);
    } else if (open) {
        work->report->written_bytes += 8 + j.writer.header_bytes + j.writer.data_bytes;
        status = ecd_tensors_writer_commit(&j.writer, diag);
        work->report->files_coded++;
    }
out:
    cJSON_Delete(j.metadata);
    free(j.plain);
    free(j.twins);
    ecd_checkpoint_close(cp);
    return status;
}
