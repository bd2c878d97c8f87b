// What a sampling method is to sampler.c. A method is one file beside this one and a row in the table of sampler.c.
#ifndef ECD_DIT_SAMPLER_METHOD_H
#define ECD_DIT_SAMPLER_METHOD_H

#include "dit/sampler/sampler.h"
#include "dit/sampler/schedule.h"

enum { ECD_SAMPLER_MAX_ORDER = 3 };

typedef struct ecd_sampler_method {
    const char *name;       // of --sampler
    const char *class_name; // of the config
    bool flow;              // for models of flow matching; the others are for models of noise schedules
    // Reads the config and fills timesteps, sigmas, init_sigma and what step needs.
    ecd_status (*prepare)(ecd_sampler *sampler, const cJSON *config, const ecd_sampler_options *options,
                          ecd_diag *diag);
    void (*scale_input)(const ecd_sampler *sampler, int step, const float *x, float *in); // NULL: as it is
    void (*step)(ecd_sampler *sampler, int step, float *output, float *x); // output is written over
    // x and noise of a step are `clean` x + `noise` times the noise.
    void (*levels)(const ecd_sampler *sampler, int step, float *clean, float *noise);
} ecd_sampler_method;

struct ecd_sampler {
    const ecd_sampler_method *method;
    int steps;
    size_t count;
    ecd_backend *be;
    float *work; // backend memory, [count]; where the model predicts v alone
    float *timesteps; // [steps]
    float *sigmas;    // [steps + 1]; NAN where the method has none
    float init_sigma;
    ecd_schedule schedule; // unused by flow matching

    float clip;     // DDIM: clean latents are clamped to -clip..clip; infinity where they are not
    bool alpha_one; // DDIM: the product before the first timestep is 1, not alphas_cumprod[0]

    int order; // DPM-Solver++
    bool heun, lower_order_final, euler_at_final, ends_at_zero;
    int taken;                             // steps since step 0, at most `order`
    float *history[ECD_SAMPLER_MAX_ORDER]; // clean latents, the newest first; [count] each, slices of history_memory
    float *history_memory;                 // in the backend
};

// out = a x + b y, and a x; out may be x or y.
void ecd_sampler_mix(const ecd_sampler *sampler, float a, const float *x, float b, const float *y, float *out);
void ecd_sampler_scale(const ecd_sampler *sampler, float a, const float *x, float *out);
// out = (a x + b y) / divisor, held within -limit..limit (0: not).
void ecd_sampler_mix_over(const ecd_sampler *sampler, float a, const float *x, float b, const float *y, float divisor,
                          float limit, float *out);
// Memory for `rows` times the latents in the backend; none where there is no backend.
ecd_status ecd_sampler_memory(const ecd_sampler *sampler, int rows, float **out, ecd_diag *diag);

extern const ecd_sampler_method ecd_sampler_ddim, ecd_sampler_dpmpp, ecd_sampler_euler, ecd_sampler_flow;

#endif
