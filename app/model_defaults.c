#include "app/model_defaults.h"

ecd_status ecd_model_defaults(const ecd_model_folder *folder, int64_t *steps, double *guidance, ecd_diag *diag)
{
    ecd_status status = ecd_json_int(folder->generation, "num_inference_steps", 50, 1, 1000, steps, diag);
    if (!status)
        status = ecd_json_number(folder->generation, "guidance_scale", 4.0, guidance, diag);
    if (status)
        ecd_diag_file(diag, "generation_config.json");
    return status;
}
