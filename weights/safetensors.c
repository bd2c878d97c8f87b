// The safetensors format: 8 bytes of header length (little-endian), a JSON header, then the tensors' bytes.
// Checked as strictly as the reference reader does (huggingface/safetensors, src/tensor.rs): the tensors cover the
// rest of the file without overlap and without holes.
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weights/checkpoint_internal.h"
#include "weights/json.h"

enum { PREFIX_BYTES = 8 };

typedef struct reader {
    ecd_checkpoint *cp;
    const ecd_file *file;
    uint64_t data_start;
    uint64_t data_bytes;
    ecd_diag *diag;
} reader;

static ecd_status fail_place(const reader *r, const char *name, uint64_t offset, ecd_status status)
{
    ecd_diag_file(r->diag, r->file->path);
    if (name)
        ecd_diag_tensor(r->diag, name);
    ecd_diag_offset(r->diag, offset);
    return status;
}

// A JSON number as a non-negative integer; false for anything else, and for one that a double does not hold exactly.
static bool whole_number(const cJSON *value, uint64_t *out)
{
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble < 9007199254740992.0) ||
        value->valuedouble != floor(value->valuedouble))
        return false;
    *out = (uint64_t)value->valuedouble;
    return true;
}

static ecd_status read_dtype(const reader *r, const cJSON *entry, ecd_tensor *tensor)
{
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    if (!cJSON_IsString(dtype))
        return ecd_fail(r->diag, ECD_DATA, "no \"dtype\" string, expected one such as \"F32\"");
    tensor->dtype = ecd_dtype_of_name(dtype->valuestring);
    if (tensor->dtype == ECD_DTYPE_UNKNOWN && !r->cp->keep_unknown)
        return ecd_fail(
            r->diag, ECD_DATA,
            "dtype \"%.40s\", expected one of F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U8, BOOL",
            dtype->valuestring);
    return ECD_OK;
}

static ecd_status read_shape(const reader *r, const cJSON *entry, ecd_tensor *tensor)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape"), *size;
    if (!cJSON_IsArray(shape))
        return ecd_fail(r->diag, ECD_DATA, "no \"shape\" list, expected a list of sizes");
    cJSON_ArrayForEach(size, shape)
    {
        uint64_t value;
        if (tensor->dims == ECD_MAX_DIMS)
            return ecd_fail(r->diag, ECD_DATA, "a shape of %d sizes, expected at most %d", cJSON_GetArraySize(shape),
                            ECD_MAX_DIMS);
        if (!whole_number(size, &value))
            return ecd_fail(r->diag, ECD_DATA, "size %d of the shape is %.17g, expected an integer from 0 to 2^53 - 1",
                            tensor->dims, cJSON_IsNumber(size) ? size->valuedouble : (double)NAN);
        tensor->shape[tensor->dims++] = (int64_t)value;
    }
    return ECD_OK;
}

static ecd_status read_extent(const reader *r, const cJSON *entry, ecd_tensor *tensor)
{
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    uint64_t begin, end, size;
    char shape[160];
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 || !whole_number(offsets->child, &begin) ||
        !whole_number(offsets->child->next, &end))
        return ecd_fail(r->diag, ECD_DATA, "bad \"data_offsets\", expected two integers from 0 to 2^53 - 1");
    if (begin > end || end > r->data_bytes)
        return ecd_fail(r->diag, ECD_DATA,
                        "data_offsets [%llu, %llu], expected a range within the file's %llu data bytes",
                        (unsigned long long)begin, (unsigned long long)end, (unsigned long long)r->data_bytes);
    if (tensor->dtype == ECD_DTYPE_UNKNOWN)
        size = end - begin;
    else if (!ecd_tensor_measure(tensor, &size))
        return ecd_fail(r->diag, ECD_DATA, "shape %s is too large, expected a size in bytes below 2^63",
                        ecd_tensor_shape_text(tensor, shape, sizeof shape));
    if (size != end - begin)
        return ecd_fail(r->diag, ECD_DATA, "%llu bytes, expected %llu for shape %s of %s",
                        (unsigned long long)(end - begin), (unsigned long long)size,
                        ecd_tensor_shape_text(tensor, shape, sizeof shape), ecd_dtype_name(tensor->dtype));
    tensor->offset_bytes = r->data_start + begin;
    tensor->size_bytes = size;
    tensor->data = r->file->data + tensor->offset_bytes;
    return ECD_OK;
}

static ecd_status read_entry(const reader *r, const cJSON *entry)
{
    ecd_tensor tensor = {.file = r->file};
    ecd_status status = ECD_OK;
    if (!cJSON_IsObject(entry))
        status = ecd_fail(r->diag, ECD_DATA, "not an object, expected dtype, shape and data_offsets");
    if (!status)
        status = read_dtype(r, entry, &tensor);
    if (!status)
        status = read_shape(r, entry, &tensor);
    if (!status)
        status = read_extent(r, entry, &tensor);
    if (status)
        return fail_place(r, entry->string, PREFIX_BYTES, status);
    return ecd_checkpoint_add(r->cp, entry->string, strlen(entry->string), &tensor, r->diag);
}

static ecd_status read_metadata(const reader *r, const cJSON *metadata)
{
    const cJSON *entry;
    if (!cJSON_IsObject(metadata)) {
        ecd_fail(r->diag, ECD_DATA, "__metadata__ is not an object, expected one of strings");
        return fail_place(r, NULL, PREFIX_BYTES, ECD_DATA);
    }
    cJSON_ArrayForEach(entry, metadata)
    {
        if (!cJSON_IsString(entry)) {
            ecd_fail(r->diag, ECD_DATA, "__metadata__ key \"%.100s\" is not a string, expected one", entry->string);
            return fail_place(r, NULL, PREFIX_BYTES, ECD_DATA);
        }
        if (strncmp(entry->string, "ecf8.", 5))
            continue;
        ecd_status status = ecd_checkpoint_add_note(r->cp, entry->string, entry->valuestring, r->file, r->diag);
        if (status)
            return status;
    }
    return ECD_OK;
}

// Empty tensors sort before the one that starts where they stand.
static int compare_offsets(const void *a, const void *b)
{
    const ecd_tensor *x = a, *y = b;
    if (x->offset_bytes != y->offset_bytes)
        return x->offset_bytes < y->offset_bytes ? -1 : 1;
    if (x->size_bytes != y->size_bytes)
        return x->size_bytes < y->size_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static ecd_status check_cover(const reader *r, size_t first)
{
    ecd_checkpoint *cp = r->cp;
    if (cp->count > first)
        qsort(cp->tensors + first, cp->count - first, sizeof *cp->tensors, compare_offsets);
    uint64_t at = r->data_start;
    for (size_t i = first; i < cp->count; i++) {
        const ecd_tensor *tensor = &cp->tensors[i];
        if (tensor->offset_bytes < at)
            return ecd_tensor_fail(tensor, r->diag, "overlaps tensor %.100s, expected it at byte %llu or later",
                                   cp->tensors[i - 1].name, (unsigned long long)at);
        if (tensor->offset_bytes > at)
            return ecd_tensor_fail(tensor, r->diag,
                                   "%llu bytes before it belong to no tensor, expected it at byte %llu",
                                   (unsigned long long)(tensor->offset_bytes - at), (unsigned long long)at);
        at += tensor->size_bytes;
    }
    if (at != r->file->size_bytes) {
        ecd_fail(r->diag, ECD_DATA, "%llu bytes after the last tensor, expected the file to end there",
                 (unsigned long long)(r->file->size_bytes - at));
        return fail_place(r, NULL, at, ECD_DATA);
    }
    return ECD_OK;
}

static uint64_t read_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

// Finds the header's bounds; its text is then parsed.
static ecd_status open_header(reader *r, cJSON **header)
{
    const ecd_file *file = r->file;
    if (file->size_bytes < PREFIX_BYTES) {
        ecd_fail(r->diag, ECD_DATA,
                 "%llu bytes, expected a safetensors file, which starts with 8 bytes of header length",
                 (unsigned long long)file->size_bytes);
        return fail_place(r, NULL, 0, ECD_DATA);
    }
    uint64_t length = read_u64(file->data), room = file->size_bytes - PREFIX_BYTES;
    if (length > room || length > ECD_JSON_MAX_BYTES) {
        ecd_fail(r->diag, ECD_DATA, "a safetensors header of %llu bytes, expected at most %llu",
                 (unsigned long long)length,
                 (unsigned long long)(room < ECD_JSON_MAX_BYTES ? room : ECD_JSON_MAX_BYTES));
        return fail_place(r, NULL, 0, ECD_DATA);
    }
    r->data_start = PREFIX_BYTES + length;
    r->data_bytes = file->size_bytes - r->data_start;
    ecd_status status = ecd_json_parse((const char *)file->data + PREFIX_BYTES, length, PREFIX_BYTES, header, r->diag);
    if (status)
        ecd_diag_file(r->diag, file->path);
    return status;
}

ecd_status ecd_safetensors_list(ecd_checkpoint *cp, const ecd_file *file, ecd_diag *diag)
{
    reader r = {.cp = cp, .file = file, .diag = diag};
    size_t first = cp->count;
    cJSON *header = NULL;
    const cJSON *entry;
    ecd_status status = open_header(&r, &header);
    if (status)
        return status;
    cJSON_ArrayForEach(entry, header)
    {
        if (strcmp(entry->string, "__metadata__"))
            status = read_entry(&r, entry);
        else if (!cJSON_IsNull(entry))
            status = read_metadata(&r, entry);
        if (status)
            goto out;
    }
    status = check_cover(&r, first);
out:
    cJSON_Delete(header);
    return status;
}
