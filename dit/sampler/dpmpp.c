// DPM-Solver++, multistep, of orders 1 to 3 (arXiv 2211.01095). diffusers:
// schedulers/scheduling_dpmsolver_multistep.py.
#include <math.h>

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

    status = ecd_sampler_memory(sampler, sampler->order, &sampler->history_memory, diag);
    for (int i = 0; sampler->history_memory && i < sampler->order; i++)
        sampler->history[i] = sampler->history_memory + (size_t)i * sampler->count;
    return status;
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
    switch (sampler->schedule.prediction) {
    case ECD_PREDICT_EPSILON: ecd_sampler_mix_over(sampler, 1, x, -p.sigma, output, p.alpha, 0, newest); break;
    case ECD_PREDICT_SAMPLE: ecd_sampler_scale(sampler, 1, output, newest); break;
    default: ecd_sampler_mix(sampler, p.alpha, x, -p.sigma, output, newest);
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
    ecd_sampler_mix(sampler, a, x, -b, sampler->history[0], x);
}

// out = inverse (a - b).
static void slope(const ecd_sampler *sampler, float inverse, const float *a, const float *b, float *out)
{
    ecd_sampler_mix(sampler, 1, a, -1, b, out);
    ecd_sampler_scale(sampler, inverse, out, out);
}

static void sum(const ecd_sampler *sampler, const ecd_combine *terms, float *x)
{
    ecd_combine op = *terms;
    op.divisor = 1;
    op.out = x;
    op.count = (int64_t)sampler->count;
    sampler->be->ops->combine(sampler->be, &op);
}

// `work`: room for latents.
static void second_order(ecd_sampler *sampler, int index, float *work, float *x)
{
    place to = place_at(sampler, index + 1), p0 = place_at(sampler, index), p1 = place_at(sampler, index - 1);
    float h = to.lambda - p0.lambda, r = (p0.lambda - p1.lambda) / h, inverse = 1.0f / r;
    float a = to.sigma / p0.sigma, b = to.alpha * decay(h);
    float c = sampler->heun ? -(to.alpha * (decay(h) / h + 1.0f)) : 0.5f * b;
    const float *m0 = sampler->history[0], *m1 = sampler->history[1];
    slope(sampler, inverse, m0, m1, work);
    sum(sampler, &(ecd_combine){.terms = 3, .x = {x, m0, work}, .by = {a, -b, -c}}, x);
}

static void third_order(ecd_sampler *sampler, int index, float *work, float *x)
{
    place to = place_at(sampler, index + 1), p0 = place_at(sampler, index);
    place p1 = place_at(sampler, index - 1), p2 = place_at(sampler, index - 2);
    float h = to.lambda - p0.lambda;
    float r0 = (p0.lambda - p1.lambda) / h, r1 = (p1.lambda - p2.lambda) / h;
    float a = to.sigma / p0.sigma, b = to.alpha * decay(h);
    float c = to.alpha * (decay(h) / h + 1.0f);
    float d = to.alpha * ((decay(h) + h) / (h * h) - 0.5f);
    float mix = r0 / (r0 + r1), inverse = 1.0f / (r0 + r1), inverse0 = 1.0f / r0, inverse1 = 1.0f / r1;
    const float *m0 = sampler->history[0], *m1 = sampler->history[1];
    float *bend = sampler->history[2]; // the oldest is used for the last time
    slope(sampler, inverse0, m0, m1, work);
    slope(sampler, inverse1, m1, sampler->history[2], bend);
    ecd_sampler_mix(sampler, 1, work, -1, bend, bend); // their difference
    ecd_sampler_mix(sampler, 1, work, mix, bend, work);
    ecd_sampler_scale(sampler, inverse, bend, bend);
    sum(sampler, &(ecd_combine){.terms = 4, .x = {x, m0, work, bend}, .by = {a, -b, c, -d}}, x);
}

static void step(ecd_sampler *sampler, int index, float *output, float *x)
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
        second_order(sampler, index, output, x);
    else
        third_order(sampler, index, output, x);
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
