#include "weights/component_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/coded.h"

enum { NAME_BYTES = 1024 };

// Rows first .. end - 1 of a tensor, where they lie.
static ecd_tensor rows_of(const ecd_tensor *whole, int64_t first, int64_t end)
{
    ecd_tensor part = *whole;
    uint64_t row = whole->shape[0] ? whole->count / (uint64_t)whole->shape[0] : 0, skipped = (uint64_t)first * row;
    part.shape[0] = end - first;
    part.count = (uint64_t)(end - first) * row;
    if (whole->encoding == ECD_ENCODING_RAW) {
        uint64_t size = ecd_dtype_size(whole->dtype);
        part.data = whole->data ? whole->data + skipped * size : NULL;
        part.offset_bytes += skipped * size;
        part.size_bytes = part.count * size;
        return part;
    }
    part.first = whole->first + skipped;
    if (whole->encoding == ECD_ENCODING_ECF8) { // the container is all of it
        part.whole = whole->whole ? whole->whole : whole->count;
        return part;
    }
    uint64_t nibbles = part.first / 2 - whole->first / 2;
    part.data = whole->data ? whole->data + nibbles : NULL;
    part.offset_bytes += nibbles;
    part.size_bytes = (part.first + part.count + 1) / 2 - part.first / 2;
    return part;
}

// The rows of the module's weight, which say how its other tensors are to be cut.
int64_t ecd_component_rows(const ecd_checkpoint *cp, const ecd_tensor *tensor)
{
    char name[NAME_BYTES];
    const char *dot = strrchr(tensor->name, '.');
    int length = dot ? snprintf(name, sizeof name, "%.*s.weight", (int)(dot - tensor->name), tensor->name) : -1;
    const ecd_tensor *weight = length > 0 && (size_t)length < sizeof name ? ecd_checkpoint_find(cp, name) : NULL;
    if (!weight || weight->flat || !weight->dims)
        weight = tensor;
    return weight->dims ? weight->shape[0] : 1;
}

// How the tensor of a module of `rows` rows is cut.
typedef enum cut {
    CUT_NOT,    // one value for all
    CUT_ROWS,   // a row (or value) a row
    CUT_BLOCKS, // a row for each 128
    CUT_UNKNOWN,
} cut;

static cut cut_of(const ecd_tensor *t, int64_t rows)
{
    const char *dot = strrchr(t->name, '.'), *leaf = dot ? dot + 1 : t->name;
    if (strcmp(leaf, "weight") && strcmp(leaf, "bias") && !strstr(leaf, "scale"))
        return CUT_NOT; // what is said of a module (ComfyUI's "comfy_quant") is said of its parts
    int64_t blocks = (rows + ECD_SCALE_BLOCK_SIZE - 1) / ECD_SCALE_BLOCK_SIZE;
    if (t->dims && t->shape[0] == rows)
        return CUT_ROWS;
    if (t->count == 1 && t->dims < 2)
        return CUT_NOT;
    if (t->dims == 2 && t->shape[0] == blocks)
        return CUT_BLOCKS;
    return t->count <= 1 ? CUT_NOT : CUT_UNKNOWN;
}

// What belongs to rows first .. end - 1 of the module.
ecd_status ecd_component_part(const ecd_tensor *t, int64_t rows, int64_t first, int64_t end, ecd_tensor *out,
                              ecd_diag *diag)
{
    char shape[160];
    const int64_t block = ECD_SCALE_BLOCK_SIZE;
    *out = *t;
    switch (cut_of(t, rows)) {
    case CUT_NOT: return ECD_OK;
    case CUT_ROWS: *out = rows_of(t, first, end); return ECD_OK;
    case CUT_BLOCKS:
        if (first % block && first / block != (end - 1) / block)
            return ecd_tensor_fail(t, diag,
                                   "scales of %d rows each: rows %lld to %lld begin within one, expected a multiple",
                                   ECD_SCALE_BLOCK_SIZE, (long long)first, (long long)end - 1);
        *out = rows_of(t, first / block, (end + block - 1) / block);
        return ECD_OK;
    default:
        return ecd_tensor_fail(t, diag, "shape %s, expected one value, or %lld rows as the module's weight has",
                               ecd_tensor_shape_text(t, shape, sizeof shape), (long long)rows);
    }
}

// Decoded elements, first rows last: a copy, which the checkpoint keeps.
static ecd_status swap_halves(ecd_checkpoint *cp, const ecd_tensor *t, ecd_tensor *out, ecd_diag *diag)
{
    uint64_t size = t->count * ecd_dtype_size(t->dtype), half = size / 2;
    uint8_t *swapped = malloc(size + 1), *plain = NULL, *tables = NULL;
    const uint8_t *from = t->data;
    ecd_status status = swapped ? ECD_OK : ecd_fail_memory(diag, size, "a tensor's halves");
    if (!status && t->encoding != ECD_ENCODING_RAW) {
        ecd_coded coded;
        plain = malloc(size + 1);
        tables = malloc(ECF8_DECODER_MAX_BYTES);
        status = plain && tables ? ecd_coded_open(t, t->data, t->size_bytes, &coded, diag)
                                 : ecd_fail_memory(diag, size, "a tensor's halves");
        if (!status)
            status = ecd_coded_decode(&coded, plain, true, tables, ECF8_DECODER_MAX_BYTES, diag);
        from = plain;
    }
    if (!status && size) {
        memcpy(swapped, from + half, half);
        memcpy(swapped + half, from, half);
    }
    free(plain);
    free(tables);
    if (status) {
        free(swapped);
        return status;
    }
    *out = *t;
    out->encoding = ECD_ENCODING_RAW;
    out->group = NULL;
    out->first = out->whole = 0;
    out->data = swapped;
    out->size_bytes = size;
    return ecd_checkpoint_keep(cp, swapped, diag);
}

ecd_status ecd_component_swap(ecd_checkpoint *cp, const ecd_tensor *t, int64_t rows, ecd_tensor *out, ecd_diag *diag)
{
    *out = *t;
    cut how = cut_of(t, rows);
    if (how == CUT_NOT || (how == CUT_BLOCKS && t->shape[0] == 1)) // one value, or one block, for both
        return ECD_OK;
    if (rows % 2 || (how == CUT_BLOCKS && rows / 2 % ECD_SCALE_BLOCK_SIZE))
        return ecd_tensor_fail(t, diag,
                               "of a module of %lld rows, whose halves stand for two things: expected an even number%s",
                               (long long)rows, how == CUT_BLOCKS ? " of blocks" : "");
    if (how == CUT_UNKNOWN)
        return ecd_component_part(t, rows, 0, rows / 2, out, diag); // says so
    return swap_halves(cp, t, out, diag);
}
