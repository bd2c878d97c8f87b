// Text encoders: outputs of transformers (flux_a's random weights, the vocabulary cut to the ids that two of its prompts
// have), on ref and cpu, one prompt and two, raw and in ECF8.
#include "reference.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "text/encoder.h"
#include "weights/json.h"

typedef struct kind {
    const char *name, *class_name;
    int64_t tokens, width;
    bool pooled;
} kind;

static const kind clip = {"clip", "CLIPTextModel", 77, 24, true};
static const kind t5 = {"t5", "T5EncoderModel", 48, 32, false};
static const int prompt_numbers[] = {0, 3};

static const char *data_path(const kind *k, const char *file, char path[4096])
{
    snprintf(path, 4096, "%s/text/%s_a%s", ECD_TEST_DATA, k->name, file);
    return path;
}

static void check_prompt(const kind *k, const ecd_checkpoint *reference, int number, const float *hidden,
                         const float *pooled)
{
    char name[64];
    snprintf(name, sizeof name, "%s_hidden/%d", k->name, number);
    float *expected = reference_values(reference, name);
    double difference = relative_difference(hidden, expected, (size_t)(k->tokens * k->width));
    free(expected);
    assert_true(difference < 1e-5);
    if (!k->pooled)
        return;
    snprintf(name, sizeof name, "%s_pooled/%d", k->name, number);
    expected = reference_values(reference, name);
    assert_true(relative_difference(pooled, expected, (size_t)k->width) < 1e-5);
    free(expected);
}

static void run(const kind *k, ecd_backend *be, ecd_weights_mode mode, int64_t prompts, int64_t at_once, float *hidden,
                float *pooled)
{
    char path[4096], name[64];
    ecd_diag diag = {0};
    cJSON *config = NULL;
    ecd_checkpoint *cp = NULL, *reference = open_reference("text/reference.safetensors");
    ecd_encoder *encoder = NULL;
    ecd_encoder_options options = {.store = {.mode = mode, .read_ahead = true}, .max_prompts = at_once, .tokens = k->tokens};
    int32_t ids[2 * 77];
    for (int64_t p = 0; p < prompts; p++) {
        snprintf(name, sizeof name, "%s_small_ids/%d", k->name, prompt_numbers[p]);
        memcpy(ids + p * k->tokens, reference_tensor(reference, name)->data, (size_t)k->tokens * sizeof *ids);
    }
    expect_ok(ecd_json_read(data_path(k, "/config.json", path), &config, &diag), &diag);
    expect_ok(ecd_checkpoint_open(data_path(k, "", path), &cp, &diag), &diag);
    expect_ok(ecd_encoder_open(k->class_name, config, cp, be, &options, &encoder, &diag), &diag);
    assert_int_equal(ecd_encoder_get_info(encoder)->width, k->width);
    for (int twice = 0; twice < 2; twice++) // blocks come and go again
        expect_ok(ecd_encoder_run(encoder, ids, prompts, hidden, k->pooled ? pooled : NULL, NULL, &diag), &diag);
    for (int64_t p = 0; p < prompts; p++)
        check_prompt(k, reference, prompt_numbers[p], hidden + p * k->tokens * k->width, pooled + p * k->width);
    ecd_encoder_close(encoder);
    ecd_checkpoint_close(cp);
    ecd_checkpoint_close(reference);
    cJSON_Delete(config);
}

static void check_backend(const kind *k, const char *backend)
{
    static float one[2 * 77 * 32], both[2 * 77 * 32], beside[2 * 77 * 32], pooled[2 * 32];
    ecd_diag diag = {0};
    ecd_backend *be = NULL;
    ecd_backend_options options = {.name = backend, .compute = ECD_COMPUTE_F32, .threads = 2};
    expect_ok(ecd_backend_open(&options, &be, &diag), &diag);
    size_t bytes = (size_t)(k->tokens * k->width) * sizeof *one;
    run(k, be, ECD_WEIGHTS_RAW, 1, 1, one, pooled);
    run(k, be, ECD_WEIGHTS_RAW, 2, 2, both, pooled);
    assert_memory_equal(one, both, bytes); // a prompt's bits do not depend on the others
    memcpy(beside, both, sizeof beside);
    run(k, be, ECD_WEIGHTS_ECF8, 2, 2, both, pooled);
    assert_memory_equal(beside, both, 2 * bytes);
    memset(both, 0, sizeof both);
    run(k, be, ECD_WEIGHTS_RAW, 2, 1, both, pooled); // a group after the other within each block
    assert_memory_equal(beside, both, 2 * bytes);
    ecd_backend_close(be);
}

static void test_clip(void **state)
{
    (void)state;
    check_backend(&clip, "ref");
    check_backend(&clip, "cpu");
}

static void test_t5(void **state)
{
    (void)state;
    check_backend(&t5, "ref");
    check_backend(&t5, "cpu");
}

static void expect_fault(const char *class_name, const char *json, ecd_status expected, const char *part)
{
    ecd_diag diag = {0};
    cJSON *config = NULL;
    ecd_encoder_info info;
    expect_ok(ecd_json_parse(json, strlen(json), 0, &config, &diag), &diag);
    assert_int_equal(ecd_encoder_describe(class_name, config, &info, &diag), expected);
    assert_non_null(strstr(diag.what, part));
    cJSON_Delete(config);
}

static void test_faults(void **state)
{
    (void)state;
    expect_fault("BertModel", "{}", ECD_USAGE, "CLIPTextModel");
    expect_fault("CLIPTextModel", "{\"hidden_act\": \"gelu\"}", ECD_DATA, "quick_gelu");
    expect_fault("CLIPTextModel", "{\"hidden_size\": 10, \"num_attention_heads\": 3}", ECD_DATA, "multiple");
    expect_fault("T5EncoderModel", "{}", ECD_DATA, "gated-gelu");
    expect_fault("T5EncoderModel", "{\"feed_forward_proj\": \"gated-gelu\", \"relative_attention_max_distance\": 2}", ECD_DATA,
                 "relative_attention_num_buckets");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_t5),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
