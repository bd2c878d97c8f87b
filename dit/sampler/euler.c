// Euler's method on the probability flow (arXiv 2206.00364, algorithm 2 without churn).
// diffusers: schedulers/scheduling_euler_discrete.py.
#include <math.h>

#include "dit/sampler/method.h"
#include "weights/json.h"

static double timestep_at(const ecd_schedule *s, int steps, int i)
{
    switch (s->spacing) {
    case ECD_SPACING_LINSPACE: // not rounded
        return (float)ecd_schedule_linspace(0, s->train_steps - 1, steps, steps - 1 - i);
    case ECD_SPACING_TRAILING: return ecd_schedule_trailing(s->train_steps, s->train_steps, steps, i);
    default: return (double)(steps - 1 - i) * (s->train_steps / steps) + s->steps_offset;
    }
}

static ecd_status space_sigmas(ecd_sampler *sampler, const cJSON *config, ecd_diag *diag)
{
    const ecd_schedule *s = &sampler->schedule;
    int steps = sampler->steps;
    ecd_sigma_spacing spacing;
    double smallest, largest;
    ecd_status status;
    if ((status = ecd_schedule_sigma_spacing(config, &spacing, diag)) != ECD_OK)
        return status;
    for (int i = 0; i < steps; i++) {
        double t = timestep_at(s, steps, i);
        sampler->timesteps[i] = (float)t;
        sampler->sigmas[i] = (float)ecd_schedule_sigma_between(s, t);
    }
    if (spacing == ECD_SIGMAS_OF_TIMESTEPS)
        return ECD_OK;
    double first = ecd_schedule_sigma_between(s, sampler->timesteps[0]);
    double last = ecd_schedule_sigma_between(s, sampler->timesteps[steps - 1]);
    if ((status = ecd_json_number(config, "sigma_min", last, &smallest, diag)) != ECD_OK ||
        (status = ecd_json_number(config, "sigma_max", first, &largest, diag)) != ECD_OK)
        return status;
    if (!(smallest > 0 && largest >= smallest))
        return ecd_fail(diag, ECD_DATA,
                        "scheduler config: \"sigma_min\" %g and \"sigma_max\" %g, expected 0 < min <= max", smallest,
                        largest);
    for (int i = 0; i < steps; i++) {
        double sigma = ecd_schedule_spaced_sigma(spacing, largest, smallest, steps, i);
        sampler->timesteps[i] = (float)ecd_schedule_timestep_of(s, sigma);
        sampler->sigmas[i] = (float)sigma;
    }
    return ECD_OK;
}

static ecd_status prepare(ecd_sampler *sampler, const cJSON *config, const ecd_sampler_options *options, ecd_diag *diag)
{
    static const char *const interpolations[] = {"linear", NULL};
    static const char *const types[] = {"discrete", NULL};
    static const char *const finals[] = {"zero", "sigma_min", NULL};
    (void)options;
    ecd_schedule *s = &sampler->schedule;
    int choice = 0, final = 0;
    ecd_status status;
    if ((status = ecd_schedule_read(config, ECD_SPACING_LINSPACE, s, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "interpolation_type", interpolations, 0, &choice, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "timestep_type", types, 0, &choice, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "final_sigmas_type", finals, 0, &final, diag)) != ECD_OK)
        return status;
    if (s->zero_snr)
        s->alphas_cumprod[s->train_steps - 1] = 0x1p-24f; // so that the first sigma is finite
    if ((status = space_sigmas(sampler, config, diag)) != ECD_OK)
        return status;
    sampler->sigmas[sampler->steps] = final ? ecd_schedule_sigma(s, 0) : 0;
    float largest = sampler->sigmas[0];
    sampler->init_sigma = s->spacing == ECD_SPACING_LEADING ? sqrtf(largest * largest + 1) : largest;
    return ECD_OK;
}

static void scale_input(const ecd_sampler *sampler, int index, const float *x, float *in)
{
    float sigma = sampler->sigmas[index];
    ecd_sampler_mix_over(sampler, 1, x, 0, NULL, sqrtf(sigma * sigma + 1), 0, in);
}

static void step(ecd_sampler *sampler, int index, float *output, float *x)
{
    float sigma = sampler->sigmas[index], change = sampler->sigmas[index + 1] - sigma;
    float square = sigma * sigma + 1, to_output = -sigma / sqrtf(square), *clean = output, *slope = output;
    switch (sampler->schedule.prediction) {
    case ECD_PREDICT_EPSILON: ecd_sampler_mix(sampler, 1, x, -sigma, output, clean); break;
    case ECD_PREDICT_SAMPLE: break;
    default:
        ecd_sampler_mix_over(sampler, 1, x, 0, NULL, square, 0, sampler->work);
        ecd_sampler_mix(sampler, to_output, output, 1, sampler->work, clean);
    }
    ecd_sampler_mix_over(sampler, 1, x, -1, clean, sigma, 0, slope);
    ecd_sampler_mix(sampler, 1, x, change, slope, x);
}

static void levels(const ecd_sampler *sampler, int index, float *clean, float *noise)
{
    *clean = 1;
    *noise = sampler->sigmas[index];
}

const ecd_sampler_method ecd_sampler_euler = {
    .name = "euler",
    .class_name = "EulerDiscreteScheduler",
    .prepare = prepare,
    .scale_input = scale_input,
    .step = step,
    .levels = levels,
};
