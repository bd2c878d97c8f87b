// How fast the device decodes ECF8 beside how fast it copies: cuda_bandwidth [MIB] [ROUNDS] [KINDS]. One JSON object on standard
// output, with so many kinds of weights (all 6). A rate counts decoded bytes (FP8, one a weight); a copy's the bytes that are written: it reads as many besides, a
// decode some four fifths. What is decoded: containers in tiles as the encoder chooses them and in small ones, and the
// published format's buffers. All of it is compared with what was encoded.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "codec/published.h"
#include "kernels/backend.h"
#include "kernels/cpu/pool.h"
#include "tests/bench/weights_like.h"

enum { SMALL_TILE = 16384, PIECE_BANDS = 16 };

typedef enum form { OWN, SMALL_TILES, PUBLISHED, FORMS } form;
static const char *const form_names[FORMS] = {"ecf8", "ecf8_16384", "published"};

typedef struct coded {
    uint8_t *blob; // or the group's buffers
    uint64_t bytes;
    ecf8_published_buffer parts[ECF8_PUBLISHED_PARTS];
    ecf8_published group;
    bool made;
} coded;

typedef struct bench {
    ecd_backend *be;
    uint8_t *weights, *from, *to; // host, device, device
    size_t bytes;
    uint64_t rows;
    coded forms[FORMS];
    ecd_decode_plan *plan; // the form's that is timed
} bench;

// ---- on the host

// Some bands, again and again: as many weights of a kind as fit, at the cost of a few.
static bool fill(bench *b, ecf8_bench_kind kind)
{
    const uint64_t piece = PIECE_BANDS * ECF8_BENCH_BAND, rows = b->rows < piece ? b->rows : piece;
    if (!ecf8_bench_fill(kind, b->weights, rows))
        return false;
    for (size_t done = (size_t)(rows * ECF8_BENCH_COLS), next; done < b->bytes; done += next) {
        next = done < b->bytes - done ? done : b->bytes - done;
        memcpy(b->weights + done, b->weights, next);
    }
    return true;
}

static bool encode(const bench *b, uint32_t tile_weights, coded *out)
{
    const ecf8_params params = {.dtype = ECF8_E4M3, .rows = b->rows, .cols = ECF8_BENCH_COLS, .tile_weights = tile_weights};
    const uint64_t bound = ecf8_encode_bound(b->bytes, &params), memory_bytes = ecf8_plan_bytes(b->bytes, &params);
    void *memory = malloc(memory_bytes);
    out->blob = malloc(bound);
    bool good = memory && out->blob &&
                ecf8_encode(b->weights, b->bytes, &params, memory, memory_bytes, out->blob, bound, &out->bytes) == ECF8_OK;
    free(memory);
    return good;
}

static bool publish(const bench *b, coded *out)
{
    ecf8_published_plan plan = {0};
    ecf8_published_packer packer;
    uint8_t *buffers[ECF8_PUBLISHED_PARTS];
    ecf8_published_count(&plan, b->weights, b->bytes);
    if (ecf8_published_decide(&plan, NULL) != ECF8_OK)
        return false;
    for (int i = 0; i < ECF8_PUBLISHED_PARTS; i++)
        out->bytes += (plan.bytes[i] + 7) / 8 * 8;
    uint8_t *at = out->blob = malloc(out->bytes);
    for (int i = 0; at && i < ECF8_PUBLISHED_PARTS; i++) {
        out->parts[i] = (ecf8_published_buffer){buffers[i] = at, plan.bytes[i]};
        at += (plan.bytes[i] + 7) / 8 * 8;
    }
    if (!at)
        return false;
    ecf8_published_pack_begin(&packer, &plan, buffers);
    return ecf8_published_pack(&packer, b->weights, b->bytes, NULL) == ECF8_OK &&
           ecf8_published_pack_end(&packer, NULL) == ECF8_OK &&
           ecf8_published_open(out->parts, ECF8_PUBLISHED_THREADS, &out->group, NULL) == ECF8_OK;
}

static void make_form(void *context, int64_t which, int thread)
{
    (void)thread;
    bench *b = context;
    coded *out = &b->forms[which];
    out->made = which == PUBLISHED ? publish(b, out) : encode(b, which == SMALL_TILES ? SMALL_TILE : 0, out);
}

// ---- on the device

static void copy(const bench *b)
{
    b->be->ops->copy(b->be, b->to, b->from, b->bytes);
}

static void decode(const bench *b)
{
    b->be->ops->decode(b->be, b->plan, b->to, false);
    b->be->ops->decode_join(b->be, b->plan);
}

// Bytes a second, of `rounds` in a queue after one that is not counted.
static double rate(const bench *b, void (*run)(const bench *), int rounds)
{
    run(b);
    ecd_backend_check(b->be, NULL);
    uint64_t start = ecd_now_ns();
    for (int i = 0; i < rounds; i++)
        run(b);
    ecd_backend_check(b->be, NULL);
    return (double)b->bytes * rounds / ((double)(ecd_now_ns() - start) * 1e-9);
}

static ecd_status time_form(bench *b, form which, uint8_t *back, int rounds, double copied, ecd_diag *diag)
{
    const coded *c = &b->forms[which];
    ecd_decode_part part = {.blob = c->blob, .blob_bytes = c->bytes};
    if (!c->made)
        return ecd_fail(diag, ECD_DATA, "weights that cannot be encoded as %s", form_names[which]);
    if (which == PUBLISHED)
        part = (ecd_decode_part){.group = &c->group};
    b->plan = b->be->ops->decode_prepare(b->be, &part, 1);
    int fault = b->plan ? b->be->ops->decode(b->be, b->plan, b->to, true) : -1;
    if (b->plan)
        b->be->ops->download(b->be, back, b->to, b->bytes);
    ecd_status status = ecd_backend_check(b->be, diag);
    if (!status && (fault >= 0 || memcmp(back, b->weights, b->bytes)))
        status = ecd_fail(diag, ECD_DATA, "the device does not decode what the host encoded as %s", form_names[which]);
    if (!status) {
        double decoded = rate(b, decode, rounds);
        printf(",\n  \"%s\": {\"bytes\": %llu, \"gb_s\": %.4g, \"of_copy\": %.4f}", form_names[which],
               (unsigned long long)c->bytes, decoded * 1e-9, decoded / copied);
        status = ecd_backend_check(b->be, diag);
    }
    b->be->ops->decode_free(b->be, b->plan);
    return status;
}

static ecd_status time_kind(bench *b, ecd_pool *pool, uint8_t *back, ecf8_bench_kind kind, int rounds, ecd_diag *diag)
{
    if (!fill(b, kind))
        return ecd_fail_memory(diag, b->bytes, "weights to decode");
    ecd_pool_run(pool, FORMS, make_form, b);
    b->be->ops->upload(b->be, b->from, b->weights, b->bytes);
    double copied = rate(b, copy, rounds);
    printf("%s\n {\"weights\": \"%s\", \"bytes\": %zu, \"copy_gb_s\": %.4g", kind ? "," : "", ecf8_bench_kind_name(kind), b->bytes,
           copied * 1e-9);
    ecd_status status = ecd_backend_check(b->be, diag);
    for (form f = OWN; f < FORMS; f++) {
        if (!status)
            status = time_form(b, f, back, rounds, copied, diag);
        free(b->forms[f].blob);
        b->forms[f] = (coded){0};
    }
    printf("}");
    return status;
}

static ecd_status time_all(bench *b, int kinds, int rounds, ecd_diag *diag)
{
    ecd_pool *pool = NULL;
    uint8_t *back = malloc(b->bytes);
    b->weights = malloc(b->bytes);
    b->from = b->be->ops->alloc(b->be, b->bytes);
    b->to = b->be->ops->alloc(b->be, b->bytes);
    ecd_status status = back && b->weights ? ecd_backend_check(b->be, diag) : ecd_fail_memory(diag, b->bytes, "weights to decode");
    if (!status)
        status = ecd_pool_open(FORMS, &pool, diag);
    for (int kind = 0; !status && kind < kinds; kind++)
        status = time_kind(b, pool, back, (ecf8_bench_kind)kind, rounds, diag);
    ecd_pool_close(pool);
    b->be->ops->free(b->be, b->from);
    b->be->ops->free(b->be, b->to);
    free(b->weights);
    free(back);
    return status;
}

int main(int argc, char **argv)
{
    long mib = argc > 1 ? strtol(argv[1], NULL, 10) : 256, rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 20;
    long kinds = argc > 3 ? strtol(argv[3], NULL, 10) : ECF8_BENCH_KINDS;
    const uint64_t unit = ECF8_BENCH_COLS * ECF8_BENCH_BAND;
    ecd_diag diag = {0};
    bench b = {0};
    if (mib < 1 || mib > 2047 || rounds < 1 || kinds < 1 || kinds > ECF8_BENCH_KINDS) {
        fprintf(stderr, "cuda_bandwidth [MIB] [ROUNDS] [KINDS]\n");
        return 1;
    }
    b.rows = ((uint64_t)mib << 20) / unit * ECF8_BENCH_BAND;
    b.bytes = (size_t)(b.rows * ECF8_BENCH_COLS);
    const ecd_backend_options options = {.name = "cuda", .compute = ECD_COMPUTE_AUTO, .threads = 1};
    ecd_status status = ecd_backend_open(&options, &b.be, &diag);
    if (!status) {
        printf("{\"device\": \"%s\", \"rates\": [", b.be->detail);
        status = time_all(&b, (int)kinds, (int)rounds, &diag);
        printf("]}\n");
        ecd_backend_close(b.be);
    }
    if (status)
        fprintf(stderr, "cuda_bandwidth: %s\n", diag.what);
    return (int)status;
}
