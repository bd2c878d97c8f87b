#include "dit/sampler/method.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weights/json.h"

static const ecd_sampler_method *const methods[] = {
    &ecd_sampler_ddim,
    &ecd_sampler_dpmpp,
    &ecd_sampler_euler,
    &ecd_sampler_flow,
};

enum { METHODS = sizeof methods / sizeof *methods };

const char *const *ecd_sampler_names(void)
{
    static const char *const names[] = {"ddim", "dpmpp", "euler", "flow", NULL};
    return names;
}

static bool is_flow_class(const char *class_name)
{
    return !strncmp(class_name, "FlowMatch", strlen("FlowMatch"));
}

// The config's own class, or the method asked for. A model of flow matching gives velocities, which the other methods
// would take for noise, and the other way round: that is refused rather than drawn as grey mush.
static ecd_status choose(const cJSON *config, const char *name, const ecd_sampler_method **out, ecd_diag *diag)
{
    const char *class_name;
    ecd_status status = ecd_json_string(config, "_class_name", "", &class_name, diag);
    if (status != ECD_OK)
        return status;
    bool automatic = !name || !strcmp(name, "auto");
    *out = NULL;
    for (int i = 0; i < METHODS; i++)
        if (!strcmp(automatic ? methods[i]->class_name : methods[i]->name, automatic ? class_name : name))
            *out = methods[i];
    if (!*out && automatic)
        return ecd_fail(
            diag, ECD_DATA,
            "scheduler config: \"_class_name\" is \"%.64s\", expected DDIMScheduler, DPMSolverMultistepScheduler, "
            "EulerDiscreteScheduler or FlowMatchEulerDiscreteScheduler; --sampler chooses another",
            class_name);
    if (!*out)
        return ecd_fail(diag, ECD_USAGE, "unknown sampler \"%.64s\", expected auto, ddim, dpmpp, euler or flow", name);
    if (!automatic && is_flow_class(class_name) != (*out)->flow)
        return ecd_fail(diag, ECD_USAGE, "sampler %s does not suit this model, whose scheduler is %.64s", name,
                        class_name);
    return ECD_OK;
}

static ecd_status allocate(ecd_sampler *sampler, ecd_diag *diag)
{
    size_t steps = (size_t)sampler->steps;
    sampler->timesteps = calloc(steps, sizeof(float));
    sampler->sigmas = calloc(steps + 1, sizeof(float));
    if (!sampler->timesteps || !sampler->sigmas)
        return ecd_fail_memory(diag, (2 * steps + 1) * sizeof(float), "the sampler's timesteps");
    for (size_t i = 0; i <= steps; i++)
        sampler->sigmas[i] = NAN;
    return ECD_OK;
}

ecd_status ecd_sampler_open(const cJSON *config, const ecd_sampler_options *options, ecd_sampler **out, ecd_diag *diag)
{
    *out = NULL;
    int64_t train_steps;
    ecd_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        return ecd_fail_memory(diag, sizeof *sampler, "the sampler");
    ecd_status status = choose(config, options->name, &sampler->method, diag);
    if (status != ECD_OK)
        goto out;
    status = ecd_json_int(config, "num_train_timesteps", 1000, 2, ECD_SCHEDULE_MAX_TRAIN_STEPS, &train_steps, diag);
    if (status != ECD_OK)
        goto out;
    if (options->steps < 1 || options->steps > train_steps) {
        status = ecd_fail(diag, ECD_USAGE, "%d steps, expected 1 to %lld", options->steps, (long long)train_steps);
        goto out;
    }
    sampler->steps = options->steps;
    sampler->count = options->count;
    sampler->be = options->backend;
    sampler->init_sigma = 1;
    status = allocate(sampler, diag);
    if (status == ECD_OK)
        status = sampler->method->prepare(sampler, config, options, diag);
    if (status == ECD_OK && !sampler->method->flow && sampler->schedule.prediction == ECD_PREDICT_V)
        status = ecd_sampler_memory(sampler, 1, &sampler->work, diag);
out:
    if (status != ECD_OK) {
        ecd_sampler_close(sampler);
        sampler = NULL;
    }
    *out = sampler;
    return status;
}

void ecd_sampler_close(ecd_sampler *sampler)
{
    if (!sampler)
        return;
    ecd_schedule_free(&sampler->schedule);
    free(sampler->timesteps);
    free(sampler->sigmas);
    if (sampler->history_memory)
        sampler->be->ops->free(sampler->be, sampler->history_memory);
    if (sampler->work)
        sampler->be->ops->free(sampler->be, sampler->work);
    free(sampler);
}

const char *ecd_sampler_name(const ecd_sampler *sampler)
{
    return sampler->method->name;
}

int ecd_sampler_steps(const ecd_sampler *sampler)
{
    return sampler->steps;
}

float ecd_sampler_timestep(const ecd_sampler *sampler, int step)
{
    return sampler->timesteps[step];
}

float ecd_sampler_sigma(const ecd_sampler *sampler, int step)
{
    return sampler->sigmas[step];
}

float ecd_sampler_init_sigma(const ecd_sampler *sampler)
{
    return sampler->init_sigma;
}

ecd_status ecd_sampler_memory(const ecd_sampler *sampler, int rows, float **out, ecd_diag *diag)
{
    void *memory = NULL;
    if (sampler->count > SIZE_MAX / sizeof(float) / (size_t)rows)
        return ecd_fail_memory(diag, UINT64_MAX, "the sampler's latents");
    ecd_status status = ECD_OK;
    if (sampler->be)
        status = ecd_backend_alloc(sampler->be, (size_t)rows * sampler->count * sizeof(float), "the sampler's latents",
                                   &memory, diag);
    *out = memory;
    return status;
}

void ecd_sampler_mix_over(const ecd_sampler *sampler, float a, const float *x, float b, const float *y, float divisor,
                          float limit, float *out)
{
    const ecd_combine op = {.terms = y ? 2 : 1,
                            .x = {x, y},
                            .by = {a, b},
                            .divisor = divisor,
                            .limit = limit,
                            .out = out,
                            .count = (int64_t)sampler->count};
    sampler->be->ops->combine(sampler->be, &op);
}

void ecd_sampler_mix(const ecd_sampler *sampler, float a, const float *x, float b, const float *y, float *out)
{
    ecd_sampler_mix_over(sampler, a, x, b, y, 1, 0, out);
}

void ecd_sampler_scale(const ecd_sampler *sampler, float a, const float *x, float *out)
{
    ecd_sampler_mix_over(sampler, a, x, 0, NULL, 1, 0, out);
}

const float *ecd_sampler_scale_input(const ecd_sampler *sampler, int step, const float *x, float *in)
{
    if (!sampler->method->scale_input)
        return x;
    sampler->method->scale_input(sampler, step, x, in);
    return in;
}

void ecd_sampler_step(ecd_sampler *sampler, int step, float *output, float *x)
{
    sampler->method->step(sampler, step, output, x);
}

void ecd_sampler_add_noise(ecd_sampler *sampler, int step, const float *noise, float *x)
{
    float keep, add;
    sampler->method->levels(sampler, step, &keep, &add);
    ecd_sampler_mix(sampler, keep, x, add, noise, x);
    sampler->taken = 0;
}
