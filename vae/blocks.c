#include "vae/vae_internal.h"

#include <math.h>
#include <stdio.h>

void ecd_vae_run_lone(ecd_vae_run *run, const ecd_vae_lone *lone, bool upsample, bool out_f32)
{
    ecd_vae_step step = {.conv = &lone->conv, .norm = lone->has_norm ? &lone->norm : NULL, .upsample = upsample,
                         .out_f32 = out_f32};
    ecd_vae_hold(run, lone->range);
    if (lone->has_norm)
        ecd_vae_measure_norm(run, &lone->norm, ecd_vae_here(run));
    ecd_vae_rewrite(run, &step, 1);
    ecd_vae_drop(run, lone->range);
}

// Beside x there is one buffer of as many channels, h: between the pixels of x where a shortcut left room there, else
// on the other side of the memory. x itself becomes the result, as the residual that is added to; where that lies
// between others and is to be `dense`, the result comes to the other side.
static void resnet(ecd_vae_run *run, const ecd_vae_resnet *r, bool dense)
{
    int64_t channels = r->conv2.shape.out_channels;
    ecd_vae_hold(run, r->range);
    ecd_vae_measure_norm(run, &r->norm1, ecd_vae_here(run));
    if (r->has_shortcut) {
        ecd_vae_step steps[2] = {{.conv = &r->shortcut}, {.conv = &r->conv1, .norm = &r->norm1}};
        ecd_vae_rewrite(run, steps, 2);
    }
    ecd_vae_place x = ecd_vae_here(run), h = ecd_vae_beside(run, x, channels);
    if (run->stride < 2 * channels) {
        size_t bytes = ecd_vae_bytes(run->height * run->width, channels, run->element);
        h = (ecd_vae_place){ecd_vae_room(run, bytes), channels};
    }
    if (!r->has_shortcut)
        ecd_vae_convolve(run, &(ecd_vae_step){.conv = &r->conv1, .norm = &r->norm1, .from = x, .to = h});
    ecd_vae_measure_norm(run, &r->norm2, h);
    ecd_vae_step last = {.conv = &r->conv2, .norm = &r->norm2, .from = h, .residual = x, .to = x};
    bool move = dense && run->stride != channels;
    if (move)
        last.to = (ecd_vae_place){ecd_vae_room(run, ecd_vae_bytes(run->height * run->width, channels, run->element)),
                                  channels};
    ecd_vae_convolve(run, &last);
    if (move) {
        run->high = !run->high;
        run->stride = channels;
    }
    ecd_vae_drop(run, r->range);
}

static void linear(ecd_vae_run *run, const ecd_vae_linear *l, const void *x, void *out, int64_t out_stride,
                   ecd_epilogue epilogue)
{
    ecd_linear op = {.w = &l->w,
                     .bias = l->bias,
                     .pictures = 1,
                     .rows = run->height * run->width,
                     .x = x,
                     .out = out,
                     .out_stride = out_stride,
                     .epilogue = epilogue};
    run->be->ops->linear(run->be, &op);
}

// x += to_out(n), summed in f32: where activations are narrower, in `sum`.
static void add_linear(ecd_vae_run *run, const ecd_vae_linear *l, const void *n, void *x, float *sum)
{
    const ecd_backend_ops *ops = run->be->ops;
    int64_t count = run->height * run->width * run->channels;
    bool wide = run->be->act_bytes == sizeof(float);
    if (!wide)
        ops->to_f32(run->be, x, count, sum);
    linear(run, l, n, wide ? x : sum, 0, ECD_EPILOGUE_RESIDUAL);
    if (!wide)
        ops->to_act(run->be, sum, count, false, x);
}

// x += to_out(attention(q, k, v of GroupNorm(x))): diffusers' Attention with residual_connection, one head of all
// channels. x is dense.
static void attention(ecd_vae_run *run, const ecd_vae_mid *mid)
{
    ecd_backend *be = run->be;
    int64_t pixels = run->height * run->width, channels = run->channels;
    size_t one = ecd_vae_bytes(pixels, channels, be->act_bytes);
    ecd_vae_hold(run, mid->range);
    char *n = ecd_vae_room(run, one < SIZE_MAX / 4 ? 4 * one : SIZE_MAX);
    ecd_vae_place x = ecd_vae_here(run);
    ecd_vae_count_linear(run, channels);
    if (!ecd_vae_idle(run) && n && ecd_backend_ok(be)) {
        char *q = n + one, *k = q + one, *v = k + one;
        ecd_group_norm norm = ecd_vae_norm_op(run, &mid->norm);
        norm.x = x.at;
        norm.silu = false;
        norm.out = n;
        be->ops->group_norm(be, &norm);
        linear(run, &mid->q, n, q, 0, ECD_EPILOGUE_NONE);
        linear(run, &mid->k, n, k, 0, ECD_EPILOGUE_NONE);
        linear(run, &mid->v, n, v, 0, ECD_EPILOGUE_NONE);
        ecd_attention op = {.batch = 1,
                            .heads = 1,
                            .head_dim = channels,
                            .q_tokens = pixels,
                            .kv_tokens = pixels,
                            .q = q,
                            .k = k,
                            .v = v,
                            .out = n, // the normalised x is used up
                            .scale = (float)(1 / sqrt((double)channels))};
        be->ops->attention(be, &op);
        add_linear(run, &mid->out, n, x.at, (float *)q); // q and k are used up
    }
    ecd_vae_drop(run, mid->range);
}

void ecd_vae_run_mid(ecd_vae_run *run, const ecd_vae_mid *mid)
{
    resnet(run, &mid->resnets[0], mid->has_attention);
    if (mid->has_attention)
        attention(run, mid);
    resnet(run, &mid->resnets[1], false);
}

void ecd_vae_run_level(ecd_vae_run *run, const ecd_vae_level *level, bool upsample)
{
    for (int i = 0; i < level->count; i++)
        resnet(run, &level->resnets[i], false);
    if (level->has_resample)
        ecd_vae_run_lone(run, &level->resample, upsample, false);
}

void ecd_vae_declare_lone(ecd_vae_parts *parts, ecd_vae_lone *lone, ecd_conv_shape shape, const char *norm,
                          const char *name)
{
    lone->range.first = parts->count;
    lone->has_norm = norm;
    if (norm)
        ecd_vae_declare_norm(parts, &lone->norm, shape.in_channels, "%s", norm);
    ecd_vae_declare_conv(parts, &lone->conv, shape, "%s", name);
    lone->range.end = parts->count;
}

void ecd_vae_declare_resnet(ecd_vae_parts *parts, ecd_vae_resnet *r, int64_t in, int64_t out, const char *name)
{
    r->range.first = parts->count;
    ecd_vae_declare_norm(parts, &r->norm1, in, "%s.norm1", name);
    ecd_vae_declare_conv(parts, &r->conv1, ecd_vae_conv3(in, out), "%s.conv1", name);
    ecd_vae_declare_norm(parts, &r->norm2, out, "%s.norm2", name);
    ecd_vae_declare_conv(parts, &r->conv2, ecd_vae_conv3(out, out), "%s.conv2", name);
    r->has_shortcut = in != out;
    if (r->has_shortcut)
        ecd_vae_declare_conv(parts, &r->shortcut, ecd_vae_conv1(in, out), "%s.conv_shortcut", name);
    r->range.end = parts->count;
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
    mid->range.first = parts->count;
    snprintf(text, sizeof text, "%s.attentions.0", name);
    ecd_vae_declare_norm(parts, &mid->norm, channels, "%s.group_norm", text);
    ecd_vae_declare_linear(parts, &mid->q, channels, "%s.to_q", text);
    ecd_vae_declare_linear(parts, &mid->k, channels, "%s.to_k", text);
    ecd_vae_declare_linear(parts, &mid->v, channels, "%s.to_v", text);
    ecd_vae_declare_linear(parts, &mid->out, channels, "%s.to_out.0", text);
    mid->range.end = parts->count;
}
