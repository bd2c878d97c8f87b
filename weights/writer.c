#include "weights/writer.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static ecd_status no_memory(ecd_diag *diag)
{
    return ecd_fail_memory(diag, 1024, "a safetensors header");
}

cJSON *ecd_tensors_entry(const char *dtype, const int64_t *shape, int dims, uint64_t begin, uint64_t end)
{
    cJSON *entry = cJSON_CreateObject();
    bool ok = entry && cJSON_AddStringToObject(entry, "dtype", dtype);
    cJSON *sizes = ok ? cJSON_AddArrayToObject(entry, "shape") : NULL;
    for (int i = 0; sizes && i < dims; i++)
        ok = ok && cJSON_AddItemToArray(sizes, cJSON_CreateNumber((double)shape[i]));
    cJSON *offsets = sizes ? cJSON_AddArrayToObject(entry, "data_offsets") : NULL;
    ok = ok && offsets && cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)begin)) &&
         cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)end));
    if (ok)
        return entry;
    cJSON_Delete(entry);
    return NULL;
}

static ecd_status write_filler(ecd_writer *file, uint64_t size, ecd_diag *diag)
{
    char spaces[4096];
    ecd_status status = ECD_OK;
    memset(spaces, ' ', sizeof spaces);
    while (!status && size) {
        size_t part = size < sizeof spaces ? (size_t)size : sizeof spaces;
        status = ecd_writer_write(file, spaces, part, diag);
        size -= part;
    }
    return status;
}

ecd_status ecd_tensors_writer_open(const char *path, uint64_t header_bytes, cJSON *metadata, ecd_tensors_writer *out,
                                   ecd_diag *diag)
{
    *out = (ecd_tensors_writer){.header_bytes = (header_bytes + 7) / 8 * 8, .header = cJSON_CreateObject()};
    if (!metadata)
        metadata = cJSON_CreateObject();
    if (!out->header || !metadata || !cJSON_AddItemToObject(out->header, "__metadata__", metadata)) {
        cJSON_Delete(metadata);
        cJSON_Delete(out->header);
        return no_memory(diag);
    }
    ecd_status status = ecd_writer_open(path, &out->file, diag);
    if (status) {
        cJSON_Delete(out->header);
        return status;
    }
    status = write_filler(&out->file, 8 + out->header_bytes, diag);
    if (status)
        ecd_tensors_writer_abandon(out);
    return status;
}

ecd_status ecd_tensors_writer_place(ecd_tensors_writer *writer, const char *name, const char *dtype,
                                    const int64_t *shape, int dims, uint64_t size_bytes, uint64_t *at_bytes,
                                    ecd_diag *diag)
{
    uint64_t begin = writer->data_bytes;
    cJSON *entry = ecd_tensors_entry(dtype, shape, dims, begin, begin + size_bytes);
    if (!entry || !cJSON_AddItemToObject(writer->header, name, entry)) {
        cJSON_Delete(entry);
        return no_memory(diag);
    }
    *at_bytes = 8 + writer->header_bytes + begin;
    writer->data_bytes += size_bytes;
    return ECD_OK;
}

ecd_status ecd_tensors_writer_add(ecd_tensors_writer *writer, const char *name, ecd_dtype dtype, const int64_t *shape,
                                  int dims, const void *data, uint64_t size_bytes, ecd_diag *diag)
{
    uint64_t at;
    ecd_status status =
        ecd_tensors_writer_place(writer, name, ecd_dtype_name(dtype), shape, dims, size_bytes, &at, diag);
    if (status || !size_bytes)
        return status;
    return ecd_writer_write(&writer->file, data, size_bytes, diag);
}

ecd_status ecd_tensors_writer_note(ecd_tensors_writer *writer, const char *key, const char *value, ecd_diag *diag)
{
    cJSON *metadata = cJSON_GetObjectItemCaseSensitive(writer->header, "__metadata__");
    return cJSON_AddStringToObject(metadata, key, value) ? ECD_OK : no_memory(diag);
}

static ecd_status write_header(ecd_tensors_writer *writer, ecd_diag *diag)
{
    cJSON *metadata = cJSON_GetObjectItemCaseSensitive(writer->header, "__metadata__");
    if (!metadata->child)
        cJSON_DeleteItemFromObjectCaseSensitive(writer->header, "__metadata__");
    char *text = cJSON_PrintUnformatted(writer->header);
    if (!text)
        return no_memory(diag);
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)(writer->header_bytes >> (8 * i));
    size_t length = strlen(text);
    ecd_status status = ECD_OK;
    if (length > writer->header_bytes)
        status = ecd_fail(diag, ECD_RESOURCE, "a header of %zu bytes, expected at most %llu", length,
                          (unsigned long long)writer->header_bytes);
    if (!status)
        status = ecd_writer_patch(&writer->file, 0, prefix, sizeof prefix, diag);
    if (!status)
        status = ecd_writer_patch(&writer->file, sizeof prefix, text, length, diag);
    cJSON_free(text);
    return status;
}

ecd_status ecd_tensors_writer_commit(ecd_tensors_writer *writer, ecd_diag *diag)
{
    ecd_status status = write_header(writer, diag);
    if (status) {
        ecd_tensors_writer_abandon(writer);
        return status;
    }
    cJSON_Delete(writer->header);
    writer->header = NULL;
    return ecd_writer_commit(&writer->file, diag);
}

void ecd_tensors_writer_abandon(ecd_tensors_writer *writer)
{
    cJSON_Delete(writer->header);
    writer->header = NULL;
    ecd_writer_abandon(&writer->file);
}
