// Pictures that begin from one, against diffusers: FluxImg2ImgPipeline on flux_b, and on dit_a what its img2img pipelines
// do with DDIM, DPM-Solver++ and Euler, whose add_noise made the reference. And Pillow's scaling, to the byte.
#include "tests/unit/reference.h"

#include <math.h>
#include <string.h>

#include "dit/pipeline/pipeline.h"
#include "lib/image_fit.h"

enum { TEXT = 7, WIDTH = 32, POOLED = 24, MAX_BYTES = 24 * 16 * 3 };

static ecd_image init_picture(const ecd_checkpoint *cp)
{
    const ecd_tensor *t = reference_tensor(cp, "init");
    ecd_image image;
    expect_ok(ecd_image_new(t->shape[1], t->shape[0], &image, NULL), &(ecd_diag){0});
    memcpy(image.pixels, t->data, t->size_bytes);
    return image;
}

static void test_fit(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{16, 24}, {48, 32}, {40, 12}, {13, 28}};
    static const char *const names[] = {"scale", "crop"};
    ecd_checkpoint *cp = open_reference("img2img.safetensors");
    ecd_image image = init_picture(cp);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) {
            char name[64];
            ecd_diag diag = {0};
            ecd_image got;
            ecd_image_fit fit;
            expect_ok(ecd_image_fit_of(names[k], &fit, &diag), &diag);
            expect_ok(ecd_image_fit_to(&image, sizes[i][0], sizes[i][1], fit, &got, &diag), &diag);
            snprintf(name, sizeof name, "%s/%dx%d", names[k], (int)sizes[i][0], (int)sizes[i][1]);
            assert_memory_equal(got.pixels, reference_tensor(cp, name)->data, (size_t)(3 * got.width * got.height));
            ecd_image_free(&got);
        }
    ecd_diag diag = {0};
    ecd_image got;
    ecd_image_fit fit;
    assert_int_equal(ecd_image_fit_of("stretch", &fit, &diag), ECD_USAGE);
    assert_int_equal(ecd_image_fit_to(&image, 0, 5, ECD_IMAGE_CROP, &got, &diag), ECD_USAGE);
    ecd_image_free(&image);
    ecd_checkpoint_close(cp);
}

typedef struct album {
    uint8_t rgb[2][MAX_BYTES];
    int steps;
} album;

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    (void)diag;
    assert_true(height * width * 3 <= MAX_BYTES);
    memcpy(((album *)user)->rgb[index], rgb, (size_t)(height * width * 3));
    return ECD_OK;
}

static void count_steps(void *user, ecd_phase phase, int done, int total)
{
    if (phase == ECD_PHASE_DENOISE) {
        assert_in_range(done, 1, total);
        ((album *)user)->steps = total;
    }
}

typedef struct subject {
    ecd_backend *be;
    ecd_pipeline *p;
    ecd_checkpoint *cp, *texts;
    ecd_image init;
    float *text, *pooled;
} subject;

static void open_subject(subject *s, const char *model, const char *backend, ecd_vae_stay stay, int64_t width,
                         int64_t height)
{
    ecd_diag diag = {0};
    char path[1024];
    *s = (subject){.cp = open_reference("img2img.safetensors")};
    snprintf(path, sizeof path, ECD_TEST_DATA "/models/%s", model);
    ecd_backend_options be = {.name = backend, .compute = ECD_COMPUTE_F32, .threads = 2};
    expect_ok(ecd_backend_open(&be, &s->be, &diag), &diag);
    bool flux = !strcmp(model, "flux_b");
    ecd_pipeline_options options = {.model = path,
                                    .backend = s->be,
                                    .max_pictures = 2,
                                    .height = height,
                                    .width = width,
                                    .text_tokens = flux ? TEXT : 0,
                                    .guidance = true,
                                    .init = true,
                                    .vae = stay};
    expect_ok(ecd_pipeline_open(&options, &s->p, &diag), &diag);
    ecd_image image = init_picture(s->cp);
    expect_ok(ecd_image_fit_to(&image, width, height, ECD_IMAGE_SCALE, &s->init, &diag), &diag);
    ecd_image_free(&image);
    if (!flux)
        return;
    s->texts = open_reference("models/flux_b/reference.safetensors");
    s->text = reference_values(s->texts, "context");
    s->pooled = reference_values(s->texts, "pooled");
}

static void close_subject(subject *s)
{
    ecd_pipeline_close(s->p);
    ecd_backend_close(s->be);
    ecd_checkpoint_close(s->cp);
    ecd_checkpoint_close(s->texts);
    ecd_image_free(&s->init);
    free(s->text);
    free(s->pooled);
}

static int largest_difference(const subject *s, const char *name, const uint8_t *rgb)
{
    const ecd_tensor *t = reference_tensor(s->cp, name);
    const uint8_t *expected = t->data;
    int largest = 0;
    for (size_t i = 0; i < t->size_bytes; i++) {
        int difference = abs(expected[i] - rgb[i]);
        largest = difference > largest ? difference : largest;
    }
    return largest;
}

// The second of two pictures is the reference's, which was drawn alone.
static void check_flux(const char *backend, ecd_vae_stay stay)
{
    static const double strengths[] = {0.5, 0.9};
    static const int steps[] = {3, 6};
    subject s;
    open_subject(&s, "flux_b", backend, stay, 16, 24);
    for (int i = 0; i < 2; i++) {
        static album a;
        char name[64];
        ecd_diag diag = {0};
        const ecd_picture_request pictures[] = {{.seed = 4}, {.seed = 5}};
        const ecd_picture_text texts[] = {{s.text, s.pooled}, {s.text + TEXT * WIDTH, s.pooled + POOLED}};
        ecd_draw draw = {.pictures = pictures, .texts = texts, .count = 2, .steps = 6, .guidance = 3.5f,
                         .init = s.init.pixels, .strength = strengths[i], .progress = count_steps, .sink = keep,
                         .user = &a};
        expect_ok(ecd_pipeline_draw(s.p, &draw, &diag), &diag);
        snprintf(name, sizeof name, "flux_b/strength%g", strengths[i]);
        int largest = largest_difference(&s, name, a.rgb[1]);
        printf("%s %s: largest difference %d/255\n", backend, name, largest);
        assert_true(largest <= 1);
        assert_int_equal(a.steps, steps[i]);
    }
    close_subject(&s);
}

static void check_classes(const char *backend, ecd_vae_stay stay)
{
    static const char *const samplers[] = {"ddim", "dpmpp", "euler"};
    subject s;
    open_subject(&s, "dit_a", backend, stay, 16, 16);
    for (int i = 0; i < 3; i++) {
        static album a;
        char name[64];
        ecd_diag diag = {0};
        const ecd_picture_request pictures[] = {{1, 3}, {2, 9}};
        ecd_draw draw = {.pictures = pictures, .count = 2, .steps = 6, .guidance = 4, .sampler = samplers[i],
                         .init = s.init.pixels, .strength = 0.7, .progress = count_steps, .sink = keep, .user = &a};
        expect_ok(ecd_pipeline_draw(s.p, &draw, &diag), &diag);
        snprintf(name, sizeof name, "dit_a/%s", samplers[i]);
        int largest = largest_difference(&s, name, a.rgb[1]);
        printf("%s %s: largest difference %d/255\n", backend, name, largest);
        assert_true(largest <= 1);
        assert_int_equal(a.steps, 4);
    }
    close_subject(&s);
}

static void test_pictures(void **state)
{
    (void)state;
    check_flux("ref", ECD_VAE_RESIDENT);
    check_flux("cpu", ECD_VAE_STAGED);
    check_classes("ref", ECD_VAE_STAGED);
    check_classes("cpu", ECD_VAE_RESIDENT);
}

static void refuse(subject *s, double strength, const char *words)
{
    ecd_diag diag = {0};
    const ecd_picture_request picture = {1, 3};
    ecd_draw draw = {.pictures = &picture, .count = 1, .steps = 6, .guidance = 4, .init = s->init.pixels,
                     .strength = strength};
    assert_int_equal(ecd_pipeline_draw(s->p, &draw, &diag), ECD_USAGE);
    if (!strstr(diag.what, words))
        fail_msg("'%s' does not say '%s'", diag.what, words);
}

static void test_refusals(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "dit_a", "cpu", ECD_VAE_RESIDENT, 16, 16);
    refuse(&s, 0, "above 0");
    refuse(&s, 1.5, "at most 1");
    refuse(&s, (double)NAN, "above 0");
    refuse(&s, 0.1, "none of 6 steps");
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fit), cmocka_unit_test(test_pictures),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
