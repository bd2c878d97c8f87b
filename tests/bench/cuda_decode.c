// How fast the decoding kernels themselves are: cuda_decode [MIB] [ROUNDS]. A tensor of so many MiB of E4M3 is decoded to FP8 and
// to BF16, with tiles as the encoder chooses them and with small ones, whole, by pieces and in chunks, and multiplied while it is
// decoded.
// Each result is compared with what was encoded. One JSON object on standard output; times are the device's own.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

#include "base/process.h"
#include "codec/convert.h"
#include "kernels/cuda/ecf8_product.h"
#include "tests/bench/weights_like.h"

enum { MAX_PARTS = 4096, COLS = (int)ECF8_BENCH_COLS };

static void must(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return;
    fprintf(stderr, "cuda_decode: %s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}

static void *device(const void *from, size_t bytes)
{
    void *p;
    must(cudaMalloc(&p, bytes + 256), "device memory");
    if (from)
        must(cudaMemcpy(p, from, bytes, cudaMemcpyHostToDevice), "copying");
    return p;
}

// A tensor, encoded.
typedef struct tensor {
    uint64_t count;
    uint8_t *weights, *blob;
    void *there, *out;
    ecf8_view view;
} tensor;

static void encode(tensor *t, uint32_t tile)
{
    const ecf8_params params = {.dtype = ECF8_E4M3, .rows = t->count / COLS, .cols = COLS, .tile_weights = tile};
    const uint64_t bound = ecf8_encode_bound(t->count, &params), bytes = ecf8_plan_bytes(t->count, &params);
    void *memory = malloc(bytes);
    uint64_t size = 0;
    t->blob = malloc(bound);
    if (!memory || !t->blob ||
        ecf8_encode(t->weights, t->count, &params, memory, bytes, t->blob, bound, &size) != ECF8_OK ||
        ecf8_open(t->blob, size, &t->view, NULL) != ECF8_OK)
        exit(1);
    t->there = device(t->blob, size);
    free(memory);
}

typedef struct run {
    ecd_ecf8_plan plan;
    void *image;
    uint32_t *status;
    uint32_t parts; // decoded one after the other; 0: together
    bool by_pieces;
} run;

// How a tensor is cut.
typedef struct cutting {
    uint32_t at_once, piece_groups;
    void *stops;
    uint64_t chunk_bytes;
} cutting;

static run prepare(const tensor *t, ecf8_form form, const cutting *how)
{
    static ecd_ecf8_part parts[MAX_PARTS];
    ecd_diag diag = {0};
    run r = {.by_pieces = how->piece_groups};
    const uint64_t chunk_bytes = how->chunk_bytes;
    uint32_t count = 0;
    uint64_t n;
    for (uint64_t tile = 0; chunk_bytes && count < MAX_PARTS && (n = ecd_ecf8_tiles_within(&t->view, form, tile, chunk_bytes)) != 0; tile += n)
        parts[count++] = (ecd_ecf8_part){
            .view = &t->view, .device_blob = t->there, .first_tile = tile, .tile_count = n, .alone = true, .at_once = how->at_once};
    r.parts = count;
    if (!count)
        parts[count++] = (ecd_ecf8_part){
            .view = &t->view, .device_blob = t->there, .tile_count = t->view.tile_count, .at_once = how->at_once,
            .piece_groups = how->piece_groups, .stops = how->stops};
    const size_t bytes = ecd_ecf8_plan_bytes(parts, count);
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (ecd_ecf8_plan_make(parts, count, form, memory, bytes, &r.plan, &diag)) {
        fprintf(stderr, "cuda_decode: %s\n", diag.what);
        exit(1);
    }
    r.image = device(r.plan.image, r.plan.image_bytes);
    r.status = device(NULL, r.plan.status_count * 4);
    must(cudaMemset(r.status, 0, r.plan.status_count * 4), "status");
    return r;
}

static void drop(run *r)
{
    cudaFree(r->image);
    cudaFree(r->status);
    free(r->plan.image);
}

static void decode(const run *r, void *out, int checksums)
{
    if (r->by_pieces && !checksums)
        must((cudaError_t)ecd_ecf8_decode_pieces(&r->plan, r->image, out, r->status, NULL), "decoding");
    else if (!r->parts)
        must((cudaError_t)ecd_ecf8_decode(&r->plan, r->image, out, r->status, checksums, NULL), "decoding");
    for (uint32_t i = 0; i < r->parts; i++)
        must((cudaError_t)ecd_ecf8_decode_part(&r->plan, r->image, i, out, r->status, checksums, NULL), "decoding");
}

static cudaEvent_t begin_event, end_event;
static uint64_t begin_ns;

static void start_clock(void)
{
    begin_ns = ecd_now_ns();
    must(cudaEventRecord(begin_event, NULL), "an event");
}

static double seconds(int rounds)
{
    float ms = 0;
    must(cudaEventRecord(end_event, NULL), "an event");
    must(cudaEventSynchronize(end_event), "running");
    must(cudaEventElapsedTime(&ms, begin_event, end_event), "an event");
    return (ms > 0 ? ms * 1e-3 : (double)(ecd_now_ns() - begin_ns) * 1e-9) / rounds; // an emulated device's clock stands still
}

static void report(const char *what, const tensor *t, const ecd_ecf8_plan *plan, double s)
{
    static const char *between = "";
    const uint32_t blocks = !plan ? 0 : plan->piece_block_count ? plan->piece_block_count : plan->block_count;
    printf("%s\n {\"what\": \"%s\", \"tile_weights\": %u, \"of_bytes\": %.4f, \"blocks\": %u, \"us\": %.1f, \"g_weights_s\": %.4g}",
           between, what, plan ? t->view.tile_weights : 0, plan ? (double)t->view.blob_bytes / (double)t->count : 1, blocks, s * 1e6, (double)t->count / s * 1e-9);
    between = ",";
    fflush(stdout);
}

static void expect_no_fault(const run *r, const char *what)
{
    uint32_t faults = 0;
    must(cudaMemcpy(&faults, r->status, 4, cudaMemcpyDeviceToHost), "status");
    if (faults) {
        fprintf(stderr, "cuda_decode: %s: %u damaged tiles\n", what, faults);
        exit(1);
    }
}

static void expect_same(const tensor *t, ecf8_form form, const char *what)
{
    const size_t size = form == ECF8_FORM_BF16 ? 2 : 1;
    uint8_t *host = malloc(t->count * size);
    must(cudaMemcpy(host, t->out, t->count * size, cudaMemcpyDeviceToHost), "copying back");
    for (uint64_t i = 0; i < t->count; i++) {
        uint16_t wide = 0;
        if (size == 2)
            memcpy(&wide, host + i * 2, 2);
        if (size == 1 ? host[i] != t->weights[i] : wide != ecf8_bf16_of_e4m3(t->weights[i])) {
            fprintf(stderr, "cuda_decode: %s: weight %llu is wrong\n", what, (unsigned long long)i);
            exit(1);
        }
    }
    free(host);
}

static void time_decode(const tensor *t, const char *what, ecf8_form form, const cutting *how, int checksums, int rounds)
{
    run r = prepare(t, form, how);
    must(cudaMemset(t->out, 0xcb, t->count * 2), "filling");
    decode(&r, t->out, checksums);
    if (!how->chunk_bytes)
        expect_same(t, form, what);
    start_clock();
    for (int i = 0; i < rounds; i++)
        decode(&r, t->out, checksums);
    report(what, t, &r.plan, seconds(rounds));
    expect_no_fault(&r, what);
    drop(&r);
}

static float bf16_value(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &wide, sizeof f);
    return f;
}

// Some of the product's numbers against sums in double.
static void expect_product(const tensor *t, const ecd_ecf8_product *p, const uint16_t *x)
{
    float *sums = malloc(p->sums_stride * p->rows * sizeof *sums);
    must(cudaMemcpy(sums, p->sums, p->sums_stride * p->rows * sizeof *sums, cudaMemcpyDeviceToHost), "copying back");
    for (uint64_t i = 0; i < 2000; i++) {
        const uint64_t m = i % p->rows, n = i * 7919 % p->channels;
        double sum = 0, size = 0;
        for (uint64_t k = 0; k < COLS; k++) {
            const double term = (double)bf16_value(x[m * COLS + k]) * bf16_value(ecf8_bf16_of_e4m3(t->weights[n * COLS + k]));
            sum += term;
            size += term < 0 ? -term : term;
        }
        const double off = sums[m * p->sums_stride + n] - sum;
        if (!(off <= 4e-6 * size && off >= -4e-6 * size)) {
            fprintf(stderr, "cuda_decode: row %llu, channel %llu: %g, expected %g\n", (unsigned long long)m,
                    (unsigned long long)n, (double)sums[m * p->sums_stride + n], sum);
            exit(1);
        }
    }
    free(sums);
}

static void time_product(const tensor *t, uint32_t rows, uint32_t at_once, int rounds)
{
    char what[64];
    run r = prepare(t, ECF8_FORM_BF16, &(cutting){.at_once = at_once});
    uint16_t *x = malloc((size_t)rows * COLS * 2);
    for (uint32_t i = 0; i < rows * COLS; i++)
        x[i] = (uint16_t)(0x3f80 + i * 2654435761U % 128);
    void *there = device(x, (size_t)rows * COLS * 2);
    const ecd_ecf8_product p = {.x = there,
                                .x_stride = COLS,
                                .sums_stride = t->count / COLS,
                                .rows = rows,
                                .cols = COLS,
                                .channels = (uint32_t)(t->count / COLS),
                                .partials = device(NULL, ecd_ecf8_product_bytes(&t->view, COLS, rows)),
                                .sums = device(NULL, t->count / COLS * rows * 4)};
    snprintf(what, sizeof what, "multiplied by %u rows while decoding", rows);
    for (int i = -1; i < rounds; i++) {
        if (i == 0)
            start_clock();
        must((cudaError_t)ecd_ecf8_multiply(&r.plan, r.image, &p, r.status, NULL), what);
    }
    report(what, t, &r.plan, seconds(rounds));
    expect_no_fault(&r, what);
    expect_product(t, &p, x);
    cudaFree(there);
    cudaFree(p.partials);
    cudaFree(p.sums);
    free(x);
    drop(&r);
}

// Warps share tiles, from the stops that decoding with checksums notes.
static void time_pieces(const tensor *t, uint32_t piece_groups, uint32_t fills, int rounds)
{
    char what[64];
    ecd_ecf8_part part = {.view = &t->view, .piece_groups = piece_groups};
    cutting how = {.at_once = fills, .piece_groups = piece_groups, .stops = device(NULL, ecd_ecf8_stops_bytes(&part))};
    run noting = prepare(t, ECF8_FORM_NATIVE, &how);
    decode(&noting, t->out, 1);
    expect_no_fault(&noting, "noting stops");
    drop(&noting);
    const unsigned weights = piece_groups * ECF8_GROUP;
    snprintf(what, sizeof what, "to FP8, pieces of %u", weights);
    time_decode(t, what, ECF8_FORM_NATIVE, &how, 0, rounds);
    snprintf(what, sizeof what, "to BF16, pieces of %u", weights);
    time_decode(t, what, ECF8_FORM_BF16, &how, 0, rounds);
    cudaFree(how.stops);
}

static void time_all(tensor *t, uint32_t tile, uint32_t fills, uint32_t shared_bytes, int rounds)
{
    const cutting full = {0}, spread = {.at_once = fills};
    const cutting chunks = {.at_once = fills, .chunk_bytes = 24 << 20}, small_chunks = {.at_once = fills, .chunk_bytes = 8 << 20};
    encode(t, tile);
    time_decode(t, "to FP8, 12 tiles a block", ECF8_FORM_NATIVE, &full, 0, rounds);
    time_decode(t, "to FP8, tiles spread", ECF8_FORM_NATIVE, &spread, 0, rounds);
    time_decode(t, "to FP8, tiles spread, checksums", ECF8_FORM_NATIVE, &spread, 1, rounds);
    time_decode(t, "to BF16, 12 tiles a block", ECF8_FORM_BF16, &full, 0, rounds);
    time_decode(t, "to BF16, tiles spread", ECF8_FORM_BF16, &spread, 0, rounds);
    for (uint32_t groups = 32; groups < t->view.tile_weights / ECF8_GROUP && groups <= 256; groups *= 2)
        time_pieces(t, groups, fills, rounds);
    time_decode(t, "to BF16, chunks of 24 MiB, tiles spread", ECF8_FORM_BF16, &chunks, 0, rounds);
    time_decode(t, "to BF16, chunks of 8 MiB, tiles spread", ECF8_FORM_BF16, &small_chunks, 0, rounds);
    for (uint32_t rows = 1; rows <= ECD_ECF8_PRODUCT_ROWS; rows *= 4)
        if (ecd_ecf8_product_fits(&t->view, COLS, rows, shared_bytes))
            time_product(t, rows, fills, rounds);
    cudaFree(t->there);
    free(t->blob);
}

int main(int argc, char **argv)
{
    const long mib = argc > 1 ? strtol(argv[1], NULL, 10) : 256, rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 20;
    const uint64_t unit = ECF8_BENCH_COLS * ECF8_BENCH_BAND, bands = ((uint64_t)(mib > 0 ? mib : 1) << 20) / unit;
    struct cudaDeviceProp about;
    tensor t = {.count = (bands ? bands : 1) * unit};
    must(cudaGetDeviceProperties(&about, 0), "no device");
    t.weights = malloc(t.count);
    if (rounds < 1 || !t.weights || !ecf8_bench_fill(ECF8_BENCH_RAW_CAST, t.weights, t.count / COLS))
        return 1;
    must(cudaEventCreateWithFlags(&begin_event, 0), "an event");
    must(cudaEventCreateWithFlags(&end_event, 0), "an event");
    t.out = device(NULL, t.count * 2);
    printf("{\"device\": \"%s\", \"multiprocessors\": %d, \"weights\": %llu, \"rates\": [", about.name, about.multiProcessorCount,
           (unsigned long long)t.count);
    void *copy = device(t.weights, t.count);
    start_clock();
    for (int i = 0; i < rounds; i++)
        must(cudaMemcpyAsync(t.out, copy, t.count, cudaMemcpyDeviceToDevice, NULL), "copying");
    report("copied, a byte a weight", &t, NULL, seconds((int)rounds));
    cudaFree(copy);
    const uint32_t fills = (uint32_t)(about.multiProcessorCount * ECD_ECF8_BLOCKS_OF_SM);
    time_all(&t, 0, fills, (uint32_t)about.sharedMemPerBlockOptin, (int)rounds);
    time_all(&t, 16384, fills, (uint32_t)about.sharedMemPerBlockOptin, (int)rounds);
    printf("]}\n");
    cudaFree(t.out);
    free(t.weights);
    return 0;
}
