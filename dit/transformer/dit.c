// DiT: class-conditional diffusion transformer with adaLN-Zero (arXiv 2212.09748).
// diffusers: models/transformers/dit_transformer_2d.py, models/attention.py (BasicTransformerBlock),
// models/normalization.py (AdaLayerNormZero). Where diffusers and the paper's own code differ (the divisor of the
// timestep's frequencies, the epsilon of the second norm), this follows diffusers.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dit/transformer/architecture.h"
#include "dit/transformer/embedding.h"
#include "dit/transformer/layers.h"
#include "weights/json.h"

enum { SINUSOID = 256, MODULATIONS = 6, FF_FACTOR = 4, MAX_SIDE = 1 << 16, MAX_WIDTH = 1 << 20, MAX_BLOCKS = 4096 };

static const float norm_eps = 1e-6f; // of every norm but the second of a block

// The resident block: what stands before and after the blocks of the stack.
enum {
    PATCH_W,
    PATCH_B,
    TIME1_W,
    TIME1_B,
    TIME2_W,
    TIME2_B,
    CLASSES,
    FINAL_MOD_W,
    FINAL_MOD_B,
    FINAL_W,
    FINAL_B,
    ENDS
};
// A block of the stack.
enum { MOD_W, MOD_B, Q_W, Q_B, K_W, K_B, V_W, V_B, OUT_W, OUT_B, FF1_W, FF1_B, FF2_W, FF2_B, PARTS };

typedef struct dit_config {
    int64_t heads, head_dim, dim;
    float second_eps; // norm_eps of the config
    bool attention_bias;
} dit_config;

typedef struct dit {
    ecd_transformer base;
    dit_config c;
    int64_t tokens, rows; // rows: max_pictures x halves
    // Activations, in the backend; [rows] of each.
    void *patches;   // act [tokens, in_channels p p]
    float *position; // [tokens, dim], one for all rows
    float *x;        // [tokens, dim], the residual stream
    void *hidden;    // act [tokens, dim]
    void *wide;      // act [tokens, 4 dim]: q, k, v, or the feed-forward's inside
    float *sinusoid; // [SINUSOID], one for all rows
    void *sinusoid_act, *time_act;
    float *time;             // [dim], one for all rows
    float *cond;             // [dim]
    void *cond_act;          // act [dim], SiLU applied
    float *mod;              // [6 dim]
    float *out_tokens;       // [tokens, p p out_channels]
    int64_t *ids;            // host
} dit;

static ecd_status read_config(ecd_transformer *t, const cJSON *config, ecd_diag *diag)
{
    dit_config *c = &((dit *)t)->c;
    ecd_transformer_info *info = &t->info;
    double eps;
    bool affine;
    const char *activation, *norm;
    int64_t blocks;
    ecd_status s;
    if ((s = ecd_json_int(config, "num_attention_heads", 16, 1, 4096, &c->heads, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "attention_head_dim", 72, 1, 4096, &c->head_dim, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "in_channels", 4, 1, MAX_SIDE, &info->in_channels, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "out_channels", info->in_channels, 1, MAX_SIDE, &info->out_channels, diag)) !=
            ECD_OK ||
        (s = ecd_json_int(config, "num_layers", 28, 1, MAX_BLOCKS, &blocks, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "patch_size", 2, 1, 64, &info->patch_size, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "sample_size", 32, 1, MAX_SIDE, &info->sample_size, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "num_embeds_ada_norm", 1000, 1, INT32_MAX - 1, &info->num_classes, diag)) != ECD_OK ||
        (s = ecd_json_bool(config, "attention_bias", true, &c->attention_bias, diag)) != ECD_OK ||
        (s = ecd_json_bool(config, "norm_elementwise_affine", false, &affine, diag)) != ECD_OK ||
        (s = ecd_json_number(config, "norm_eps", 1e-5, &eps, diag)) != ECD_OK ||
        (s = ecd_json_string(config, "activation_fn", "gelu-approximate", &activation, diag)) != ECD_OK ||
        (s = ecd_json_string(config, "norm_type", "ada_norm_zero", &norm, diag)) != ECD_OK)
        return s;
    c->dim = c->heads * c->head_dim;
    c->second_eps = (float)eps;
    info->any_size = false;
    info->guidance = ECD_GUIDANCE_CLASSIFIER_FREE;
    info->blocks = (int)blocks;
    if (strcmp(activation, "gelu-approximate"))
        return ecd_fail(diag, ECD_DATA, "\"activation_fn\" is \"%.64s\", expected gelu-approximate", activation);
    if (strcmp(norm, "ada_norm_zero"))
        return ecd_fail(diag, ECD_DATA, "\"norm_type\" is \"%.64s\", expected ada_norm_zero", norm);
    if (affine)
        return ecd_fail(diag, ECD_DATA, "\"norm_elementwise_affine\" is true, which is not supported");
    if (!(eps > 0 && eps < 1))
        return ecd_fail(diag, ECD_DATA, "\"norm_eps\" is %g, expected more than 0 and less than 1", eps);
    if (c->dim % 4 || c->dim > MAX_WIDTH)
        return ecd_fail(
            diag, ECD_DATA,
            "\"num_attention_heads\" %lld times \"attention_head_dim\" %lld, expected a multiple of 4 up to %d",
            (long long)c->heads, (long long)c->head_dim, MAX_WIDTH);
    if (info->sample_size % info->patch_size)
        return ecd_fail(diag, ECD_DATA, "\"sample_size\" is %lld, expected a multiple of \"patch_size\" %lld",
                        (long long)info->sample_size, (long long)info->patch_size);
    return ECD_OK;
}

// diffusers holds the same embedders in every block; the first block's are the ones that it computes with.
#define EMB "transformer_blocks.0.norm1.emb."

static void spec_ends(const dit_config *c, const ecd_transformer_info *info, ecd_tensor_spec *t)
{
    int64_t d = c->dim, p = info->patch_size, out = p * p * info->out_channels;
    t[PATCH_W] = (ecd_tensor_spec){.name = "pos_embed.proj.weight", .dims = 4, .shape = {d, info->in_channels, p, p}};
    t[PATCH_B] = ecd_spec_vector("pos_embed.proj.bias", d);
    t[TIME1_W] = ecd_spec_matrix(EMB "timestep_embedder.linear_1.weight", d, SINUSOID);
    t[TIME1_B] = ecd_spec_vector(EMB "timestep_embedder.linear_1.bias", d);
    t[TIME2_W] = ecd_spec_matrix(EMB "timestep_embedder.linear_2.weight", d, d);
    t[TIME2_B] = ecd_spec_vector(EMB "timestep_embedder.linear_2.bias", d);
    t[CLASSES] =
        ecd_spec_matrix(EMB "class_embedder.embedding_table.weight", info->num_classes + 1, d); // and the null class
    t[FINAL_MOD_W] = ecd_spec_matrix("proj_out_1.weight", 2 * d, d);
    t[FINAL_MOD_B] = ecd_spec_vector("proj_out_1.bias", 2 * d);
    t[FINAL_W] = ecd_spec_matrix("proj_out_2.weight", out, d);
    t[FINAL_B] = ecd_spec_vector("proj_out_2.bias", out);
}

static void spec_block(const dit_config *c, ecd_tensor_spec *t)
{
    int64_t d = c->dim, wide = FF_FACTOR * d;
    t[MOD_W] = ecd_spec_matrix("norm1.linear.weight", MODULATIONS * d, d);
    t[MOD_B] = ecd_spec_vector("norm1.linear.bias", MODULATIONS * d);
    t[Q_W] = ecd_spec_matrix("attn1.to_q.weight", d, d);
    t[Q_B] = ecd_spec_vector("attn1.to_q.bias", d);
    t[K_W] = ecd_spec_matrix("attn1.to_k.weight", d, d);
    t[K_B] = ecd_spec_vector("attn1.to_k.bias", d);
    t[V_W] = ecd_spec_matrix("attn1.to_v.weight", d, d);
    t[V_B] = ecd_spec_vector("attn1.to_v.bias", d);
    t[OUT_W] = ecd_spec_matrix("attn1.to_out.0.weight", d, d);
    t[OUT_B] = ecd_spec_vector("attn1.to_out.0.bias", d);
    t[FF1_W] = ecd_spec_matrix("ff.net.0.proj.weight", wide, d);
    t[FF1_B] = ecd_spec_vector("ff.net.0.proj.bias", wide);
    t[FF2_W] = ecd_spec_matrix("ff.net.2.weight", d, wide);
    t[FF2_B] = ecd_spec_vector("ff.net.2.bias", d);
    if (!c->attention_bias)
        t[Q_B].optional = t[K_B].optional = t[V_B].optional = true;
}

static ecd_status open_store(ecd_transformer *t, const ecd_checkpoint *cp, const ecd_store_options *options,
                             ecd_diag *diag)
{
    enum { PREFIX = 48 };
    const dit *m = (const dit *)t;
    ecd_tensor_spec ends[ENDS], parts[PARTS];
    spec_ends(&m->c, &t->info, ends);
    spec_block(&m->c, parts);
    parts[MOD_W].share = 1 / (double)m->tokens;
    size_t count = (size_t)t->info.blocks + 1;
    ecd_block_spec *blocks = calloc(count, sizeof *blocks);
    char(*prefixes)[PREFIX] = calloc(count, sizeof *prefixes);
    ecd_status status;
    if (!blocks || !prefixes) {
        status = ecd_fail_memory(diag, count * (sizeof *blocks + sizeof *prefixes), "the list of blocks");
        goto out;
    }
    blocks[0] = (ecd_block_spec){.prefix = "", .tensors = ends, .count = ENDS, .resident = true};
    for (size_t i = 1; i < count; i++) {
        snprintf(prefixes[i], PREFIX, "transformer_blocks.%zu.", i - 1);
        blocks[i] = (ecd_block_spec){.prefix = prefixes[i], .tensors = parts, .count = PARTS};
    }
    status = ecd_store_open(cp, t->be, blocks, (int)count, options, &t->store, diag);
out:
    free(blocks);
    free(prefixes);
    return status;
}

static int64_t measure(ecd_transformer *t)
{
    dit *m = (dit *)t;
    const ecd_transformer_options *o = &t->options;
    m->tokens = (o->height / t->info.patch_size) * (o->width / t->info.patch_size);
    m->rows = o->max_pictures * (o->guidance ? 2 : 1);
    return m->rows * m->tokens;
}

static void place(ecd_transformer *t, ecd_arena *arena)
{
    dit *m = (dit *)t;
    const ecd_transformer_info *info = &t->info;
    const size_t f = sizeof(float), a = t->be->act_bytes;
    int64_t d = m->c.dim, rows = m->rows, all = rows * m->tokens;
    int64_t patch = info->patch_size * info->patch_size;
    m->patches = ecd_arena_take_array(arena, all, info->in_channels * patch, a);
    m->position = ecd_arena_take_array(arena, m->tokens, d, f);
    m->x = ecd_arena_take_array(arena, all, d, f);
    m->hidden = ecd_arena_take_array(arena, all, d, a);
    m->wide = ecd_arena_take_array(arena, all, FF_FACTOR * d, a);
    m->sinusoid = ecd_arena_take_array(arena, 1, SINUSOID, f);
    m->sinusoid_act = ecd_arena_take_array(arena, 1, SINUSOID, a);
    m->time_act = ecd_arena_take_array(arena, 1, d, a);
    m->time = ecd_arena_take_array(arena, 1, d, f);
    m->cond = ecd_arena_take_array(arena, rows, d, f);
    m->cond_act = ecd_arena_take_array(arena, rows, d, a);
    m->mod = ecd_arena_take_array(arena, rows, MODULATIONS * d, f);
    m->out_tokens = ecd_arena_take_array(arena, all, patch * info->out_channels, f);
}

static ecd_status fill(ecd_transformer *t, ecd_diag *diag)
{
    dit *m = (dit *)t;
    const ecd_transformer_info *info = &t->info;
    size_t position_bytes = (size_t)(m->tokens * m->c.dim) * sizeof(float);
    float *position = malloc(position_bytes);
    m->ids = calloc((size_t)m->rows, sizeof *m->ids);
    ecd_status status = position && m->ids ? ECD_OK : ecd_fail_memory(diag, position_bytes, "the transformer's places");
    if (status == ECD_OK) {
        int64_t rows = t->options.height / info->patch_size, cols = t->options.width / info->patch_size;
        ecd_embed_grid(m->c.dim, rows, cols, (double)info->sample_size / (double)info->patch_size, 1, position);
        t->be->ops->upload(t->be, m->position, position, position_bytes);
    }
    free(position);
    return status;
}

static void free_host(ecd_transformer *t)
{
    free(((dit *)t)->ids);
}

// The shape of a call: rows of a picture lie side by side (the conditional half, then the unconditional one), so that a
// picture's products are formed for both halves together, whatever the batch.
typedef struct extent {
    int64_t pictures, halves, rows;
} extent;

static extent extent_of(const ecd_transformer_call *call)
{
    const int64_t halves = call->guidance ? 2 : 1;
    return (extent){.pictures = call->pictures, .halves = halves, .rows = call->pictures * halves};
}

static const void *act_at(const dit *m, const void *base, int64_t elements)
{
    return (const char *)base + (size_t)elements * m->base.be->act_bytes;
}

static void linear(dit *m, const ecd_block *b, int weight, extent e, int64_t rows, const void *x, ecd_epilogue epilogue,
                   bool out_f32, void *out)
{
    ecd_layer_linear(m->base.be, b, weight, e.pictures, e.halves * rows, x, epilogue, out_f32, out);
}

// x += gate * linear(in), a gate a row.
static void gated(dit *m, const ecd_block *b, int weight, extent e, const void *in, const float *gate)
{
    ecd_layer_gated(m->base.be, b, weight, e.pictures, e.halves * m->tokens, in, m->x, gate, m->tokens,
                    MODULATIONS * m->c.dim);
}

// hidden := LayerNorm(x) (1 + scale) + shift.
static void modulate(dit *m, extent e, float eps, const float *shift, const float *scale, int64_t stride)
{
    const ecd_layer_modulation by = {shift, scale, m->tokens, stride};
    ecd_layer_modulate(m->base.be, m->x, e.rows * m->tokens, m->c.dim, eps, by, m->hidden);
}

// cond_act := SiLU(embedding of the timestep + embedding of the class), once for the whole step.
static void condition(dit *m, const ecd_block *ends, const ecd_transformer_call *call, extent e)
{
    const ecd_backend_ops *ops = m->base.be->ops;
    int64_t d = m->c.dim;
    extent one = {1, 1, 1};
    float sinusoid[SINUSOID];
    ecd_embed_timestep(call->timestep, SINUSOID, 1, sinusoid);
    ops->upload(m->base.be, m->sinusoid, sinusoid, sizeof sinusoid);
    ops->to_act(m->base.be, m->sinusoid, SINUSOID, false, m->sinusoid_act);
    linear(m, ends, TIME1_W, one, 1, m->sinusoid_act, ECD_EPILOGUE_SILU, false, m->time_act);
    linear(m, ends, TIME2_W, one, 1, m->time_act, ECD_EPILOGUE_NONE, true, m->time);
    for (int64_t r = 0; r < e.rows; r++) {
        m->ids[r] = r % e.halves ? m->base.info.num_classes : call->classes[r / e.halves];
        ops->copy(m->base.be, m->cond + r * d, m->time, (size_t)d * sizeof(float));
    }
    ops->add_rows(m->base.be, &ends->weights[CLASSES], m->ids, e.rows, m->cond);
    ops->to_act(m->base.be, m->cond, e.rows * d, true, m->cond_act);
}

// x := the patches' embedding plus their places'.
static void embed(dit *m, const ecd_block *ends, const ecd_transformer_call *call, extent e)
{
    const ecd_backend_ops *ops = m->base.be->ops;
    const ecd_transformer_info *info = &m->base.info;
    int64_t picture = info->in_channels * call->height * call->width, stream = m->tokens * m->c.dim;
    for (int64_t r = 0; r < e.rows; r++) {
        ops->patchify(m->base.be, call->latents + r / e.halves * picture, 1, info->in_channels, call->height, call->width,
                      (int)info->patch_size, (void *)act_at(m, m->patches, r * picture));
        ops->copy(m->base.be, m->x + r * stream, m->position, (size_t)stream * sizeof(float));
    }
    linear(m, ends, PATCH_W, e, m->tokens, m->patches, ECD_EPILOGUE_RESIDUAL, true, m->x);
}

static void begin(ecd_transformer *t, const ecd_block *ends, const ecd_transformer_call *call)
{
    condition((dit *)t, ends, call, extent_of(call));
    embed((dit *)t, ends, call, extent_of(call));
}

static void run_block(ecd_transformer *t, int i, const ecd_block *b, const ecd_transformer_call *call)
{
    (void)i;
    dit *m = (dit *)t;
    const extent e = extent_of(call);
    int64_t d = m->c.dim, all = e.rows * m->tokens;
    void *const to[3] = {m->wide, (void *)act_at(m, m->wide, all * d), (void *)act_at(m, m->wide, 2 * all * d)};
    const float *mod = m->mod;
    linear(m, b, MOD_W, e, 1, m->cond_act, ECD_EPILOGUE_NONE, true, m->mod);

    modulate(m, e, norm_eps, mod, mod + d, MODULATIONS * d);
    ecd_layer_qkv(m->base.be, b, Q_W, e.pictures, e.halves * m->tokens, m->hidden, to);
    ecd_attention attention = {.batch = e.rows,
                               .heads = m->c.heads,
                               .head_dim = m->c.head_dim,
                               .q_tokens = m->tokens,
                               .kv_tokens = m->tokens,
                               .q = to[0],
                               .k = to[1],
                               .v = to[2],
                               .out = m->hidden,
                               .scale = (float)(1 / sqrt((double)m->c.head_dim))};
    m->base.be->ops->attention(m->base.be, &attention);
    gated(m, b, OUT_W, e, m->hidden, mod + 2 * d);

    modulate(m, e, m->c.second_eps, mod + 3 * d, mod + 4 * d, MODULATIONS * d);
    linear(m, b, FF1_W, e, m->tokens, m->hidden, ECD_EPILOGUE_GELU_TANH, false, m->wide);
    gated(m, b, FF2_W, e, m->wide, mod + 5 * d);
}

static void finish(ecd_transformer *t, const ecd_block *ends, const ecd_transformer_call *call)
{
    dit *m = (dit *)t;
    const ecd_transformer_info *info = &t->info;
    const extent e = extent_of(call);
    int64_t d = m->c.dim, picture = info->out_channels * call->height * call->width;
    linear(m, ends, FINAL_MOD_W, e, 1, m->cond_act, ECD_EPILOGUE_NONE, true, m->mod);
    modulate(m, e, norm_eps, m->mod, m->mod + d, 2 * d);
    linear(m, ends, FINAL_W, e, m->tokens, m->hidden, ECD_EPILOGUE_NONE, true, m->out_tokens);
    for (int64_t r = 0; r < e.rows; r++)
        m->base.be->ops->unpatchify(m->base.be, m->out_tokens + r * picture, 1, info->out_channels, call->height,
                                    call->width, (int)info->patch_size, false,
                                    call->out + (r % e.halves * e.pictures + r / e.halves) * picture);
}

const ecd_architecture ecd_architecture_dit = {
    .class_name = "DiTTransformer2DModel",
    .size_bytes = sizeof(dit),
    .read_config = read_config,
    .measure = measure,
    .place = place,
    .open_store = open_store,
    .fill = fill,
    .free_host = free_host,
    .begin = begin,
    .run_block = run_block,
    .finish = finish,
};
