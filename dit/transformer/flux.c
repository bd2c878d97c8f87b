// FLUX.1: text to image by flow matching, with double blocks (picture and text apart, attention over both) and single
// ones (both as one sequence). diffusers: models/transformers/transformer_flux.py, pipelines/flux/pipeline_flux.py.
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dit/transformer/embedding.h"
#include "dit/transformer/flux.h"
#include "dit/transformer/layers.h"
#include "weights/json.h"

enum { MAX_WIDTH = 1 << 20, MAX_BLOCKS = 4096, DEFAULT_SIDE = 128, MODULATIONS = 12 };

static ecd_status read_axes(const cJSON *config, ecd_flux_config *c, ecd_diag *diag)
{
    static const int64_t usual[FLUX_AXES] = {16, 56, 56};
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(config, "axes_dims_rope");
    bool given = list && !cJSON_IsNull(list);
    if (given && (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != FLUX_AXES))
        return ecd_fail(diag, ECD_DATA, "\"axes_dims_rope\", expected a list of %d numbers", FLUX_AXES);
    int64_t sum = 0;
    for (int i = 0; i < FLUX_AXES; i++) {
        const cJSON *item = given ? cJSON_GetArrayItem(list, i) : NULL;
        double v = !given ? (double)usual[i] : cJSON_IsNumber(item) ? item->valuedouble : 0;
        if (!(v >= 2 && v <= ECD_ROPE_MAX_HEAD) || v != 2 * floor(v / 2))
            return ecd_fail(diag, ECD_DATA, "\"axes_dims_rope\"[%d], expected an even number from 2 to %d", i,
                            ECD_ROPE_MAX_HEAD);
        sum += c->axes[i] = (int64_t)v;
    }
    if (sum != c->head_dim)
        return ecd_fail(diag, ECD_DATA, "\"axes_dims_rope\" add up to %lld, expected \"attention_head_dim\" %lld",
                        (long long)sum, (long long)c->head_dim);
    return ECD_OK;
}

static ecd_status read_config(ecd_transformer *t, const cJSON *config, ecd_diag *diag)
{
    ecd_flux_config *c = &((ecd_flux *)t)->c;
    ecd_transformer_info *info = &t->info;
    int64_t out_channels, patch;
    ecd_status s;
    if ((s = ecd_json_int(config, "num_attention_heads", 24, 1, 4096, &c->heads, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "attention_head_dim", 128, 2, ECD_ROPE_MAX_HEAD, &c->head_dim, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "in_channels", 64, 4, 1 << 16, &c->packed, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "out_channels", c->packed, 4, 1 << 16, &out_channels, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "patch_size", 1, 1, 1, &patch, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "num_layers", 19, 0, MAX_BLOCKS, &c->doubles, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "num_single_layers", 38, 0, MAX_BLOCKS, &c->singles, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "joint_attention_dim", 4096, 1, MAX_WIDTH, &c->text_width, diag)) != ECD_OK ||
        (s = ecd_json_int(config, "pooled_projection_dim", 768, 1, MAX_WIDTH, &c->pooled_width, diag)) != ECD_OK ||
        (s = ecd_json_bool(config, "guidance_embeds", false, &c->guidance, diag)) != ECD_OK ||
        (s = read_axes(config, c, diag)) != ECD_OK)
        return s;
    c->dim = c->heads * c->head_dim;
    if (c->dim > MAX_WIDTH)
        return ecd_fail(diag, ECD_DATA,
                        "\"num_attention_heads\" %lld times \"attention_head_dim\" %lld, expected up to %d",
                        (long long)c->heads, (long long)c->head_dim, MAX_WIDTH);
    if (c->packed % (FLUX_PATCH * FLUX_PATCH) || out_channels != c->packed)
        return ecd_fail(diag, ECD_DATA, "\"in_channels\" %lld, \"out_channels\" %lld, expected one multiple of 4",
                        (long long)c->packed, (long long)out_channels);
    info->in_channels = info->out_channels = c->packed / (FLUX_PATCH * FLUX_PATCH);
    info->sample_size = DEFAULT_SIDE;
    info->patch_size = FLUX_PATCH;
    info->any_size = true;
    info->blocks = (int)(c->doubles + c->singles);
    info->text_width = c->text_width;
    info->pooled_width = c->pooled_width;
    info->guidance = c->guidance ? ECD_GUIDANCE_EMBEDDED : ECD_GUIDANCE_NONE;
    return ECD_OK;
}

// How much of the rows of a pass meets each matrix: a stream's own, and one a picture.
static void share_rows(const ecd_flux *m, ecd_tensor_spec *doubles, ecd_tensor_spec *singles)
{
    const double tokens = (double)m->tokens;
    for (int i = 0; i < FLUX_DOUBLE; i++)
        doubles[i].share = (double)(i < FLUX_STREAM ? m->image : m->text) / tokens;
    doubles[FLUX_MOD_W].share = doubles[FLUX_STREAM + FLUX_MOD_W].share = singles[FLUX_S_MOD_W].share = 1 / tokens;
}

// The double blocks, then the single ones.
static ecd_status open_store(ecd_transformer *t, const ecd_checkpoint *cp, const ecd_store_options *options,
                             ecd_diag *diag)
{
    enum { PREFIX = 48 };
    const ecd_flux *m = (const ecd_flux *)t;
    ecd_tensor_spec ends[FLUX_ENDS], doubles[FLUX_DOUBLE], singles[FLUX_SINGLE];
    ecd_flux_spec_ends(&m->c, ends);
    ecd_flux_spec_double(&m->c, doubles);
    ecd_flux_spec_single(&m->c, singles);
    share_rows(m, doubles, singles);
    size_t count = (size_t)(m->c.doubles + m->c.singles) + 1, first_single = (size_t)m->c.doubles + 1;
    ecd_block_spec *blocks = calloc(count, sizeof *blocks);
    char(*prefixes)[PREFIX] = calloc(count, sizeof *prefixes);
    ecd_status status;
    if (!blocks || !prefixes) {
        status = ecd_fail_memory(diag, count * (sizeof *blocks + sizeof *prefixes), "the list of blocks");
        goto out;
    }
    blocks[0] = (ecd_block_spec){
        .prefix = "", .tensors = ends, .count = m->c.guidance ? FLUX_ENDS : FLUX_GUIDANCE1_W, .resident = true};
    for (size_t i = 1; i < count; i++) {
        bool single = i >= first_single;
        snprintf(prefixes[i], PREFIX, "%stransformer_blocks.%zu.", single ? "single_" : "",
                 i - (single ? first_single : 1));
        blocks[i] = (ecd_block_spec){
            .prefix = prefixes[i], .tensors = single ? singles : doubles, .count = single ? FLUX_SINGLE : FLUX_DOUBLE};
    }
    status = ecd_store_open(cp, t->be, blocks, (int)count, options, &t->store, diag);
out:
    free(blocks);
    free(prefixes);
    return status;
}

static int64_t measure(ecd_transformer *t)
{
    ecd_flux *m = (ecd_flux *)t;
    m->pictures = t->options.max_pictures;
    m->image = t->options.height / FLUX_PATCH * (t->options.width / FLUX_PATCH);
    m->text = t->options.text_tokens;
    m->tokens = m->text + m->image;
    return m->pictures * m->tokens;
}

static void place(ecd_transformer *t, ecd_arena *arena)
{
    ecd_flux *m = (ecd_flux *)t;
    const size_t f = sizeof(float), a = t->be->act_bytes;
    const int64_t d = m->c.dim, n = m->pictures, tokens = n * m->tokens, image = n * m->image, text = n * m->text;
    m->patches = ecd_arena_take_array(arena, image, m->c.packed, a);
    m->context_act = ecd_arena_take_array(arena, text, m->c.text_width, a);
    m->pooled_act = ecd_arena_take_array(arena, n, m->c.pooled_width, a);
    m->cosine = ecd_arena_take_array(arena, m->tokens, m->c.head_dim / 2, f);
    m->sine = ecd_arena_take_array(arena, m->tokens, m->c.head_dim / 2, f);
    m->stream[0] = ecd_arena_take_array(arena, image, d, f);
    m->stream[1] = ecd_arena_take_array(arena, text, d, f);
    m->joint = ecd_arena_take_array(arena, tokens, d, f);
    m->hidden = ecd_arena_take_array(arena, tokens, d, a);
    m->q = ecd_arena_take_array(arena, tokens, d, a);
    m->k = ecd_arena_take_array(arena, tokens, d, a);
    m->v = ecd_arena_take_array(arena, tokens, d, a);
    m->wide = ecd_arena_take_array(arena, tokens, (FLUX_FF + 1) * d, a);
    m->sinusoid = ecd_arena_take_array(arena, 1, FLUX_SINUSOID, f);
    m->sinusoid_act = ecd_arena_take_array(arena, 1, FLUX_SINUSOID, a);
    m->embedded = ecd_arena_take_array(arena, n, d, a);
    m->condition = ecd_arena_take_array(arena, n, d, f);
    m->condition_act = ecd_arena_take_array(arena, n, d, a);
    m->mod = ecd_arena_take_array(arena, n, MODULATIONS * d, f);
    m->out_tokens = ecd_arena_take_array(arena, image, m->c.packed, f);
}

static ecd_status fill(ecd_transformer *base, ecd_diag *diag)
{
    ecd_flux *m = (ecd_flux *)base;
    size_t table = (size_t)(m->tokens * (m->c.head_dim / 2)) * sizeof(float);
    int64_t cols = base->options.width / FLUX_PATCH;
    float *tables = malloc(2 * table);
    if (!tables)
        return ecd_fail_memory(diag, 2 * table, "the transformer's places");
    float *sines = tables + table / sizeof *tables;
    for (int64_t t = 0, half = m->c.head_dim / 2; t < m->tokens; t++) {
        int64_t at = t - m->text; // the text's tokens all stand at 0, 0, 0
        const double places[FLUX_AXES] = {0, at < 0 ? 0 : (double)(at / cols), at < 0 ? 0 : (double)(at % cols)};
        ecd_embed_rope(places, m->c.axes, FLUX_AXES, 10000, tables + t * half, sines + t * half);
    }
    base->be->ops->upload(base->be, m->cosine, tables, table);
    base->be->ops->upload(base->be, m->sine, sines, table);
    free(tables);
    return ECD_OK;
}

// embedded := SiLU(linear_1(sinusoid of the value)), the same for all pictures.
static void embed_value(ecd_flux *m, const ecd_block *ends, int weight, float value, int64_t pictures)
{
    const ecd_backend_ops *ops = m->base.be->ops;
    float sinusoid[FLUX_SINUSOID];
    ecd_embed_timestep(value, FLUX_SINUSOID, 0, sinusoid);
    ops->upload(m->base.be, m->sinusoid, sinusoid, sizeof sinusoid);
    ops->to_act(m->base.be, m->sinusoid, FLUX_SINUSOID, false, m->sinusoid_act);
    for (int64_t p = 0; p < pictures; p++)
        ecd_layer_linear(m->base.be, ends, weight, 1, 1, m->sinusoid_act, ECD_EPILOGUE_SILU, false,
                         ecd_flux_act(m, m->embedded, p * m->c.dim));
}

// condition_act := SiLU(timestep + guidance + pooled text), each by two layers of its own.
static void condition(ecd_flux *m, const ecd_block *ends, const ecd_transformer_call *call)
{
    const ecd_backend_ops *ops = m->base.be->ops;
    int64_t n = call->pictures, d = m->c.dim, width = n * m->c.pooled_width;
    embed_value(m, ends, FLUX_TIME1_W, call->timestep, n);
    ecd_layer_linear(m->base.be, ends, FLUX_TIME2_W, n, 1, m->embedded, ECD_EPILOGUE_NONE, true, m->condition);
    if (m->c.guidance) {
        embed_value(m, ends, FLUX_GUIDANCE1_W, call->guidance_scale * 1000, n);
        ecd_layer_linear(m->base.be, ends, FLUX_GUIDANCE2_W, n, 1, m->embedded, ECD_EPILOGUE_RESIDUAL, true,
                         m->condition);
    }
    ops->to_act(m->base.be, call->pooled, width, false, m->pooled_act);
    ecd_layer_linear(m->base.be, ends, FLUX_POOLED1_W, n, 1, m->pooled_act, ECD_EPILOGUE_SILU, false, m->embedded);
    ecd_layer_linear(m->base.be, ends, FLUX_POOLED2_W, n, 1, m->embedded, ECD_EPILOGUE_RESIDUAL, true, m->condition);
    ops->to_act(m->base.be, m->condition, n * d, true, m->condition_act);
}

static void embed(ecd_flux *m, const ecd_block *ends, const ecd_transformer_call *call)
{
    const ecd_backend_ops *ops = m->base.be->ops;
    int64_t n = call->pictures, text = n * m->text * m->c.text_width;
    ops->patchify(m->base.be, call->latents, n, m->base.info.in_channels, call->height, call->width, FLUX_PATCH,
                  m->patches);
    ecd_layer_linear(m->base.be, ends, FLUX_IMAGE_W, n, m->image, m->patches, ECD_EPILOGUE_NONE, true, m->stream[0]);
    ops->to_act(m->base.be, call->text, text, false, m->context_act);
    ecd_layer_linear(m->base.be, ends, FLUX_TEXT_W, n, m->text, m->context_act, ECD_EPILOGUE_NONE, true, m->stream[1]);
}

// Between the double blocks and the single ones: text and picture become one sequence.
static void join(ecd_flux *m, int64_t pictures)
{
    const int64_t d = m->c.dim, image = m->image * d, text = m->text * d;
    for (int64_t p = 0; p < pictures; p++) {
        float *to = m->joint + p * (text + image);
        m->base.be->ops->copy(m->base.be, to, m->stream[1] + p * text, (size_t)text * sizeof *to);
        m->base.be->ops->copy(m->base.be, to + text, m->stream[0] + p * image, (size_t)image * sizeof *to);
    }
}

// AdaLayerNormContinuous: the scale comes first, then the shift.
static void finish(ecd_transformer *t, const ecd_block *ends, const ecd_transformer_call *call)
{
    ecd_flux *m = (ecd_flux *)t;
    if (m->c.singles == 0)
        join(m, call->pictures);
    int64_t n = call->pictures, d = m->c.dim, size = m->image * m->c.packed;
    ecd_layer_linear(m->base.be, ends, FLUX_FINAL_MOD_W, n, 1, m->condition_act, ECD_EPILOGUE_NONE, true, m->mod);
    ecd_flux_modulate(m, n, m->tokens, m->joint, m->mod + d, m->mod, 2 * d);
    for (int64_t p = 0; p < n; p++)
        ecd_layer_linear(m->base.be, ends, FLUX_FINAL_W, 1, m->image,
                         ecd_flux_act(m, m->hidden, (p * m->tokens + m->text) * d), ECD_EPILOGUE_NONE, true,
                         m->out_tokens + p * size);
    m->base.be->ops->unpatchify(m->base.be, m->out_tokens, n, m->base.info.in_channels, call->height, call->width, FLUX_PATCH,
                                true, call->out);
}

static void begin(ecd_transformer *t, const ecd_block *ends, const ecd_transformer_call *call)
{
    condition((ecd_flux *)t, ends, call);
    embed((ecd_flux *)t, ends, call);
}

static void run_block(ecd_transformer *t, int i, const ecd_block *block, const ecd_transformer_call *call)
{
    ecd_flux *m = (ecd_flux *)t;
    if (i < m->c.doubles) {
        ecd_flux_run_double(m, block, call->pictures);
        return;
    }
    if (i == m->c.doubles)
        join(m, call->pictures);
    ecd_flux_run_single(m, block, call->pictures);
}

const ecd_architecture ecd_architecture_flux = {
    .class_name = "FluxTransformer2DModel",
    .size_bytes = sizeof(ecd_flux),
    .read_config = read_config,
    .measure = measure,
    .place = place,
    .open_store = open_store,
    .fill = fill,
    .begin = begin,
    .run_block = run_block,
    .finish = finish,
};
