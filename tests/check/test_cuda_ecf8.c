// The decoding kernels, emulated (tests/cuda_emu): every container gives the bytes that libecf8 gives, or is refused, and
// nothing is read or written outside.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/ecf8_decode.h"
#include "tests/cuda_emu/emu.h"
#include "tests/unit/ecf8_make.h"

typedef struct device {
    void *blob, *image, *out;
    uint32_t *status;
    uint64_t out_bytes;
    ecd_ecf8_plan plan;
} device;

static void *to_device(const void *from, uint64_t bytes)
{
    void *p;
    assert_int_equal(cudaMalloc(&p, bytes), cudaSuccess);
    assert_int_equal(cudaMemcpy(p, from, bytes, cudaMemcpyHostToDevice), cudaSuccess);
    return p;
}

static void drop(device *d)
{
    cudaFree(d->blob);
    cudaFree(d->image);
    cudaFree(d->out);
    cudaFree(d->status);
    free(d->plan.image);
}

static size_t bytes_of(const ecf8_view *v, ecf8_form form)
{
    return form == ECF8_FORM_BF16 ? 2 : ecf8_dtype_bytes(v->dtype);
}

// Puts a blob on the device with a plan for its tiles first .. first + count - 1. `out` has exactly their weights.
static device prepare(const ecf8_view *v, ecf8_form form, uint64_t first, uint64_t count)
{
    device d = {.blob = to_device(v->blob, v->blob_bytes)};
    const ecd_ecf8_part part = {v, d.blob, first, count, 0};
    const size_t bytes = ecd_ecf8_plan_bytes(&part, 1);
    ecd_diag diag = {0};
    void *memory = aligned_alloc(16, (bytes + 15) / 16 * 16);
    assert_int_equal(ecd_ecf8_plan_make(&part, 1, form, memory, bytes, &d.plan, &diag), ECD_OK);
    d.image = to_device(d.plan.image, d.plan.image_bytes);
    const uint64_t from = first * ecd_ecf8_tile_weights(v), to = (first + count) * ecd_ecf8_tile_weights(v);
    d.out_bytes = ((to < v->count ? to : v->count) - from) * bytes_of(v, form);
    assert_int_equal(cudaMalloc(&d.out, d.out_bytes), cudaSuccess);
    assert_int_equal(cudaMalloc((void **)&d.status, d.plan.status_count * 4), cudaSuccess);
    cudaMemset(d.status, 0, 4);
    return d;
}

// Decodes; the first fault, with `out` (host) filled.
static ecf8_status run(device *d, bool checksums, void *out)
{
    uint32_t *status = malloc(d->plan.status_count * 4), part = 0;
    uint64_t tile = 0;
    const int error = ecd_ecf8_decode(&d->plan, d->image, d->out, d->status, checksums, NULL);
    if (emu_error())
        fail_msg("%s", emu_error());
    assert_int_equal(error, 0);
    cudaMemcpy(status, d->status, d->plan.status_count * 4, cudaMemcpyDeviceToHost);
    if (out)
        cudaMemcpy(out, d->out, d->out_bytes, cudaMemcpyDeviceToHost);
    const ecf8_status fault = ecd_ecf8_first_fault(&d->plan, status, &part, &tile);
    assert_int_equal(status[0] != 0, fault != ECF8_OK);
    free(status);
    return fault;
}

static void decode_here(const ecf8_view *v, ecf8_form form, uint64_t first, uint64_t count, void *out, uint64_t bytes)
{
    static uint8_t tables[ECF8_DECODER_MAX_BYTES];
    ecf8_decoder decoder;
    // BF16 stays as it is on the device; libecf8 makes signalling NaNs quiet.
    const ecf8_output output = {v->dtype == ECF8_BF16 ? ECF8_FORM_NATIVE : form, NULL, 0};
    assert_int_equal(ecf8_decoder_init(&decoder, v, tables, sizeof tables, ECF8_CPU_SCALAR, NULL), ECF8_OK);
    assert_int_equal(ecf8_decode_weights(&decoder, first, count, &output, out, bytes, ECF8_VERIFY, NULL), ECF8_OK);
}

static void compare(const ecf8_view *v, ecf8_form form, uint64_t first, uint64_t count, bool checksums)
{
    device d = prepare(v, form, first, count);
    if (d.out_bytes) {
        uint8_t *here = malloc(d.out_bytes), *there = malloc(d.out_bytes);
        decode_here(v, form, first * ecd_ecf8_tile_weights(v), d.out_bytes / bytes_of(v, form), here, d.out_bytes);
        assert_int_equal(run(&d, checksums, there), ECF8_OK);
        assert_memory_equal(here, there, d.out_bytes);
        free(here);
        free(there);
    }
    drop(&d);
}

// Whole, with and without checksums, and in BF16; then a tile in the middle and the last one.
static void compare_all(const ecf8_view *v)
{
    const uint64_t tiles = ecd_ecf8_tile_count(v);
    compare(v, ECF8_FORM_NATIVE, 0, tiles, false);
    compare(v, ECF8_FORM_NATIVE, 0, tiles, true);
    compare(v, ECF8_FORM_BF16, 0, tiles, false);
    if (tiles > 1) {
        compare(v, ECF8_FORM_BF16, tiles / 2, 1, false);
        compare(v, ECF8_FORM_NATIVE, tiles - 1, 1, true);
    }
}

static uint8_t *read_file(const char *path, uint64_t *bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *bytes = (uint64_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*bytes + 1);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    return data;
}

// Every container in tests/data/ecf8, the bad ones of which ecf8_open refuses.
static void test_golden(void **state)
{
    (void)state;
    static const char folder[] = ECD_TEST_DATA "/ecf8";
    DIR *dir = opendir(folder);
    unsigned good = 0, bad = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[1024];
        uint64_t bytes;
        ecf8_view v;
        if (!strstr(e->d_name, ".ecf8"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        uint8_t *blob = read_file(path, &bytes);
        if (ecf8_open(blob, bytes, &v, NULL) == ECF8_OK) {
            compare_all(&v);
            good++;
        } else {
            assert_non_null(strstr(e->d_name, "bad"));
            bad++;
        }
        free(blob);
    }
    closedir(dir);
    assert_true(good >= 7 && bad >= 2);
}

// Every dtype, mode and shape of the end, in the three orders of threads.
static void test_made(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 3, 127, 128, 130, 1000, 2048, 5001, 20000};
    static const uint32_t tiles[] = {128, 1024, 4096, 16384};
    unsigned modes[4] = {0};
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (unsigned kind = 0; kind < ECF8_MADE_KINDS; kind++)
            for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
                const ecf8_params params = {dtype, 0, 0, (ecf8_density)(i % 2), tiles[(i + kind) % 4]};
                uint8_t *weights = ecf8_made_weights(counts[i], dtype, (ecf8_made)kind, i);
                uint64_t bytes = 0;
                uint8_t *blob = ecf8_made_blob(weights, counts[i], &params, &bytes);
                ecf8_view v;
                assert_non_null(blob);
                assert_int_equal(ecf8_open(blob, bytes, &v, NULL), ECF8_OK);
                modes[v.mode]++;
                emu_set_order((emu_order)(i % 3), 5);
                compare_all(&v);
                free(blob);
                free(weights);
            }
    emu_set_order(EMU_FORWARD, 0);
    for (unsigned mode = 0; mode < 4; mode++)
        assert_true(modes[mode] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
