#include "kernels/cpu/group_norm.h"

#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

enum {
    CHUNK = 64, // pixels whose sums are kept in float
    WIDE = 4,   // vectors of channels that are summed side by side
};

typedef struct group_job {
    ecd_backend *be;
    const ecd_group_norm *op;
    size_t stride_bytes; // from pixel to pixel
    int64_t size;        // channels of a group
    double *sums;        // [chunk][group]: added later in the order of the chunks
    float *centre;       // [channels]: the group's mean, repeated
    int power;           // 1: sums of x, 2: of (x - mean)^2
} group_job;

// Sums of `vectors` x LANES channels side by side, a chain each: whole cache lines at a time, and additions that do not
// wait for each other. A channel's sum is the same chain whatever stands beside it.
ALWAYS_INLINE void sum_channels(const group_job *j, const ecd_dtype act, const int vectors, int64_t part, int64_t first)
{
    int64_t channels = j->op->channels, end = (part + 1) * CHUNK < j->op->pixels ? (part + 1) * CHUNK : j->op->pixels;
    double *sums = j->sums + part * j->op->groups;
    vf sum[WIDE] = {0}, centre[WIDE];
    for (int k = 0; k < vectors; k++)
        centre[k] = vload_some(ECD_F32, j->centre + first + k * LANES, channels - first - k * LANES);
    for (int64_t p = part * CHUNK; p < end; p++) {
        const char *pixel = (const char *)j->op->x + (size_t)p * j->stride_bytes + (size_t)first * vsize(act);
#pragma GCC unroll 4
        for (int k = 0; k < vectors; k++) {
            const char *at = pixel + (size_t)(k * LANES) * vsize(act);
            vf v = (vectors == 1 ? vload_some(act, at, channels - first) : vload_type(act, at)) - centre[k];
            sum[k] = j->power == 2 ? vfma(v, v, sum[k]) : sum[k] + v;
        }
    }
    for (int k = 0; k < vectors; k++)
        for (int64_t i = 0, c = first + k * LANES; i < LANES && c < channels; i++, c++)
            sums[c / j->size] += (double)sum[k][i];
}

static void sum_chunk(void *context, int64_t part, int thread)
{
    (void)thread;
    const group_job *j = context;
    int64_t c = 0;
    bool narrow = ecd_cpu_act(j->be) == ECD_BF16;
    memset(j->sums + part * j->op->groups, 0, (size_t)j->op->groups * sizeof *j->sums);
    for (; c + WIDE * LANES <= j->op->channels; c += WIDE * LANES)
        narrow ? sum_channels(j, ECD_BF16, WIDE, part, c) : sum_channels(j, ECD_F32, WIDE, part, c);
    for (; c < j->op->channels; c += LANES)
        narrow ? sum_channels(j, ECD_BF16, 1, part, c) : sum_channels(j, ECD_F32, 1, part, c);
}

static double group_mean(const group_job *j, int64_t chunks, int64_t group)
{
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        total += j->sums[chunk * j->op->groups + group];
    return total / (double)(j->size * j->op->pixels);
}

// Reserves scratch for the sums: what lies behind them there stays.
static bool measure(ecd_backend *be, const ecd_group_norm *op)
{
    int64_t chunks = (op->pixels + CHUNK - 1) / CHUNK, stride = ecd_stride_or(op->x_stride, op->channels);
    float *centre = op->measured, *factor = centre + op->channels;
    if (chunks == 0 || !ecd_cpu_reserve(be, (size_t)(chunks * op->groups) * sizeof(double)))
        return false;
    group_job j = {be, op, (size_t)stride * be->act_bytes, op->channels / op->groups, ecd_cpu_scratch(be, 0), centre, 1};
    memset(centre, 0, (size_t)op->channels * sizeof *centre);
    ecd_pool *pool = ecd_cpu_of(be)->pool;
    ecd_pool_run(pool, chunks, sum_chunk, &j);
    for (int64_t c = 0; c < op->channels; c++)
        centre[c] = c % j.size ? centre[c - 1] : (float)group_mean(&j, chunks, c / j.size);
    j.power = 2;
    ecd_pool_run(pool, chunks, sum_chunk, &j);
    double inverse = 0;
    for (int64_t c = 0; c < op->channels; c++) {
        if (c % j.size == 0)
            inverse = 1.0 / sqrt(group_mean(&j, chunks, c / j.size) + (double)op->eps);
        factor[c] = (float)(inverse * (double)op->gamma[c]);
    }
    return true;
}

void ECD_NAME(group_measure)(ecd_backend *be, const ecd_group_norm *op)
{
    if (ecd_shape_group_norm(be, op))
        measure(be, op);
}

typedef struct apply_job {
    ecd_backend *be;
    const ecd_group_norm *op;
    ecd_group_factors factors;
} apply_job;

ALWAYS_INLINE void apply_pixels(const apply_job *j, const ecd_dtype act, const bool silu, int64_t first, int64_t end)
{
    int64_t channels = j->op->channels, stride = ecd_stride_or(j->op->x_stride, channels);
    for (int64_t p = first; p < end; p++)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t left = channels - c;
            vf v = ecd_group_apply(&j->factors, act, silu, (const char *)j->op->x + (size_t)(p * stride) * vsize(act), c,
                                   left);
            vstore_some(act, (char *)j->op->out + (size_t)(p * channels + c) * vsize(act), v, left);
        }
}

static void apply_chunk(void *context, int64_t part, int thread)
{
    (void)thread;
    const apply_job *j = context;
    int64_t first = part * CHUNK, end = first + CHUNK < j->op->pixels ? first + CHUNK : j->op->pixels;
    bool narrow = ecd_cpu_act(j->be) == ECD_BF16;
    if (j->op->silu)
        narrow ? apply_pixels(j, ECD_BF16, true, first, end) : apply_pixels(j, ECD_F32, true, first, end);
    else
        narrow ? apply_pixels(j, ECD_BF16, false, first, end) : apply_pixels(j, ECD_F32, false, first, end);
}

void ECD_NAME(group_norm)(ecd_backend *be, const ecd_group_norm *op)
{
    if (!ecd_shape_group_norm(be, op))
        return;
    int64_t chunks = (op->pixels + CHUNK - 1) / CHUNK;
    size_t sums = (size_t)(chunks * op->groups) * sizeof(double);
    if (!ecd_cpu_reserve(be, sums + (size_t)op->channels * ECD_MEASURED_BYTES))
        return;
    ecd_group_norm own = *op;
    own.measured = (char *)ecd_cpu_scratch(be, 0) + sums;
    if (!measure(be, &own))
        return;
    apply_job j = {be, &own, ecd_group_factors_of(&own, op->channels)};
    ecd_pool_run(ecd_cpu_of(be)->pool, chunks, apply_chunk, &j);
}
