#include "kernels/cpu/coded.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/widen.h"
#include "kernels/shape.h"

enum { CHUNK = 1 << 14 }; // elements of a part: enough to be worth another thread

typedef struct job {
    ecd_dtype from, to;
    const void *x;
    void *out;
    int64_t count;
    bool silu;
} job;

ALWAYS_INLINE void convert(const job *j, const ecd_dtype from, const ecd_dtype to, const bool silu, int64_t begin,
                           int64_t end)
{
    const char *x = j->x;
    char *out = j->out;
    for (int64_t i = begin; i < end; i += LANES) {
        vf v = vload_some(from, x + (size_t)i * vsize(from), end - i);
        vstore_some(to, out + (size_t)i * vsize(to), silu ? vsilu(v) : v, end - i);
    }
}

static void run_part(void *context, int64_t part, int thread)
{
    (void)thread;
    const job *j = context;
    int64_t begin = part * CHUNK, end = begin + CHUNK < j->count ? begin + CHUNK : j->count;
    if (j->silu && j->to == ECD_BF16)
        convert(j, ECD_F32, ECD_BF16, true, begin, end);
    else if (j->silu)
        convert(j, ECD_F32, ECD_F32, true, begin, end);
    else if (j->to == ECD_BF16)
        convert(j, ECD_F32, ECD_BF16, false, begin, end);
    else if (j->from == ECD_BF16)
        convert(j, ECD_BF16, ECD_F32, false, begin, end);
    else
        convert(j, ECD_F32, ECD_F32, false, begin, end);
}

static void run(ecd_backend *be, job *j)
{
    if (ecd_backend_ok(be) && j->count > 0)
        ecd_pool_run(ecd_cpu_of(be)->pool, (j->count + CHUNK - 1) / CHUNK, run_part, j);
}

void ECD_NAME(to_act)(ecd_backend *be, const float *x, int64_t count, bool silu, void *out)
{
    run(be, &(job){ECD_F32, ecd_cpu_act(be), x, out, count, silu});
}

void ECD_NAME(to_f32)(ecd_backend *be, const void *x, int64_t count, float *out)
{
    run(be, &(job){ecd_cpu_act(be), ECD_F32, x, out, count, false});
}

static void combine_part(void *context, int64_t part, int thread)
{
    (void)thread;
    const ecd_combine *op = context;
    int64_t begin = part * CHUNK, end = begin + CHUNK < op->count ? begin + CHUNK : op->count;
    const float limit = op->limit;
    for (int64_t i = begin; i < end; i += LANES) {
        vf v = vload_some(ECD_F32, op->x[0] + i, end - i) * op->by[0];
        for (int t = 1; t < op->terms; t++)
            v = v + vload_some(ECD_F32, op->x[t] + i, end - i) * op->by[t];
        if (op->divisor != 1)
            v = v / op->divisor;
        if (op->offset != 0)
            v = v + op->offset;
        if (limit > 0)
            v = vselect(v < -limit, vsplat(-limit), vselect(v > limit, vsplat(limit), v));
        vstore_some(ECD_F32, op->out + i, v, end - i);
    }
}

void ECD_NAME(combine)(ecd_backend *be, const ecd_combine *op)
{
    ecd_combine own = *op;
    if (ecd_shape_combine(be, op) && op->count > 0)
        ecd_pool_run(ecd_cpu_of(be)->pool, (op->count + CHUNK - 1) / CHUNK, combine_part, &own);
}

typedef struct bytes_job {
    const float *x;
    int64_t channels, pixels;
    uint8_t *out;
} bytes_job;

static void bytes_part(void *context, int64_t part, int thread)
{
    (void)thread;
    const bytes_job *j = context;
    int64_t begin = part * CHUNK, end = begin + CHUNK < j->pixels ? begin + CHUNK : j->pixels;
    for (int64_t i = begin; i < end; i += LANES)
        for (int64_t c = 0; c < j->channels; c++) {
            vf v = vload_some(ECD_F32, j->x + c * j->pixels + i, end - i) / 2.0f + 0.5f;
            v = vselect(v > 0.0f, v, vsplat(0.0f)); // NaN too becomes 0
            v = vselect(v < 1.0f, v, vsplat(1.0f));
            vi n = (vi)(v * 255.0f + 12582912.0f); // the sum's low bits hold the nearest integer, ties to even
            for (int64_t k = 0; k < LANES && k < end - i; k++)
                j->out[(i + k) * j->channels + c] = (uint8_t)n[k];
        }
}

void ECD_NAME(to_bytes)(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, uint8_t *out)
{
    if (ecd_shape_pixels(be, channels, pixels) && pixels > 0)
        ecd_pool_run(ecd_cpu_of(be)->pool, (pixels + CHUNK - 1) / CHUNK, bytes_part,
                     &(bytes_job){x, channels, pixels, out});
}

void ECD_NAME(add_rows)(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count, float *out)
{
    ecd_cpu_decode decode;
    if (!ecd_shape_rows(be, table, ids, count))
        return;
    size_t row_bytes = (size_t)table->cols * vsize(table->dtype);
    if (table->coded && (!ecd_cpu_reserve(be, row_bytes) || !ecd_cpu_decode_begin(be, table, &decode)))
        return;
    const ecd_weight *scaled = ecd_block_scaled(table);
    for (int64_t i = 0; i < count; i++) {
        ecd_pack rows = {table->dtype, table->data, table->cols, false, 0};
        if (table->coded) {
            rows.data = ecd_cpu_scratch(be, 0);
            rows.first = ids[i];
            if (!ecd_cpu_decode_rows(&decode, ids[i], 1, ecd_cpu_scratch(be, 0)))
                break;
        }
        vf scale = vsplat(ecd_weight_row_scale(table, ids[i]));
        float *to = out + i * table->cols;
        for (int64_t k = 0; k < table->cols; k += LANES) {
            int64_t left = table->cols - k;
            vf v = ecd_widen(table->dtype, &rows, scaled, ids[i], k, left) * scale;
            vstore_some(ECD_F32, to + k, vload_some(ECD_F32, to + k, left) + v, left);
        }
    }
    if (table->coded)
        ecd_cpu_decode_end(be, &decode, false);
}
