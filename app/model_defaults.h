// What a model says about how it wants to be drawn with: generation_config.json, a file of our own.
#ifndef ECD_APP_MODEL_DEFAULTS_H
#define ECD_APP_MODEL_DEFAULTS_H

#include "weights/model_folder.h"

// num_inference_steps (50 where it says nothing, from 1 to 1000) and guidance_scale (4).
ecd_status ecd_model_defaults(const ecd_model_folder *folder, int64_t *steps, double *guidance, ecd_diag *diag);

#endif
