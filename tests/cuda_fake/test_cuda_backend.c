// The cuda backend's error paths, on the emulator: each ends in the documented status with words, and gives all back. And a
// picture in bf16.
#include "tests/unit/reference.h"

#include <string.h>

#include "dit/pipeline/pipeline.h"
#include "kernels/cuda/cuda.h"
#include "tests/cuda_emu/emu.h"
#include "tests/cuda_fake/fake.h"

enum { BYTES = 16 * 16 * 3 };

static const ecd_cuda_libraries fakes = {"", ""};

static ecd_status open_cuda(ecd_compute compute, ecd_backend **be, ecd_diag *diag)
{
    return ecd_cuda_open_with(&(ecd_backend_options){"cuda", compute, 1}, &fakes, be, diag);
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
    const ecd_backend_options options = {"cuda", ECD_COMPUTE_F32, 1};
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

static ecd_status draw(ecd_compute compute, int steps, uint8_t *rgb, ecd_diag *diag)
{
    char path[1024];
    ecd_backend *be = NULL;
    ecd_pipeline *p = NULL;
    snprintf(path, sizeof path, "%s/models/dit_a", ECD_TEST_DATA);
    ecd_status status = open_cuda(compute, &be, diag);
    ecd_pipeline_options o = {
        .model = path, .backend = be, .max_pictures = 1, .guidance = true, .store = {.mode = ECD_WEIGHTS_ECF8}};
    if (!status)
        status = ecd_pipeline_open(&o, &p, diag);
    const ecd_picture_request one = {1, 3};
    ecd_draw request = {.pictures = &one, .count = 1, .steps = steps, .guidance = 4, .sink = keep, .user = rgb};
    if (!status)
        status = ecd_pipeline_draw(p, &request, diag);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
    return status;
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
        step = n < 60 ? 1 : 23; // each of a product's and a handle's calls, then some of many
    }
    assert_true(runs > 60);
    assert_null(ecd_fake_error());
}

// An output that is too small: the emulator stops the kernel as a device would.
static void test_kernel_fault(void **state)
{
    (void)state;
    ecd_backend *be;
    ecd_diag diag = {0};
    float host[64] = {0};
    expect_ok(open_cuda(ECD_COMPUTE_F32, &be, &diag), &diag);
    float *x = be->ops->alloc(be, sizeof host), *out = be->ops->alloc(be, sizeof host / 2);
    be->ops->upload(be, x, host, sizeof host);
    expect_ok(ecd_backend_check(be, &diag), &diag);
    be->ops->to_act(be, x, 64, false, out);
    assert_int_equal(ecd_backend_check(be, &diag), ECD_RESOURCE);
    assert_non_null(strstr(diag.what, "backend cuda"));
    be->ops->free(be, x);
    be->ops->free(be, out);
    ecd_backend_close(be);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_device, fresh),     cmocka_unit_test_setup(test_device_named, fresh),
        cmocka_unit_test_setup(test_no_library, fresh),    cmocka_unit_test_setup(test_memory_out, fresh),
        cmocka_unit_test_setup(test_library_fails, fresh), cmocka_unit_test_setup(test_kernel_fault, fresh),
        cmocka_unit_test_setup(test_bf16_picture, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
