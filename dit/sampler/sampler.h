// Samplers: from the model's prediction to the next latents. One opaque type over a table of methods.
//
// Sources: diffusers schedulers/scheduling_ddim.py, scheduling_dpmsolver_multistep.py, scheduling_euler_discrete.py,
// scheduling_flow_match_euler_discrete.py; arithmetic in f32 in their order.
#ifndef ECD_DIT_SAMPLER_SAMPLER_H
#define ECD_DIT_SAMPLER_SAMPLER_H

#include "kernels/backend.h"

typedef struct cJSON cJSON;
typedef struct ecd_sampler ecd_sampler;

typedef struct ecd_sampler_options {
    // NULL or "auto": the config's own class; else "ddim", "dpmpp" (2M), "euler", "flow": made from the config as
    // diffusers' from_config does (keys present in the config carry over, the rest are defaults). One that does not
    // suit the model's prediction (flow for noise, another for flow) is ECD_USAGE.
    const char *name;
    int steps;    // 1 to the config's num_train_timesteps
    size_t count; // elements of the latents of all pictures together
    ecd_backend *backend; // borrowed; in its memory are all latents. NULL: timesteps and sigmas alone
    // Flow matching: the picture's tokens, for dynamic shift (mu), and then sigmas from 1 to 1 / steps as FluxPipeline
    // gives them; 0: the scheduler's own sigmas.
    int64_t image_tokens;
} ecd_sampler_options;

// ECD_DATA for a config that is bad or of an unknown class or setting (named), ECD_USAGE for bad options.
ecd_status ecd_sampler_open(const cJSON *config, const ecd_sampler_options *options, ecd_sampler **out, ecd_diag *diag);
void ecd_sampler_close(ecd_sampler *sampler); // NULL is allowed

const char *ecd_sampler_name(const ecd_sampler *sampler);
int ecd_sampler_steps(const ecd_sampler *sampler);            // model calls
// What the model is given, before any scaling of its own.
float ecd_sampler_timestep(const ecd_sampler *sampler, int step);
float ecd_sampler_sigma(const ecd_sampler *sampler, int step);    // NAN where the method has none; step may be == steps
float ecd_sampler_init_sigma(const ecd_sampler *sampler);     // init_noise_sigma: initial noise is multiplied by it

// scale_model_input(x) at `step`, f32 [count] as all latents here: in `in`, or x itself where nothing is scaled.
const float *ecd_sampler_scale_input(const ecd_sampler *sampler, int step, const float *x, float *in);
// x := the next latents, from the model's output at `step`, which is written over. Steps are taken in order, from 0, which
// forgets history, or from the one whose noise was added. Failures are the backend's (ecd_backend_check).
void ecd_sampler_step(ecd_sampler *sampler, int step, float *output, float *x);

// x, clean latents, := what they are at `step` with this noise of variance 1 (add_noise, scale_noise): pictures of
// pictures begin there. Forgets history.
void ecd_sampler_add_noise(ecd_sampler *sampler, int step, const float *noise, float *x);

// The names that options.name takes, NULL-terminated.
const char *const *ecd_sampler_names(void);

#endif
