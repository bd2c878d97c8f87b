#include "kernels/cpu/gemm.h"

void ECD_NAME(gemm_panel)(int64_t rows, int64_t depth, const float *a, int64_t a_stride, const float *b, float *c,
                          int64_t c_stride)
{
    int64_t i = 0;
    for (; i + TILE_ROWS <= rows; i += TILE_ROWS)
        ecd_gemm_tile(TILE_ROWS, depth, a + i * a_stride, a_stride, b, c + i * c_stride, c_stride);
#define REST(n)                                                                                                        \
    if (n < TILE_ROWS && rows - i >= n) {                                                                              \
        ecd_gemm_tile(n, depth, a + i * a_stride, a_stride, b, c + i * c_stride, c_stride);                            \
        i += n;                                                                                                        \
    }
#if LANES == 16
    REST(8)
#endif
    REST(4)
    REST(2)
    REST(1)
#undef REST
}

// One stage of a transposition: swaps the off-diagonal squares of `step` lanes between rows i and i + step.
#define LOW(l, s) ((l) & (s) ? LANES + (l) - (s) : (l))
#define HIGH(l, s) ((l) & (s) ? LANES + (l) : (l) + (s))
#if LANES == 4
#define MASK(F, s) {F(0, s), F(1, s), F(2, s), F(3, s)}
#elif LANES == 8
#define MASK(F, s) {F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s)}
#else
#define MASK(F, s)                                                                                                     \
    {F(0, s), F(1, s), F(2, s),  F(3, s),  F(4, s),  F(5, s),  F(6, s),  F(7, s),                                      \
     F(8, s), F(9, s), F(10, s), F(11, s), F(12, s), F(13, s), F(14, s), F(15, s)}
#endif
#define STAGE(s)                                                                                                       \
    _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) if (!(i & s))                                            \
    {                                                                                                                  \
        vf low = SHUFFLE(row[i], row[i + s], s, LOW), high = SHUFFLE(row[i], row[i + s], s, HIGH);                     \
        row[i] = low;                                                                                                  \
        row[i + s] = high;                                                                                             \
    }
#if defined(__clang__)
ALWAYS_INLINE vf shuffle(vf a, vf b, vi mask)
{
    vf out;
    for (int i = 0; i < LANES; i++)
        out[i] = mask[i] < LANES ? a[mask[i]] : b[mask[i] - LANES];
    return out;
}
#define SHUFFLE(a, b, s, F) shuffle(a, b, (vi)MASK(F, s))
#else
#define SHUFFLE(a, b, s, F) __builtin_shuffle(a, b, (vi)MASK(F, s))
#endif

ALWAYS_INLINE void transpose(vf row[LANES])
{
    STAGE(1)
    STAGE(2)
#if LANES >= 8
    STAGE(4)
#endif
#if LANES >= 16
    STAGE(8)
#endif
}

static float block_scale(const ecd_weight *w, int64_t row, int64_t k)
{
    int64_t blocks = (w->cols + ECD_SCALE_BLOCK_SIZE - 1) / ECD_SCALE_BLOCK_SIZE;
    return w->scale[row / ECD_SCALE_BLOCK_SIZE * blocks + k / ECD_SCALE_BLOCK_SIZE];
}

// A square of LANES rows and columns from (first, k); 128 is a multiple of LANES, so a square has one scale a row.
ALWAYS_INLINE void pack_square(ecd_dtype dtype, const ecd_pack *from, const ecd_weight *scaled, int64_t first,
                               int64_t rows, int64_t k, int64_t depth, float *panel)
{
    vf row[LANES];
    size_t size = ecd_dtype_size(dtype);
    for (int j = 0; j < LANES; j++) {
        row[j] = (vf){0};
        if (first + j >= rows)
            continue;
        const char *data = (const char *)from->data + (size_t)((first + j) * from->stride + k) * size;
        row[j] = vload_some(dtype, data, depth - k);
        if (scaled)
            row[j] *= vsplat(block_scale(scaled, first + j, k));
        if (from->round)
            row[j] = vround_bf16(row[j]);
    }
    transpose(row);
    for (int i = 0; i < LANES && k + i < depth; i++)
        vstore(panel + (k + i) * PANEL, row[i]);
}

ALWAYS_INLINE void pack_type(ecd_dtype dtype, const ecd_pack *from, const ecd_weight *scaled, int64_t first,
                             int64_t rows, int64_t depth, float *panel)
{
    for (int half = 0; half < 2; half++)
        for (int64_t k = 0; k < depth; k += LANES)
            pack_square(dtype, from, scaled, first + half * LANES, rows, k, depth, panel + half * LANES);
}

void ECD_NAME(pack_panel)(const ecd_pack *from, const ecd_weight *scaled, int64_t first, int64_t rows, int64_t depth,
                          float *panel)
{
    switch (from->dtype) { // the type is a constant inside each copy
    case ECD_F16: pack_type(ECD_F16, from, scaled, first, rows, depth, panel); break;
    case ECD_BF16: pack_type(ECD_BF16, from, scaled, first, rows, depth, panel); break;
    case ECD_E4M3: pack_type(ECD_E4M3, from, scaled, first, rows, depth, panel); break;
    case ECD_E5M2: pack_type(ECD_E5M2, from, scaled, first, rows, depth, panel); break;
    default: pack_type(ECD_F32, from, scaled, first, rows, depth, panel); break;
    }
}
