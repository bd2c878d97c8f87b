// Whole pictures against diffusers' DiTPipeline, and the same bytes whatever the way to them.
#include "tests/unit/reference.h"

#include <string.h>

#include "dit/pipeline/pipeline.h"

// On the emulated device, where a picture takes seconds: what the others say of it already is left out.
#if defined(ECD_CUDA_EMULATED)
enum { EMULATED = 1 };
#else
enum { EMULATED = 0 };
#endif
enum { MAX_PICTURES = 5, MAX_BYTES = 48 * 48 * 3 };

typedef struct album {
    uint8_t rgb[MAX_PICTURES][MAX_BYTES];
    size_t bytes;
    int drawn, steps;
    volatile int cancel;
    int cancel_after; // steps
} album;

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    (void)diag;
    album *a = user;
    a->bytes = (size_t)(height * width * 3);
    assert_true(a->bytes <= MAX_BYTES);
    memcpy(a->rgb[index], rgb, a->bytes);
    a->drawn++;
    return ECD_OK;
}

static void count_steps(void *user, ecd_phase phase, int done, int total)
{
    (void)total;
    album *a = user;
    if (phase == ECD_PHASE_DENOISE)
        a->steps = done;
    if (a->cancel_after && a->steps == a->cancel_after)
        a->cancel = 1;
}

typedef struct way {
    const char *backend;
    int threads, buffers;
    ecd_weights_mode mode;
    ecd_vae_stay vae;
} way;

static const way plain = {"ref", 1, 0, ECD_WEIGHTS_AUTO, ECD_VAE_STAY_AUTO};

static ecd_pipeline *open_pipeline(const char *model, way w, ecd_backend **be)
{
    char path[1024];
    ecd_diag diag = {0};
    ecd_pipeline *p = NULL;
    ecd_backend_options options = {.name = w.backend, .compute = ECD_COMPUTE_F32, .threads = w.threads};
    expect_ok(ecd_backend_open(&options, be, &diag), &diag);
    snprintf(path, sizeof path, "%s/models/%s", ECD_TEST_DATA, model);
    ecd_pipeline_options o = {.model = path,
                              .backend = *be,
                              .max_pictures = MAX_PICTURES,
                              .guidance = true,
                              .vae = w.vae,
                              .store = {.mode = w.mode, .buffers = w.buffers, .read_ahead = true}};
    expect_ok(ecd_pipeline_open(&o, &p, &diag), &diag);
    return p;
}

static ecd_draw draw_of(const ecd_picture_request *pictures, int64_t count, int steps, float guidance, album *a)
{
    return (ecd_draw){.pictures = pictures,
                      .count = count,
                      .steps = steps,
                      .guidance = guidance,
                      .cancel = &a->cancel,
                      .progress = count_steps,
                      .sink = keep,
                      .user = a};
}

// The reference picture `index` of a tensor of several, within 1/255 everywhere.
static void compare(const ecd_checkpoint *cp, const char *name, size_t index, const uint8_t *rgb, size_t bytes)
{
    float *values = reference_values(cp, name);
    int largest = 0;
    for (size_t i = 0; i < bytes; i++) {
        int difference = abs((int)rintf(values[index * bytes + i] * 255) - rgb[i]);
        largest = difference > largest ? difference : largest;
    }
    free(values);
    if (largest > 1)
        fail_msg("%s: picture %zu differs by %d/255", name, index, largest);
}

// The fixture draws classes 1 and 3 from one generator: its first picture is the one that the seed gives alone.
static void check_model(const char *model, const char *backend)
{
    static const struct {
        const char *name;
        uint64_t seed;
        float guidance;
    } firsts[] = {{"image/seed0/guidance1/steps6", 0, 1},
                  {"image/seed0/guidance4/steps6", 0, 4},
                  {"image/seed3/guidance1/steps6", 3, 1},
                  {"image/seed3/guidance4/steps6", 3, 4}};
    char name[256];
    ecd_backend *be;
    ecd_diag diag = {0};
    album *a = calloc(1, sizeof *a);
    assert_non_null(a);
    ecd_pipeline *p = open_pipeline(model, (way){backend, 1, 0, ECD_WEIGHTS_AUTO, ECD_VAE_STAY_AUTO}, &be);
    snprintf(name, sizeof name, "models/%s/reference.safetensors", model);
    ecd_checkpoint *cp = open_reference(name);
#ifdef __SANITIZE_ADDRESS__
    enum { FIRSTS = 2 }; // without guidance and with it
#else
    enum { FIRSTS = sizeof firsts / sizeof *firsts };
#endif
    for (size_t i = 0; i < FIRSTS; i++) {
        ecd_picture_request request = {1, firsts[i].seed};
        ecd_draw draw = draw_of(&request, 1, 6, firsts[i].guidance, a);
        expect_ok(ecd_pipeline_draw(p, &draw, &diag), &diag);
        compare(cp, firsts[i].name, 0, a->rgb[0], a->bytes);
    }
    const ecd_picture_request two[] = {{2, 8}, {5, 9}};
    ecd_draw draw = draw_of(two, 2, 5, 4, a);
    expect_ok(ecd_pipeline_draw(p, &draw, &diag), &diag);
    for (size_t i = 0; i < 2; i++)
        compare(cp, "image/seeds8,9/guidance4/steps5", i, a->rgb[i], a->bytes);
    ecd_checkpoint_close(cp);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
    free(a);
}

static bool has_backend(const char *name)
{
    ecd_backend *be;
    ecd_backend_options options = {.name = name, .compute = ECD_COMPUTE_F32, .threads = 1};
    if (ecd_backend_open(&options, &be, NULL) != ECD_OK)
        return false;
    bool own = !strcmp(be->name, name); // not another one under its name
    ecd_backend_close(be);
    return own;
}

static void test_ref(void **state)
{
    (void)state;
    if (EMULATED)
        skip();
    check_model("dit_a", "ref");
    check_model("dit_b", "ref");
    check_model("dit_a_legacy", "ref");
}

static void test_cpu(void **state)
{
    (void)state;
    if (!has_backend("cpu"))
        skip(); // a build without it
    check_model("dit_b", "cpu");
    if (EMULATED)
        return;
    check_model("dit_a", "cpu");
    check_model("dit_a_legacy", "cpu");
}

static void test_fp8(void **state)
{
    (void)state;
    if (EMULATED)
        skip();
    static const char *const models[] = {"dit_a_fp8_tensor", "dit_a_fp8_comfy", "dit_a_fp8_block", "dit_a_fp8_channel"};
    album *a = calloc(1, sizeof *a);
    assert_non_null(a);
    for (size_t i = 0; i < 4; i++) {
        char name[256];
        ecd_backend *be;
        ecd_diag diag = {0};
        ecd_pipeline *p = open_pipeline(models[i], plain, &be);
        snprintf(name, sizeof name, "models/%s/reference.safetensors", models[i]);
        ecd_checkpoint *cp = open_reference(name);
        ecd_picture_request request = {4, 6};
        ecd_draw draw = draw_of(&request, 1, 5, 3, a);
        expect_ok(ecd_pipeline_draw(p, &draw, &diag), &diag);
        compare(cp, "image/class4/seed6/guidance3/steps5", 0, a->rgb[0], a->bytes);
        ecd_checkpoint_close(cp);
        ecd_pipeline_close(p);
        ecd_backend_close(be);
    }
    free(a);
}

static void draw_five(const char *model, way w, bool alone, album *a)
{
    static const ecd_picture_request five[] = {{7, 1}, {0, 2}, {999, 3}, {1000, 4}, {7, 5}};
    ecd_backend *be;
    ecd_diag diag = {0};
    ecd_pipeline *p = open_pipeline(model, w, &be);
    *a = (album){0};
    if (alone) {
        album *single = calloc(1, sizeof *single);
        assert_non_null(single);
        for (int i = 0; i < 5; i++) {
            ecd_draw draw = draw_of(five + i, 1, 3, 4, single);
            expect_ok(ecd_pipeline_draw(p, &draw, &diag), &diag);
            memcpy(a->rgb[i], single->rgb[0], single->bytes);
        }
        free(single);
    } else {
        ecd_draw draw = draw_of(five, 5, 3, 4, a);
        expect_ok(ecd_pipeline_draw(p, &draw, &diag), &diag);
        assert_int_equal(a->drawn, 5);
        assert_int_equal(a->steps, 3);
        ecd_pipeline_report report;
        ecd_pipeline_report_get(p, &report);
        assert_true(report.denoise_ns > 0 && report.vae_ns > 0 && report.activation_bytes > 0);
    }
    ecd_pipeline_close(p);
    ecd_backend_close(be);
}

static void check_same(const char *model, const char *backend)
{
    const way base = {backend, 1, 0, ECD_WEIGHTS_RAW, ECD_VAE_STAY_AUTO};
    const way ways[] = {{backend, 2, 0, ECD_WEIGHTS_RAW, ECD_VAE_STAY_AUTO},
                        {backend, 1, 0, ECD_WEIGHTS_ECF8, ECD_VAE_STAY_AUTO},
                        {backend, 2, 1, ECD_WEIGHTS_ECF8, ECD_VAE_STAY_AUTO},
                        {backend, 1, 3, ECD_WEIGHTS_ECF8, ECD_VAE_STAY_AUTO}};
    album *expected = calloc(1, sizeof *expected), *got = calloc(1, sizeof *got);
    assert_non_null(expected);
    assert_non_null(got);
    draw_five(model, base, false, expected);
    assert_memory_not_equal(expected->rgb[0], expected->rgb[4], expected->bytes); // seeds matter
    draw_five(model, base, true, got);
    assert_memory_equal(got->rgb, expected->rgb, sizeof got->rgb);
    for (size_t i = EMULATED ? 2 : 0; i < sizeof ways / sizeof *ways; i++) {
        draw_five(model, ways[i], false, got);
        assert_memory_equal(got->rgb, expected->rgb, sizeof got->rgb);
    }
    free(expected);
    free(got);
}

static void test_same_bytes(void **state)
{
    (void)state;
    if (!EMULATED) {
        check_same("dit_a", "ref");
        check_same("dit_a_fp8_channel", "ref");
    }
    if (!has_backend("cpu"))
        return;
    if (!EMULATED)
        check_same("dit_a", "cpu");
    check_same("dit_a_fp8_channel", "cpu");
}

// A staged VAE comes and goes with each batch, and is not there while the transformer computes.
static void test_staged(void **state)
{
    (void)state;
    if (EMULATED)
        skip();
    ecd_backend *be;
    ecd_diag diag = {0};
    album *a = calloc(2, sizeof *a);
    assert_non_null(a);
    ecd_picture_request request = {2, 5};
    for (int i = 0; i < 2; i++) {
        uint64_t idle = 0;
        ecd_pipeline_report report;
        ecd_draw draw = draw_of(&request, 1, 2, 4, &a[i]);
        way w = {"ref", 1, 0, ECD_WEIGHTS_AUTO, i ? ECD_VAE_STAGED : ECD_VAE_RESIDENT};
        ecd_pipeline *p = open_pipeline("dit_a", w, &be);
        for (int batch = 0; batch < 2; batch++) {
            uint64_t held = be->ops->memory_bytes(be);
            assert_true(!i || !batch || held == idle);
            idle = held;
            expect_ok(ecd_pipeline_draw(p, &draw, &diag), &diag);
        }
        ecd_pipeline_report_get(p, &report);
        assert_int_equal(report.vae_staged, i);
        assert_true(report.vae_bytes > 0 && report.vae_weights_bytes > 0);
        ecd_pipeline_close(p);
        ecd_backend_close(be);
    }
    assert_int_equal(a[1].drawn, 2);
    assert_memory_equal(a[0].rgb[0], a[1].rgb[0], a[0].bytes);
    free(a);
}

static void test_cancel(void **state)
{
    (void)state;
    if (EMULATED)
        skip();
    ecd_backend *be;
    ecd_diag diag = {0};
    album *a = calloc(1, sizeof *a);
    assert_non_null(a);
    a->cancel_after = 2;
    ecd_pipeline *p = open_pipeline("dit_a", plain, &be);
    ecd_picture_request request = {1, 1};
    ecd_draw draw = draw_of(&request, 1, 6, 4, a);
    assert_int_equal(ecd_pipeline_draw(p, &draw, &diag), ECD_INTERRUPTED);
    assert_int_equal(a->steps, 2);
    assert_int_equal(a->drawn, 0);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
    free(a);
}

static void test_refusals(void **state)
{
    (void)state;
    if (EMULATED)
        skip();
    char path[1024];
    ecd_backend *be;
    ecd_diag diag = {0};
    album *a = calloc(1, sizeof *a);
    assert_non_null(a);
    ecd_pipeline *p = open_pipeline("dit_a", plain, &be), *other;
    ecd_picture_request requests[MAX_PICTURES + 1] = {{1001, 1}};
    ecd_draw draw = draw_of(requests, 1, 2, 4, a);
    assert_int_equal(ecd_pipeline_draw(p, &draw, &diag), ECD_USAGE);
    requests[0].class_id = 1;
    draw = draw_of(requests, MAX_PICTURES + 1, 2, 4, a);
    assert_int_equal(ecd_pipeline_draw(p, &draw, &diag), ECD_USAGE);
    draw = draw_of(requests, 1, 0, 4, a);
    assert_int_equal(ecd_pipeline_draw(p, &draw, &diag), ECD_USAGE);
    draw = draw_of(requests, 1, 2, NAN, a);
    assert_int_equal(ecd_pipeline_draw(p, &draw, &diag), ECD_USAGE);
    snprintf(path, sizeof path, "%s/models/dit_a", ECD_TEST_DATA);
    ecd_pipeline_options options = {.model = path, .backend = be, .max_pictures = 1, .height = 16, .width = 24};
    assert_int_equal(ecd_pipeline_open(&options, &other, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, "16x16"));
    assert_int_equal(a->drawn, 0);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref),        cmocka_unit_test(test_cpu),    cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_staged), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
