// FLUX.1 with and without guidance embedding against diffusers: one prediction, the VAE without quant convs, pictures
// from embeddings, and the same bytes whatever the way to them. The reference holds FluxTransformer2DModel's and
// FluxPipeline's results of this folder, and of its weights as FLUX.1-schnell has them: without the guidance embedder.
#include "tests/unit/backend_memory.h"
#include "tests/unit/reference.h"
#include "tests/unit/transformer_config.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "dit/pipeline/pipeline.h"
#include "vae/vae.h"

enum { TEXT = 7, WIDTH = 32, POOLED = 24, H = 4, W = 6, LATENTS = 16 * H * W, PICTURE_W = 16, PICTURE_H = 24 };

static const char *const folder = ECD_TEST_DATA "/models/flux_b";

typedef struct subject {
    ecd_backend *be;
    ecd_model_folder folder;
    ecd_checkpoint *cp, *reference;
    ecd_transformer *t;
    float *latents, *text, *pooled;
} subject;

static ecd_backend *open_backend(const char *name, int threads)
{
    ecd_diag diag = {0};
    ecd_backend *be = NULL;
    ecd_backend_options options = {.name = name, .compute = ECD_COMPUTE_F32, .threads = threads};
    expect_ok(ecd_backend_open(&options, &be, &diag), &diag);
    return be;
}

static void open_subject(subject *s, const char *backend, int threads, ecd_weights_mode mode, bool schnell)
{
    ecd_diag diag = {0};
    *s = (subject){.be = open_backend(backend, threads)};
    expect_ok(ecd_model_folder_open(folder, &s->folder, &diag), &diag);
    if (schnell)
        cJSON_ReplaceItemInObject(s->folder.transformer, "guidance_embeds", cJSON_CreateFalse());
    expect_ok(ecd_checkpoint_open(ECD_TEST_DATA "/models/flux_b/transformer", &s->cp, &diag), &diag);
    ecd_transformer_options options = {.store = {.mode = mode, .read_ahead = true},
                                       .max_pictures = 3,
                                       .height = H,
                                       .width = W,
                                       .text_tokens = TEXT};
    expect_ok(
        ecd_transformer_open(s->folder.transformer_class, s->folder.transformer, s->cp, s->be, &options, &s->t, &diag),
        &diag);
    s->reference = open_reference("models/flux_b/reference.safetensors");
    s->latents = reference_values(s->reference, "latents");
    s->text = reference_values(s->reference, "context");
    s->pooled = reference_values(s->reference, "pooled");
}

static void close_subject(subject *s)
{
    ecd_transformer_close(s->t);
    ecd_checkpoint_close(s->reference);
    ecd_checkpoint_close(s->cp);
    ecd_model_folder_close(&s->folder);
    ecd_backend_close(s->be);
    free(s->latents);
    free(s->text);
    free(s->pooled);
}

static void predict(const subject *s, int64_t first, int64_t pictures, float *out)
{
    ecd_diag diag = {0};
    const size_t n = (size_t)pictures;
    float *latents = backend_floats(s->be, s->latents + first * LATENTS, n * LATENTS);
    float *text = backend_floats(s->be, s->text + first * TEXT * WIDTH, n * TEXT * WIDTH);
    float *pooled = backend_floats(s->be, s->pooled + first * POOLED, n * POOLED);
    float *there = backend_floats(s->be, NULL, n * LATENTS);
    const ecd_transformer_call call = {.latents = latents,
                                       .pictures = pictures,
                                       .height = H,
                                       .width = W,
                                       .timestep = 700,
                                       .text = text,
                                       .pooled = pooled,
                                       .guidance_scale = 3.5f,
                                       .out = there};
    expect_ok(ecd_transformer_predict(s->t, &call, NULL, &diag), &diag);
    backend_floats_off(s->be, latents, NULL, 0);
    backend_floats_off(s->be, text, NULL, 0);
    backend_floats_off(s->be, pooled, NULL, 0);
    backend_floats_off(s->be, there, out, n * LATENTS);
}

static void test_prediction(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        subject s;
        const char *backend = i < 2 ? "ref" : "cpu";
        open_subject(&s, backend, 1, ECD_WEIGHTS_AUTO, i % 2);
        float out[2 * LATENTS], *expected = reference_values(s.reference, i % 2 ? "out/schnell" : "out/dev");
        predict(&s, 0, 2, out);
        double difference = relative_difference(out, expected, 2 * LATENTS);
        printf("%s %s: %.2g\n", backend, i % 2 ? "schnell" : "dev", difference);
        if (!(difference <= 1e-4))
            fail_msg("%s: relative difference %g", backend, difference);
        free(expected);
        close_subject(&s);
    }
}

// The same bits alone and in a batch, with another number of threads, and from ECF8.
static void test_same_bits(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu"};
    for (int i = 0; i < 2; i++) {
        subject one, two, coded;
        float batch[2 * LATENTS], other[2 * LATENTS];
        open_subject(&one, backends[i], 1, ECD_WEIGHTS_RAW, false);
        open_subject(&two, backends[i], 2, ECD_WEIGHTS_RAW, false);
        open_subject(&coded, backends[i], 2, ECD_WEIGHTS_ECF8, false);
        predict(&one, 0, 2, batch);
        predict(&two, 0, 2, other);
        assert_memory_equal(batch, other, sizeof batch);
        memset(other, 0, sizeof other);
        predict(&coded, 0, 2, other);
        assert_memory_equal(batch, other, sizeof batch);
        memset(other, 0, sizeof other);
        predict(&two, 1, 1, other);
        assert_memory_equal(batch + LATENTS, other, LATENTS * sizeof *other);
        close_subject(&one);
        close_subject(&two);
        close_subject(&coded);
    }
}

static void test_vae(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu"};
    for (int i = 0; i < 2; i++) {
        subject s;
        ecd_diag diag = {0};
        ecd_vae *vae = NULL;
        ecd_checkpoint *cp = NULL;
        open_subject(&s, backends[i], 1, ECD_WEIGHTS_AUTO, false);
        expect_ok(ecd_checkpoint_open(ECD_TEST_DATA "/models/flux_b/vae", &cp, &diag), &diag);
        expect_ok(ecd_vae_open(s.folder.vae, cp, s.be, &(ecd_vae_options){.with_encoder = true}, &vae, &diag), &diag);
        const ecd_vae_info *info = ecd_vae_get_info(vae);
        assert_int_equal(info->latent_channels, 16);
        float *z = reference_values(s.reference, "vae_z"), *expected = reference_values(s.reference, "vae_out");
        float picture[3 * 8 * 6];
        for (int k = 0; k < 16 * 4 * 3; k++)
            z[k] = (z[k] - info->shift_factor) * info->scaling_factor;
        float *latents = backend_floats(s.be, z, 16 * 4 * 3);
        float *there = backend_floats(s.be, NULL, sizeof picture / sizeof *picture);
        expect_ok(ecd_vae_decode(vae, latents, 4, 3, there, &diag), &diag);
        backend_floats_off(s.be, latents, NULL, 0);
        backend_floats_off(s.be, there, picture, sizeof picture / sizeof *picture);
        double difference = relative_difference(picture, expected, sizeof picture / sizeof *picture);
        print_message("%s VAE: %.2g\n", backends[i], difference);
        assert_true(difference <= 1e-4);
        free(z);
        free(expected);
        ecd_vae_close(vae);
        ecd_checkpoint_close(cp);
        close_subject(&s);
    }
}

typedef struct album {
    uint8_t rgb[3][PICTURE_W * PICTURE_H * 3];
} album;

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    (void)diag;
    assert_int_equal(height, PICTURE_H);
    assert_int_equal(width, PICTURE_W);
    memcpy(((album *)user)->rgb[index], rgb, PICTURE_W * PICTURE_H * 3);
    return ECD_OK;
}

static ecd_pipeline *open_pipeline(ecd_backend *be, ecd_weights_mode mode)
{
    ecd_diag diag = {0};
    ecd_pipeline *p = NULL;
    ecd_pipeline_options options = {.model = folder,
                                    .backend = be,
                                    .max_pictures = 3,
                                    .height = PICTURE_H,
                                    .width = PICTURE_W,
                                    .text_tokens = TEXT,
                                    .guidance = true, // which says nothing to this model
                                    .store = {.mode = mode, .read_ahead = true}};
    expect_ok(ecd_pipeline_open(&options, &p, &diag), &diag);
    return p;
}

// Three pictures, the middle one the reference's.
static void draw(const char *backend, int threads, ecd_weights_mode mode, album *a, int *largest)
{
    ecd_diag diag = {0};
    ecd_backend *be = open_backend(backend, threads);
    ecd_pipeline *p = open_pipeline(be, mode);
    ecd_checkpoint *cp = open_reference("models/flux_b/reference.safetensors");
    float *text = reference_values(cp, "context"), *pooled = reference_values(cp, "pooled");
    const uint8_t *expected = reference_tensor(cp, "image/dev")->data;
    const ecd_picture_request pictures[] = {{.seed = 4}, {.seed = 5}, {.seed = 6}};
    const ecd_picture_text texts[] = {{text, pooled}, {text + TEXT * WIDTH, pooled + POOLED}, {text, pooled}};
    ecd_draw call = {.pictures = pictures, .texts = texts, .count = 3, .steps = 3, .guidance = 3.5f, .sink = keep, .user = a};
    expect_ok(ecd_pipeline_draw(p, &call, &diag), &diag);
    *largest = 0;
    for (int i = 0; i < PICTURE_W * PICTURE_H * 3; i++) {
        int difference = abs(expected[i] - a->rgb[1][i]);
        *largest = difference > *largest ? difference : *largest;
    }
    static album single;
    call.pictures = pictures + 1;
    call.texts = texts + 1;
    call.count = 1;
    call.user = &single;
    expect_ok(ecd_pipeline_draw(p, &call, &diag), &diag);
    assert_memory_equal(single.rgb[0], a->rgb[1], sizeof single.rgb[0]);
    call.texts = NULL;
    assert_int_equal(ecd_pipeline_draw(p, &call, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, "text"));
    free(text);
    free(pooled);
    ecd_checkpoint_close(cp);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
}

static void test_pictures(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu"};
    static album raw, coded;
    for (int i = 0; i < 2; i++) {
        int largest;
        draw(backends[i], 1, ECD_WEIGHTS_RAW, &raw, &largest);
        printf("%s: largest difference %d/255\n", backends[i], largest);
        assert_true(largest <= 1);
        draw(backends[i], 2, ECD_WEIGHTS_ECF8, &coded, &largest);
        assert_memory_equal(&raw, &coded, sizeof raw);
    }
}

static void test_bad_configs(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{\"in_channels\": 63}", "in_channels"},
        {"{\"out_channels\": 128}", "out_channels"},
        {"{\"patch_size\": 2}", "patch_size"},
        {"{\"axes_dims_rope\": [16, 56, 58]}", "add up to 130"},
        {"{\"axes_dims_rope\": [16, 57, 55]}", "even number"},
        {"{\"axes_dims_rope\": [64, 64]}", "list of 3"},
        {"{\"num_layers\": 100000}", "num_layers"},
    };
    ecd_transformer_info info;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse_config("FluxTransformer2DModel", bad[i].text, bad[i].says);
    cJSON *config = cJSON_Parse("{\"guidance_embeds\": true}"); // FLUX.1-dev's defaults
    assert_int_equal(ecd_transformer_describe("FluxTransformer2DModel", config, &info, NULL), ECD_OK);
    assert_int_equal(info.in_channels, 16);
    assert_int_equal(info.blocks, 57);
    assert_int_equal(info.text_width, 4096);
    assert_int_equal(info.guidance, ECD_GUIDANCE_EMBEDDED);
    cJSON_Delete(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prediction), cmocka_unit_test(test_same_bits),   cmocka_unit_test(test_vae),
        cmocka_unit_test(test_pictures),   cmocka_unit_test(test_bad_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
