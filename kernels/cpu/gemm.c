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

// A square at the edge: some rows or columns of it are past the end.
ALWAYS_INLINE void pack_edge(ecd_dtype dtype, const ecd_pack *from, const ecd_weight *scaled, int64_t first,
                             int64_t rows, int64_t k, int64_t count, float *panel)
{
    vf row[LANES];
    for (int j = 0; j < LANES; j++)
        row[j] = first + j < rows ? ecd_widen(dtype, from, scaled, first + j, k, count) : (vf){0};
    transpose(row);
    for (int i = 0; i < LANES && i < count; i++)
        vstore(panel + i * PANEL, row[i]);
}

// A whole square, without a branch between the loads: the rows stay in registers through the transposition.
ALWAYS_INLINE void pack_square(ecd_dtype dtype, const char *data, size_t stride_bytes, float *panel)
{
    vf row[LANES];
#pragma GCC unroll 16
    for (int j = 0; j < LANES; j++)
        row[j] = vload_type(dtype, data + (size_t)j * stride_bytes);
    transpose(row);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        vstore(panel + i * PANEL, row[i]);
}

ALWAYS_INLINE void pack_type(ecd_dtype dtype, const ecd_pack *from, const ecd_weight *scaled, int64_t first,
                             int64_t rows, int64_t k, int64_t depth, float *panel)
{
    size_t size = vsize(dtype), stride = (size_t)from->stride * size;
    for (int64_t half = 0; half < PANEL; half += LANES) {
        int64_t i = 0, row = first + half;
        const char *data = (const char *)from->data + (size_t)(row - from->first) * stride + (size_t)k * size;
        if (!scaled && !from->round && row + LANES <= rows)
            for (; i + LANES <= depth; i += LANES)
                pack_square(dtype, data + (size_t)i * size, stride, panel + i * PANEL + half);
        for (; i < depth; i += LANES)
            pack_edge(dtype, from, scaled, row, rows, k + i, depth - i, panel + i * PANEL + half);
    }
}

void ECD_NAME(pack_panel)(const ecd_pack *from, const ecd_weight *scaled, int64_t first, int64_t rows, int64_t k,
                          int64_t depth, float *panel)
{
    switch (from->dtype) { // the type is a constant inside each copy
    case ECD_F16: pack_type(ECD_F16, from, scaled, first, rows, k, depth, panel); break;
    case ECD_BF16: pack_type(ECD_BF16, from, scaled, first, rows, k, depth, panel); break;
    case ECD_E4M3: pack_type(ECD_E4M3, from, scaled, first, rows, k, depth, panel); break;
    case ECD_E5M2: pack_type(ECD_E5M2, from, scaled, first, rows, k, depth, panel); break;
    default: pack_type(ECD_F32, from, scaled, first, rows, k, depth, panel); break;
    }
}
