// Euler's method for flow matching (rectified flow). diffusers: schedulers/scheduling_flow_match_euler_discrete.py, and
// for dynamic shift calculate_shift of pipelines/flux/pipeline_flux.py.
#include <math.h>

#include "dit/sampler/method.h"
#include "weights/json.h"

typedef struct flow_config {
    double shift, base_shift, max_shift, terminal;
    int64_t train_steps, base_tokens, max_tokens;
    bool dynamic;
    int linear; // time_shift_type
} flow_config;

static ecd_status read_config(const cJSON *config, flow_config *f, ecd_diag *diag)
{
    static const char *const refused[] = {"invert_sigmas",          "stochastic_sampling", "use_karras_sigmas",
                                          "use_exponential_sigmas", "use_beta_sigmas",     NULL};
    static const char *const types[] = {"exponential", "linear", NULL};
    ecd_status status;
    if ((status = ecd_schedule_refuse(config, refused, diag)) != ECD_OK ||
        (status = ecd_json_int(config, "num_train_timesteps", 1000, 2, ECD_SCHEDULE_MAX_TRAIN_STEPS, &f->train_steps,
                               diag)) != ECD_OK ||
        (status = ecd_json_number(config, "shift", 1, &f->shift, diag)) != ECD_OK ||
        (status = ecd_json_bool(config, "use_dynamic_shifting", false, &f->dynamic, diag)) != ECD_OK ||
        (status = ecd_json_number(config, "base_shift", 0.5, &f->base_shift, diag)) != ECD_OK ||
        (status = ecd_json_number(config, "max_shift", 1.15, &f->max_shift, diag)) != ECD_OK ||
        (status = ecd_json_int(config, "base_image_seq_len", 256, 1, INT32_MAX, &f->base_tokens, diag)) != ECD_OK ||
        (status = ecd_json_int(config, "max_image_seq_len", 4096, 1, INT32_MAX, &f->max_tokens, diag)) != ECD_OK ||
        (status = ecd_json_number(config, "shift_terminal", 0, &f->terminal, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "time_shift_type", types, 0, &f->linear, diag)) != ECD_OK)
        return status;
    if (!(f->shift > 0))
        return ecd_fail(diag, ECD_DATA, "scheduler config: \"shift\" is %g, expected more than 0", f->shift);
    if (f->max_tokens <= f->base_tokens)
        return ecd_fail(
            diag, ECD_DATA,
            "scheduler config: \"max_image_seq_len\" is %lld, expected more than \"base_image_seq_len\" %lld",
            (long long)f->max_tokens, (long long)f->base_tokens);
    if (!(f->terminal >= 0 && f->terminal < 1))
        return ecd_fail(diag, ECD_DATA, "scheduler config: \"shift_terminal\" is %g, expected at least 0 and below 1",
                        f->terminal);
    return ECD_OK;
}

// The scheduler's own spacing, which runs down to its smallest (shifted) sigma, in double.
static double own_sigma(const flow_config *f, int steps, int i)
{
    float smallest = 1 / (float)f->train_steps, shift = (float)f->shift;
    if (!f->dynamic)
        smallest = shift * smallest / (1 + (shift - 1) * smallest);
    double train = (double)f->train_steps;
    return ecd_schedule_linspace(train, smallest * train, steps, i) / train;
}

static double shifted(const flow_config *f, double mu, double sigma)
{
    if (!f->dynamic)
        return f->shift * sigma / (1 + (f->shift - 1) * sigma);
    double top = f->linear ? mu : exp(mu);
    return top / (top + (1 / sigma - 1));
}

static ecd_status prepare(ecd_sampler *sampler, const cJSON *config, const ecd_sampler_options *options, ecd_diag *diag)
{
    flow_config f;
    ecd_status status = read_config(config, &f, diag);
    if (status != ECD_OK)
        return status;
    if (f.dynamic && options->image_tokens < 1)
        return ecd_fail(diag, ECD_DATA,
                        "scheduler config: \"use_dynamic_shifting\" is set, but this model has no picture tokens");
    double slope = (f.max_shift - f.base_shift) / (double)(f.max_tokens - f.base_tokens);
    double mu = (double)options->image_tokens * slope + (f.base_shift - slope * (double)f.base_tokens);
    int steps = sampler->steps;
    double last = 0;
    for (int pass = 0; pass < 2; pass++) // the first finds the last sigma, which shift_terminal wants
        for (int i = 0; i < steps; i++) {
            // FLUX's pipeline gives sigmas of its own from 1 to 1 / steps.
            double sigma = options->image_tokens > 0 ? (float)ecd_schedule_linspace(1, 1.0 / steps, steps, i)
                                                     : own_sigma(&f, steps, i);
            sigma = shifted(&f, mu, sigma);
            if (!pass)
                last = sigma;
            else if (f.terminal > 0 && last < 1)
                sigma = 1 - (1 - sigma) / ((1 - last) / (1 - f.terminal));
            sampler->sigmas[i] = (float)sigma;
            sampler->timesteps[i] = sampler->sigmas[i] * (float)f.train_steps;
        }
    sampler->sigmas[steps] = 0;
    return ECD_OK;
}

static void step(ecd_sampler *sampler, int index, float *output, float *x)
{
    float change = sampler->sigmas[index + 1] - sampler->sigmas[index];
    ecd_sampler_mix(sampler, 1, x, change, output, x);
}

static void levels(const ecd_sampler *sampler, int index, float *clean, float *noise)
{
    *clean = 1.0f - sampler->sigmas[index];
    *noise = sampler->sigmas[index];
}

const ecd_sampler_method ecd_sampler_flow = {
    .name = "flow",
    .class_name = "FlowMatchEulerDiscreteScheduler",
    .flow = true,
    .prepare = prepare,
    .step = step,
    .levels = levels,
};
