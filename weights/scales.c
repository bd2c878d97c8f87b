// Scales of FP8 weights, in the spellings that files use:
//   <module>.weight_scale      diffusers, torchao: one value; compressed-tensors: [rows, 1], or 128x128 blocks
//   <module>.scale_weight      ComfyUI: one value; such files also hold an empty or short tensor `scaled_fp8`
//   <module>.weight_scale_inv  DeepSeek: one value for each 128x128 block, the last ones cut at the edges
// In all of them a weight's value is the stored value times its scale.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "weights/checkpoint_internal.h"

enum { BLOCK = 128, NAME_BYTES = 1024 };

static bool is_fp8(const ecd_tensor *tensor)
{
    return tensor->dtype == ECD_E4M3 || tensor->dtype == ECD_E5M2;
}

// "<module>." of "<module>.weight": its length, 0 if the name is not a weight's.
static size_t module_length(const char *name)
{
    static const char suffix[] = ".weight";
    size_t length = strlen(name), end = sizeof suffix - 1;
    return length > end && !strcmp(name + length - end, suffix) && length < NAME_BYTES - 32 ? length - end + 1 : 0;
}

static const ecd_tensor *find_scale(const ecd_checkpoint *cp, const ecd_tensor *weight, ecd_diag *diag,
                                    ecd_status *status)
{
    static const char *const spellings[] = {"weight_scale", "scale_weight", "weight_scale_inv"};
    char name[NAME_BYTES];
    const ecd_tensor *found = NULL;
    size_t length = module_length(weight->name);
    for (int i = 0; i < 3 && length; i++) {
        snprintf(name, sizeof name, "%.*s%s", (int)length, weight->name, spellings[i]);
        const ecd_tensor *scale = ecd_checkpoint_find(cp, name);
        if (scale && found)
            *status = ecd_tensor_fail(weight, diag, "has two scales, %.100s and %.100s, expected one", found->name,
                                      scale->name);
        if (scale)
            found = scale;
    }
    return found;
}

static int64_t blocks_of(int64_t size)
{
    return size / BLOCK + (size % BLOCK != 0);
}

static bool has_shape(const ecd_tensor *tensor, int64_t rows, int64_t cols)
{
    return tensor->dims == 2 && tensor->shape[0] == rows && tensor->shape[1] == cols;
}

// The kind that the scale's shape makes it. A DeepSeek scale is one of blocks even where one block is all.
static ecd_status kind_of_scale(ecd_tensor *weight, const ecd_tensor *scale, ecd_diag *diag)
{
    char shape[160];
    int64_t rows = weight->dims ? weight->shape[0] : 1, cols = rows ? (int64_t)weight->count / rows : 0;
    size_t length = strlen(scale->name);
    if (weight->flat && weight->shape[0] && scale->dims == 2 && scale->shape[1] == 1 && scale->shape[0] > 1 &&
        rows % scale->shape[0] == 0) { // a scale a row says how many rows there are
        weight->dims = 2;
        weight->shape[1] = rows / scale->shape[0];
        weight->shape[0] = rows = scale->shape[0];
        weight->flat = false;
    }
    bool inverse = length > 4 && !strcmp(scale->name + length - 4, "_inv");
    if (weight->dims == 2 && inverse && has_shape(scale, blocks_of(rows), blocks_of(cols))) {
        weight->scale_kind = ECD_SCALE_BLOCK;
    } else if (scale->count == 1 && (!inverse || scale->dims < 2)) {
        weight->scale_kind = ECD_SCALE_TENSOR;
    } else if (!inverse && (has_shape(scale, rows, 1) || (scale->dims == 1 && scale->shape[0] == rows))) {
        weight->scale_kind = ECD_SCALE_ROW;
    } else if (weight->dims == 2 && has_shape(scale, blocks_of(rows), blocks_of(cols))) {
        weight->scale_kind = ECD_SCALE_BLOCK;
    } else if (weight->flat && scale->dims == 2) {
        weight->scale_kind = ECD_SCALE_BLOCK; // the store, which knows the shape, compares the counts
    } else {
        return ecd_tensor_fail(
            scale, diag,
            "a scale of shape %s for %lld rows and %lld columns, expected one value, [%lld, 1] or [%lld, %lld]",
            ecd_tensor_shape_text(scale, shape, sizeof shape), (long long)rows, (long long)cols, (long long)rows,
            (long long)blocks_of(rows), (long long)blocks_of(cols));
    }
    weight->scale = scale;
    return ECD_OK;
}

static ecd_status check_values(const ecd_tensor *scale, ecd_diag *diag)
{
    if (scale->dtype != ECD_F32 && scale->dtype != ECD_F16 && scale->dtype != ECD_BF16)
        return ecd_tensor_fail(scale, diag, "a scale of type %s, expected F32, F16 or BF16",
                               ecd_dtype_name(scale->dtype));
    if (scale->encoding != ECD_ENCODING_RAW)
        return ecd_tensor_fail(scale, diag, "a compressed scale, expected a raw one");
    size_t size = ecd_dtype_size(scale->dtype);
    for (uint64_t i = 0; i < scale->count; i++) {
        float value;
        ecd_to_f32(scale->dtype, scale->data + i * size, &value, 1);
        if (!(value > 0) || isinf(value))
            return ecd_tensor_fail(scale, diag, "scale %llu is %g, expected a finite number above 0",
                                   (unsigned long long)i, (double)value);
    }
    return ECD_OK;
}

// A scale beside a weight that is not FP8 may only say that there is nothing to scale.
static ecd_status check_unscaled(const ecd_tensor *weight, const ecd_tensor *scale, ecd_diag *diag)
{
    float value = 0;
    if (scale->count == 1 && scale->encoding == ECD_ENCODING_RAW && scale->dtype >= ECD_F32 && scale->dtype <= ECD_BF16)
        ecd_to_f32(scale->dtype, scale->data, &value, 1);
    if (value == 1)
        return ECD_OK;
    return ecd_tensor_fail(scale, diag, "a scale for a weight of type %s, expected one of F8_E4M3 or F8_E5M2",
                           ecd_dtype_name(weight->dtype));
}

ecd_status ecd_scales_attach(ecd_checkpoint *cp, ecd_diag *diag)
{
    bool any = ecd_checkpoint_find(cp, "scaled_fp8") != NULL;
    for (size_t i = 0; i < cp->count; i++) {
        ecd_tensor *weight = &cp->tensors[i];
        ecd_status status = ECD_OK;
        const ecd_tensor *scale = find_scale(cp, weight, diag, &status);
        if (status)
            return status;
        if (!scale)
            continue;
        if (!is_fp8(weight)) {
            status = check_unscaled(weight, scale, diag);
        } else {
            any = true;
            status = kind_of_scale(weight, scale, diag);
            if (!status)
                status = check_values(scale, diag);
        }
        if (status)
            return status;
    }
    for (size_t i = 0; i < cp->count && any; i++) {
        const ecd_tensor *weight = &cp->tensors[i];
        if (is_fp8(weight) && weight->dims >= 2 && module_length(weight->name) && !weight->scale)
            return ecd_tensor_fail(weight, diag,
                                   "an FP8 weight without scale in a model that scales others, expected "
                                   "weight_scale, scale_weight or weight_scale_inv beside it");
    }
    return ECD_OK;
}
