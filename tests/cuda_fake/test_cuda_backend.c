// The cuda backend's error paths, on the emulator: each ends in the documented status with words, and gives all back. And a
// picture in bf16.
#include "tests/unit/reference.h"

#include <string.h>

#include "dit/pipeline/pipeline.h"
#include "kernels/cuda/cuda.h"
#include "tests/cuda_emu/emu.h"
#include "tests/cuda_fake/fake.h"
#include "weights/coded.h"

enum { BYTES = 16 * 16 * 3 };

static const ecd_cuda_libraries fakes = {"", ""};

static ecd_status open_cuda(ecd_compute compute, ecd_backend **be, ecd_diag *diag)
{
    return ecd_cuda_open_with(&(ecd_backend_options){.name = "cuda", .compute = compute, .threads = 1}, &fakes, be, diag);
}

static int fresh(void **state)
{
    (void)state;
    emu_clear();
    emu_fail_allocation(0);
    emu_set_device_count(1);
    ecd_fake_fail_call(0);
    ecd_fake_clear();
    return 0;
}

static void expect_all_back(void)
{
    assert_int_equal(emu_counted().allocations, 0);
    assert_int_equal(ecd_fake_counted().objects, 0);
}

static void test_no_device(void **state)
{
    (void)state;
    ecd_backend *be;
    ecd_diag diag = {0};
    emu_set_device_count(0);
    assert_int_equal(open_cuda(ECD_COMPUTE_AUTO, &be, &diag), ECD_RESOURCE);
    assert_null(be);
    assert_non_null(strstr(diag.what, "no CUDA device"));
    expect_all_back();
}

static void test_device_named(void **state)
{
    (void)state;
    ecd_backend *be;
    ecd_diag diag = {0};
    static const char *const bad[] = {"1", "-1", "x", "0x"};
    for (int i = 0; i < 4; i++) {
        setenv("ECD_CUDA_DEVICE", bad[i], 1);
        assert_int_equal(open_cuda(ECD_COMPUTE_AUTO, &be, &diag), ECD_USAGE);
        assert_non_null(strstr(diag.what, bad[i]));
    }
    setenv("ECD_CUDA_DEVICE", "0", 1);
    expect_ok(open_cuda(ECD_COMPUTE_AUTO, &be, &diag), &diag);
    assert_int_equal(be->compute, ECD_COMPUTE_BF16);
    assert_false(be->host_memory);
    assert_non_null(strstr(be->detail, "emulated device, sm_90, cuBLASLt 13.1, cuDNN 9.19, bf16"));
    ecd_backend_close(be);
    unsetenv("ECD_CUDA_DEVICE");
    expect_all_back();
}

static void test_no_library(void **state)
{
    (void)state;
    ecd_backend *be;
    ecd_diag diag = {0};
    const ecd_backend_options options = {.name = "cuda", .compute = ECD_COMPUTE_F32, .threads = 1};
    const ecd_cuda_libraries none[] = {{"libno_such_cublas.so", ""}, {"", "libno_such_cudnn.so"}, {"libm.so.6", ""}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ecd_cuda_open_with(&options, &none[i], &be, &diag), ECD_RESOURCE);
        assert_non_null(strstr(diag.what, i == 0 ? "libno_such_cublas.so" : i == 1 ? "libno_such_cudnn.so" : "cublasLtCreate"));
        expect_all_back();
    }
}

// A picture of dit_a, if `rgb` and all goes well.
static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    (void)index, (void)diag;
    assert_int_equal(height * width * 3, BYTES);
    memcpy(user, rgb, BYTES);
    return ECD_OK;
}

typedef struct way {
    const char *model;
    ecd_compute compute;
    ecd_weights_mode mode;
    int buffers;
    bool read_ahead;
} way;

static ecd_status draw_as(way w, int steps, uint8_t *rgb, ecd_store_report *report, ecd_diag *diag)
{
    char path[1024];
    ecd_compute compute = w.compute;
    ecd_backend *be = NULL;
    ecd_pipeline *p = NULL;
    snprintf(path, sizeof path, "%s/models/%s", ECD_TEST_DATA, w.model);
    ecd_status status = open_cuda(compute, &be, diag);
    ecd_pipeline_options o = {
        .model = path, .backend = be, .max_pictures = 1, .guidance = true,
        .store = {.mode = w.mode, .buffers = w.buffers, .read_ahead = w.read_ahead}};
    if (!status)
        status = ecd_pipeline_open(&o, &p, diag);
    const ecd_picture_request one = {1, 3};
    ecd_draw request = {.pictures = &one, .count = 1, .steps = steps, .guidance = 4, .sink = keep, .user = rgb};
    if (!status)
        status = ecd_pipeline_draw(p, &request, diag);
    ecd_pipeline_report whole = {0};
    if (p)
        ecd_pipeline_report_get(p, &whole);
    if (report)
        *report = whole.store;
    ecd_pipeline_close(p);
    ecd_backend_close(be);
    return status;
}

static ecd_status draw(ecd_compute compute, int steps, uint8_t *rgb, ecd_diag *diag)
{
    return draw_as((way){"dit_a", compute, ECD_WEIGHTS_AUTO, 0, false}, steps, rgb, NULL, diag);
}

static void test_memory_out(void **state)
{
    (void)state;
    uint8_t rgb[BYTES];
    ecd_diag diag = {0};
    uint64_t n = 1;
    for (;; n++) {
        emu_fail_allocation(n);
        ecd_status status = draw(ECD_COMPUTE_F32, 1, rgb, &diag);
        emu_fail_allocation(0);
        expect_all_back();
        if (status == ECD_OK)
            break;
        assert_int_equal(status, ECD_RESOURCE);
        assert_true(strstr(diag.what, "memory") != NULL);
        assert_true(n < 500);
    }
    print_message("%llu allocations of device memory failed, one a run\n", (unsigned long long)n - 1);
    assert_true(n > 10);
}

static void test_library_fails(void **state)
{
    (void)state;
    uint8_t rgb[BYTES];
    ecd_diag diag = {0};
    uint64_t n = 1, step = 1;
    int runs = 0;
    for (;; n += step, runs++) {
        ecd_fake_fail_call(n);
        ecd_status status = draw(ECD_COMPUTE_F32, 1, rgb, &diag);
        ecd_fake_fail_call(0);
        expect_all_back();
        if (status == ECD_OK)
            break;
        assert_int_equal(status, ECD_RESOURCE);
        assert_true(strstr(diag.what, "cuBLASLt") || strstr(diag.what, "cuDNN"));
        step = n < 40 ? 1 : 37; // each of a product's and a handle's calls, then some of many
    }
    assert_true(runs > 40);
    assert_null(ecd_fake_error());
}

// An output that is too small by pages: the emulator stops the kernel as a device would.
static void test_kernel_fault(void **state)
{
    (void)state;
    enum { COUNT = 8192 };
    ecd_backend *be;
    ecd_diag diag = {0};
    float *host = calloc(COUNT, sizeof *host);
    expect_ok(open_cuda(ECD_COMPUTE_F32, &be, &diag), &diag);
    float *x = be->ops->alloc(be, COUNT * sizeof *host), *out = be->ops->alloc(be, 64);
    be->ops->upload(be, x, host, COUNT * sizeof *host);
    expect_ok(ecd_backend_check(be, &diag), &diag);
    be->ops->to_act(be, x, COUNT, false, out);
    assert_int_equal(ecd_backend_check(be, &diag), ECD_RESOURCE);
    assert_non_null(strstr(diag.what, "backend cuda"));
    be->ops->free(be, x);
    be->ops->free(be, out);
    ecd_backend_close(be);
    free(host);
    emu_clear();
    expect_all_back();
}

static void test_bf16_picture(void **state)
{
    (void)state;
    uint8_t wide[BYTES], narrow[BYTES], again[BYTES];
    ecd_diag diag = {0};
    expect_ok(draw(ECD_COMPUTE_F32, 3, wide, &diag), &diag);
    expect_ok(draw(ECD_COMPUTE_BF16, 3, narrow, &diag), &diag);
    emu_set_order(EMU_SHUFFLED, 7);
    expect_ok(draw(ECD_COMPUTE_BF16, 3, again, &diag), &diag);
    emu_set_order(EMU_FORWARD, 0);
    double sum = 0;
    int largest = 0;
    for (int i = 0; i < BYTES; i++) {
        int difference = abs(wide[i] - narrow[i]);
        sum += difference;
        largest = difference > largest ? difference : largest;
    }
    print_message("bf16 against f32: largest difference %d/255, mean %.2f/255\n", largest, sum / BYTES);
    assert_true(largest > 0 && sum / BYTES < 2);
    assert_memory_equal(narrow, again, BYTES);
    assert_null(ecd_fake_error());
    expect_all_back();
}

enum { WEIGHTS = 40000, ROOM = 2 * WEIGHTS };

// Weights with few exponents, as trained ones have.
static void make_weights(ecd_dtype dtype, uint8_t *out)
{
    uint64_t random = 5;
    for (int i = 0; i < WEIGHTS; i++) {
        float v = 0;
        for (int k = 0; k < 4; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            v += (float)(random >> 40) / 16777216.0f - 0.5f;
        }
        uint16_t wide = ecd_to_bf16(v);
        if (dtype == ECD_E4M3)
            out[i] = ecd_to_e4m3(v);
        else
            memcpy(out + 2 * i, &wide, 2);
    }
}

// The same plan to BF16, checked and not.
static void expect_wide(ecd_backend *be, ecd_decode_part parts[2], const uint8_t *raw, uint8_t *there)
{
    uint8_t *out = calloc(2, ROOM);
    uint16_t *expected = calloc(WEIGHTS, 2);
    for (int i = 0; i < WEIGHTS; i++)
        expected[i] = ecd_to_bf16(ecd_from_e4m3(raw[i]));
    parts[0].wide = parts[1].wide = true;
    ecd_decode_plan *plan = be->ops->decode_prepare(be, parts, 2);
    assert_non_null(plan);
    for (int i = 0; i < 3; i++) {
        be->ops->upload(be, there, memset(out, 0, 2 * ROOM), 2 * ROOM);
        assert_int_equal(be->ops->decode(be, plan, there, i == 1), -1);
        be->ops->decode_join(be, plan);
        be->ops->download(be, out, there, 2 * ROOM);
        assert_memory_equal(out, expected, ROOM);
        assert_memory_equal(out + ROOM, raw + ROOM, ROOM);
    }
    be->ops->decode_free(be, plan);
    parts[0].wide = parts[1].wide = false;
    free(expected);
    free(out);
}

// Two tensors in one plan come out as they went in, by pieces (more blocks of threads) once they have been checked; a damaged one
// is named, and nothing is written outside.
static void test_decode(void **state)
{
    (void)state;
    static const ecd_dtype dtypes[] = {ECD_E4M3, ECD_BF16};
    ecd_backend *be;
    ecd_diag diag = {0};
    uint8_t *raw = calloc(2, ROOM), *out = calloc(2, ROOM), *blobs[2];
    uint64_t sizes[2];
    ecd_decode_part parts[2];
    expect_ok(open_cuda(ECD_COMPUTE_BF16, &be, &diag), &diag);
    for (int i = 0; i < 2; i++) {
        make_weights(dtypes[i], raw + i * ROOM);
        expect_ok(ecd_coded_encode(dtypes[i], raw + i * ROOM, WEIGHTS, 200, 200, &blobs[i], &sizes[i], &diag), &diag);
        assert_non_null(blobs[i]);
        parts[i] = (ecd_decode_part){.blob = blobs[i], .blob_bytes = sizes[i], .out_offset_bytes = (size_t)i * ROOM};
    }
    uint8_t *there = be->ops->alloc(be, 2 * ROOM);
    be->ops->upload(be, there, out, 2 * ROOM);
    ecd_decode_plan *plan = be->ops->decode_prepare(be, parts, 2);
    assert_non_null(plan);
    assert_true(be->ops->memory_bytes(be) > sizes[0] + sizes[1]);
    uint64_t blocks[3];
    for (int i = 0; i < 3; i++) { // before, while and after its stops are noted
        uint64_t before = emu_counted().blocks;
        assert_int_equal(be->ops->decode(be, plan, there, i == 1), -1);
        be->ops->decode_join(be, plan);
        blocks[i] = emu_counted().blocks - before;
        be->ops->download(be, out, there, 2 * ROOM);
        assert_memory_equal(out, raw, 2 * ROOM);
        memset(out, 0, 2 * ROOM);
        be->ops->upload(be, there, out, 2 * ROOM);
    }
    assert_true(blocks[1] == blocks[0] && blocks[2] > blocks[1]);
    expect_wide(be, parts, raw, there);
    be->ops->decode_free(be, plan);
    ecf8_view view;
    assert_int_equal(ecf8_open(blobs[1], sizes[1], &view, NULL), ECF8_OK);
    blobs[1][view.words - blobs[1] + 100] ^= 4;
    plan = be->ops->decode_prepare(be, parts, 2);
    assert_int_equal(be->ops->decode(be, plan, there, true), 1);
    expect_ok(ecd_backend_check(be, &diag), &diag);
    be->ops->decode_free(be, plan);
    be->ops->free(be, there);
    ecd_backend_close(be);
    expect_all_back();
    for (int i = 0; i < 2; i++)
        free(blobs[i]);
    free(raw);
    free(out);
}

// ECF8 decoded on the device, block i + 1 beside block i or not: the bytes of the uncompressed weights.
static void test_same_bytes(void **state)
{
    (void)state;
    const way ways[] = {{"dit_a_fp8_tensor", ECD_COMPUTE_BF16, ECD_WEIGHTS_RAW, 0, true},
                        {"dit_a_fp8_tensor", ECD_COMPUTE_BF16, ECD_WEIGHTS_ECF8, 2, true},
                        {"dit_a_fp8_tensor", ECD_COMPUTE_BF16, ECD_WEIGHTS_ECF8, 1, true},
                        {"dit_a_fp8_tensor", ECD_COMPUTE_BF16, ECD_WEIGHTS_ECF8, 3, false}};
    uint8_t expected[BYTES], got[BYTES];
    ecd_diag diag = {0};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        ecd_store_report report;
        expect_ok(draw_as(ways[i], 2, i ? got : expected, &report, &diag), &diag);
        if (i)
            assert_memory_equal(expected, got, BYTES);
        assert_true(report.decode_ns == 0 && (report.plan.counts[ECD_BLOCK_DECODED] > 0) == (i > 0));
    }
    expect_all_back();
}

// Weights that stay ECF8 on the device, decoded by the products that use them: the bytes of the uncompressed ones that are
// multiplied by the same chunks.
static void test_same_bytes_by_chunks(void **state)
{
    (void)state;
    uint8_t expected[BYTES], got[BYTES];
    ecd_diag diag = {0};
    ecd_store_report report;
    setenv("ECD_CUDA_CHUNK_KIB", "8", 1);
    for (int i = 0; i < 2; i++) {
        way w = {"dit_a_fp8_tensor", ECD_COMPUTE_BF16, i ? ECD_WEIGHTS_ECF8 : ECD_WEIGHTS_RAW, 0, true};
        expect_ok(draw_as(w, 2, i ? got : expected, &report, &diag), &diag);
    }
    unsetenv("ECD_CUDA_CHUNK_KIB");
    assert_memory_equal(expected, got, BYTES);
    assert_true(report.plan.counts[ECD_BLOCK_DECODED] > 0 && report.buffer_bytes == 0);
    expect_all_back();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_device, fresh),     cmocka_unit_test_setup(test_device_named, fresh),
        cmocka_unit_test_setup(test_no_library, fresh),    cmocka_unit_test_setup(test_memory_out, fresh),
        cmocka_unit_test_setup(test_library_fails, fresh), cmocka_unit_test_setup(test_kernel_fault, fresh),
        cmocka_unit_test_setup(test_bf16_picture, fresh),  cmocka_unit_test_setup(test_decode, fresh),
        cmocka_unit_test_setup(test_same_bytes, fresh),    cmocka_unit_test_setup(test_same_bytes_by_chunks, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
