// libecf8's rows of the table.
#include "tests/bench/ecf8_bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 16, CHUNK_BYTES = 256 * 1024 };

// One encoded tensor, shared by the rows that decode it.
typedef struct coded {
    ecf8_density density;
    uint8_t *blob, *memory;
    uint64_t bytes, capacity, memory_bytes;
    ecf8_decoder decoder;
} coded;

typedef struct ours {
    coded *coded;
    const ecf8_decoder *raw; // the weights as a container of mode raw: its decoding is the conversion alone
    ecf8_output output;
    unsigned flags;
} ours;

static bool fail(const char *what, ecf8_status status)
{
    fprintf(stderr, "ecf8_bench: %s: %s\n", what, ecf8_status_name(status));
    return false;
}

static ecf8_params params_of(const ecf8_bench_tensor *t, ecf8_density density)
{
    return (ecf8_params){t->dtype, t->rows, t->cols, density, 0};
}

static bool open_coded(ecf8_bench_table *table, coded *c, ecf8_cpu cpu)
{
    ecf8_view view;
    ecf8_status status = ecf8_open(c->blob, c->bytes, &view, NULL);
    if (status)
        return fail("open", status);
    const size_t bytes = ecf8_decoder_bytes(&view);
    status = ecf8_decoder_init(&c->decoder, &view, ecf8_bench_take(table, bytes + 1), bytes, cpu, NULL);
    return status ? fail("decoder", status) : true;
}

// ---------------------------------------------------------------- threads

typedef struct share {
    const ecf8_bench_row *row;
    ecf8_plan *plan;
    void (*step)(struct share *share);
    uint64_t first, count;
    uint8_t *blob;
    ecf8_status status;
} share;

static void *run_share(void *argument)
{
    share *s = argument;
    s->step(s);
    return NULL;
}

// Cuts `units` into a range for each thread; the caller works too.
static ecf8_status in_threads(share model, unsigned threads, uint64_t units)
{
    pthread_t ids[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    share shares[MAX_THREADS];
    for (unsigned i = threads; i-- > 0;) {
        shares[i] = model;
        shares[i].first = units * i / threads;
        shares[i].count = units * (i + 1) / threads - shares[i].first;
        started[i] = i && !pthread_create(&ids[i], NULL, run_share, &shares[i]);
        if (!started[i])
            run_share(&shares[i]);
    }
    ecf8_status status = ECF8_OK;
    for (unsigned i = 0; i < threads; i++) {
        if (started[i])
            pthread_join(ids[i], NULL);
        status = shares[i].status ? shares[i].status : status;
    }
    return status;
}

static void step_scan(share *s)
{
    ecf8_plan_scan(s->plan, s->first, s->count);
}

static void step_measure(share *s)
{
    ecf8_plan_measure(s->plan, s->first, s->count);
}

static void step_pack(share *s)
{
    ecf8_plan_pack(s->plan, s->first, s->count, s->blob);
}

static void step_decode(share *s)
{
    const ours *o = s->row->state;
    const ecf8_view *v = &o->coded->decoder.view;
    const uint64_t size = ecf8_dtype_bytes(v->dtype), first = s->first * v->tile_weights;
    uint64_t count = s->count * v->tile_weights;
    count = count > v->count - first ? v->count - first : count;
    s->status = ecf8_decode_weights(&o->coded->decoder, first, count, NULL, s->row->target + first * size, count * size,
                                    o->flags, NULL);
}

// ---------------------------------------------------------------- what rows do

static bool encode(ecf8_bench_row *row)
{
    ours *o = row->state;
    coded *c = o->coded;
    const ecf8_bench_tensor *t = row->tensor;
    const ecf8_params params = params_of(t, c->density);
    if (row->threads == 1) {
        const ecf8_status status =
            ecf8_encode(t->weights, t->count, &params, c->memory, c->memory_bytes, c->blob, c->capacity, &c->bytes);
        row->coded_bytes = c->bytes;
        return status ? fail("encode", status) : true;
    }
    share s = {.row = row, .blob = c->blob, .plan = NULL};
    s.plan = ecf8_plan_begin(t->weights, t->count, &params, c->memory, c->memory_bytes);
    if (!s.plan)
        return fail("plan", ECF8_ERR_ARGUMENT);
    const uint64_t tiles = ecf8_plan_tiles(s.plan);
    s.step = step_scan;
    in_threads(s, row->threads, tiles);
    ecf8_plan_decide(s.plan);
    s.step = step_measure;
    in_threads(s, row->threads, tiles);
    row->coded_bytes = ecf8_plan_size(s.plan);
    s.step = step_pack;
    in_threads(s, row->threads, tiles);
    ecf8_plan_seal(s.plan, c->blob);
    return row->coded_bytes == c->bytes ? true : fail("threads give another size", ECF8_ERR_ARGUMENT);
}

static bool decode(ecf8_bench_row *row)
{
    const ours *o = row->state;
    const ecf8_status status = ecf8_decode_weights(&o->coded->decoder, 0, row->tensor->count, &o->output, row->target,
                                                   row->target_bytes, o->flags, NULL);
    return status ? fail("decode", status) : true;
}

static bool decode_in_threads(ecf8_bench_row *row)
{
    const ours *o = row->state;
    const share s = {.row = row, .step = step_decode};
    const ecf8_status status = in_threads(s, row->threads, o->coded->decoder.view.tile_count);
    return status ? fail("decode", status) : true;
}

// Tile by tile into the same memory, which so stays in cache: what a matrix product decodes into.
static bool decode_in_cache(ecf8_bench_row *row)
{
    const ours *o = row->state;
    const ecf8_view *v = &o->coded->decoder.view;
    const uint64_t size = ecf8_dtype_bytes(v->dtype), tile = v->tile_weights ? v->tile_weights : 1024;
    const uint64_t step = CHUNK_BYTES / size / tile ? CHUNK_BYTES / size / tile * tile : tile;
    ecf8_status status = ECF8_OK;
    for (uint64_t at = 0; at < v->count && !status; at += step)
        status = ecf8_decode_weights(&o->coded->decoder, at, v->count - at < step ? v->count - at : step, NULL,
                                     row->target, row->target_bytes, o->flags, NULL);
    return status ? fail("decode", status) : true;
}

// Its target holds only the last part.
static bool check_in_cache(const ecf8_bench_row *row)
{
    const ours *o = row->state;
    const ecf8_view *v = &o->coded->decoder.view;
    const uint64_t size = ecf8_dtype_bytes(v->dtype), tile = v->tile_weights ? v->tile_weights : 1024;
    const uint64_t step = CHUNK_BYTES / size / tile ? CHUNK_BYTES / size / tile * tile : tile;
    const uint64_t last = (v->count - 1) / step * step;
    return !memcmp(row->target, row->tensor->weights + last * size, (v->count - last) * size);
}

// The weights whole in memory first, in their own dtype, then from there to BF16.
static bool decode_then_convert(ecf8_bench_row *row)
{
    const ours *o = row->state;
    const uint64_t bytes = row->tensor->bytes;
    // A raw container's weights are its last bytes but for the padding; they are written where it expects them.
    uint8_t *between = (uint8_t *)(uintptr_t)o->raw->view.plane;
    ecf8_status status = ecf8_decode(&o->coded->decoder, between, bytes, 0, NULL);
    if (!status)
        status =
            ecf8_decode_weights(o->raw, 0, row->tensor->count, &o->output, row->target, row->target_bytes, 0, NULL);
    return status ? fail("decode, then convert", status) : true;
}

// The raw container's conversion is independent of the fused one; the values themselves are tests/unit/test_ecf8.c's.
static bool check_converted(const ecf8_bench_row *row)
{
    const ours *o = row->state;
    const uint64_t bytes = row->tensor->count * (o->output.form == ECF8_FORM_BF16 ? 2 : 4);
    uint8_t *expected = malloc(bytes);
    memcpy((uint8_t *)(uintptr_t)o->raw->view.plane, row->tensor->weights, row->tensor->bytes);
    const bool same = expected &&
                      !ecf8_decode_weights(o->raw, 0, row->tensor->count, &o->output, expected, bytes, 0, NULL) &&
                      !memcmp(row->target, expected, bytes);
    free(expected);
    return same;
}

// ---------------------------------------------------------------- setting up

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

// A container of mode raw, by hand (docs/FORMAT.md): the encoder would choose a smaller mode. Its tiles' CRCs are not
// filled in, so it can only be decoded without ECF8_VERIFY.
static bool make_raw(ecf8_bench_table *table, const ecf8_bench_tensor *t, ecf8_cpu cpu, coded *raw)
{
    enum { TILE = 65536 };
    const uint64_t tiles = (t->count + TILE - 1) / TILE, meta = (64 + 4 * tiles + 63) / 64 * 64;
    raw->bytes = meta + t->bytes;
    raw->blob = ecf8_bench_take(table, raw->bytes + 64);
    memset(raw->blob, 0, raw->bytes + 64);
    memcpy(raw->blob, "ECF8", 4);
    put(raw->blob + 4, 1, 1);
    put(raw->blob + 5, t->dtype, 1);
    put(raw->blob + 8, t->count, 8);
    put(raw->blob + 16, t->rows, 8);
    put(raw->blob + 24, t->cols, 8);
    put(raw->blob + 32, TILE, 4);
    put(raw->blob + 60, ecf8_crc32c(ecf8_crc32c(0, raw->blob, 60), raw->blob + 64, meta - 64), 4);
    memcpy(raw->blob + meta, t->weights, t->bytes);
    return open_coded(table, raw, cpu);
}

static coded *make_coded(ecf8_bench_table *table, const ecf8_bench_tensor *t, ecf8_density density, ecf8_cpu cpu)
{
    const ecf8_params params = params_of(t, density);
    coded *c = ecf8_bench_take(table, sizeof *c);
    *c = (coded){.density = density,
                 .capacity = ecf8_encode_bound(t->count, &params),
                 .memory_bytes = ecf8_plan_bytes(t->count, &params)};
    c->blob = ecf8_bench_take(table, c->capacity);
    c->memory = ecf8_bench_take(table, c->memory_bytes);
    const ecf8_status status =
        ecf8_encode(t->weights, t->count, &params, c->memory, c->memory_bytes, c->blob, c->capacity, &c->bytes);
    if (status)
        fail("encode", status);
    return !status && open_coded(table, c, cpu) ? c : NULL;
}

static ecf8_bench_row *add(ecf8_bench_table *table, const ecf8_bench_tensor *t, coded *c, const char *name,
                           const char *out)
{
    ecf8_bench_row *row = ecf8_bench_add(table, t, name, out);
    ours *o = ecf8_bench_take(table, sizeof *o);
    *o = (ours){.coded = c};
    row->state = o;
    row->coded_bytes = c->bytes;
    row->decode = decode;
    return row;
}

static void add_form(ecf8_bench_table *table, const ecf8_bench_tensor *t, coded *c, coded *raw, const char *name,
                     const char *out, ecf8_output output)
{
    ecf8_bench_row *row = add(table, t, c, name, out);
    ours *o = row->state;
    o->output = output;
    o->raw = &raw->decoder;
    row->check = check_converted;
}

static void add_outputs(ecf8_bench_table *table, const ecf8_bench_tensor *t, coded *c, coded *raw)
{
    static const char *const name = "ecf8 fast";
    const char *native = t->dtype == ECF8_E4M3 ? "FP8" : "native";
    ecf8_bench_row *row = add(table, t, c, name, native);
    row->encode = encode;
    row = add(table, t, c, name, t->dtype == ECF8_E4M3 ? "FP8, verified" : "native, verified");
    ((ours *)row->state)->flags = ECF8_VERIFY;
    row = add(table, t, c, name, t->dtype == ECF8_E4M3 ? "FP8 in 256 KiB" : "native in 256 KiB");
    row->decode = decode_in_cache;
    row->check = check_in_cache;
    if (t->dtype != ECF8_BF16)
        add_form(table, t, c, raw, name, "BF16", (ecf8_output){.form = ECF8_FORM_BF16});
    add_form(table, t, c, raw, name, "BF16 by decode, then convert", (ecf8_output){.form = ECF8_FORM_BF16});
    table->rows[table->count - 1].decode = decode_then_convert;
    if (t->rows) {
        float *scales = ecf8_bench_take(table, t->rows * sizeof *scales);
        for (uint64_t r = 0; r < t->rows; r++)
            scales[r] = 0.001F + 0.0001F * (float)(r % 97);
        add_form(table, t, c, raw, name, "BF16, row scales", (ecf8_output){ECF8_FORM_BF16, scales, t->rows});
    }
    add_form(table, t, c, raw, name, "F32", (ecf8_output){.form = ECF8_FORM_F32});
}

bool ecf8_bench_add_ours(ecf8_bench_table *table, const ecf8_bench_tensor *t, ecf8_cpu cpu, unsigned threads)
{
    static const char *const names[] = {"ecf8 fast", "ecf8 best", "ecf8 balanced"};
    static const ecf8_density order[] = {ECF8_DENSITY_FAST, ECF8_DENSITY_BALANCED, ECF8_DENSITY_BEST};
    coded *raw = ecf8_bench_take(table, sizeof *raw);
    if (!make_raw(table, t, cpu, raw))
        return false;
    for (unsigned i = 0; i < sizeof order / sizeof *order; i++) {
        const ecf8_density density = order[i];
        coded *c = make_coded(table, t, density, cpu);
        if (!c)
            return false;
        if (density == ECF8_DENSITY_FAST) {
            add_outputs(table, t, c, raw);
        } else {
            add(table, t, c, names[density], t->dtype == ECF8_E4M3 ? "FP8" : "native")->encode = encode;
            add_form(table, t, c, raw, names[density], "BF16", (ecf8_output){.form = ECF8_FORM_BF16});
        }
        if (density == ECF8_DENSITY_FAST && threads > 1) {
            ecf8_bench_row *row = add(table, t, c, "ecf8 fast, threads", t->dtype == ECF8_E4M3 ? "FP8" : "native");
            row->threads = threads > MAX_THREADS ? MAX_THREADS : threads;
            row->encode = encode;
            row->decode = decode_in_threads;
        }
    }
    return true;
}

bool ecf8_bench_size(const ecf8_bench_tensor *t, ecf8_density density, ecf8_cpu cpu, uint64_t *bytes, double seconds[2])
{
    ecf8_bench_table table = {0};
    const ecf8_params params = params_of(t, density);
    const uint64_t capacity = ecf8_encode_bound(t->count, &params), memory_bytes = ecf8_plan_bytes(t->count, &params);
    coded c = {.blob = ecf8_bench_take(&table, capacity + 1), .memory = ecf8_bench_take(&table, memory_bytes + 1)};
    uint8_t *back = ecf8_bench_take(&table, t->bytes + 1);
    const double start = ecf8_bench_seconds(true);
    ecf8_status status = ecf8_encode(t->weights, t->count, &params, c.memory, memory_bytes, c.blob, capacity, &c.bytes);
    seconds[0] += ecf8_bench_seconds(true) - start;
    bool good = status ? fail("encode", status) : open_coded(&table, &c, cpu);
    if (good) {
        memset(back, 0, t->bytes);
        const double begin = ecf8_bench_seconds(true);
        status = ecf8_decode(&c.decoder, back, t->bytes, ECF8_VERIFY, NULL);
        seconds[1] += ecf8_bench_seconds(true) - begin;
        good = status ? fail("decode", status) : !memcmp(back, t->weights, t->bytes);
    }
    *bytes = c.bytes;
    ecf8_bench_drop(&table);
    return good;
}
