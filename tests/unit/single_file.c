#include "tests/unit/single_file.h"

#include "tests/unit/reference.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "weights/writer.h"

enum { HEADER = 1 << 17, LEVELS = 8 };

// What is called `from` in the folder (several: one below the other) is called `to` in the file, or by DiffSynth
// `synth`.
typedef struct module {
    const char *to, *synth;
    const char *from[4];
} module;

static const module ends[] = {
    {"img_in", "x_embedder", {"x_embedder"}},
    {"txt_in", "context_embedder", {"context_embedder"}},
    {"time_in.in_layer", "time_embedder.timestep_embedder.0", {"time_text_embed.timestep_embedder.linear_1"}},
    {"time_in.out_layer", "time_embedder.timestep_embedder.2", {"time_text_embed.timestep_embedder.linear_2"}},
    {"guidance_in.in_layer", "guidance_embedder.timestep_embedder.0", {"time_text_embed.guidance_embedder.linear_1"}},
    {"guidance_in.out_layer", "guidance_embedder.timestep_embedder.2", {"time_text_embed.guidance_embedder.linear_2"}},
    {"vector_in.in_layer", "pooled_text_embedder.0", {"time_text_embed.text_embedder.linear_1"}},
    {"vector_in.out_layer", "pooled_text_embedder.2", {"time_text_embed.text_embedder.linear_2"}},
    {"final_layer.linear", "final_proj_out", {"proj_out"}},
    {"final_layer.adaLN_modulation.1",
     "final_norm_out.linear",
     {"norm_out.linear"}}, // there with its halves the other way round
};

static const module doubles[] = {
    {"img_mod.lin", "norm1_a.linear", {"norm1.linear"}},
    {"txt_mod.lin", "norm1_b.linear", {"norm1_context.linear"}},
    {"img_attn.qkv", "attn.a_to_qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
    {"txt_attn.qkv", "attn.b_to_qkv", {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"}},
    {"img_attn.proj", "attn.a_to_out", {"attn.to_out.0"}},
    {"txt_attn.proj", "attn.b_to_out", {"attn.to_add_out"}},
    {"img_mlp.0", "ff_a.0", {"ff.net.0.proj"}},
    {"img_mlp.2", "ff_a.2", {"ff.net.2"}},
    {"txt_mlp.0", "ff_b.0", {"ff_context.net.0.proj"}},
    {"txt_mlp.2", "ff_b.2", {"ff_context.net.2"}},
    {"img_attn.norm.query_norm", "attn.norm_q_a", {"attn.norm_q"}},
    {"img_attn.norm.key_norm", "attn.norm_k_a", {"attn.norm_k"}},
    {"txt_attn.norm.query_norm", "attn.norm_q_b", {"attn.norm_added_q"}},
    {"txt_attn.norm.key_norm", "attn.norm_k_b", {"attn.norm_added_k"}},
};

static const module singles[] = {
    {"modulation.lin", "norm.linear", {"norm.linear"}},
    {"linear1", "to_qkv_mlp", {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}},
    {"linear2", "proj_out", {"proj_out"}},
    {"norm.query_norm", "norm_q_a", {"attn.norm_q"}},
    {"norm.key_norm", "norm_k_a", {"attn.norm_k"}},
};

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

typedef struct maker {
    ecd_tensors_writer writer;
    ecd_checkpoint *cp; // of the component being written
    single_scales scales;
    bool diffsynth;
    ecd_diag diag;
} maker;

static void put(maker *m, const char *name, ecd_dtype dtype, const int64_t *shape, int dims, const void *data)
{
    uint64_t size = ecd_dtype_size(dtype);
    for (int i = 0; i < dims; i++)
        size *= (uint64_t)shape[i];
    expect_ok(ecd_tensors_writer_add(&m->writer, name, dtype, shape, dims, data, size, &m->diag), &m->diag);
}

static void put_bf16(maker *m, const char *name, const int64_t *shape, int dims, const float *values, size_t count)
{
    uint16_t *cast = malloc(count * sizeof *cast);
    for (size_t i = 0; i < count; i++)
        cast[i] = ecd_to_bf16(values[i]);
    put(m, name, ECD_BF16, shape, dims, cast);
    free(cast);
}

// The power of two that an element's scale divides by.
static float factor_of(single_scales scales, int64_t row)
{
    return scales == SINGLE_PLAIN ? 1 : scales == SINGLE_ROWS ? (float)(2 << row % 3) : 2;
}

static void put_scale(maker *m, const char *module_name, int64_t rows, int64_t cols)
{
    char name[256];
    const int64_t one = 1, column[2] = {rows, 1}, blocks[2] = {(rows + 127) / 128, (cols + 127) / 128};
    int64_t count = m->scales == SINGLE_ROWS ? rows : m->scales == SINGLE_BLOCKS ? blocks[0] * blocks[1] : 1;
    float *scale = malloc((size_t)count * sizeof *scale), input = 1;
    for (int64_t i = 0; i < count; i++)
        scale[i] = 1 / factor_of(m->scales, i);
    snprintf(name, sizeof name, "%s.%s", module_name,
             m->scales == SINGLE_TENSOR ? "scale_weight"
             : m->scales == SINGLE_ROWS ? "weight_scale"
                                        : "weight_scale_inv");
    if (m->scales == SINGLE_TENSOR)
        put(m, name, ECD_F32, &one, 1, scale);
    else
        put(m, name, ECD_F32, m->scales == SINGLE_ROWS ? column : blocks, 2, scale);
    snprintf(name, sizeof name, "%s.scale_input", module_name);
    if (m->scales == SINGLE_TENSOR)
        put(m, name, ECD_F32, &one, 1, &input);
    free(scale);
}

static void put_e4m3(maker *m, const char *module_name, const int64_t *shape, const float *values)
{
    char name[256];
    size_t count = (size_t)(shape[0] * shape[1]);
    uint8_t *cast = malloc(count);
    single_scales scales = m->scales;
    if (scales == SINGLE_BLOCKS && strstr(module_name, "linear1")) // a small model's parts begin within a block
        m->scales = SINGLE_ROWS;
    for (size_t i = 0; i < count; i++)
        cast[i] = ecd_to_e4m3(ecd_from_e4m3(ecd_to_e4m3(values[i])) * factor_of(m->scales, (int64_t)i / shape[1]));
    snprintf(name, sizeof name, "%s.weight", module_name);
    put(m, name, ECD_E4M3, shape, 2, cast);
    if (m->scales != SINGLE_PLAIN)
        put_scale(m, module_name, shape[0], shape[1]);
    m->scales = scales;
    free(cast);
}

static void swap_halves(float *values, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        float value = values[i];
        values[i] = values[count / 2 + i];
        values[count / 2 + i] = value;
    }
}

// "<from><leaf>" of all parts, one below the other; NULL if the first is not there. The caller frees.
static float *stack(const maker *m, const char *in, const module *mod, const char *leaf, int64_t shape[2], int *dims)
{
    float *all = NULL;
    shape[0] = 0;
    for (int i = 0; i < 4 && mod->from[i]; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s.%s", in, mod->from[i], leaf);
        const ecd_tensor *t = ecd_checkpoint_find(m->cp, name);
        if (!t && !i)
            return NULL;
        float *values = reference_values(m->cp, name);
        *dims = t->dims;
        shape[1] = t->dims == 2 ? t->shape[1] : 1;
        all = realloc(all, (size_t)((shape[0] + t->shape[0]) * shape[1]) * sizeof *all);
        memcpy(all + shape[0] * shape[1], values, t->count * sizeof *all);
        shape[0] += t->shape[0];
        free(values);
    }
    return all;
}

static void put_module(maker *m, const char *prefix, const char *in, const char *out, const module *mod)
{
    static const char *const leaves[] = {"weight", "bias"};
    for (int i = 0; i < 2; i++) {
        char module_name[200], name[256];
        int64_t shape[2];
        int dims = 0;
        float *values = stack(m, in, mod, leaves[i], shape, &dims);
        if (!values)
            continue;
        size_t count = (size_t)(shape[0] * shape[1]);
        bool norm = !m->diffsynth && strstr(mod->to, "_norm");
        if (!m->diffsynth && strstr(mod->to, "adaLN"))
            swap_halves(values, count);
        snprintf(module_name, sizeof module_name, "%s%s%s", prefix, out, m->diffsynth ? mod->synth : mod->to);
        snprintf(name, sizeof name, "%s.%s", module_name, norm ? "scale" : leaves[i]);
        if (dims == 2)
            put_e4m3(m, module_name, shape, values);
        else
            put_bf16(m, name, shape, dims, values, count);
        free(values);
    }
}

static void put_transformer(maker *m, const char *prefix)
{
    char in[64], out[64], probe[96];
    for (int i = 0; i < COUNT(ends); i++)
        put_module(m, prefix, "", "", &ends[i]);
    for (int kind = 0; kind < 2; kind++)
        for (int b = 0;; b++) {
            snprintf(in, sizeof in, "%stransformer_blocks.%d.", kind ? "single_" : "", b);
            snprintf(out, sizeof out, "%sblocks.%d.", kind ? "single_" : m->diffsynth ? "" : "double_", b);
            snprintf(probe, sizeof probe, "%sattn.to_q.weight", in);
            if (!ecd_checkpoint_find(m->cp, probe))
                break;
            for (int i = 0; i < (kind ? COUNT(singles) : COUNT(doubles)); i++)
                put_module(m, prefix, in, out, kind ? &singles[i] : &doubles[i]);
        }
    if (m->scales == SINGLE_TENSOR) {
        const int64_t none = 0;
        snprintf(probe, sizeof probe, "%sscaled_fp8", prefix);
        put(m, probe, ECD_E4M3, &none, 1, NULL);
    }
}

// diffusers' name of a VAE's tensor as latent diffusion has it: words, one after the other.
static void name_vae(const char *name, int levels, char out[256])
{
    static const char *const words[][2] = {
        {"down_blocks.", "down."},
        {"resnets.", "block."},
        {"conv_shortcut", "nin_shortcut"},
        {"downsamplers.0.conv", "downsample.conv"},
        {"upsamplers.0.conv", "upsample.conv"},
        {"mid_block.block.0", "mid.block_1"},
        {"mid_block.block.1", "mid.block_2"},
        {"mid_block.attentions.0", "mid.attn_1"},
        {"attn_1.group_norm", "attn_1.norm"},
        {"attn_1.to_q", "attn_1.q"},
        {"attn_1.to_k", "attn_1.k"},
        {"attn_1.to_v", "attn_1.v"},
        {"attn_1.to_out.0", "attn_1.proj_out"},
        {"conv_norm_out", "norm_out"},
    };
    char next[256];
    snprintf(out, 256, "%s", name);
    for (int i = 0; i < COUNT(words); i++) {
        const char *found = strstr(out, words[i][0]);
        if (!found)
            continue;
        snprintf(next, sizeof next, "%.*s%s%s", (int)(found - out), out, words[i][1], found + strlen(words[i][0]));
        memcpy(out, next, sizeof next);
    }
    char *up = strstr(out, "up_blocks.");
    if (!up)
        return;
    snprintf(next, sizeof next, "%.*sup.%d%s", (int)(up - out), out, levels - 1 - atoi(up + strlen("up_blocks.")),
             up + strlen("up_blocks.") + 1);
    memcpy(out, next, sizeof next);
}

static void put_vae(maker *m)
{
    int levels = 0;
    for (char probe[64]; levels < LEVELS; levels++) {
        snprintf(probe, sizeof probe, "decoder.up_blocks.%d.resnets.0.conv1.weight", levels);
        if (!ecd_checkpoint_find(m->cp, probe))
            break;
    }
    for (size_t i = 0; i < ecd_checkpoint_count(m->cp); i++) {
        const ecd_tensor *t = ecd_checkpoint_tensor(m->cp, i);
        char inner[256], name[300];
        name_vae(t->name, levels, inner);
        snprintf(name, sizeof name, "vae.%s", inner);
        bool conv = strstr(inner, "attn_1.") && t->dims == 2; // as 1x1 convolutions
        int64_t shape[4] = {t->shape[0], t->shape[1], conv ? 1 : t->shape[2], conv ? 1 : t->shape[3]};
        put(m, name, t->dtype, shape, conv ? 4 : t->dims, t->data);
    }
}

static void put_encoder(maker *m, const char *prefix, bool quantized)
{
    for (size_t i = 0; i < ecd_checkpoint_count(m->cp); i++) {
        const ecd_tensor *t = ecd_checkpoint_tensor(m->cp, i);
        char name[300];
        float *values = reference_values(m->cp, t->name);
        bool table = strstr(t->name, "bias") || strstr(t->name, "shared");
        snprintf(name, sizeof name, "%s%s", prefix, t->name);
        if (quantized && t->dims == 2 && !table) {
            name[strlen(name) - strlen(".weight")] = 0;
            put_e4m3(m, name, t->shape, values);
        } else {
            put_bf16(m, name, t->shape, t->dims, values, t->count);
        }
        free(values);
    }
}

static void open_part(maker *m, const char *folder, const char *part)
{
    char path[4096];
    ecd_checkpoint_close(m->cp);
    snprintf(path, sizeof path, "%s/%s", folder, part);
    expect_ok(ecd_checkpoint_open(path, &m->cp, &m->diag), &m->diag);
}

void write_single_file(const char *path, const char *folder, const single_options *options)
{
    maker m = {.scales = options->scales, .diffsynth = options->diffsynth};
    expect_ok(ecd_tensors_writer_open(path, HEADER, NULL, &m.writer, &m.diag), &m.diag);
    open_part(&m, folder, "transformer");
    put_transformer(&m, options->bare ? "" : options->diffsynth ? "dit." : "model.diffusion_model.");
    m.scales = SINGLE_PLAIN;
    if (options->diffsynth) {
        open_part(&m, folder, "text_encoder_2");
        put_encoder(&m, "text_encoder_2.", true);
    } else if (!options->bare) {
        open_part(&m, folder, "vae");
        put_vae(&m);
        open_part(&m, folder, "text_encoder");
        put_encoder(&m, "text_encoders.clip_l.transformer.text_model.", false);
        open_part(&m, folder, "text_encoder_2");
        put_encoder(&m, "text_encoders.t5xxl.transformer.", true);
    }
    ecd_checkpoint_close(m.cp);
    expect_ok(ecd_tensors_writer_commit(&m.writer, &m.diag), &m.diag);
}

void write_odd_file(const char *path, const single_tensor *tensors, int count)
{
    maker m = {0};
    expect_ok(ecd_tensors_writer_open(path, HEADER, NULL, &m.writer, &m.diag), &m.diag);
    for (int i = 0; i < count; i++) {
        const int64_t shape[2] = {tensors[i].rows, tensors[i].cols};
        size_t elements = (size_t)(shape[0] * (shape[1] ? shape[1] : 1));
        float *values = malloc((elements + 1) * sizeof *values);
        for (size_t k = 0; k < elements; k++)
            values[k] = (float)(k + 1);
        put(&m, tensors[i].name, ECD_F32, shape, tensors[i].cols ? 2 : 1, values);
        free(values);
    }
    expect_ok(ecd_tensors_writer_commit(&m.writer, &m.diag), &m.diag);
}
