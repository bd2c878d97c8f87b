#include "dit/pipeline/pipeline_internal.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/process.h"
#include "dit/noise.h"
#include "dit/sampler/sampler.h"

// What a draw works in, all of it allocated before the first step. Latents and predictions stay in the backend's memory.
typedef struct canvas {
    ecd_sampler *sampler;
    ecd_backend *be;
    size_t count;     // pictures
    size_t picture;   // latents of one picture, elements
    size_t predicted; // the model's output for one picture, elements
    size_t pixels;    // of one picture
    size_t text_width, pooled_width; // of one picture's condition, elements; 0 for models of classes

    void *memory;  // in the backend, of what follows
    float *x, *in; // [count][picture]
    float *raw;    // [2][count][predicted]
    float *output; // [count][picture], guided
    float *text, *pooled;
    float *decoded; // [3, height, width]
    uint8_t *bytes; // [height, width, 3]

    float *noise; // the host's, [picture]
    int64_t *classes;
    uint8_t *rgb; // [height, width, 3]
} canvas;

static void canvas_free(canvas *c)
{
    ecd_sampler_close(c->sampler);
    if (c->memory)
        c->be->ops->free(c->be, c->memory);
    free(c->noise);
    free(c->classes);
    free(c->rgb);
}

static void place(canvas *c, ecd_arena *arena)
{
    const int64_t count = (int64_t)c->count, picture = (int64_t)c->picture, pixels = (int64_t)c->pixels;
    c->x = ecd_arena_take_array(arena, count, picture, sizeof(float));
    c->in = ecd_arena_take_array(arena, count, picture, sizeof(float));
    c->raw = ecd_arena_take_array(arena, 2 * count, (int64_t)c->predicted, sizeof(float));
    c->output = ecd_arena_take_array(arena, count, picture, sizeof(float));
    c->text = ecd_arena_take_array(arena, count, (int64_t)c->text_width, sizeof(float));
    c->pooled = ecd_arena_take_array(arena, count, (int64_t)c->pooled_width, sizeof(float));
    c->decoded = ecd_arena_take_array(arena, 3, pixels, sizeof(float));
    c->bytes = ecd_arena_take_array(arena, 3, pixels, 1);
}

static ecd_status allocate(canvas *c, ecd_diag *diag)
{
    ecd_arena plan = ecd_arena_plan();
    place(c, &plan);
    ecd_status status = ecd_backend_alloc(c->be, plan.peak_bytes, "the pictures' latents", &c->memory, diag);
    if (status != ECD_OK)
        return status;
    ecd_arena arena = ecd_arena_over(c->memory, plan.peak_bytes);
    place(c, &arena);
    c->noise = malloc(c->picture * sizeof *c->noise);
    c->classes = calloc(c->count, sizeof *c->classes);
    c->rgb = malloc(3 * c->pixels);
    if (!c->noise || !c->classes || !c->rgb)
        return ecd_fail_memory(diag, c->picture * sizeof *c->noise + 3 * c->pixels, "a picture");
    return ECD_OK;
}

// Each picture's condition, side by side as the transformer takes them.
static void take_conditions(const canvas *c, const ecd_draw *draw)
{
    const ecd_backend_ops *ops = c->be->ops;
    for (size_t n = 0; n < c->count; n++) {
        c->classes[n] = draw->pictures[n].class_id;
        if (!c->text_width)
            continue;
        ops->upload(c->be, c->text + n * c->text_width, draw->texts[n].hidden, c->text_width * sizeof(float));
        ops->upload(c->be, c->pooled + n * c->pooled_width, draw->texts[n].pooled, c->pooled_width * sizeof(float));
    }
}

static ecd_status canvas_open(ecd_pipeline *p, const ecd_draw *draw, canvas *c, ecd_diag *diag)
{
    const ecd_transformer_info *info = ecd_transformer_get_info(p->transformer);
    int64_t height, width;
    ecd_pipeline_size(p, &height, &width);
    size_t area = (size_t)(p->height * p->width);
    *c = (canvas){.be = p->options.backend,
                  .count = (size_t)draw->count,
                  .picture = (size_t)info->in_channels * area,
                  .predicted = (size_t)info->out_channels * area,
                  .pixels = (size_t)(height * width),
                  .text_width = info->text_width ? (size_t)(p->options.text_tokens * info->text_width) : 0,
                  .pooled_width = info->text_width ? (size_t)info->pooled_width : 0};
    ecd_status status = allocate(c, diag);
    if (status != ECD_OK)
        return status;
    take_conditions(c, draw);
    ecd_sampler_options options = {
        .name = draw->sampler, .steps = draw->steps, .count = c->count * c->picture, .backend = c->be};
    if (info->text_width) // FluxPipeline gives the scheduler its picture's tokens
        options.image_tokens = p->height / info->patch_size * (p->width / info->patch_size);
    return ecd_sampler_open(p->folder.scheduler, &options, &c->sampler, diag);
}

// output := the prediction's first channels, guided: u + g (c - u). A learned variance after them is not used.
static void guide(const canvas *c, bool guided, float guidance)
{
    for (size_t n = 0; n < c->count; n++) {
        const float *cond = c->raw + n * c->predicted, *uncond = cond + c->count * c->predicted;
        float *out = c->output + n * c->picture;
        ecd_combine op = {.terms = guided ? 2 : 1,
                          .x = {cond, uncond},
                          .by = {1, -1},
                          .divisor = 1,
                          .out = out,
                          .count = (int64_t)c->picture};
        c->be->ops->combine(c->be, &op);
        op = (ecd_combine){.terms = 2,
                           .x = {uncond, out},
                           .by = {1, guidance},
                           .divisor = 1,
                           .out = out,
                           .count = (int64_t)c->picture};
        if (guided)
            c->be->ops->combine(c->be, &op);
    }
}

static void put(const canvas *c, float *latents, size_t n)
{
    c->be->ops->upload(c->be, latents + n * c->picture, c->noise, c->picture * sizeof(float));
}

static void start(const canvas *c, const ecd_draw *draw)
{
    float sigma = ecd_sampler_init_sigma(c->sampler);
    for (size_t n = 0; n < c->count; n++) {
        ecd_generator generator; // each picture its own: it comes out the same alone
        ecd_generator_seed(&generator, draw->pictures[n].seed);
        ecd_generator_normal(&generator, c->noise, c->picture);
        for (size_t i = 0; i < c->picture; i++)
            c->noise[i] *= sigma;
        put(c, c->x, n);
    }
}

int ecd_pipeline_first_step(const ecd_pipeline *p, int steps, double strength)
{
    double wanted = steps * strength;
    if (!p->info.text_width)
        wanted = floor(wanted); // StableDiffusionImg2ImgPipeline's get_timesteps, and FluxImg2ImgPipeline's
    return (int)floor(fmax(steps - fmin(wanted, steps), 0));
}

// distribution: host, the mean of the first picture's latents, then their logvar.
static ecd_status encode(ecd_pipeline *p, const ecd_draw *draw, const canvas *c, float *distribution, ecd_diag *diag)
{
    int64_t height, width;
    ecd_pipeline_size(p, &height, &width);
    uint64_t begin = ecd_now_ns();
    float *picture = malloc(3 * c->pixels * sizeof *picture);
    if (!picture)
        return ecd_fail_memory(diag, 3 * c->pixels * sizeof *picture, "a picture to begin from");
    ecd_status status = ecd_pipeline_vae_in(p, diag);
    for (size_t i = 0; i < c->pixels; i++)
        for (size_t k = 0; k < 3; k++)
            picture[k * c->pixels + i] = 2.0f * ((float)draw->init[3 * i + k] / 255.0f) - 1.0f;
    if (status == ECD_OK)
        status = ecd_vae_encode(p->vae, picture, height, width, distribution, distribution + c->picture, diag);
    ecd_pipeline_vae_out(p);
    free(picture);
    p->vae_ns += ecd_now_ns() - begin;
    return status;
}

// Latents of the picture that all begin from, noised as at `first`. What the model is given holds the noise meanwhile.
static ecd_status start_from(ecd_pipeline *p, const ecd_draw *draw, const canvas *c, int first, ecd_diag *diag)
{
    float scale = p->vae_info.scaling_factor, shift = p->vae_info.shift_factor;
    float *mean = malloc(2 * c->picture * sizeof *mean);
    if (!mean)
        return ecd_fail_memory(diag, 2 * c->picture * sizeof *mean, "a picture to begin from");
    const float *logvar = mean + c->picture;
    ecd_status status = encode(p, draw, c, mean, diag);
    for (size_t n = 0; status == ECD_OK && n < c->count; n++) {
        ecd_generator generator;
        ecd_generator_seed(&generator, draw->pictures[n].seed);
        ecd_generator_normal(&generator, c->noise, c->picture);
        for (size_t i = 0; i < c->picture; i++) {
            float deviation = (float)exp((double)(0.5f * logvar[i]));
            c->noise[i] = (mean[i] + deviation * c->noise[i] - shift) * scale;
        }
        put(c, c->x, n);
        ecd_generator_normal(&generator, c->noise, c->picture);
        put(c, c->in, n);
    }
    free(mean);
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
        ecd_transformer_call call = {
            .latents = ecd_sampler_scale_input(c->sampler, step, c->x, c->in),
            .pictures = draw->count,
            .height = p->height,
            .width = p->width,
            .timestep = ecd_sampler_timestep(c->sampler, step),
            .classes = c->classes,
            .text = c->text_width ? c->text : NULL,
            .pooled = c->text_width ? c->pooled : NULL,
            .guidance_scale = draw->guidance,
            .guidance = guided,
            .out = c->raw,
        };
        ecd_status status = ecd_transformer_predict(p->transformer, &call, draw->cancel, diag);
        if (status != ECD_OK)
            return status;
        guide(c, guided, draw->guidance);
        ecd_sampler_step(c->sampler, step, c->output, c->x);
        if (draw->progress)
            draw->progress(draw->user, ECD_PHASE_DENOISE, step + 1 - first, draw->steps - first);
    }
    return ECD_OK;
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
        c->be->ops->to_bytes(c->be, c->decoded, 3, (int64_t)c->pixels, c->bytes);
        c->be->ops->download(c->be, c->rgb, c->bytes, 3 * c->pixels);
        if ((status = ecd_backend_check(c->be, diag)) != ECD_OK)
            return status;
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
