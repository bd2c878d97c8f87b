#include "lib/model_defaults.h"

#include <cjson/cJSON.h>

enum { MAX_LEVELS = 8 }; // no VAE has more

ecd_status ecd_model_defaults(const ecd_model_folder *folder, const ecd_transformer_info *info, int64_t *steps,
                              double *guidance, ecd_diag *diag)
{
    bool embedded = info->guidance == ECD_GUIDANCE_EMBEDDED;
    int64_t usual_steps = !info->text_width ? 50 : embedded ? 28 : 4;
    double usual_guidance = !info->text_width ? 4.0 : embedded ? 3.5 : 0.0;
    ecd_status status = ecd_json_int(folder->generation, "num_inference_steps", usual_steps, 1, ECD_MODEL_MAX_STEPS, steps, diag);
    if (!status)
        status = ecd_json_number(folder->generation, "guidance_scale", usual_guidance, guidance, diag);
    if (status)
        ecd_diag_file(diag, "generation_config.json");
    return status;
}

int64_t ecd_model_max_tokens(const ecd_transformer_info *info)
{
    return !info->text_width ? 0 : info->guidance == ECD_GUIDANCE_NONE ? 256 : 512;
}

int64_t ecd_model_vae_factor(const ecd_model_folder *folder)
{
    const cJSON *channels = cJSON_GetObjectItemCaseSensitive(folder->vae, "block_out_channels");
    int levels = channels ? cJSON_GetArraySize(channels) : 1;
    return levels > 0 && levels <= MAX_LEVELS ? INT64_C(1) << (levels - 1) : 0;
}

int64_t ecd_model_own_side(const ecd_model_folder *folder, const ecd_transformer_info *info)
{
    return info->sample_size * ecd_model_vae_factor(folder);
}
