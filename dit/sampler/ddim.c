// DDIM with eta 0 (arXiv 2010.02502, equation 12). diffusers: schedulers/scheduling_ddim.py.
#include <math.h>

#include "dit/sampler/method.h"
#include "weights/json.h"

static double timestep_at(const ecd_schedule *s, int steps, int i)
{
    switch (s->spacing) {
    case ECD_SPACING_LINSPACE: return rint(ecd_schedule_linspace(0, s->train_steps - 1, steps, steps - 1 - i));
    case ECD_SPACING_TRAILING: return ecd_schedule_trailing(s->train_steps, s->train_steps, steps, i);
    default: return (double)(steps - 1 - i) * (s->train_steps / steps) + s->steps_offset;
    }
}

static ecd_status prepare(ecd_sampler *sampler, const cJSON *config, const ecd_sampler_options *options, ecd_diag *diag)
{
    static const char *const refused[] = {"thresholding", NULL};
    (void)options;
    bool clip;
    double range;
    ecd_status status;
    if ((status = ecd_schedule_read(config, ECD_SPACING_LEADING, &sampler->schedule, diag)) != ECD_OK ||
        (status = ecd_schedule_refuse(config, refused, diag)) != ECD_OK ||
        (status = ecd_json_bool(config, "clip_sample", true, &clip, diag)) != ECD_OK ||
        (status = ecd_json_number(config, "clip_sample_range", 1, &range, diag)) != ECD_OK ||
        (status = ecd_json_bool(config, "set_alpha_to_one", true, &sampler->alpha_one, diag)) != ECD_OK)
        return status;
    const ecd_schedule *s = &sampler->schedule;
    if (!(range > 0))
        return ecd_fail(diag, ECD_DATA, "scheduler config: \"clip_sample_range\" is %g, expected more than 0", range);
    if (s->zero_snr && s->prediction == ECD_PREDICT_EPSILON)
        return ecd_fail(
            diag, ECD_DATA,
            "scheduler config: \"rescale_betas_zero_snr\" with \"prediction_type\" epsilon divides by zero, "
            "expected v_prediction or sample");
    sampler->clip = clip ? (float)range : INFINITY;
    for (int i = 0; i < sampler->steps; i++) {
        double t = timestep_at(s, sampler->steps, i);
        if (t >= s->train_steps)
            return ecd_fail(
                diag, ECD_DATA,
                "scheduler config: \"steps_offset\" %d takes timestep %g of %d steps past \"num_train_timesteps\" %d",
                s->steps_offset, t, sampler->steps, s->train_steps);
        sampler->timesteps[i] = (float)t;
    }
    return ECD_OK;
}

static void step(ecd_sampler *sampler, int index, float *output, float *x)
{
    const ecd_schedule *s = &sampler->schedule;
    int t = (int)sampler->timesteps[index], before = t - s->train_steps / sampler->steps;
    float alpha = s->alphas_cumprod[t];
    float alpha_before = before >= 0 ? s->alphas_cumprod[before] : sampler->alpha_one ? 1 : s->alphas_cumprod[0];
    float root_alpha = sqrtf(alpha), root_beta = sqrtf(1 - alpha);
    float to_clean = sqrtf(alpha_before), to_noise = sqrtf(1 - alpha_before), clip = sampler->clip;
    float *clean = x, *noise = output; // written where the old values are wanted no more
    switch (s->prediction) {
    case ECD_PREDICT_EPSILON:
        ecd_sampler_mix_over(sampler, 1, x, -root_beta, output, root_alpha, clip, clean);
        break;
    case ECD_PREDICT_SAMPLE:
        clean = output;
        noise = x;
        ecd_sampler_mix_over(sampler, 1, x, -root_alpha, output, root_beta, 0, noise);
        ecd_sampler_mix_over(sampler, 1, output, 0, NULL, 1, clip, clean);
        break;
    default:
        clean = sampler->work;
        ecd_sampler_mix_over(sampler, root_alpha, x, -root_beta, output, 1, clip, clean);
        ecd_sampler_mix(sampler, root_alpha, output, root_beta, x, noise);
    }
    ecd_sampler_mix(sampler, to_clean, clean, to_noise, noise, x);
}

static void levels(const ecd_sampler *sampler, int index, float *clean, float *noise)
{
    float alpha = sampler->schedule.alphas_cumprod[(int)sampler->timesteps[index]];
    *clean = sqrtf(alpha);
    *noise = sqrtf(1 - alpha);
}

const ecd_sampler_method ecd_sampler_ddim = {
    .name = "ddim",
    .class_name = "DDIMScheduler",
    .prepare = prepare,
    .step = step,
    .levels = levels,
};
