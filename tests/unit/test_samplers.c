// Samplers against diffusers' schedulers: timesteps, sigmas and the latents after every step.
#include "tests/unit/reference.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "dit/noise.h"
#include "dit/sampler/sampler.h"
#include "weights/json.h"

enum { COUNT = 64 };

static ecd_backend *open_backend(const char *name)
{
    ecd_diag diag = {0};
    ecd_backend *be = NULL;
    const ecd_backend_options options = {.name = name, .compute = ECD_COMPUTE_F32, .threads = 1};
    expect_ok(ecd_backend_open(&options, &be, &diag), &diag);
    return be;
}

static const char *const cases[] = {
    "ddim_linear_leading",
    "ddim_linear_sample_clip",
    "ddim_linear_trailing_v",
    "ddim_scaled_offset1_notone",
    "dpmpp2m_linear",
    "dpmpp2m_linear_v_trailing",
    "dpmpp2m_scaled_karras",
    "dpmpp_order3",
    "euler_scaled",
    "euler_scaled_v_trailing",
    "flow_shift1",
    "flow_shift3",
};

static cJSON *read_config(const char *name)
{
    char path[1024];
    ecd_diag diag = {0};
    cJSON *config = NULL;
    snprintf(path, sizeof path, "%s/schedulers/%s/scheduler_config.json", ECD_TEST_DATA, name);
    expect_ok(ecd_json_read(path, &config, &diag), &diag);
    return config;
}

static void check_plan(const ecd_sampler *sampler, const ecd_checkpoint *cp, int steps)
{
    float *timesteps = reference_values(cp, "timesteps");
    for (int i = 0; i < steps; i++)
        assert_true(fabsf(ecd_sampler_timestep(sampler, i) - timesteps[i]) <= 1e-5f * fabsf(timesteps[i]));
    free(timesteps);
    if (!ecd_checkpoint_find(cp, "sigmas"))
        return;
    float *sigmas = reference_values(cp, "sigmas");
    for (int i = 0; i <= steps; i++)
        assert_true(fabsf(ecd_sampler_sigma(sampler, i) - sigmas[i]) <= 1e-5f * (1 + sigmas[i]));
    free(sigmas);
}

// The fixture's model: 0.3 x + sin(t), from seed 5's noise. Its states begin with the noise.
static void check_states(ecd_sampler *sampler, const ecd_checkpoint *cp, int steps)
{
    float x[COUNT], in[COUNT], out[COUNT];
    float *states = reference_values(cp, "states");
    assert_int_equal(reference_tensor(cp, "states")->count, (size_t)COUNT * (size_t)(steps + 1));
    ecd_generator generator;
    ecd_generator_seed(&generator, 5);
    ecd_generator_normal(&generator, x, COUNT);
    for (int i = 0; i < COUNT; i++)
        x[i] *= ecd_sampler_init_sigma(sampler);
    assert_true(relative_difference(x, states, COUNT) <= 1e-5);
    for (int step = 0; step < steps; step++) {
        const float *given = ecd_sampler_scale_input(sampler, step, x, in);
        for (int i = 0; i < COUNT; i++)
            out[i] = 0.3f * given[i] + sinf(ecd_sampler_timestep(sampler, step));
        ecd_sampler_step(sampler, step, out, x);
        assert_true(relative_difference(x, states + (size_t)COUNT * (size_t)(step + 1), COUNT) <= 1e-5);
    }
    free(states);
}

static void check_fixtures(const char *backend)
{
    static const int counts[] = {4, 10, 25};
    ecd_backend *be = open_backend(backend);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        cJSON *config = read_config(cases[c]);
        for (size_t n = 0; n < 3; n++) {
            char name[256];
            ecd_diag diag = {0};
            ecd_sampler *sampler;
            ecd_sampler_options options = {.steps = counts[n], .count = COUNT, .backend = be};
            snprintf(name, sizeof name, "schedulers/%s/steps_%d.safetensors", cases[c], counts[n]);
            ecd_checkpoint *cp = open_reference(name);
            expect_ok(ecd_sampler_open(config, &options, &sampler, &diag), &diag);
            check_plan(sampler, cp, counts[n]);
            check_states(sampler, cp, counts[n]);
            check_states(sampler, cp, counts[n]); // step 0 forgets the first run
            ecd_sampler_close(sampler);
            ecd_checkpoint_close(cp);
        }
        cJSON_Delete(config);
    }
    ecd_backend_close(be);
}

static void test_fixtures(void **state)
{
    (void)state;
    check_fixtures("ref");
    check_fixtures("cpu");
}

// A model that always predicts the same clean latents is led there exactly by every solver and every spacing.
static void test_constant_model(void **state)
{
    (void)state;
    static const char *const configs[] = {
        "\"_class_name\": \"DDIMScheduler\", \"clip_sample\": false",
        "\"_class_name\": \"DDIMScheduler\", \"timestep_spacing\": \"linspace\"",
        "\"_class_name\": \"DDIMScheduler\", \"rescale_betas_zero_snr\": true",
        "\"_class_name\": \"DPMSolverMultistepScheduler\", \"solver_order\": 1",
        "\"_class_name\": \"DPMSolverMultistepScheduler\", \"solver_type\": \"heun\"",
        "\"_class_name\": \"DPMSolverMultistepScheduler\", \"solver_order\": 3, \"timestep_spacing\": \"leading\"",
        "\"_class_name\": \"DPMSolverMultistepScheduler\", \"use_exponential_sigmas\": true",
        ("\"_class_name\": \"DPMSolverMultistepScheduler\", \"beta_schedule\": \"squaredcos_cap_v2\", "
         "\"lambda_min_clipped\": -5.1"),
        "\"_class_name\": \"DPMSolverMultistepScheduler\", \"rescale_betas_zero_snr\": true",
        "\"_class_name\": \"DPMSolverMultistepScheduler\", \"euler_at_final\": true, \"use_karras_sigmas\": true",
        "\"_class_name\": \"EulerDiscreteScheduler\", \"timestep_spacing\": \"leading\", \"steps_offset\": 1",
        "\"_class_name\": \"EulerDiscreteScheduler\", \"use_karras_sigmas\": true",
        "\"_class_name\": \"EulerDiscreteScheduler\", \"use_exponential_sigmas\": true",
    };
    static const int counts[] = {1, 2, 3, 20};
    ecd_backend *be = open_backend("ref");
    for (size_t c = 0; c < 4 * (sizeof configs / sizeof *configs); c++) {
        char text[512];
        float x[COUNT], out[COUNT], clean[COUNT];
        ecd_diag diag = {0};
        ecd_sampler *sampler;
        snprintf(text, sizeof text, "{%s, \"prediction_type\": \"sample\"}", configs[c / 4]);
        cJSON *config = cJSON_Parse(text);
        assert_non_null(config);
        ecd_sampler_options options = {.steps = counts[c % 4], .count = COUNT, .backend = be};
        expect_ok(ecd_sampler_open(config, &options, &sampler, &diag), &diag);
        for (int i = 0; i < COUNT; i++) {
            x[i] = ecd_sampler_init_sigma(sampler) * (float)(i - 30) / 16;
            clean[i] = 0.5f - (float)i / COUNT;
        }
        for (int step = 0; step < options.steps; step++) {
            memcpy(out, clean, sizeof out);
            ecd_sampler_step(sampler, step, out, x);
        }
        if (!(relative_difference(x, clean, COUNT) < 1e-4))
            fail_msg("%s, %d steps: off by %g", text, options.steps, relative_difference(x, clean, COUNT));
        ecd_sampler_close(sampler);
        cJSON_Delete(config);
    }
    ecd_backend_close(be);
}

// FLUX at 1024 x 1024: 4096 tokens give mu 1.15, so half noise becomes e^1.15 / (e^1.15 + 1).
static void test_dynamic_shift(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_sampler *sampler;
    cJSON *config =
        cJSON_Parse("{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"use_dynamic_shifting\": true}");
    ecd_sampler_options options = {.steps = 2, .count = COUNT, .image_tokens = 4096};
    expect_ok(ecd_sampler_open(config, &options, &sampler, &diag), &diag);
    assert_true(ecd_sampler_sigma(sampler, 0) == 1);
    assert_true(fabsf(ecd_sampler_sigma(sampler, 1) - 0.75951092f) < 1e-6f);
    assert_true(fabsf(ecd_sampler_timestep(sampler, 1) - 759.51092f) < 1e-3f);
    assert_true(ecd_sampler_sigma(sampler, 2) == 0);
    ecd_sampler_close(sampler);
    options.image_tokens = 0;
    assert_int_equal(ecd_sampler_open(config, &options, &sampler, &diag), ECD_DATA);
    cJSON_Delete(config);
}

static ecd_status try_open(const char *text, const char *name, int steps, ecd_diag *diag)
{
    cJSON *config = cJSON_Parse(text);
    assert_non_null(config);
    ecd_sampler *sampler;
    ecd_sampler_options options = {.name = name, .steps = steps, .count = COUNT};
    ecd_status status = ecd_sampler_open(config, &options, &sampler, diag);
    ecd_sampler_close(sampler);
    cJSON_Delete(config);
    return status;
}

// from_config: keys that the file has carry over, the rest are the new class's own defaults.
static void test_override(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        float second; // of 4 timesteps
    } configs[] = {{"{\"_class_name\": \"DDIMScheduler\"}", 749},
                   {"{\"_class_name\": \"DDIMScheduler\", \"timestep_spacing\": \"leading\"}", 600}};
    for (int i = 0; i < 2; i++) {
        ecd_diag diag = {0};
        ecd_sampler *sampler;
        cJSON *config = cJSON_Parse(configs[i].text);
        ecd_sampler_options options = {.name = "dpmpp", .steps = 4, .count = COUNT};
        expect_ok(ecd_sampler_open(config, &options, &sampler, &diag), &diag);
        assert_string_equal(ecd_sampler_name(sampler), "dpmpp");
        assert_true(ecd_sampler_timestep(sampler, 1) == configs[i].second);
        ecd_sampler_close(sampler);
        cJSON_Delete(config);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        int steps;
        ecd_status status;
        const char *says;
    } bad[] = {
        {"{\"_class_name\": \"DDIMScheduler\"}", NULL, 0, ECD_USAGE, "0 steps"},
        {"{\"_class_name\": \"DDIMScheduler\"}", NULL, 1001, ECD_USAGE, "1001 steps"},
        {"{\"_class_name\": \"DDIMScheduler\"}", "ddpm", 4, ECD_USAGE, "ddpm"},
        {"{\"_class_name\": \"DDIMScheduler\"}", "flow", 4, ECD_USAGE, "flow"},
        {"{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\"}", "ddim", 4, ECD_USAGE, "ddim"},
        {"{\"_class_name\": \"PNDMScheduler\"}", NULL, 4, ECD_DATA, "PNDMScheduler"},
        {"{\"_class_name\": \"DDIMScheduler\", \"thresholding\": true}", NULL, 4, ECD_DATA, "thresholding"},
        {"{\"_class_name\": \"DDIMScheduler\", \"trained_betas\": [1]}", NULL, 4, ECD_DATA, "trained_betas"},
        {"{\"_class_name\": \"DDIMScheduler\", \"beta_schedule\": \"sigmoid\"}", NULL, 4, ECD_DATA, "beta_schedule"},
        {"{\"_class_name\": \"DDIMScheduler\", \"steps_offset\": 900}", NULL, 4, ECD_DATA, "steps_offset"},
        {"{\"_class_name\": \"DDIMScheduler\", \"beta_end\": -1}", NULL, 4, ECD_DATA, "beta_end"},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", \"algorithm_type\": \"sde-dpmsolver++\"}", NULL, 4,
         ECD_DATA, "algorithm_type"},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", \"solver_order\": 4}", NULL, 4, ECD_DATA, "solver_order"},
        {"{\"_class_name\": \"EulerDiscreteScheduler\", \"use_beta_sigmas\": true}", NULL, 4, ECD_DATA,
         "use_beta_sigmas"},
        {"{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"invert_sigmas\": true}", NULL, 4, ECD_DATA,
         "invert_sigmas"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ecd_diag diag = {0};
        assert_int_equal(try_open(bad[i].text, bad[i].name, bad[i].steps, &diag), bad[i].status);
        if (!strstr(diag.what, bad[i].says))
            fail_msg("\"%s\" does not say %s", diag.what, bad[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),      cmocka_unit_test(test_override), cmocka_unit_test(test_constant_model),
        cmocka_unit_test(test_dynamic_shift), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
