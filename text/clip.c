// CLIP's text model (arXiv 2103.00020): transformers models/clip/modeling_clip.py, CLIPTextModel.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/encoder_internal.h"
#include "weights/json.h"

static ecd_status check_config(const ecd_text_config *c, const char *activation, double eps, ecd_diag *diag)
{
    if (c->info.width % c->heads)
        return ecd_fail(diag, ECD_DATA, "\"hidden_size\" %lld is no multiple of \"num_attention_heads\" %lld",
                        (long long)c->info.width, (long long)c->heads);
    if (strcmp(activation, "quick_gelu") != 0)
        return ecd_fail(diag, ECD_DATA, "\"hidden_act\" is \"%.64s\", expected quick_gelu", activation);
    if (!(eps > 0 && eps < 1))
        return ecd_fail(diag, ECD_DATA, "\"layer_norm_eps\" is %g, expected more than 0 and less than 1", eps);
    return ECD_OK;
}

static ecd_status read_config(const cJSON *config, ecd_text_config *c, ecd_diag *diag)
{
    int64_t blocks;
    double eps;
    const char *activation;
    ecd_status s;
    if ((s = ecd_json_int(config, "hidden_size", 512, 1, ECD_TEXT_MAX_WIDTH, &c->info.width, diag)) ||
        (s = ecd_json_int(config, "vocab_size", 49408, 1, INT32_MAX - 1, &c->info.vocab, diag)) ||
        (s = ecd_json_int(config, "max_position_embeddings", 77, 1, 1 << 20, &c->info.max_tokens, diag)) ||
        (s = ecd_json_int(config, "num_hidden_layers", 12, 1, ECD_TEXT_MAX_BLOCKS, &blocks, diag)) ||
        (s = ecd_json_int(config, "num_attention_heads", 8, 1, 4096, &c->heads, diag)) ||
        (s = ecd_json_int(config, "intermediate_size", 2048, 1, ECD_TEXT_MAX_WIDTH, &c->wide, diag)) ||
        (s = ecd_json_int(config, "eos_token_id", 49407, 0, INT32_MAX - 1, &c->end_id, diag)) ||
        (s = ecd_json_number(config, "layer_norm_eps", 1e-5, &eps, diag)) ||
        (s = ecd_json_string(config, "hidden_act", "quick_gelu", &activation, diag)) ||
        (s = check_config(c, activation, eps, diag)))
        return s;
    // Older configs say 2 and mean the largest id, which is the end's (transformers does the same).
    if (c->end_id == 2)
        c->end_id = c->info.vocab - 1;
    c->info.blocks = (int)blocks;
    c->head_dim = c->info.width / c->heads;
    c->scale = (float)(1 / sqrt((double)c->head_dim));
    c->eps = (float)eps;
    c->causal = true;
    c->activation = ECD_EPILOGUE_QUICK_GELU;
    return ECD_OK;
}

static int fill(ecd_text_tensor *to, const ecd_text_tensor *from, size_t size_bytes)
{
    memcpy(to, from, size_bytes);
    return (int)(size_bytes / sizeof *to);
}

static int list_first(const ecd_text_config *c, const ecd_checkpoint *cp, ecd_text_tensor *tensors)
{
    (void)cp;
    const ecd_text_tensor list[] = {
        {ECD_TEXT_TOKENS, "token_embedding.weight", c->info.vocab, c->info.width},
        {ECD_TEXT_POSITIONS, "position_embedding.weight", c->info.max_tokens, c->info.width},
    };
    return fill(tensors, list, sizeof list);
}

static int list_block(const ecd_text_config *c, ecd_text_tensor *tensors)
{
    int64_t d = c->info.width, wide = c->wide;
    const ecd_text_tensor list[] = {
        {ECD_TEXT_NORM1_W, "layer_norm1.weight", d, 0},
        {ECD_TEXT_NORM1_B, "layer_norm1.bias", d, 0},
        {ECD_TEXT_Q_W, "self_attn.q_proj.weight", d, d},
        {ECD_TEXT_Q_B, "self_attn.q_proj.bias", d, 0},
        {ECD_TEXT_K_W, "self_attn.k_proj.weight", d, d},
        {ECD_TEXT_K_B, "self_attn.k_proj.bias", d, 0},
        {ECD_TEXT_V_W, "self_attn.v_proj.weight", d, d},
        {ECD_TEXT_V_B, "self_attn.v_proj.bias", d, 0},
        {ECD_TEXT_OUT_W, "self_attn.out_proj.weight", d, d},
        {ECD_TEXT_OUT_B, "self_attn.out_proj.bias", d, 0},
        {ECD_TEXT_NORM2_W, "layer_norm2.weight", d, 0},
        {ECD_TEXT_NORM2_B, "layer_norm2.bias", d, 0},
        {ECD_TEXT_FF1_W, "mlp.fc1.weight", wide, d},
        {ECD_TEXT_FF1_B, "mlp.fc1.bias", wide, 0},
        {ECD_TEXT_FF2_W, "mlp.fc2.weight", d, wide},
        {ECD_TEXT_FF2_B, "mlp.fc2.bias", d, 0},
    };
    return fill(tensors, list, sizeof list);
}

static int list_last(const ecd_text_config *c, ecd_text_tensor *tensors)
{
    const ecd_text_tensor list[] = {
        {ECD_TEXT_NORM1_W, "final_layer_norm.weight", c->info.width, 0},
        {ECD_TEXT_NORM1_B, "final_layer_norm.bias", c->info.width, 0},
    };
    return fill(tensors, list, sizeof list);
}

static void prefix(const ecd_text_config *c, const ecd_checkpoint *cp, int i, char out[ECD_TEXT_PREFIX])
{
    const char *model = ecd_checkpoint_find(cp, "final_layer_norm.weight") ? "" : "text_model.";
    if (i < 0)
        snprintf(out, ECD_TEXT_PREFIX, "%sembeddings.", model);
    else if (i < c->info.blocks)
        snprintf(out, ECD_TEXT_PREFIX, "%sencoder.layers.%d.", model, i);
    else
        snprintf(out, ECD_TEXT_PREFIX, "%s", model);
}

const ecd_text_architecture ecd_text_clip = {
    .class_name = "CLIPTextModel",
    .read_config = read_config,
    .list_first = list_first,
    .list_block = list_block,
    .list_last = list_last,
    .prefix = prefix,
};
