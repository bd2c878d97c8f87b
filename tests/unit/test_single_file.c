// Pictures from single files of other programs: the reference's, and the same bytes from whatever they are compressed
// to.
#include "tests/unit/reference.h"
#include "tests/unit/compress_to.h"
#include "tests/unit/single_file.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "dit/pipeline/pipeline.h"
#include "text/encoder.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE * 3, CLIP = 77, T5 = 48, STEPS = 4 };

static const char *const folder = ECD_TEST_DATA "/models/flux_c";
static const char *const bare = ECD_TEST_DATA "/models/flux_single/transformer_only_fp8.safetensors";
static const char *const whole = "single.safetensors";

static const single_options plain = {.scales = SINGLE_PLAIN};

static ecd_backend *open_backend(const char *name, int threads)
{
    ecd_diag diag = {0};
    ecd_backend *be = NULL;
    ecd_backend_options options = {.name = name, .compute = ECD_COMPUTE_F32, .threads = threads};
    expect_ok(ecd_backend_open(&options, &be, &diag), &diag);
    return be;
}

// ---- pictures

typedef struct encoded {
    float hidden[T5 * 32], pooled[24];
} encoded;

static void run_encoder(ecd_backend *be, const ecd_model_folder *model, const char *component, const char *ids_name,
                        int64_t tokens, float *hidden, float *pooled)
{
    char path[4096];
    ecd_diag diag = {0};
    ecd_checkpoint *cp = NULL, *reference = open_reference("models/flux_c/reference.safetensors");
    cJSON *config = NULL;
    ecd_encoder *encoder = NULL;
    const ecd_encoder_options options = {.store = {.mode = ECD_WEIGHTS_AUTO}, .max_prompts = 1, .tokens = tokens};
    snprintf(path, sizeof path, "%s/%s/config.json", model->path, component);
    expect_ok(ecd_json_read(path, &config, &diag), &diag);
    expect_ok(ecd_model_folder_weights(model, component, &cp, &diag), &diag);
    expect_ok(ecd_encoder_open(pooled ? "CLIPTextModel" : "T5EncoderModel", config, cp, be, &options, &encoder, &diag),
              &diag);
    const int32_t *ids = (const void *)reference_tensor(reference, ids_name)->data;
    expect_ok(ecd_encoder_run(encoder, ids, 1, hidden, pooled, NULL, &diag), &diag);
    ecd_encoder_close(encoder);
    ecd_checkpoint_close(cp);
    ecd_checkpoint_close(reference);
    cJSON_Delete(config);
}

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    (void)diag;
    assert_true(index == 0 && height == SIDE && width == SIDE);
    memcpy(user, rgb, PIXELS);
    return ECD_OK;
}

typedef struct drawing {
    const char *model, *config, *backend;
    ecd_weights_mode weights;
    const char *encoders; // of the texts, with the same config; NULL: the model
    uint64_t budget_bytes;
} drawing;

static void draw(const drawing *d, uint8_t rgb[PIXELS], ecd_pipeline_report *report)
{
    ecd_diag diag = {0};
    ecd_backend *be = open_backend(d->backend, 2);
    ecd_model_folder model;
    encoded text;
    expect_ok(ecd_model_folder_open_with(d->encoders ? d->encoders : d->model, d->config, &model, &diag), &diag);
    run_encoder(be, &model, "text_encoder", "clip_ids/0", CLIP, NULL, text.pooled);
    run_encoder(be, &model, "text_encoder_2", "t5_ids/0", T5, text.hidden, NULL);
    ecd_model_folder_close(&model);
    const ecd_pipeline_options options = {
        .model = d->model,
        .config = d->config,
        .backend = be,
        .max_pictures = 1,
        .height = SIDE,
        .width = SIDE,
        .text_tokens = T5,
        .store = {.mode = d->weights, .read_ahead = true, .budget_bytes = d->budget_bytes}};
    ecd_pipeline *p = NULL;
    expect_ok(ecd_pipeline_open(&options, &p, &diag), &diag);
    const ecd_picture_request picture = {.seed = 0};
    const ecd_picture_text texts = {text.hidden, text.pooled};
    const ecd_draw call = {
        .pictures = &picture, .texts = &texts, .count = 1, .steps = STEPS, .guidance = 3.5f, .sink = keep, .user = rgb};
    expect_ok(ecd_pipeline_draw(p, &call, &diag), &diag);
    if (report)
        ecd_pipeline_report_get(p, report);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
}

static int difference_from_reference(const uint8_t rgb[PIXELS])
{
    ecd_checkpoint *cp = open_reference("models/flux_single/reference.safetensors");
    float *expected = reference_values(cp, "image/prompt0/seed0/32x32/steps4/guidance3.5");
    int largest = 0;
    for (int i = 0; i < PIXELS; i++) {
        int difference = abs((int)lrintf(expected[i] * 255) - rgb[i]);
        largest = difference > largest ? difference : largest;
    }
    free(expected);
    ecd_checkpoint_close(cp);
    return largest;
}

// In memory, encoded at opening, from a compressed file and from a compressed folder: the same bytes.
static void test_pictures(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu"};
    write_single_file(whole, folder, &plain);
    compress_to(whole, "single.coded.safetensors", NULL);
    compress_to(whole, "single.folder", folder);
    compress_to("single.coded.safetensors", "single.folder2", folder);
    for (int i = 0; i < 2; i++) {
        const drawing ways[] = {
            {.model = whole, .config = folder, .backend = backends[i], .weights = ECD_WEIGHTS_RAW},
            {.model = whole, .config = folder, .backend = backends[i], .weights = ECD_WEIGHTS_ECF8},
            {.model = "single.coded.safetensors",
             .config = folder,
             .backend = backends[i],
             .weights = ECD_WEIGHTS_AUTO},
            {.model = "single.coded.safetensors", .config = folder, .backend = backends[i], .weights = ECD_WEIGHTS_RAW},
            {.model = "single.folder", .config = NULL, .backend = backends[i], .weights = ECD_WEIGHTS_AUTO},
            {.model = "single.folder2", .config = NULL, .backend = backends[i], .weights = ECD_WEIGHTS_AUTO},
        };
        static uint8_t first[PIXELS], other[PIXELS];
        draw(&ways[0], first, NULL);
        int largest = difference_from_reference(first);
        printf("%s: %d/255\n", backends[i], largest);
        assert_true(largest <= 1);
        for (int k = 1; k < 6; k++) {
            memset(other, 0, sizeof other);
            draw(&ways[k], other, NULL);
            assert_memory_equal(first, other, sizeof first);
        }
        // The transformer alone; the folder's encoders are those of the reference before they were rounded.
        const drawing alone = {.model = bare, .config = folder, .backend = backends[i], .encoders = whole};
        draw(&alone, other, NULL);
        assert_memory_equal(first, other, sizeof first);
        const drawing wide = {.model = bare, .config = folder, .backend = backends[i]};
        draw(&wide, other, NULL);
        largest = difference_from_reference(other);
        printf("%s, with encoders in F32: %d/255\n", backends[i], largest);
        assert_true(largest <= 4);
    }
}

// ---- scales

static void test_scales(void **state)
{
    (void)state;
    static uint8_t first[PIXELS], other[PIXELS];
    write_single_file(whole, folder, &plain);
    const drawing unscaled = {.model = whole, .config = folder, .backend = "cpu", .weights = ECD_WEIGHTS_RAW};
    draw(&unscaled, first, NULL);
    for (int scales = SINGLE_TENSOR; scales <= SINGLE_BLOCKS; scales++) {
        const single_options options = {.scales = (single_scales)scales};
        write_single_file("single.scaled.safetensors", folder, &options);
        compress_to("single.scaled.safetensors", "single.scaled.coded.safetensors", NULL);
        compress_to("single.scaled.safetensors", "single.scaled.folder", folder);
        const drawing ways[] = {
            {.model = "single.scaled.safetensors", .config = folder, .backend = "cpu", .weights = ECD_WEIGHTS_RAW},
            {.model = "single.scaled.coded.safetensors",
             .config = folder,
             .backend = "cpu",
             .weights = ECD_WEIGHTS_AUTO},
            {.model = "single.scaled.folder", .config = NULL, .backend = "cpu", .weights = ECD_WEIGHTS_AUTO},
        };
        for (int k = 0; k < 3; k++) {
            memset(other, 0, sizeof other);
            draw(&ways[k], other, NULL);
            assert_memory_equal(first, other, sizeof first);
        }
    }
}

// ---- what is refused

static void refuse_model(const char *model, const char *config, ecd_status expected, const char *says,
                         const char *tensor)
{
    ecd_diag diag = {0};
    ecd_pipeline *p = NULL;
    ecd_backend *be = open_backend("cpu", 1);
    const ecd_pipeline_options options = {.model = model,
                                          .config = config,
                                          .backend = be,
                                          .max_pictures = 1,
                                          .height = SIDE,
                                          .width = SIDE,
                                          .text_tokens = T5};
    assert_int_equal(ecd_pipeline_open(&options, &p, &diag), expected);
    if (!strstr(diag.what, says) || (tensor && strcmp(diag.tensor, tensor)))
        fail_msg("tensor %s: %s", diag.tensor, diag.what);
    ecd_backend_close(be);
}

static void test_refused_models(void **state)
{
    (void)state;
    const single_tensor wrong[] = {{"double_blocks.0.img_attn.qkv.weight", 96, 31}, {"img_in.weight", 32, 16}};
    write_odd_file("odd.safetensors", wrong, 2);
    refuse_model(bare, NULL, ECD_USAGE, "--config", NULL);
    refuse_model(folder, folder, ECD_USAGE, "expected a single .safetensors", NULL);
    refuse_model("nowhere.safetensors", folder, ECD_USAGE, "no such file", NULL);
    refuse_model("odd.safetensors", folder, ECD_DATA, "missing, expected one for x_embedder.bias", "img_in.bias");
    // A folder of configs alone, and a file that lacks the VAE.
    compress_to(bare, "single.bare.folder", folder);
    ecd_folder_remove("single.bare.folder/vae");
    refuse_model("single.bare.folder", NULL, ECD_DATA, "expected a config", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_refused_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
