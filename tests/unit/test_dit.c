// DiTTransformer2DModel against diffusers' outputs.
#include "tests/unit/backend_memory.h"
#include "tests/unit/reference.h"
#include "tests/unit/transformer_config.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "dit/transformer/transformer.h"
#include "weights/model_folder.h"

static const char *const models[] = {"dit_a",           "dit_b",           "dit_a_legacy",     "dit_a_fp8_tensor",
                                     "dit_a_fp8_comfy", "dit_a_fp8_block", "dit_a_fp8_channel"};

typedef struct subject {
    ecd_backend *be;
    ecd_model_folder folder;
    ecd_checkpoint *cp, *reference;
    ecd_transformer *t;
    float *in, *timesteps, *classes, *out;
    size_t pictures, in_size, out_size;
} subject;

static void open_subject(subject *s, const char *model, const char *backend, int buffers)
{
    char path[1024];
    ecd_diag diag = {0};
    *s = (subject){0};
    ecd_backend_options be = {.name = backend, .compute = ECD_COMPUTE_F32, .threads = 1};
    expect_ok(ecd_backend_open(&be, &s->be, &diag), &diag);
    snprintf(path, sizeof path, "%s/models/%s", ECD_TEST_DATA, model);
    expect_ok(ecd_model_folder_open(path, &s->folder, &diag), &diag);
    snprintf(path, sizeof path, "%s/models/%s/transformer", ECD_TEST_DATA, model);
    expect_ok(ecd_checkpoint_open(path, &s->cp, &diag), &diag);
    ecd_transformer_options options = {
        .store = {.buffers = buffers, .read_ahead = true}, .max_pictures = 3, .guidance = true};
    expect_ok(
        ecd_transformer_open(s->folder.transformer_class, s->folder.transformer, s->cp, s->be, &options, &s->t, &diag),
        &diag);
    snprintf(path, sizeof path, "models/%s/reference.safetensors", model);
    s->reference = open_reference(path);
    s->in = reference_values(s->reference, "dit_in");
    s->timesteps = reference_values(s->reference, "dit_t");
    s->classes = reference_values(s->reference, "dit_y");
    s->out = reference_values(s->reference, "dit_out");
    s->pictures = reference_tensor(s->reference, "dit_t")->count;
    s->in_size = reference_tensor(s->reference, "dit_in")->count / s->pictures;
    s->out_size = reference_tensor(s->reference, "dit_out")->count / s->pictures;
}

static void close_subject(subject *s)
{
    ecd_transformer_close(s->t);
    ecd_checkpoint_close(s->reference);
    ecd_checkpoint_close(s->cp);
    ecd_model_folder_close(&s->folder);
    ecd_backend_close(s->be);
    free(s->in);
    free(s->timesteps);
    free(s->classes);
    free(s->out);
}

static ecd_transformer_call call_of(const subject *s, const float *latents, int64_t pictures, float t,
                                    const int64_t *classes, float *out)
{
    int64_t side = ecd_transformer_get_info(s->t)->sample_size;
    return (ecd_transformer_call){.latents = latents,
                                  .pictures = pictures,
                                  .height = side,
                                  .width = side,
                                  .timestep = t,
                                  .classes = classes,
                                  .out = out};
}

// A prediction of latents and to an output in the host's memory.
static ecd_status predict(const subject *s, const ecd_transformer_call *call, const volatile int *cancel, ecd_diag *diag)
{
    size_t pictures = (size_t)call->pictures, out = pictures * (call->guidance ? 2 : 1) * s->out_size;
    ecd_transformer_call there = *call;
    float *latents = backend_floats(s->be, call->latents, pictures * s->in_size);
    there.latents = latents;
    there.out = backend_floats(s->be, NULL, out);
    ecd_status status = ecd_transformer_predict(s->t, &there, cancel, diag);
    backend_floats_off(s->be, latents, NULL, 0);
    backend_floats_off(s->be, there.out, status ? NULL : call->out, out);
    return status;
}

static void check_references(const char *backend)
{
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        subject s;
        open_subject(&s, models[m], backend, 0);
        float *out = malloc(s.out_size * sizeof *out);
        assert_non_null(out);
        for (size_t i = 0; i < s.pictures; i++) {
            ecd_diag diag = {0};
            int64_t class_id = (int64_t)s.classes[i];
            ecd_transformer_call call = call_of(&s, s.in + i * s.in_size, 1, s.timesteps[i], &class_id, out);
            expect_ok(predict(&s, &call, NULL, &diag), &diag);
            double difference = relative_difference(out, s.out + i * s.out_size, s.out_size);
            if (!(difference <= 1e-4))
                fail_msg("%s, %s, picture %zu: relative difference %g", models[m], backend, i, difference);
        }
        free(out);
        close_subject(&s);
    }
}

static void test_ref(void **state)
{
    (void)state;
    check_references("ref");
}

static void test_cpu(void **state)
{
    (void)state;
    ecd_backend *be;
    ecd_backend_options options = {.name = "cpu", .compute = ECD_COMPUTE_F32, .threads = 1};
    if (ecd_backend_open(&options, &be, NULL) != ECD_OK)
        skip(); // a build without the backend
    bool own = !strcmp(be->name, "cpu"); // not another one under its name
    ecd_backend_close(be);
    if (!own)
        skip();
    check_references("cpu");
}

// A picture gives the same bits alone, in a batch and with another number of decode buffers; the unconditional half is
// what its class alone gives.
static void check_batch(const char *backend)
{
    subject s, one;
    ecd_diag diag = {0};
    open_subject(&s, "dit_a", backend, 0);
    open_subject(&one, "dit_a", backend, 1);
    int64_t classes[3] = {3, 999, 41};
    float *batch = malloc(6 * s.out_size * sizeof *batch), *alone = malloc(2 * s.out_size * sizeof *alone);
    assert_non_null(batch);
    assert_non_null(alone);
    ecd_transformer_call call = call_of(&s, s.in, 3, 500, classes, batch);
    call.guidance = true;
    expect_ok(predict(&s, &call, NULL, &diag), &diag);
    for (size_t i = 0; i < 3; i++) {
        ecd_transformer_call single = call_of(&one, s.in + i * s.in_size, 1, 500, classes + i, alone);
        single.guidance = true;
        expect_ok(predict(&one, &single, NULL, &diag), &diag);
        assert_memory_equal(alone, batch + i * s.out_size, s.out_size * sizeof *alone);
        assert_memory_equal(alone + s.out_size, batch + (3 + i) * s.out_size, s.out_size * sizeof *alone);
        int64_t null_class = ecd_transformer_get_info(s.t)->num_classes;
        ecd_transformer_call null_call = call_of(&one, s.in + i * s.in_size, 1, 500, &null_class, alone);
        expect_ok(predict(&one, &null_call, NULL, &diag), &diag);
        assert_true(relative_difference(alone, batch + (3 + i) * s.out_size, s.out_size) < 1e-5);
    }
    free(batch);
    free(alone);
    close_subject(&one);
    close_subject(&s);
}

static void test_batch(void **state)
{
    (void)state;
    check_batch("ref");
    check_batch("auto");
}

static void test_bad_calls(void **state)
{
    (void)state;
    subject s;
    ecd_diag diag = {0};
    open_subject(&s, "dit_a", "ref", 0);
    float *out = malloc(3 * s.out_size * sizeof *out);
    assert_non_null(out);
    int64_t classes[4] = {1001, 0, 0, 0};
    ecd_transformer_call call = call_of(&s, s.in, 1, 1, classes, out);
    assert_int_equal(ecd_transformer_predict(s.t, &call, NULL, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, "1001"));
    classes[0] = 1000;
    call.height = 4;
    assert_int_equal(ecd_transformer_predict(s.t, &call, NULL, &diag), ECD_USAGE);
    call = call_of(&s, s.in, 4, 1, classes, out);
    assert_int_equal(ecd_transformer_predict(s.t, &call, NULL, &diag), ECD_USAGE);
    volatile int cancel = 1;
    call = call_of(&s, s.in, 1, 1, classes, out);
    assert_int_equal(predict(&s, &call, &cancel, &diag), ECD_INTERRUPTED);
    expect_ok(predict(&s, &call, NULL, &diag), &diag); // and goes on working afterwards
    free(out);
    close_subject(&s);
}

static void test_bad_configs(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{\"activation_fn\": \"geglu\"}", "activation_fn"},
        {"{\"norm_type\": \"layer_norm\"}", "norm_type"},
        {"{\"norm_elementwise_affine\": true}", "affine"},
        {"{\"patch_size\": 0}", "patch_size"},
        {"{\"sample_size\": 31}", "sample_size"},
        {"{\"attention_head_dim\": 1, \"num_attention_heads\": 3}", "multiple of 4"},
        {"{\"norm_eps\": 0}", "norm_eps"},
        {"{\"num_layers\": 100000}", "num_layers"},
    };
    ecd_transformer_info info;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse_config("DiTTransformer2DModel", bad[i].text, bad[i].says);
    cJSON *config = cJSON_Parse("{\"out_channels\": null, \"in_channels\": 16}");
    assert_int_equal(ecd_transformer_describe("DiTTransformer2DModel", config, &info, NULL), ECD_OK);
    assert_int_equal(info.out_channels, 16);
    assert_int_equal(info.num_classes, 1000);
    cJSON_Delete(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref),       cmocka_unit_test(test_cpu),         cmocka_unit_test(test_batch),
        cmocka_unit_test(test_bad_calls), cmocka_unit_test(test_bad_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
