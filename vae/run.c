#include "vae/vae_internal.h"

static const float NORM_EPS = 1e-6f;
enum { LINE = 64, BANDS = 32, BAND_ROWS = 8, ROWS_A_THREAD = 2, DEVICE_PIXELS = 1 << 20 };

size_t ecd_vae_sum(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

size_t ecd_vae_bytes(int64_t pixels, int64_t channels, size_t element_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow((uint64_t)pixels, (uint64_t)channels, &bytes) ||
        __builtin_mul_overflow(bytes, element_bytes, &bytes) || bytes > SIZE_MAX - LINE)
        return SIZE_MAX;
    return (bytes + LINE - 1) / LINE * LINE;
}

static size_t activation_bytes(const ecd_vae_run *run)
{
    return ecd_vae_bytes(run->height * run->width, run->stride, run->element);
}

// Asks for memory; whether it is there.
static bool ask(ecd_vae_run *run, size_t bytes)
{
    if (bytes > run->need)
        run->need = bytes;
    if (run->planning)
        return true;
    if (bytes > run->memory_bytes)
        ecd_backend_fail(run->be, ECD_RESOURCE, "VAE activations of %zu bytes, planned with %zu", bytes,
                         run->memory_bytes);
    return bytes <= run->memory_bytes;
}

static char *side(const ecd_vae_run *run, bool high, size_t bytes)
{
    if (run->planning || bytes > run->memory_bytes)
        return NULL;
    return (char *)run->memory + (high ? run->memory_bytes - bytes : 0);
}

ecd_vae_place ecd_vae_here(const ecd_vae_run *run)
{
    return (ecd_vae_place){side(run, run->high, activation_bytes(run)), run->stride};
}

void *ecd_vae_room(ecd_vae_run *run, size_t bytes)
{
    return ask(run, ecd_vae_sum(activation_bytes(run), bytes)) ? side(run, !run->high, bytes) : NULL;
}

void ecd_vae_hold(ecd_vae_run *run, ecd_vae_range range)
{
    uint64_t bytes = run->planning ? ecd_vae_range_bytes(run->parts, range) : 0;
    run->weights_need = bytes > run->weights_need ? bytes : run->weights_need;
    if (!ecd_vae_idle(run))
        run->status = ecd_vae_parts_take(run->parts, range, run->diag);
}

void ecd_vae_drop(ecd_vae_run *run, ecd_vae_range range)
{
    if (!run->planning)
        ecd_vae_parts_give(run->parts, range);
}

ecd_group_norm ecd_vae_norm_op(const ecd_vae_run *run, const ecd_vae_norm *n)
{
    return (ecd_group_norm){.pixels = run->height * run->width,
                            .channels = n->channels,
                            .groups = run->groups,
                            .eps = NORM_EPS,
                            .gamma = n->gamma,
                            .beta = n->beta,
                            .silu = true,
                            .measured = run->measured};
}

void ecd_vae_measure_norm(ecd_vae_run *run, const ecd_vae_norm *n, ecd_vae_place x)
{
    if (ecd_vae_idle(run))
        return;
    ecd_group_norm op = ecd_vae_norm_op(run, n);
    op.x = x.at;
    op.x_stride = x.stride;
    run->be->ops->group_measure(run->be, &op);
}

static void count_scratch(ecd_vae_run *run, uint64_t bytes)
{
    run->scratch_need = bytes > run->scratch_need ? bytes : run->scratch_need;
}

void ecd_vae_count_linear(ecd_vae_run *run, int64_t channels)
{
    const ecd_weight w = {.dtype = ECD_E4M3, .rows = channels, .cols = channels}; // of a type that is expanded, as it may be
    if (run->planning && run->be->ops->linear_scratch)
        count_scratch(run, run->be->ops->linear_scratch(run->be, &w, run->height * run->width));
}

void ecd_vae_convolve(ecd_vae_run *run, const ecd_vae_step *s)
{
    ecd_group_norm norm = {0};
    if (!run->planning && (run->status || !s->to.at))
        return;
    if (s->norm)
        norm = ecd_vae_norm_op(run, s->norm);
    ecd_conv op = {.w = s->conv->w,
                   .height = run->height,
                   .width = run->width,
                   .x = s->from.at,
                   .x_stride = s->from.stride,
                   .upsample = s->upsample,
                   .residual = s->residual.at,
                   .residual_stride = s->residual.stride,
                   .out = s->to.at,
                   .out_stride = s->to.stride,
                   .out_f32 = s->out_f32,
                   .first_row = s->first_row,
                   .rows = s->rows,
                   .norm = s->norm ? &norm : NULL};
    if (!run->planning)
        run->be->ops->conv(run->be, &op);
    else if (run->be->ops->conv_scratch)
        count_scratch(run, run->be->ops->conv_scratch(run->be, &s->conv->shape, &op));
}

// How a result of `height` rows replaces an activation in one memory.
typedef struct rows {
    int64_t height, band;               // of the result
    int64_t grow, from_height;          // upsampling; rows of the activation
    size_t from_row, to_row, from, to;  // bytes of a row and of all
} rows;

// Rows [first, end) of the activation that rows [a, b) of the result are made of, by a kernel of 3 or less.
static void read_rows(const rows *r, int64_t a, int64_t b, int64_t *first, int64_t *end)
{
    *first = a > 0 ? (a - 1) / r->grow : 0;
    *end = b / r->grow + 1 < r->from_height ? b / r->grow + 1 : r->from_height;
}

// Memory in which the result grows from the one side over the activation at the other, a band at a time, and never over
// rows that are still read.
static size_t overlapped_bytes(const rows *r, bool high)
{
    size_t need = r->from > r->to ? r->from : r->to;
    for (int64_t a = 0; a < r->height; a += r->band) {
        int64_t b = a + r->band < r->height ? a + r->band : r->height, first, end;
        read_rows(r, a, b, &first, &end);
        // Downwards the rows from `first` on must lie behind those written; upwards the rows up to `end` before them.
        size_t written = high ? (size_t)b * r->to_row : (size_t)(r->height - a) * r->to_row;
        size_t unread = high ? (size_t)(r->from_height - first) * r->from_row : (size_t)end * r->from_row;
        size_t both = ecd_vae_sum(ecd_vae_sum(written, unread), LINE);
        need = both > need ? both : need;
    }
    return need > SIZE_MAX - LINE ? SIZE_MAX : (need + LINE - 1) / LINE * LINE;
}

// A device's library computes each shape in a way of its own: there bands follow from the picture's size alone.
static int64_t band_rows(const ecd_vae_run *run, int64_t height, int64_t width)
{
    if (run->be->ops->device_memory)
        return width < DEVICE_PIXELS / 2 ? DEVICE_PIXELS / width / 2 * 2 : 2;
    int64_t band = height / BANDS, threads = ROWS_A_THREAD * run->be->threads;
    band = band > BAND_ROWS ? band : BAND_ROWS;
    band = band > threads ? band : threads;
    return band + band % 2;
}

static void run_band(ecd_vae_run *run, const ecd_vae_step *steps, int count, char *to, int64_t stride, int64_t first,
                     int64_t height)
{
    int64_t channels = 0;
    for (int i = 0; i < count; i++) {
        ecd_vae_step step = steps[i];
        step.from = ecd_vae_here(run);
        step.to = (ecd_vae_place){to ? to + (size_t)channels * run->be->act_bytes : NULL, stride};
        step.first_row = first;
        step.rows = height;
        ecd_vae_convolve(run, &step);
        channels += step.conv->shape.out_channels;
    }
}

void ecd_vae_rewrite(ecd_vae_run *run, const ecd_vae_step *steps, int count)
{
    const ecd_conv_shape *shape = &steps[0].conv->shape;
    int64_t grow = steps[0].upsample ? 2 : 1, stride = shape->out_channels;
    if (count > 1)
        stride += steps[1].conv->shape.out_channels;
    int64_t height = ecd_conv_out(shape, run->height * grow), width = ecd_conv_out(shape, run->width * grow);
    size_t element = steps[0].out_f32 ? sizeof(float) : run->be->act_bytes;
    rows r = {.height = height, .band = band_rows(run, height, width), .grow = grow, .from_height = run->height};
    r.from = activation_bytes(run);
    r.to = ecd_vae_bytes(height * width, stride, element);
    if (r.from < SIZE_MAX && r.to < SIZE_MAX) {
        r.from_row = (size_t)(run->width * run->stride) * run->element;
        r.to_row = (size_t)(width * stride) * element;
    }
    size_t apart = ecd_vae_sum(r.from, r.to);
    size_t overlapped = shape->stride == 1 && apart < SIZE_MAX ? overlapped_bytes(&r, run->high) : apart;
    bool there = ask(run, apart < overlapped ? apart : overlapped);
    char *to = side(run, !run->high, r.to);
    if (run->planning || !there) {
        run_band(run, steps, run->planning ? count : 0, NULL, stride, 0, height);
    } else if (apart <= run->memory_bytes) {
        run_band(run, steps, count, to, stride, 0, height);
    } else {
        int64_t bands = (height + r.band - 1) / r.band;
        for (int64_t i = 0; i < bands; i++) {
            int64_t first = (run->high ? i : bands - 1 - i) * r.band, left = height - first;
            run_band(run, steps, count, to, stride, first, left < r.band ? left : r.band);
        }
    }
    run->high = !run->high;
    run->stride = stride;
    run->element = element;
    run->height = height;
    run->width = width;
    run->channels = shape->out_channels;
}
