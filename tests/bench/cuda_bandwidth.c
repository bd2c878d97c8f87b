// How fast the device decodes ECF8 beside how fast it copies: cuda_bandwidth [MIB] [ROUNDS]. One JSON object on standard
// output. `decode` counts decoded bytes (FP8, one a weight), `copy` the bytes that are written; a copy reads as many
// besides, a decode some four fifths.
#include <stdio.h>
#include <stdlib.h>

#include "base/process.h"
#include "kernels/backend.h"
#include "tests/bench/weights_like.h"
#include "weights/coded.h"

typedef struct bench {
    ecd_backend *be;
    ecd_decode_plan *plan;
    uint8_t *from, *to;
    size_t bytes;
} bench;

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

static ecd_status prepare(bench *b, uint64_t rows, ecf8_bench_kind kind, uint64_t *blob_bytes, ecd_diag *diag)
{
    uint8_t *weights = malloc(b->bytes), *blob = NULL;
    if (!weights || !ecf8_bench_fill(kind, weights, rows)) {
        free(weights);
        return ecd_fail_memory(diag, b->bytes, "weights to decode");
    }
    ecd_status status = ecd_coded_encode(ECD_E4M3, weights, b->bytes, (int64_t)rows, (int64_t)ECF8_BENCH_COLS, &blob,
                                         blob_bytes, diag);
    b->from = b->be->ops->alloc(b->be, b->bytes);
    b->to = b->be->ops->alloc(b->be, b->bytes);
    if (!status && !blob)
        status = ecd_fail(diag, ECD_DATA, "weights that do not compress");
    if (!status && b->from && b->to) {
        ecd_decode_part part = {.blob = blob, .blob_bytes = *blob_bytes};
        b->be->ops->upload(b->be, b->from, weights, b->bytes);
        b->plan = b->be->ops->decode_prepare(b->be, &part, 1);
        if (b->plan && b->be->ops->decode(b->be, b->plan, b->to, true) >= 0)
            status = ecd_fail(diag, ECD_DATA, "the device does not decode what the host encoded");
    }
    free(weights);
    free(blob);
    return status ? status : ecd_backend_check(b->be, diag);
}

static void put_back(const bench *b)
{
    b->be->ops->decode_free(b->be, b->plan);
    b->be->ops->free(b->be, b->from);
    b->be->ops->free(b->be, b->to);
}

int main(int argc, char **argv)
{
    long mib = argc > 1 ? strtol(argv[1], NULL, 10) : 256, rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 20;
    uint64_t unit = ECF8_BENCH_COLS * ECF8_BENCH_BAND, rows = 0;
    ecd_diag diag = {0};
    ecd_backend *be = NULL;
    if (mib < 1 || rounds < 1) {
        fprintf(stderr, "cuda_bandwidth [MIB] [ROUNDS]\n");
        return 1;
    }
    rows = ((uint64_t)mib << 20) / unit * ECF8_BENCH_BAND;
    rows = rows ? rows : ECF8_BENCH_BAND;
    const ecd_backend_options options = {.name = "cuda", .compute = ECD_COMPUTE_AUTO, .threads = 1};
    ecd_status status = ecd_backend_open(&options, &be, &diag);
    if (!status)
        printf("{\"device\": \"%s\", \"rates\": [", be->detail);
    for (int kind = 0; !status && kind < ECF8_BENCH_KINDS; kind++) {
        bench b = {.be = be, .bytes = (size_t)(rows * ECF8_BENCH_COLS)};
        uint64_t blob_bytes = 0;
        status = prepare(&b, rows, (ecf8_bench_kind)kind, &blob_bytes, &diag);
        if (!status) {
            double copied = rate(&b, copy, (int)rounds), decoded = rate(&b, decode, (int)rounds);
            printf("%s\n {\"weights\": \"%s\", \"bytes\": %zu, \"ecf8_bytes\": %llu, \"copy_gb_s\": %.1f, "
                   "\"decode_gb_s\": %.1f, \"decode_of_copy\": %.3f}",
                   kind ? "," : "", ecf8_bench_kind_name((ecf8_bench_kind)kind), b.bytes,
                   (unsigned long long)blob_bytes, copied * 1e-9, decoded * 1e-9, decoded / copied);
        }
        put_back(&b);
    }
    if (be) {
        printf("]}\n");
        ecd_backend_close(be);
    }
    if (status)
        fprintf(stderr, "cuda_bandwidth: %s\n", diag.what);
    return (int)status;
}
