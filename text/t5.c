// T5 v1.1's encoder (arXiv 1910.10683, 2002.05202): transformers models/t5/modeling_t5.py, T5EncoderModel.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/encoder_internal.h"
#include "weights/json.h"

static ecd_status read_config(const cJSON *config, ecd_text_config *c, ecd_diag *diag)
{
    int64_t blocks;
    double eps;
    const char *feed_forward;
    ecd_status s;
    if ((s = ecd_json_int(config, "d_model", 512, 1, ECD_TEXT_MAX_WIDTH, &c->info.width, diag)) ||
        (s = ecd_json_int(config, "vocab_size", 32128, 1, INT32_MAX - 1, &c->info.vocab, diag)) ||
        (s = ecd_json_int(config, "num_layers", 6, 1, ECD_TEXT_MAX_BLOCKS, &blocks, diag)) ||
        (s = ecd_json_int(config, "num_heads", 8, 1, 4096, &c->heads, diag)) ||
        (s = ecd_json_int(config, "d_kv", 64, 1, 512, &c->head_dim, diag)) ||
        (s = ecd_json_int(config, "d_ff", 2048, 1, ECD_TEXT_MAX_WIDTH, &c->wide, diag)) ||
        (s = ecd_json_int(config, "relative_attention_num_buckets", 32, 4, 1 << 16, &c->buckets, diag)) ||
        (s = ecd_json_int(config, "relative_attention_max_distance", 128, 2, 1 << 20, &c->max_distance, diag)) ||
        (s = ecd_json_number(config, "layer_norm_epsilon", 1e-6, &eps, diag)) ||
        (s = ecd_json_string(config, "feed_forward_proj", "relu", &feed_forward, diag)))
        return s;
    if (strcmp(feed_forward, "gated-gelu") != 0)
        return ecd_fail(diag, ECD_DATA, "\"feed_forward_proj\" is \"%.64s\", expected gated-gelu", feed_forward);
    if (!(eps > 0 && eps < 1))
        return ecd_fail(diag, ECD_DATA, "\"layer_norm_epsilon\" is %g, expected more than 0 and less than 1", eps);
    if (c->max_distance <= c->buckets / 4 || c->buckets % 4)
        return ecd_fail(diag, ECD_DATA, "\"relative_attention_num_buckets\" %lld do not divide distances up to %lld",
                        (long long)c->buckets, (long long)c->max_distance);
    c->info.blocks = (int)blocks;
    c->info.max_tokens = 0;
    c->scale = 1;
    c->eps = (float)eps;
    c->rms = true;
    c->activation = ECD_EPILOGUE_GELU_TANH;
    c->end_id = -1;
    return ECD_OK;
}

// Half of the buckets for keys behind the query. Of each half one half is for single distances, the other grows by
// their logarithm, which torch takes in float.
int64_t ecd_text_bucket(const ecd_text_config *c, int64_t distance)
{
    int64_t half = c->buckets / 2, exact = half / 2, first = distance > 0 ? half : 0;
    int64_t n = distance < 0 ? -distance : distance;
    if (n < exact)
        return first + n;
    float share = (float)log((double)((float)n / (float)exact)) / (float)log((double)c->max_distance / (double)exact);
    int64_t far = exact + (int64_t)(share * (float)(half - exact));
    return first + (far < half - 1 ? far : half - 1);
}

static int fill(ecd_text_tensor *to, const ecd_text_tensor *from, size_t size_bytes)
{
    memcpy(to, from, size_bytes);
    return (int)(size_bytes / sizeof *to);
}

static int list_first(const ecd_text_config *c, const ecd_checkpoint *cp, ecd_text_tensor *tensors)
{
    const char *tokens = ecd_checkpoint_find(cp, "shared.weight") || !ecd_checkpoint_find(cp, "encoder.embed_tokens.weight")
                             ? "shared.weight"
                             : "encoder.embed_tokens.weight";
    const ecd_text_tensor list[] = {
        {ECD_TEXT_TOKENS, tokens, c->info.vocab, c->info.width},
        {ECD_TEXT_DISTANCES, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", c->buckets, c->heads},
    };
    return fill(tensors, list, sizeof list);
}

static int list_block(const ecd_text_config *c, ecd_text_tensor *tensors)
{
    int64_t d = c->info.width, inner = c->heads * c->head_dim, wide = c->wide;
    const ecd_text_tensor list[] = {
        {ECD_TEXT_NORM1_W, "layer.0.layer_norm.weight", d, 0},
        {ECD_TEXT_Q_W, "layer.0.SelfAttention.q.weight", inner, d},
        {ECD_TEXT_K_W, "layer.0.SelfAttention.k.weight", inner, d},
        {ECD_TEXT_V_W, "layer.0.SelfAttention.v.weight", inner, d},
        {ECD_TEXT_OUT_W, "layer.0.SelfAttention.o.weight", d, inner},
        {ECD_TEXT_NORM2_W, "layer.1.layer_norm.weight", d, 0},
        {ECD_TEXT_FF1_W, "layer.1.DenseReluDense.wi_0.weight", wide, d},
        {ECD_TEXT_GATE_W, "layer.1.DenseReluDense.wi_1.weight", wide, d},
        {ECD_TEXT_FF2_W, "layer.1.DenseReluDense.wo.weight", d, wide},
    };
    return fill(tensors, list, sizeof list);
}

static int list_last(const ecd_text_config *c, ecd_text_tensor *tensors)
{
    const ecd_text_tensor list[] = {{ECD_TEXT_NORM1_W, "final_layer_norm.weight", c->info.width, 0}};
    return fill(tensors, list, sizeof list);
}

static void prefix(const ecd_text_config *c, const ecd_checkpoint *cp, int i, char out[ECD_TEXT_PREFIX])
{
    (void)cp;
    if (i < 0)
        out[0] = 0;
    else if (i < c->info.blocks)
        snprintf(out, ECD_TEXT_PREFIX, "encoder.block.%d.", i);
    else
        snprintf(out, ECD_TEXT_PREFIX, "encoder.");
}

const ecd_text_architecture ecd_text_t5 = {
    .class_name = "T5EncoderModel",
    .read_config = read_config,
    .list_first = list_first,
    .list_block = list_block,
    .list_last = list_last,
    .prefix = prefix,
};
