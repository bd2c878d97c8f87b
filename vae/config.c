#include "vae/vae_internal.h"
#include "weights/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

// A list of strings that must all be `expected`; a missing one stands for the class's default, which is that.
static ecd_status check_block_types(const cJSON *json, const char *key, int levels, const char *expected,
                                    ecd_diag *diag)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, key);
    if (!list || cJSON_IsNull(list))
        return ECD_OK;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != levels)
        return ecd_fail(diag, ECD_DATA, "%s: expected a list of %d block types, one for each of block_out_channels",
                        key, levels);
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return ecd_fail(diag, ECD_DATA, "%s: expected a list of strings", key);
        if (strcmp(item->valuestring, expected))
            return ecd_fail(diag, ECD_DATA, "%s: block type %.100s is not supported, expected %s", key,
                            item->valuestring, expected);
    }
    return ECD_OK;
}

static ecd_status read_channels(const cJSON *json, ecd_vae_config *c, ecd_diag *diag)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "block_out_channels");
    if (!list || cJSON_IsNull(list)) {
        c->levels = 1;
        c->channels[0] = 64;
    } else {
        int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
        if (count < 1 || count > ECD_VAE_MAX_LEVELS)
            return ecd_fail(diag, ECD_DATA, "block_out_channels: expected a list of 1 to %d numbers",
                            ECD_VAE_MAX_LEVELS);
        c->levels = count;
        int i = 0;
        const cJSON *item;
        cJSON_ArrayForEach(item, list)
        {
            double v = cJSON_IsNumber(item) ? item->valuedouble : 0;
            if (!(v >= 1 && v <= ECD_VAE_MAX_CHANNELS) || v != floor(v))
                return ecd_fail(diag, ECD_DATA, "block_out_channels[%d]: expected a whole number from 1 to %d", i,
                                ECD_VAE_MAX_CHANNELS);
            c->channels[i++] = (int64_t)v;
        }
    }
    for (int i = 0; i < c->levels; i++)
        if (c->channels[i] % c->groups)
            return ecd_fail(diag, ECD_DATA, "norm_num_groups %lld does not divide block_out_channels[%d] = %lld",
                            (long long)c->groups, i, (long long)c->channels[i]);
    return ECD_OK;
}

static ecd_status read_scales(const cJSON *json, ecd_vae_config *c, ecd_diag *diag)
{
    double scaling, shift;
    ecd_status status = ecd_json_number(json, "scaling_factor", 0.18215, &scaling, diag);
    if (!status)
        status = ecd_json_number(json, "shift_factor", 0, &shift, diag);
    if (status)
        return status;
    c->scaling_factor = (float)scaling;
    c->shift_factor = (float)shift;
    if (!isfinite(c->scaling_factor) || !isfinite(1.0f / c->scaling_factor))
        return ecd_fail(diag, ECD_DATA, "scaling_factor is %g, expected a finite number other than 0", scaling);
    if (!isfinite(c->shift_factor))
        return ecd_fail(diag, ECD_DATA, "shift_factor is %g, expected a finite number", shift);
    return ECD_OK;
}

static ecd_status check_class(const cJSON *json, ecd_diag *diag)
{
    const char *name, *activation;
    ecd_status status = ecd_json_string(json, "_class_name", "AutoencoderKL", &name, diag);
    if (!status && strcmp(name, "AutoencoderKL"))
        status = ecd_fail(diag, ECD_DATA, "_class_name: %.100s is not supported, expected AutoencoderKL", name);
    if (!status)
        status = ecd_json_string(json, "act_fn", "silu", &activation, diag);
    if (!status && strcmp(activation, "silu") && strcmp(activation, "swish"))
        status = ecd_fail(diag, ECD_DATA, "act_fn: %.100s is not supported, expected silu", activation);
    static const char *const statistics[] = {"latents_mean", "latents_std"};
    for (int i = 0; i < 2 && !status; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, statistics[i]);
        if (value && !cJSON_IsNull(value))
            status = ecd_fail(diag, ECD_DATA, "%s is not supported, expected null", statistics[i]);
    }
    return status;
}

static ecd_status read_numbers(const cJSON *json, ecd_vae_config *c, ecd_diag *diag)
{
    int64_t layers = 1;
    const struct {
        const char *key;
        int64_t fallback, max, *out;
    } keys[] = {
        {"in_channels", 3, 1024, &c->in_channels},
        {"out_channels", 3, 1024, &c->out_channels},
        {"latent_channels", 4, 1024, &c->latent_channels},
        {"norm_num_groups", 32, ECD_VAE_MAX_CHANNELS, &c->groups},
        {"layers_per_block", 1, ECD_VAE_MAX_LAYERS, &layers},
    };
    ecd_status status = ECD_OK;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !status; i++)
        status = ecd_json_int(json, keys[i].key, keys[i].fallback, 1, keys[i].max, keys[i].out, diag);
    c->layers = (int)layers;
    return status;
}

ecd_status ecd_vae_config_read(const cJSON *json, ecd_vae_config *out, ecd_diag *diag)
{
    ecd_vae_config c = {0};
    ecd_status status = check_class(json, diag);
    if (!status)
        status = read_numbers(json, &c, diag);
    if (!status)
        status = read_channels(json, &c, diag);
    if (!status)
        status = check_block_types(json, "down_block_types", c.levels, "DownEncoderBlock2D", diag);
    if (!status)
        status = check_block_types(json, "up_block_types", c.levels, "UpDecoderBlock2D", diag);
    if (!status)
        status = read_scales(json, &c, diag);
    if (!status)
        status = ecd_json_bool(json, "use_quant_conv", true, &c.quant_conv, diag);
    if (!status)
        status = ecd_json_bool(json, "use_post_quant_conv", true, &c.post_quant_conv, diag);
    if (!status)
        status = ecd_json_bool(json, "mid_block_add_attention", true, &c.mid_attention, diag);
    if (!status && c.mid_attention && c.channels[c.levels - 1] > ECD_VAE_MAX_HEAD)
        status = ecd_fail(diag, ECD_DATA,
                          "attention over the last %lld of block_out_channels is not supported, expected at most %d",
                          (long long)c.channels[c.levels - 1], ECD_VAE_MAX_HEAD);
    if (!status)
        *out = c;
    return status;
}
