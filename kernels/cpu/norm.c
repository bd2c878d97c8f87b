#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

enum { ROWS = 16, CHUNK = 64 }; // rows of a part; pixels whose sums are kept in float

typedef struct norm_job {
    ecd_backend *be;
    const ecd_norm *op;
} norm_job;

// sum of (x - mean)^power for power 1 or 2, over a row.
ALWAYS_INLINE float sum_row(const float *x, int64_t cols, float mean, const int power)
{
    vf sum = {0}, centre = vsplat(mean);
    int64_t c = 0;
    for (; c + LANES <= cols; c += LANES) {
        vf v = vload(x + c) - centre;
        sum = power == 2 ? vfma(v, v, sum) : sum + v;
    }
    float total = vsum(sum);
    for (; c < cols; c++)
        total += power == 2 ? (x[c] - mean) * (x[c] - mean) : x[c] - mean;
    return total;
}

static void norm_row(const norm_job *j, int64_t row)
{
    const ecd_norm *op = j->op;
    const float *x = op->x + row * op->cols;
    int64_t modulation = op->group_rows ? row / op->group_rows * op->mod_stride : 0;
    ecd_dtype act = ecd_cpu_act(j->be);
    char *out = (char *)op->out + (size_t)(row * op->cols) * j->be->act_bytes;
    float mean = op->rms ? 0.0f : sum_row(x, op->cols, 0, 1) / (float)op->cols;
    float variance = sum_row(x, op->cols, mean, 2) / (float)op->cols;
    vf inverse = vsplat(1.0f / sqrtf(variance + op->eps)), centre = vsplat(mean);
    for (int64_t c = 0; c < op->cols; c += LANES) {
        int64_t left = op->cols - c;
        vf v = (vload_some(ECD_F32, x + c, left) - centre) * inverse;
        if (op->gamma)
            v *= vload_some(ECD_F32, op->gamma + c, left);
        if (op->beta)
            v += vload_some(ECD_F32, op->beta + c, left);
        if (op->scale)
            v *= 1.0f + vload_some(ECD_F32, op->scale + modulation + c, left);
        if (op->shift)
            v += vload_some(ECD_F32, op->shift + modulation + c, left);
        vstore_some(act, out + (size_t)c * j->be->act_bytes, v, left);
    }
}

static void norm_part(void *context, int64_t part, int thread)
{
    (void)thread;
    const norm_job *j = context;
    for (int64_t row = part * ROWS; row < (part + 1) * ROWS && row < j->op->rows; row++)
        norm_row(j, row);
}

void ECD_NAME(norm)(ecd_backend *be, const ecd_norm *op)
{
    if (!ecd_shape_norm(be, op))
        return;
    norm_job j = {be, op};
    ecd_pool_run(ecd_cpu_of(be)->pool, (op->rows + ROWS - 1) / ROWS, norm_part, &j);
}

enum { WIDE = 4 }; // vectors of channels that are summed side by side

typedef struct group_job {
    ecd_backend *be;
    const ecd_group_norm *op;
    int64_t size;  // channels of a group
    double *sums;  // [chunk][channels]: of each chunk of pixels, added later in the order of the chunks
    float *centre; // [channels]: the group's mean, repeated
    float *factor; // [channels]: gamma / standard deviation
    int power;     // 1: sums of x, 2: of (x - mean)^2
} group_job;

static const char *pixel_at(const group_job *j, int64_t pixel)
{
    return (const char *)j->op->x + (size_t)(pixel * j->op->channels) * j->be->act_bytes;
}

// Sums of `vectors` x LANES channels side by side, a chain each: whole cache lines at a time, and additions that do not
// wait for each other. A channel's sum is the same chain whatever stands beside it.
ALWAYS_INLINE void sum_channels(const group_job *j, const ecd_dtype act, const int vectors, int64_t part, int64_t first)
{
    int64_t channels = j->op->channels, end = (part + 1) * CHUNK < j->op->pixels ? (part + 1) * CHUNK : j->op->pixels;
    vf sum[WIDE] = {0}, centre[WIDE];
    for (int k = 0; k < vectors; k++)
        centre[k] = vload_some(ECD_F32, j->centre + first + k * LANES, channels - first - k * LANES);
    for (int64_t p = part * CHUNK; p < end; p++) {
        const char *pixel = pixel_at(j, p) + (size_t)first * vsize(act);
#pragma GCC unroll 4
        for (int k = 0; k < vectors; k++) {
            const char *at = pixel + (size_t)(k * LANES) * vsize(act);
            vf v = (vectors == 1 ? vload_some(act, at, channels - first) : vload_type(act, at)) - centre[k];
            sum[k] = j->power == 2 ? vfma(v, v, sum[k]) : sum[k] + v;
        }
    }
    for (int k = 0; k < vectors; k++)
        for (int64_t i = 0; i < LANES && first + k * LANES + i < channels; i++)
            j->sums[part * channels + first + k * LANES + i] = (double)sum[k][i];
}

static void sum_chunk(void *context, int64_t part, int thread)
{
    (void)thread;
    const group_job *j = context;
    int64_t c = 0;
    bool narrow = ecd_cpu_act(j->be) == ECD_BF16;
    for (; c + WIDE * LANES <= j->op->channels; c += WIDE * LANES)
        narrow ? sum_channels(j, ECD_BF16, WIDE, part, c) : sum_channels(j, ECD_F32, WIDE, part, c);
    for (; c < j->op->channels; c += LANES)
        narrow ? sum_channels(j, ECD_BF16, 1, part, c) : sum_channels(j, ECD_F32, 1, part, c);
}

static double group_total(const group_job *j, int64_t chunks, int64_t group)
{
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        for (int64_t c = group * j->size; c < (group + 1) * j->size; c++)
            total += j->sums[chunk * j->op->channels + c];
    return total / (double)(j->size * j->op->pixels);
}

ALWAYS_INLINE void apply_pixels(const group_job *j, const ecd_dtype act, const bool silu, int64_t first, int64_t end)
{
    const ecd_group_norm *op = j->op;
    for (int64_t p = first; p < end; p++)
        for (int64_t c = 0; c < op->channels; c += LANES) {
            int64_t left = op->channels - c;
            size_t at = (size_t)(p * op->channels + c) * vsize(act);
            vf v = vload_some(act, (const char *)op->x + at, left) - vload_some(ECD_F32, j->centre + c, left);
            v = vfma(v, vload_some(ECD_F32, j->factor + c, left), vload_some(ECD_F32, op->beta + c, left));
            vstore_some(act, (char *)op->out + at, silu ? vsilu(v) : v, left);
        }
}

static void apply_chunk(void *context, int64_t part, int thread)
{
    (void)thread;
    const group_job *j = context;
    int64_t first = part * CHUNK, end = first + CHUNK < j->op->pixels ? first + CHUNK : j->op->pixels;
    bool narrow = ecd_cpu_act(j->be) == ECD_BF16;
    if (j->op->silu)
        narrow ? apply_pixels(j, ECD_BF16, true, first, end) : apply_pixels(j, ECD_F32, true, first, end);
    else
        narrow ? apply_pixels(j, ECD_BF16, false, first, end) : apply_pixels(j, ECD_F32, false, first, end);
}

void ECD_NAME(group_norm)(ecd_backend *be, const ecd_group_norm *op)
{
    int64_t chunks = (op->pixels + CHUNK - 1) / CHUNK;
    if (!ecd_shape_group_norm(be, op) || chunks == 0 ||
        !ecd_cpu_reserve(be, (size_t)((chunks + 1) * op->channels) * sizeof(double)))
        return;
    group_job j = {be, op, op->channels / op->groups, ecd_cpu_scratch(be, 0), NULL, NULL, 1};
    j.centre = (float *)(j.sums + chunks * op->channels);
    j.factor = j.centre + op->channels;
    memset(j.centre, 0, (size_t)op->channels * sizeof *j.centre);
    ecd_pool *pool = ecd_cpu_of(be)->pool;
    ecd_pool_run(pool, chunks, sum_chunk, &j);
    for (int64_t c = 0; c < op->channels; c++)
        j.centre[c] = c % j.size ? j.centre[c - 1] : (float)group_total(&j, chunks, c / j.size);
    j.power = 2;
    ecd_pool_run(pool, chunks, sum_chunk, &j);
    double inverse = 0;
    for (int64_t c = 0; c < op->channels; c++) {
        if (c % j.size == 0)
            inverse = 1.0 / sqrt(group_total(&j, chunks, c / j.size) + (double)op->eps);
        j.factor[c] = (float)(inverse * (double)op->gamma[c]);
    }
    ecd_pool_run(pool, chunks, apply_chunk, &j);
}
