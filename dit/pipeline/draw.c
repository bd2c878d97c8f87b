#include "dit/pipeline/pipeline_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "dit/noise.h"
#include "dit/sampler/sampler.h"

// What a draw works in, all of it allocated before the first step.
typedef struct canvas {
    ecd_sampler *sampler;
    size_t picture;   // latents of one picture, elements
    size_t predicted; // the model's output for one picture, elements
    float *x, *in;    // [count][picture]
    float *raw;       // [2][count][predicted]
    float *output;    // [count][picture], guided
    int64_t *classes;
    float *text, *pooled; // [count][text_tokens][text_width], [count][pooled_width]; NULL for models of classes
    float *decoded; // [3, height, width]
    uint8_t *rgb;   // [height, width, 3]
} canvas;

static void canvas_free(canvas *c)
{
    ecd_sampler_close(c->sampler);
    free(c->x);
    free(c->in);
    free(c->raw);
    free(c->output);
    free(c->classes);
    free(c->text);
    free(c->pooled);
    free(c->decoded);
    free(c->rgb);
}

// Each picture's condition, side by side as the transformer takes them.
static ecd_status take_conditions(const ecd_pipeline *p, const ecd_draw *draw, canvas *c, ecd_diag *diag)
{
    const ecd_transformer_info *info = &p->info;
    size_t count = (size_t)draw->count, pooled = (size_t)info->pooled_width;
    size_t text = (size_t)(p->options.text_tokens * info->text_width);
    c->classes = calloc(count, sizeof *c->classes);
    if (info->text_width) {
        c->text = malloc(count * text * sizeof *c->text);
        c->pooled = malloc(count * pooled * sizeof *c->pooled);
    }
    if (!c->classes || (info->text_width && (!c->text || !c->pooled)))
        return ecd_fail_memory(diag, count * (text + pooled) * sizeof(float), "the pictures' conditions");
    for (size_t n = 0; n < count; n++) {
        c->classes[n] = draw->pictures[n].class_id;
        if (info->text_width) {
            memcpy(c->text + n * text, draw->texts[n].hidden, text * sizeof *c->text);
            memcpy(c->pooled + n * pooled, draw->texts[n].pooled, pooled * sizeof *c->pooled);
        }
    }
    return ECD_OK;
}

static ecd_status canvas_open(ecd_pipeline *p, const ecd_draw *draw, canvas *c, ecd_diag *diag)
{
    const ecd_transformer_info *info = ecd_transformer_get_info(p->transformer);
    int64_t height, width;
    ecd_pipeline_size(p, &height, &width);
    size_t count = (size_t)draw->count, area = (size_t)(p->height * p->width), pixels = (size_t)(height * width);
    c->picture = (size_t)info->in_channels * area;
    c->predicted = (size_t)info->out_channels * area;
    c->x = calloc(count * c->picture, sizeof(float));
    c->in = calloc(count * c->picture, sizeof(float));
    c->raw = calloc(2 * count * c->predicted, sizeof(float));
    c->output = calloc(count * c->picture, sizeof(float));
    c->decoded = calloc(3 * pixels, sizeof(float));
    c->rgb = calloc(3 * pixels, 1);
    if (!c->x || !c->in || !c->raw || !c->output || !c->decoded || !c->rgb)
        return ecd_fail_memory(diag, (3 * c->picture + 2 * c->predicted) * count * sizeof(float),
                               "the pictures' latents");
    ecd_sampler_options options = {.name = draw->sampler, .steps = draw->steps, .count = count * c->picture};
    if (info->text_width) // FluxPipeline gives the scheduler its picture's tokens
        options.image_tokens = p->height / info->patch_size * (p->width / info->patch_size);
    ecd_status status = take_conditions(p, draw, c, diag);
    return status != ECD_OK ? status : ecd_sampler_open(p->folder.scheduler, &options, &c->sampler, diag);
}

// output := the prediction's first channels, guided: u + g (c - u). A learned variance after them is not used.
static void guide(const canvas *c, int64_t count, bool guided, float guidance)
{
    size_t half = (size_t)count * c->predicted;
    for (size_t n = 0; n < (size_t)count; n++) {
        const float *cond = c->raw + n * c->predicted, *uncond = cond + half;
        float *out = c->output + n * c->picture;
        for (size_t i = 0; i < c->picture; i++)
            out[i] = guided ? uncond[i] + guidance * (cond[i] - uncond[i]) : cond[i];
    }
}

static void start(const canvas *c, const ecd_draw *draw)
{
    float sigma = ecd_sampler_init_sigma(c->sampler);
    for (size_t n = 0; n < (size_t)draw->count; n++) {
        ecd_generator generator; // each picture its own: it comes out the same alone
        ecd_generator_seed(&generator, draw->pictures[n].seed);
        ecd_generator_normal(&generator, c->x + n * c->picture, c->picture);
    }
    for (size_t i = 0; i < (size_t)draw->count * c->picture; i++)
        c->x[i] *= sigma;
}

int ecd_pipeline_first_step(const ecd_pipeline *p, int steps, double strength)
{
    double wanted = steps * strength;
    if (!p->info.text_width)
        wanted = floor(wanted); // StableDiffusionImg2ImgPipeline's get_timesteps, and FluxImg2ImgPipeline's
    return (int)floor(fmax(steps - fmin(wanted, steps), 0));
}

// mean, logvar := the distribution of the first picture's latents.
static ecd_status encode(ecd_pipeline *p, const ecd_draw *draw, const canvas *c, float *mean, float *logvar,
                         ecd_diag *diag)
{
    int64_t height, width;
    ecd_pipeline_size(p, &height, &width);
    uint64_t begin = ecd_now_ns();
    ecd_status status = ecd_pipeline_vae_in(p, diag);
    for (size_t i = 0, pixels = (size_t)(height * width); i < pixels; i++)
        for (size_t k = 0; k < 3; k++)
            c->decoded[k * pixels + i] = 2.0f * ((float)draw->init[3 * i + k] / 255.0f) - 1.0f;
    if (status == ECD_OK)
        status = ecd_vae_encode(p->vae, c->decoded, height, width, mean, logvar, diag);
    ecd_pipeline_vae_out(p);
    p->vae_ns += ecd_now_ns() - begin;
    return status;
}

// Latents of the picture that all begin from, noised as at `first`. What the model's output will need holds them meanwhile.
static ecd_status start_from(ecd_pipeline *p, const ecd_draw *draw, const canvas *c, int first, ecd_diag *diag)
{
    float *mean = c->output, *logvar = c->raw, scale = p->vae_info.scaling_factor, shift = p->vae_info.shift_factor;
    ecd_status status = encode(p, draw, c, mean, logvar, diag);
    for (size_t n = 0; status == ECD_OK && n < (size_t)draw->count; n++) {
        float *x = c->x + n * c->picture;
        ecd_generator generator;
        ecd_generator_seed(&generator, draw->pictures[n].seed);
        ecd_generator_normal(&generator, x, c->picture);
        ecd_generator_normal(&generator, c->in + n * c->picture, c->picture);
        for (size_t i = 0; i < c->picture; i++) {
            float deviation = (float)exp((double)(0.5f * logvar[i]));
            x[i] = (mean[i] + deviation * x[i] - shift) * scale;
        }
    }
    if (status == ECD_OK)
        ecd_sampler_add_noise(c->sampler, first, c->in, c->x);
    return status;
}

static bool is_guided(const ecd_pipeline *p, const ecd_draw *draw)
{
    return p->info.guidance == ECD_GUIDANCE_CLASSIFIER_FREE && draw->guidance > 1;
}

// The scheduler scales what the model sees and steps from what it does not scale: DiTPipeline steps from the scaled
// latents, which is the same for DDIM and DPM-Solver++, and wrong for Euler.
static ecd_status denoise(ecd_pipeline *p, const ecd_draw *draw, const canvas *c, int first, ecd_diag *diag)
{
    bool guided = is_guided(p, draw);
    for (int step = first; step < draw->steps; step++) {
        ecd_sampler_scale_input(c->sampler, step, c->x, c->in);
        ecd_transformer_call call = {
            .latents = c->in,
            .pictures = draw->count,
            .height = p->height,
            .width = p->width,
            .timestep = ecd_sampler_timestep(c->sampler, step),
            .classes = c->classes,
            .text = c->text,
            .pooled = c->pooled,
            .guidance_scale = draw->guidance,
            .guidance = guided,
            .out = c->raw,
        };
        ecd_status status = ecd_transformer_predict(p->transformer, &call, draw->cancel, diag);
        if (status != ECD_OK)
            return status;
        guide(c, draw->count, guided, draw->guidance);
        ecd_sampler_step(c->sampler, step, c->output, c->x);
        if (draw->progress)
            draw->progress(draw->user, ECD_PHASE_DENOISE, step + 1 - first, draw->steps - first);
    }
    return ECD_OK;
}

// diffusers: (x / 2 + 0.5).clamp(0, 1), then (x * 255).round() to bytes; ties go to even. NaN gives 0.
static void to_bytes(const float *planes, size_t pixels, uint8_t *rgb)
{
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < 3; k++) {
            float v = planes[k * pixels + i] / 2 + 0.5f;
            v = v > 0 ? v : 0;
            v = v < 1 ? v : 1;
            rgb[3 * i + k] = (uint8_t)rintf(v * 255);
        }
}

static ecd_status decode(ecd_pipeline *p, const ecd_draw *draw, const canvas *c, ecd_diag *diag)
{
    int64_t height, width;
    ecd_pipeline_size(p, &height, &width);
    uint64_t entered = ecd_now_ns();
    ecd_status status = ecd_pipeline_vae_in(p, diag);
    p->vae_ns += ecd_now_ns() - entered;
    if (status != ECD_OK)
        return status;
    for (int64_t n = 0; n < draw->count; n++) {
        if (ecd_is_set(draw->cancel))
            return ecd_fail(diag, ECD_INTERRUPTED, "interrupted");
        uint64_t begin = ecd_now_ns();
        status =
            ecd_vae_decode(p->vae, c->x + (size_t)n * c->picture, p->height, p->width, c->decoded, diag);
        if (status != ECD_OK)
            return status;
        to_bytes(c->decoded, (size_t)(height * width), c->rgb);
        p->vae_ns += ecd_now_ns() - begin;
        if (draw->sink && (status = draw->sink(draw->user, n, c->rgb, height, width, diag)) != ECD_OK)
            return status;
        if (draw->progress)
            draw->progress(draw->user, ECD_PHASE_DECODE, (int)n + 1, (int)draw->count);
    }
    return ECD_OK;
}

static ecd_status check(const ecd_pipeline *p, const ecd_draw *draw, ecd_diag *diag)
{
    const ecd_transformer_info *info = ecd_transformer_get_info(p->transformer);
    if (draw->count < 1 || draw->count > p->options.max_pictures)
        return ecd_fail(diag, ECD_USAGE, "%lld pictures in a batch, expected 1 to %lld", (long long)draw->count,
                        (long long)p->options.max_pictures);
    if (!isfinite(draw->guidance))
        return ecd_fail(diag, ECD_USAGE, "guidance %g, expected a finite number", (double)draw->guidance);
    if (is_guided(p, draw) && !p->options.guidance)
        return ecd_fail(diag, ECD_USAGE, "guidance %g, but the pipeline was opened without", (double)draw->guidance);
    if (info->text_width && !draw->texts)
        return ecd_fail(diag, ECD_USAGE, "no text is given, and this model draws texts");
    if (draw->init && !p->options.init)
        return ecd_fail(diag, ECD_USAGE, "a picture to begin from, but the pipeline was opened without");
    if (draw->init && !(draw->strength > 0 && draw->strength <= 1))
        return ecd_fail(diag, ECD_USAGE, "strength %g, expected above 0 and at most 1", draw->strength);
    if (draw->init && ecd_pipeline_first_step(p, draw->steps, draw->strength) >= draw->steps)
        return ecd_fail(diag, ECD_USAGE, "strength %g leaves none of %d steps to take", draw->strength, draw->steps);
    for (int64_t n = 0; info->num_classes && n < draw->count; n++)
        if (draw->pictures[n].class_id < 0 || draw->pictures[n].class_id > info->num_classes)
            return ecd_fail(diag, ECD_USAGE, "class %lld, expected 0 to %lld", (long long)draw->pictures[n].class_id,
                            (long long)info->num_classes);
    return ECD_OK;
}

ecd_status ecd_pipeline_draw(ecd_pipeline *p, const ecd_draw *draw, ecd_diag *diag)
{
    canvas c = {0};
    ecd_status status = check(p, draw, diag);
    if (status == ECD_OK)
        status = canvas_open(p, draw, &c, diag);
    int first = draw->init ? ecd_pipeline_first_step(p, draw->steps, draw->strength) : 0;
    if (status == ECD_OK && draw->init)
        status = start_from(p, draw, &c, first, diag);
    else if (status == ECD_OK)
        start(&c, draw);
    if (status == ECD_OK) {
        uint64_t begin = ecd_now_ns();
        status = denoise(p, draw, &c, first, diag);
        p->denoise_ns += ecd_now_ns() - begin;
    }
    if (status == ECD_OK)
        status = decode(p, draw, &c, diag);
    ecd_pipeline_vae_out(p);
    canvas_free(&c);
    return status;
}
