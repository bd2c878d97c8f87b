#include "weights/compress_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const float E4M3_MAX = 448.0f;

// Embedders and norms stay: they are small, and pictures are sensitive to them. norm1.linear and norm.linear are the
// modulation's projections, a third of a DiT block.
bool ecd_quantize_wants(const ecd_tensor *tensor)
{
    static const char *const blocks[] = {"transformer_blocks.", "single_transformer_blocks.", "blocks.", "layers."};
    const char *name = tensor->name;
    bool block = false;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        block |= !strncmp(name, blocks[i], strlen(blocks[i]));
    if (!block || tensor->dims != 2 || !ecd_ends_with(name, ".weight") || strstr(name, "embed") ||
        strstr(name, ".emb."))
        return false;
    return !strstr(name, "norm") || ecd_ends_with(name, ".linear.weight");
}

enum { PIECE = 4096 };

// Widens a row piece by piece: its largest magnitude, infinity if one is not finite (NaN included).
static float row_largest(const ecd_tensor *tensor, const uint8_t *row)
{
    float piece[PIECE], largest = 0;
    size_t element = ecd_dtype_size(tensor->dtype);
    for (int64_t c = 0, cols = tensor->shape[1]; c < cols; c += PIECE) {
        int64_t count = cols - c < PIECE ? cols - c : PIECE;
        ecd_to_f32(tensor->dtype, row + (size_t)c * element, piece, (size_t)count);
        for (int64_t i = 0; i < count; i++) {
            if (!isfinite(piece[i]))
                return INFINITY;
            largest = fabsf(piece[i]) > largest ? fabsf(piece[i]) : largest;
        }
    }
    return largest;
}

static void quantize_row(const ecd_tensor *tensor, const uint8_t *row, float scale, uint8_t *out)
{
    float piece[PIECE];
    size_t element = ecd_dtype_size(tensor->dtype);
    for (int64_t c = 0, cols = tensor->shape[1]; c < cols; c += PIECE) {
        int64_t count = cols - c < PIECE ? cols - c : PIECE;
        ecd_to_f32(tensor->dtype, row + (size_t)c * element, piece, (size_t)count);
        for (int64_t i = 0; i < count; i++)
            out[c + i] = ecd_to_e4m3_saturating(piece[i] / scale);
    }
}

ecd_status ecd_quantize_rows(const ecd_tensor *tensor, int64_t first, int64_t rows, uint8_t *out, float *scale,
                             ecd_diag *diag)
{
    int64_t cols = tensor->shape[1];
    size_t element = ecd_dtype_size(tensor->dtype);
    for (int64_t r = first; r < first + rows; r++) {
        const uint8_t *row = tensor->data + (size_t)(r * cols) * element;
        float largest = row_largest(tensor, row);
        if (!isfinite(largest))
            return ecd_tensor_fail(tensor, diag, "row %lld has a weight that is not finite, expected numbers",
                                   (long long)r);
        scale[r] = largest / E4M3_MAX;
        if (scale[r] < FLT_MIN) // readers refuse a scale of zero; a row this small is as good as zero
            scale[r] = 1.0f;
        quantize_row(tensor, row, scale[r], out + r * cols);
    }
    return ECD_OK;
}
