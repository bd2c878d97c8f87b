#include "weights/store_internal.h"

#include <stdio.h>

static void shape_text(const int64_t *shape, int dims, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < dims && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, i ? ", %lld" : "%lld", (long long)shape[i]);
}

// Old checkpoints hold linear weights as 1x1 convolutions: trailing ones do not count.
static int significant(const int64_t *shape, int dims)
{
    while (dims > 1 && shape[dims - 1] == 1)
        dims--;
    return dims;
}

static bool same_shape(const ecd_tensor *tensor, const ecd_tensor_spec *spec)
{
    int dims = significant(tensor->shape, tensor->dims);
    if (tensor->flat) {
        uint64_t count = 1;
        for (int i = 0; i < spec->dims; i++)
            count *= (uint64_t)spec->shape[i];
        return count == tensor->count;
    }
    if (dims != significant(spec->shape, spec->dims))
        return false;
    for (int i = 0; i < dims; i++)
        if (tensor->shape[i] != spec->shape[i])
            return false;
    return true;
}

static ecd_status check_scale(const ecd_store_unit *unit, ecd_diag *diag)
{
    const ecd_tensor *tensor = unit->tensor;
    if (tensor->scale_kind == ECD_SCALE_NONE)
        return ECD_OK;
    int64_t block = ECD_SCALE_BLOCK_SIZE, expected = 1;
    if (tensor->scale_kind == ECD_SCALE_ROW)
        expected = unit->rows;
    else if (tensor->scale_kind == ECD_SCALE_BLOCK)
        expected = ((unit->rows + block - 1) / block) * ((unit->cols + block - 1) / block);
    if (!tensor->scale || tensor->scale->count != (uint64_t)expected)
        return ecd_tensor_fail(tensor, diag, "%llu scales, expected %lld",
                               (unsigned long long)(tensor->scale ? tensor->scale->count : 0), (long long)expected);
    return ECD_OK;
}

static ecd_status missing(const ecd_store *store, const char *name, const ecd_tensor_spec *spec, ecd_diag *diag)
{
    char shape[128], own[512];
    shape_text(spec->shape, spec->dims, shape, sizeof shape);
    bool renamed = ecd_checkpoint_own_name(store->cp, name, own, sizeof own);
    ecd_status status =
        renamed ? ecd_fail(diag, ECD_DATA, "tensor is missing, expected one for %.160s of shape [%s]", name, shape)
                : ecd_fail(diag, ECD_DATA, "tensor is missing, expected shape [%s]", shape);
    ecd_diag_tensor(diag, renamed ? own : name);
    if (ecd_checkpoint_file_count(store->cp))
        ecd_diag_file(diag, ecd_checkpoint_file(store->cp, 0)->path);
    return status;
}

ecd_status ecd_store_resolve(ecd_store *store, const ecd_block_spec *block, const ecd_tensor_spec *spec,
                             ecd_store_unit *unit, ecd_diag *diag)
{
    char name[512];
    int length = snprintf(name, sizeof name, "%s%s", block->prefix ? block->prefix : "", spec->name);
    if (length < 0 || (size_t)length >= sizeof name)
        return ecd_fail(diag, ECD_USAGE, "tensor name of %d characters, expected less than %zu", length, sizeof name);
    const ecd_tensor *tensor = ecd_checkpoint_find(store->cp, name);
    if (!tensor)
        return spec->optional ? ECD_OK : missing(store, name, spec, diag);
    if (!same_shape(tensor, spec)) {
        char got[128], expected[128];
        shape_text(tensor->shape, tensor->dims, got, sizeof got);
        shape_text(spec->shape, spec->dims, expected, sizeof expected);
        return ecd_tensor_fail(tensor, diag, "shape [%s], expected [%s]", got, expected);
    }
    if (tensor->dtype < ECD_F32 || tensor->dtype > ECD_E5M2)
        return ecd_tensor_fail(tensor, diag, "type %s, expected F32, F16, BF16, F8_E4M3 or F8_E5M2",
                               ecd_dtype_name(tensor->dtype));
    unit->tensor = tensor;
    unit->rows = spec->shape[0];
    unit->cols = unit->rows ? (int64_t)(tensor->count / (uint64_t)unit->rows) : 0;
    unit->share = spec->share > 0 ? spec->share : 1;
    unit->decoded_bytes = tensor->count * ecd_dtype_size(tensor->dtype);
    unit->lent = tensor->dtype;
    if (spec->kind == ECD_SPEC_MATRIX)
        return check_scale(unit, diag);
    if (tensor->scale_kind != ECD_SCALE_NONE)
        return ecd_tensor_fail(tensor, diag, "a vector with scales, expected them on matrices only");
    return ECD_OK;
}
