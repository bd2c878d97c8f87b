// DPM-Solver++, multistep, of orders 1 to 3 (arXiv 2211.01095). diffusers:
// schedulers/scheduling_dpmsolver_multistep.py.
#include <math.h>
#include <stdlib.h>

#include "dit/sampler/method.h"
#include "weights/json.h"

enum { FEW_STEPS = 15 }; // below, lower_order_final holds

static ecd_status read_solver(ecd_sampler *sampler, const cJSON *config, ecd_diag *diag)
{
    static const char *const refused[] = {"thresholding",  "use_lu_lambdas",       "use_flow_sigmas",
                                          "variance_type", "use_dynamic_shifting", NULL};
    static const char *const algorithms[] = {"dpmsolver++", NULL};
    // The last three are other solvers' names, which diffusers takes for midpoint here.
    static const char *const solvers[] = {"midpoint", "heun", "logrho", "bh1", "bh2", NULL};
    static const char *const finals[] = {"zero", "sigma_min", NULL};
    int64_t order;
    int choice = 0, solver = 0, final = 0;
    ecd_status status;
    if ((status = ecd_schedule_refuse(config, refused, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "algorithm_type", algorithms, 0, &choice, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "solver_type", solvers, 0, &solver, diag)) != ECD_OK ||
        (status = ecd_schedule_choice(config, "final_sigmas_type", finals, 0, &final, diag)) != ECD_OK ||
        (status = ecd_json_int(config, "solver_order", 2, 1, ECD_SAMPLER_MAX_ORDER, &order, diag)) != ECD_OK ||
        (status = ecd_json_bool(config, "lower_order_final", true, &sampler->lower_order_final, diag)) != ECD_OK ||
        (status = ecd_json_bool(config, "euler_at_final", false, &sampler->euler_at_final, diag)) != ECD_OK)
        return status;
    sampler->order = (int)order;
    sampler->heun = solver == 1;
    sampler->ends_at_zero = final == 0;
    return ECD_OK;
}

static float log_f32(float v)
{
    return (float)log((double)v);
}

// The number of timesteps left when those whose log signal-to-noise lies below lambda_min_clipped are cut.
static int usable_timesteps(const ecd_schedule *s, double clip)
{
    int clipped = 0;
    while (clipped < s->train_steps - 1) {
        float alpha = s->alphas_cumprod[s->train_steps - 1 - clipped];
        if ((double)(log_f32(sqrtf(alpha)) - log_f32(sqrtf(1 - alpha))) >= clip)
            break;
        clipped++;
    }
    return s->train_steps - clipped;
}

static double timestep_at(const ecd_schedule *s, int usable, int steps, int i)
{
    switch (s->spacing) {
    case ECD_SPACING_LINSPACE: return rint(ecd_schedule_linspace(0, usable - 1, steps + 1, steps - i));
    case ECD_SPACING_TRAILING: return ecd_schedule_trailing(usable, s->train_steps, steps, i);
    default: return (double)(steps - i) * (usable / (steps + 1)) + s->steps_offset;
    }
}

static ecd_status space_sigmas(ecd_sampler *sampler, const cJSON *config, ecd_diag *diag)
{
    const ecd_schedule *s = &sampler->schedule;
    int steps = sampler->steps;
    double clip;
    ecd_sigma_spacing spacing;
    ecd_status status;
    if ((status = ecd_json_number(config, "lambda_min_clipped", -INFINITY, &clip, diag)) != ECD_OK ||
        (status = ecd_schedule_sigma_spacing(config, &spacing, diag)) != ECD_OK)
        return status;
    if (isnan(clip))
        return ecd_fail(diag, ECD_DATA,
                        "scheduler config: \"lambda_min_clipped\" is NaN, expected a number or -Infinity");
    int usable = usable_timesteps(s, clip);
    double largest = ecd_schedule_sigma(s, s->train_steps - 1), smallest = ecd_schedule_sigma(s, 0);
    for (int i = 0; i < steps; i++) {
        double t, sigma;
        if (spacing == ECD_SIGMAS_OF_TIMESTEPS) {
            t = timestep_at(s, usable, steps, i);
            sigma = ecd_schedule_sigma_between(s, t);
        } else {
            sigma = ecd_schedule_spaced_sigma(spacing, largest, smallest, steps, i);
            t = ecd_schedule_timestep_of(s, sigma);
            if (spacing == ECD_SIGMAS_KARRAS && !s->squared_cosine)
                t = rint(t);
        }
        sampler->timesteps[i] = (float)floor(t); // integers, where they are not yet
        sampler->sigmas[i] = (float)sigma;
    }
    sampler->sigmas[steps] = sampler->ends_at_zero ? 0 : ecd_schedule_sigma(s, 0);
    return ECD_OK;
}

static ecd_status prepare(ecd_sampler *sampler, const cJSON *config, const ecd_sampler_options *options, ecd_diag *diag)
{
    (void)options;
    ecd_schedule *s = &sampler->schedule;
    ecd_status status;
    if ((status = ecd_schedule_read(config, ECD_SPACING_LINSPACE, s, diag)) != ECD_OK ||
        (status = read_solver(sampler, config, diag)) != ECD_OK)
        return status;
    if (s->zero_snr)
        s->alphas_cumprod[s->train_steps - 1] = 0x1p-24f; // so that the first sigma is finite
    if ((status = space_sigmas(sampler, config, diag)) != ECD_OK)
        return status;

    size_t row = sampler->count ? sampler->count : 1;
    if (row > SIZE_MAX / sizeof(float) / (size_t)sampler->order)
        return ecd_fail_memory(diag, UINT64_MAX, "the sampler's history");
    sampler->history_memory = calloc((size_t)sampler->order * row, sizeof(float));
    if (!sampler->history_memory)
        return ecd_fail_memory(diag, (uint64_t)sampler->order * row * sizeof(float), "the sampler's history");
    for (int i = 0; i < sampler->order; i++)
        sampler->history[i] = sampler->history_memory + (size_t)i * row;
    return ECD_OK;
}

// A place of the schedule: x = alpha clean + sigma noise, lambda = log(alpha / sigma).
typedef struct place {
    float alpha, sigma, lambda;
} place;

static place place_at(const ecd_sampler *sampler, int index)
{
    float sigma = sampler->sigmas[index], alpha = 1 / sqrtf(sigma * sigma + 1);
    place p = {alpha, sigma * alpha, 0};
    p.lambda = log_f32(p.alpha) - log_f32(p.sigma); // infinite at sigma 0
    return p;
}

// history[0] := the clean latents that the model's output means; the older ones move up.
static void remember(ecd_sampler *sampler, int index, const float *output, const float *x)
{
    float *newest = sampler->history[sampler->order - 1];
    for (int i = sampler->order - 1; i > 0; i--)
        sampler->history[i] = sampler->history[i - 1];
    sampler->history[0] = newest;
    place p = place_at(sampler, index);
    for (size_t i = 0; i < sampler->count; i++)
        switch (sampler->schedule.prediction) {
        case ECD_PREDICT_EPSILON: newest[i] = (x[i] - p.sigma * output[i]) / p.alpha; break;
        case ECD_PREDICT_SAMPLE: newest[i] = output[i]; break;
        default: newest[i] = p.alpha * x[i] - p.sigma * output[i];
        }
}

// exp(-h) - 1, in the float arithmetic of diffusers.
static float decay(float h)
{
    return (float)exp((double)-h) - 1.0f;
}

static void first_order(ecd_sampler *sampler, int index, float *x)
{
    place to = place_at(sampler, index + 1), from = place_at(sampler, index);
    float a = to.sigma / from.sigma, b = to.alpha * decay(to.lambda - from.lambda);
    const float *clean = sampler->history[0];
    for (size_t i = 0; i < sampler->count; i++)
        x[i] = a * x[i] - b * clean[i];
}

static void second_order(ecd_sampler *sampler, int index, float *x)
{
    place to = place_at(sampler, index + 1), p0 = place_at(sampler, index), p1 = place_at(sampler, index - 1);
    float h = to.lambda - p0.lambda, r = (p0.lambda - p1.lambda) / h, inverse = 1.0f / r;
    float a = to.sigma / p0.sigma, b = to.alpha * decay(h);
    float c = sampler->heun ? -(to.alpha * (decay(h) / h + 1.0f)) : 0.5f * b;
    const float *m0 = sampler->history[0], *m1 = sampler->history[1];
    for (size_t i = 0; i < sampler->count; i++)
        x[i] = a * x[i] - b * m0[i] - c * (inverse * (m0[i] - m1[i]));
}

static void third_order(ecd_sampler *sampler, int index, float *x)
{
    place to = place_at(sampler, index + 1), p0 = place_at(sampler, index);
    place p1 = place_at(sampler, index - 1), p2 = place_at(sampler, index - 2);
    float h = to.lambda - p0.lambda;
    float r0 = (p0.lambda - p1.lambda) / h, r1 = (p1.lambda - p2.lambda) / h;
    float a = to.sigma / p0.sigma, b = to.alpha * decay(h);
    float c = to.alpha * (decay(h) / h + 1.0f);
    float d = to.alpha * ((decay(h) + h) / (h * h) - 0.5f);
    float mix = r0 / (r0 + r1), inverse = 1.0f / (r0 + r1), inverse0 = 1.0f / r0, inverse1 = 1.0f / r1;
    const float *m0 = sampler->history[0], *m1 = sampler->history[1], *m2 = sampler->history[2];
    for (size_t i = 0; i < sampler->count; i++) {
        float slope0 = inverse0 * (m0[i] - m1[i]), slope1 = inverse1 * (m1[i] - m2[i]);
        float slope = slope0 + mix * (slope0 - slope1), bend = inverse * (slope0 - slope1);
        x[i] = a * x[i] - b * m0[i] + c * slope - d * bend;
    }
}

static void step(ecd_sampler *sampler, int index, const float *output, float *x)
{
    bool few = sampler->lower_order_final && sampler->steps < FEW_STEPS;
    bool last = index == sampler->steps - 1 && (sampler->euler_at_final || few || sampler->ends_at_zero);
    bool second_last = index == sampler->steps - 2 && few;
    if (index == 0)
        sampler->taken = 0;
    remember(sampler, index, output, x);
    if (sampler->order == 1 || sampler->taken < 1 || last)
        first_order(sampler, index, x);
    else if (sampler->order == 2 || sampler->taken < 2 || second_last)
        second_order(sampler, index, x);
    else
        third_order(sampler, index, x);
    if (sampler->taken < sampler->order)
        sampler->taken++;
}

static void levels(const ecd_sampler *sampler, int index, float *clean, float *noise)
{
    place p = place_at(sampler, index);
    *clean = p.alpha;
    *noise = p.sigma;
}

const ecd_sampler_method ecd_sampler_dpmpp = {
    .name = "dpmpp",
    .class_name = "DPMSolverMultistepScheduler",
    .prepare = prepare,
    .step = step,
    .levels = levels,
};
