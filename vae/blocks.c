#include "vae/vae_internal.h"

#include <math.h>
#include <stdio.h>

static const float NORM_EPS = 1e-6f;

size_t ecd_vae_bytes(int64_t pixels, int64_t channels, size_t element_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow((uint64_t)pixels, (uint64_t)channels, &bytes) ||
        __builtin_mul_overflow(bytes, element_bytes, &bytes))
        return SIZE_MAX;
    return bytes;
}

void *ecd_vae_room(ecd_vae_run *run, int slot, size_t bytes)
{
    if (bytes > run->need[slot])
        run->need[slot] = bytes;
    if (!run->planning && bytes > run->slot_bytes[slot])
        ecd_backend_fail(run->be, ECD_RESOURCE, "VAE activation of %zu bytes in a slot planned with %zu", bytes,
                         run->slot_bytes[slot]);
    return run->slot[slot];
}

// An activation between slots. NO_RESIDUAL or the slot whose content is added.
enum { NO_RESIDUAL = -1 };

static void conv(ecd_vae_run *run, const ecd_vae_conv *c, int from, int to, int residual, bool upsample, bool out_f32)
{
    int64_t grow = upsample ? 2 : 1;
    int64_t pixels = ecd_conv_out(&c->shape, run->height * grow) * ecd_conv_out(&c->shape, run->width * grow);
    size_t element = out_f32 ? sizeof(float) : run->be->act_bytes;
    void *out = ecd_vae_room(run, to, ecd_vae_bytes(pixels, c->shape.out_channels, element));
    if (run->planning)
        return;
    ecd_conv op = {.w = c->w,
                   .height = run->height,
                   .width = run->width,
                   .x = run->slot[from],
                   .upsample = upsample,
                   .residual = residual == NO_RESIDUAL ? NULL : run->slot[residual],
                   .out = out,
                   .out_f32 = out_f32};
    run->be->ops->conv(run->be, &op);
}

static void norm(ecd_vae_run *run, const ecd_vae_norm *n, int from, int to, bool silu)
{
    int64_t pixels = run->height * run->width;
    void *out = ecd_vae_room(run, to, ecd_vae_bytes(pixels, n->channels, run->be->act_bytes));
    if (run->planning)
        return;
    ecd_group_norm op = {.x = run->slot[from],
                         .pixels = pixels,
                         .channels = n->channels,
                         .groups = run->groups,
                         .eps = NORM_EPS,
                         .gamma = n->gamma,
                         .beta = n->beta,
                         .silu = silu,
                         .out = out};
    run->be->ops->group_norm(run->be, &op);
}

void ecd_vae_run_conv(ecd_vae_run *run, const ecd_vae_conv *c, bool upsample, bool out_f32)
{
    int to = ecd_vae_other(run, 1);
    conv(run, c, run->x, to, NO_RESIDUAL, upsample, out_f32);
    run->x = to;
    run->height = ecd_conv_out(&c->shape, upsample ? 2 * run->height : run->height);
    run->width = ecd_conv_out(&c->shape, upsample ? 2 * run->width : run->width);
    run->channels = c->shape.out_channels;
}

void ecd_vae_run_norm_silu(ecd_vae_run *run, const ecd_vae_norm *n)
{
    norm(run, n, run->x, run->x, true);
}

// Three slots do in both cases. With a shortcut, that is taken first: then x itself is needed no more and is normalised
// in place, which saves a buffer of the wider of the two channel counts where memory is scarcest (the decoder's last
// level).
static void resnet(ecd_vae_run *run, const ecd_vae_resnet *r)
{
    int x = run->x, b = ecd_vae_other(run, 1), c = ecd_vae_other(run, 2);
    if (r->has_shortcut) {
        conv(run, &r->shortcut, x, c, NO_RESIDUAL, false, false);
        norm(run, &r->norm1, x, x, true);
        conv(run, &r->conv1, x, b, NO_RESIDUAL, false, false);
        norm(run, &r->norm2, b, b, true);
        conv(run, &r->conv2, b, x, c, false, false);
    } else {
        norm(run, &r->norm1, x, b, true);
        conv(run, &r->conv1, b, c, NO_RESIDUAL, false, false);
        norm(run, &r->norm2, c, c, true);
        conv(run, &r->conv2, c, b, x, false, false);
        run->x = b;
    }
    run->channels = r->conv2.shape.out_channels;
}

static void linear(ecd_vae_run *run, const ecd_vae_linear *l, const void *x, void *out, ecd_epilogue epilogue)
{
    ecd_linear op = {.w = &l->w,
                     .bias = l->bias,
                     .pictures = 1,
                     .rows = run->height * run->width,
                     .x = x,
                     .out = out,
                     .epilogue = epilogue};
    run->be->ops->linear(run->be, &op);
}

// x += to_out(attention(q, k, v of GroupNorm(x))): diffusers' Attention with residual_connection, one head of all
// channels.
static void attention(ecd_vae_run *run, const ecd_vae_mid *mid)
{
    ecd_backend *be = run->be;
    int64_t pixels = run->height * run->width, channels = run->channels;
    int n = ecd_vae_other(run, 1), joint = ecd_vae_other(run, 2);
    bool wide = be->act_bytes == sizeof(float);
    size_t one = ecd_vae_bytes(pixels, channels, be->act_bytes);

    norm(run, &mid->norm, run->x, n, false);
    char *q = ecd_vae_room(run, joint, ecd_vae_bytes(pixels, 3 * channels, be->act_bytes));
    if (run->planning)
        return;
    char *k = q + one, *v = k + one;
    linear(run, &mid->q, run->slot[n], q, ECD_EPILOGUE_NONE);
    linear(run, &mid->k, run->slot[n], k, ECD_EPILOGUE_NONE);
    linear(run, &mid->v, run->slot[n], v, ECD_EPILOGUE_NONE);
    ecd_attention op = {.batch = 1,
                        .heads = 1,
                        .head_dim = channels,
                        .q_tokens = pixels,
                        .kv_tokens = pixels,
                        .q = q,
                        .k = k,
                        .v = v,
                        .out = run->slot[n], // the normalised x is used up
                        .scale = (float)(1 / sqrt((double)channels))};
    be->ops->attention(be, &op);

    // Residuals are summed in f32: where activations are narrower, in the room of q, k and v, now used up.
    float *sum = wide ? run->slot[run->x] : run->slot[joint];
    if (!wide)
        be->ops->to_f32(be, run->slot[run->x], pixels * channels, sum);
    linear(run, &mid->out, run->slot[n], sum, ECD_EPILOGUE_RESIDUAL);
    if (!wide)
        be->ops->to_act(be, sum, pixels * channels, false, run->slot[run->x]);
}

void ecd_vae_run_mid(ecd_vae_run *run, const ecd_vae_mid *mid)
{
    resnet(run, &mid->resnets[0]);
    if (mid->has_attention)
        attention(run, mid);
    resnet(run, &mid->resnets[1]);
}

void ecd_vae_run_level(ecd_vae_run *run, const ecd_vae_level *level, bool upsample)
{
    for (int i = 0; i < level->count; i++)
        resnet(run, &level->resnets[i]);
    if (level->has_resample)
        ecd_vae_run_conv(run, &level->resample, upsample, false);
}

void ecd_vae_declare_resnet(ecd_vae_parts *parts, ecd_vae_resnet *r, int64_t in, int64_t out, const char *name)
{
    ecd_vae_declare_norm(parts, &r->norm1, in, "%s.norm1", name);
    ecd_vae_declare_conv(parts, &r->conv1, ecd_vae_conv3(in, out), "%s.conv1", name);
    ecd_vae_declare_norm(parts, &r->norm2, out, "%s.norm2", name);
    ecd_vae_declare_conv(parts, &r->conv2, ecd_vae_conv3(out, out), "%s.conv2", name);
    r->has_shortcut = in != out;
    if (r->has_shortcut)
        ecd_vae_declare_conv(parts, &r->shortcut, ecd_vae_conv1(in, out), "%s.conv_shortcut", name);
}

void ecd_vae_declare_mid(ecd_vae_parts *parts, ecd_vae_mid *mid, int64_t channels, bool attention_wanted,
                         const char *name)
{
    char text[ECD_VAE_NAME];
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%s.resnets.%d", name, i);
        ecd_vae_declare_resnet(parts, &mid->resnets[i], channels, channels, text);
    }
    mid->has_attention = attention_wanted;
    if (!attention_wanted)
        return;
    snprintf(text, sizeof text, "%s.attentions.0", name);
    ecd_vae_declare_norm(parts, &mid->norm, channels, "%s.group_norm", text);
    ecd_vae_declare_linear(parts, &mid->q, channels, "%s.to_q", text);
    ecd_vae_declare_linear(parts, &mid->k, channels, "%s.to_k", text);
    ecd_vae_declare_linear(parts, &mid->v, channels, "%s.to_v", text);
    ecd_vae_declare_linear(parts, &mid->out, channels, "%s.to_out.0", text);
}
