// The noise schedule that DDIM, DPM-Solver++ and Euler share: betas and what follows from them, spacings of timesteps,
// spacings of sigmas. diffusers: the constructors and set_timesteps of schedulers/scheduling_*.py.
#ifndef ECD_DIT_SAMPLER_SCHEDULE_H
#define ECD_DIT_SAMPLER_SCHEDULE_H

#include "base/status.h"

typedef struct cJSON cJSON;

enum { ECD_SCHEDULE_MAX_TRAIN_STEPS = 1000000 };

typedef enum ecd_prediction {
    ECD_PREDICT_EPSILON, // the noise
    ECD_PREDICT_SAMPLE,  // the clean latents
    ECD_PREDICT_V,       // alpha noise - sigma sample
} ecd_prediction;

typedef enum ecd_spacing {
    ECD_SPACING_LINSPACE,
    ECD_SPACING_LEADING,
    ECD_SPACING_TRAILING,
} ecd_spacing;

typedef struct ecd_schedule {
    int train_steps;
    float *alphas_cumprod; // [train_steps]
    bool squared_cosine;   // beta_schedule squaredcos_cap_v2
    bool zero_snr;         // rescale_betas_zero_snr
    ecd_prediction prediction;
    ecd_spacing spacing;
    int steps_offset;
} ecd_schedule;

// Reads the keys that the three classes share; `spacing` is the class's default of timestep_spacing.
ecd_status ecd_schedule_read(const cJSON *config, ecd_spacing spacing, ecd_schedule *out, ecd_diag *diag);
void ecd_schedule_free(ecd_schedule *schedule); // leaves it zeroed; harmless twice

// sqrt((1 - a) / a) at a training timestep, as diffusers has it in f32.
float ecd_schedule_sigma(const ecd_schedule *schedule, int timestep);
// The same between timesteps, by linear interpolation in double; clamped at both ends.
double ecd_schedule_sigma_between(const ecd_schedule *schedule, double timestep);
// The timestep whose sigma is given, by interpolation of log sigma.
double ecd_schedule_timestep_of(const ecd_schedule *schedule, double sigma);

// Timesteps of "trailing" spacing that end at `last`: round(last - i train_steps / steps) - 1.
double ecd_schedule_trailing(int last, int train_steps, int steps, int i);

// How sigmas lie between the largest and the smallest, where the config asks for another way than the timesteps'.
typedef enum ecd_sigma_spacing {
    ECD_SIGMAS_OF_TIMESTEPS = 0,
    ECD_SIGMAS_KARRAS,      // arXiv 2206.00364, rho 7
    ECD_SIGMAS_EXPONENTIAL, // evenly in log sigma
} ecd_sigma_spacing;

// use_karras_sigmas and use_exponential_sigmas; ECD_DATA if both are set, or use_beta_sigmas is.
ecd_status ecd_schedule_sigma_spacing(const cJSON *config, ecd_sigma_spacing *out, ecd_diag *diag);
double ecd_schedule_spaced_sigma(ecd_sigma_spacing spacing, double largest, double smallest, int steps, int i);

// numpy.linspace(start, stop, count)[i].
double ecd_schedule_linspace(double start, double stop, int count, int i);

// Settings that are not computed: ECD_DATA naming the key, unless it is absent, null or false.
ecd_status ecd_schedule_refuse(const cJSON *config, const char *const *keys, ecd_diag *diag);
// A string that must be one of a NULL-terminated list; *out is its index. Absent: `fallback`.
ecd_status ecd_schedule_choice(const cJSON *config, const char *key, const char *const *choices, int fallback, int *out,
                               ecd_diag *diag);

#endif
