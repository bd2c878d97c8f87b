#include "vae/vae_internal.h"

#include <stdlib.h>

enum { LINE = 64 };

static ecd_vae_info info_of(const ecd_vae_config *c, uint64_t weights_bytes)
{
    return (ecd_vae_info){.latent_channels = c->latent_channels,
                          .in_channels = c->in_channels,
                          .out_channels = c->out_channels,
                          .factor = (int64_t)1 << (c->levels - 1),
                          .scaling_factor = c->scaling_factor,
                          .shift_factor = c->shift_factor,
                          .weights_bytes = weights_bytes};
}

static bool size_fits(int64_t height, int64_t width, int64_t factor)
{
    return height > 0 && width > 0 && height <= ECD_VAE_MAX_SIDE && width <= ECD_VAE_MAX_SIDE && height % factor == 0 &&
           width % factor == 0;
}

// Where a run begins: f32 [channels, height, width] comes from the host to the room that is returned, and, channels
// last, to where the activation is.
static float *begin(ecd_vae_run *run, int64_t height, int64_t width, int64_t channels)
{
    run->stride = channels;
    run->element = run->be->act_bytes;
    run->height = height;
    run->width = width;
    run->channels = channels;
    return ecd_vae_room(run, ecd_vae_bytes(height * width, channels, sizeof(float)));
}

// Where it ends: f32, channels last, is turned to channels first.
static void end(ecd_vae_run *run, float *out)
{
    if (out && !run->status)
        run->be->ops->to_channels_first(run->be, (const float *)(const void *)ecd_vae_here(run).at, run->channels,
                                        run->height * run->width, out);
}

static float *end_room(ecd_vae_run *run)
{
    return ecd_vae_room(run, ecd_vae_bytes(run->height * run->width, run->channels, sizeof(float)));
}

typedef void run_coder(ecd_vae_run *run, const ecd_vae_coder *coder);

static ecd_vae_run plan(const ecd_vae *vae, run_coder *coder_run, const ecd_vae_coder *coder, int64_t channels,
                        int64_t height, int64_t width)
{
    ecd_vae_run run = {.be = vae->be, .parts = &((ecd_vae *)(uintptr_t)vae)->parts, .groups = vae->config.groups,
                       .planning = true};
    begin(&run, height, width, channels);
    coder_run(&run, coder);
    return run;
}

static ecd_vae_run plan_decode(const ecd_vae *vae, int64_t height, int64_t width)
{
    return plan(vae, ecd_vae_decoder_run, &vae->decoder, vae->config.latent_channels, height, width);
}

static ecd_vae_run plan_encode(const ecd_vae *vae, int64_t height, int64_t width)
{
    ecd_vae_run run = plan(vae, ecd_vae_encoder_run, &vae->encoder, vae->config.in_channels, height, width);
    end_room(&run);
    return run;
}

// Before the activations: what a group norm's statistics take.
static size_t measured_bytes(const ecd_vae *vae)
{
    int64_t most = 1;
    for (int i = 0; i < vae->config.levels; i++)
        most = vae->config.channels[i] > most ? vae->config.channels[i] : most;
    return ecd_vae_bytes(most, ECD_MEASURED_BYTES, 1);
}

static size_t planned_bytes(const ecd_vae *vae, const ecd_vae_run *run)
{
    return ecd_vae_sum(ecd_vae_sum(run->need, LINE - run->need % LINE), measured_bytes(vae));
}

// All of a VAE but its weights.
static ecd_status declare(const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be, const ecd_vae_options *options,
                          ecd_vae **out, ecd_diag *diag)
{
    ecd_vae *vae = calloc(1, sizeof *vae);
    if (!vae)
        return ecd_fail_memory(diag, sizeof *vae, "a VAE");
    vae->be = be;
    vae->has_encoder = options->with_encoder;
    vae->tile = options->tile;
    vae->parts = (ecd_vae_parts){.be = be, .cp = cp};
    ecd_status status = ecd_vae_config_read(config, &vae->config, diag);
    if (!status) {
        vae->info = info_of(&vae->config, 0);
        status = ecd_vae_check_tile(vae->info.factor, vae->tile, diag);
    }
    if (status) {
        ecd_vae_close(vae);
        return status;
    }
    ecd_vae_decoder_declare(&vae->parts, &vae->config, &vae->decoder);
    if (vae->has_encoder)
        ecd_vae_encoder_declare(&vae->parts, &vae->config, &vae->encoder);
    *out = vae;
    return ECD_OK;
}

ecd_status ecd_vae_open(const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be, const ecd_vae_options *options,
                        ecd_vae **out, ecd_diag *diag)
{
    ecd_vae *vae = NULL;
    *out = NULL;
    uint64_t before = be->ops->memory_bytes(be);
    ecd_status status = declare(config, cp, be, options, &vae, diag);
    if (!status)
        status = ecd_vae_parts_open(&vae->parts, options->lean, diag);
    if (status) {
        ecd_vae_close(vae);
        return status;
    }
    uint64_t after = be->ops->memory_bytes(be);
    vae->info = info_of(&vae->config, vae->parts.held_bytes + (after > before ? after - before : 0));
    *out = vae;
    return ECD_OK;
}

// What decoding takes: of tiles the largest is the first.
static uint64_t decode_need(const ecd_vae *vae, int64_t height, int64_t width, ecd_vae_info *out)
{
    int64_t side = vae->tile / vae->info.factor;
    bool tiled = ecd_vae_is_tiled(vae->info.factor, vae->tile, height, width);
    uint64_t host = tiled ? ecd_vae_tiles_bytes(&vae->info, vae->tile, height, width) : 0;
    ecd_vae_run run = plan_decode(vae, tiled && side < height ? side : height, tiled && side < width ? side : width);
    out->lean_bytes = run.weights_need;
    out->scratch_bytes = run.scratch_need;
    return ecd_vae_sum(planned_bytes(vae, &run), host);
}

ecd_status ecd_vae_measure(const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be, const ecd_vae_options *options,
                           int64_t height, int64_t width, ecd_vae_info *out, uint64_t *bytes, ecd_diag *diag)
{
    ecd_vae *vae = NULL;
    ecd_status status = declare(config, cp, be, options, &vae, diag);
    if (!status && vae->parts.no_memory)
        status = ecd_fail_memory(diag, 0, "the VAE's list of parts");
    if (!status) {
        *out = info_of(&vae->config, ecd_vae_parts_bytes(&vae->parts));
        bool fits = size_fits(height, width, 1);
        *bytes = fits ? 0 : UINT64_MAX;
        if (fits)
            *bytes = decode_need(vae, height, width, out);
        if (fits && vae->has_encoder) {
            ecd_vae_run run = plan_encode(vae, height * out->factor, width * out->factor);
            uint64_t need = planned_bytes(vae, &run);
            *bytes = need > *bytes ? need : *bytes;
            out->lean_bytes = run.weights_need > out->lean_bytes ? run.weights_need : out->lean_bytes;
            out->scratch_bytes = run.scratch_need > out->scratch_bytes ? run.scratch_need : out->scratch_bytes;
        }
    }
    ecd_vae_close(vae);
    return status;
}

void ecd_vae_close(ecd_vae *vae)
{
    if (!vae)
        return;
    if (vae->memory)
        vae->be->ops->free(vae->be, vae->memory);
    ecd_vae_parts_free(&vae->parts);
    free(vae);
}

const ecd_vae_info *ecd_vae_get_info(const ecd_vae *vae)
{
    return &vae->info;
}

uint64_t ecd_vae_decode_bytes(const ecd_vae *vae, int64_t height, int64_t width)
{
    if (!size_fits(height, width, 1))
        return UINT64_MAX;
    ecd_vae_info unused;
    return decode_need(vae, height, width, &unused);
}

uint64_t ecd_vae_encode_bytes(const ecd_vae *vae, int64_t height, int64_t width)
{
    if (!vae->has_encoder || !size_fits(height, width, vae->info.factor))
        return UINT64_MAX;
    ecd_vae_run run = plan_encode(vae, height, width);
    return planned_bytes(vae, &run);
}

// Sees to the memory of what was planned, and gives a run in it.
static ecd_status prepare(ecd_vae *vae, const ecd_vae_run *planned, ecd_vae_run *run, ecd_diag *diag)
{
    ecd_backend *be = vae->be;
    size_t bytes = planned_bytes(vae, planned);
    ecd_status status = ecd_backend_check(be, diag);
    if (status)
        return status;
    if (bytes == SIZE_MAX)
        return ecd_fail_memory(diag, UINT64_MAX, "the VAE's activations");
    if (bytes > vae->memory_bytes) {
        if (vae->memory)
            be->ops->free(be, vae->memory);
        vae->memory_bytes = 0;
        vae->memory = be->ops->alloc(be, bytes);
        if (!vae->memory) {
            status = ecd_backend_check(be, diag);
            return status ? status : ecd_fail_memory(diag, bytes, "the VAE's activations");
        }
        vae->memory_bytes = bytes;
    }
    size_t measured = measured_bytes(vae);
    *run = (ecd_vae_run){.be = be,
                         .parts = &vae->parts,
                         .groups = vae->config.groups,
                         .measured = vae->memory,
                         .memory = vae->memory + measured,
                         .memory_bytes = bytes - measured,
                         .diag = diag};
    return ECD_OK;
}

// The status of a finished run, and what it used.
static ecd_status finish(ecd_vae *vae, const ecd_vae_run *run, ecd_diag *diag)
{
    vae->used_bytes = planned_bytes(vae, run);
    return run->status ? run->status : ecd_backend_check(vae->be, diag);
}

ecd_status ecd_vae_decode(ecd_vae *vae, const float *latents, int64_t height, int64_t width, float *picture,
                          ecd_diag *diag)
{
    if (!size_fits(height, width, 1))
        return ecd_fail(diag, ECD_USAGE, "latents of %lld x %lld cannot be decoded, expected sides from 1 to %d",
                        (long long)width, (long long)height, ECD_VAE_MAX_SIDE);
    bool tiled = ecd_vae_is_tiled(vae->info.factor, vae->tile, height, width);
    return tiled ? ecd_vae_decode_tiles(vae, latents, height, width, picture, diag)
                 : ecd_vae_decode_whole(vae, latents, height, width, picture, diag);
}

ecd_status ecd_vae_decode_whole(ecd_vae *vae, const float *latents, int64_t height, int64_t width, float *picture,
                                ecd_diag *diag)
{
    int64_t channels = vae->config.latent_channels;
    ecd_vae_run run, planned = plan_decode(vae, height, width);
    ecd_status status = prepare(vae, &planned, &run, diag);
    if (status)
        return status;
    const ecd_backend_ops *ops = vae->be->ops;
    float *staged = begin(&run, height, width, channels);
    const ecd_combine scaled = {.terms = 1,
                                .x = {latents},
                                .by = {1},
                                .divisor = vae->config.scaling_factor,
                                .offset = vae->config.shift_factor,
                                .out = staged,
                                .count = channels * height * width};
    ops->combine(vae->be, &scaled);
    ops->to_channels_last(vae->be, staged, channels, height * width, ecd_vae_here(&run).at);
    ecd_vae_decoder_run(&run, &vae->decoder);
    end(&run, picture);
    return finish(vae, &run, diag);
}

ecd_status ecd_vae_encode(ecd_vae *vae, const float *picture, int64_t height, int64_t width, float *mean, float *logvar,
                          ecd_diag *diag)
{
    if (!vae->has_encoder)
        return ecd_fail(diag, ECD_USAGE, "the VAE was opened without its encoder");
    if (!size_fits(height, width, vae->info.factor))
        return ecd_fail(diag, ECD_USAGE,
                        "a picture of %lld x %lld cannot be encoded, expected sides divisible by %lld, at most %d",
                        (long long)width, (long long)height, (long long)vae->info.factor, ECD_VAE_MAX_SIDE);
    int64_t channels = vae->config.in_channels;
    ecd_vae_run run, planned = plan_encode(vae, height, width);
    ecd_status status = prepare(vae, &planned, &run, diag);
    if (status)
        return status;
    const ecd_backend_ops *ops = vae->be->ops;
    float *staged = begin(&run, height, width, channels);
    ops->upload(vae->be, staged, picture, (size_t)(height * width * channels) * sizeof(float));
    ops->to_channels_last(vae->be, staged, channels, height * width, ecd_vae_here(&run).at);
    ecd_vae_encoder_run(&run, &vae->encoder);
    float *moments = end_room(&run);
    end(&run, moments);
    size_t count = (size_t)(run.height * run.width * vae->config.latent_channels);
    if (ecd_backend_ok(vae->be) && !run.status) {
        ops->download(vae->be, mean, moments, count * sizeof(float));
        ops->download(vae->be, logvar, moments + count, count * sizeof(float));
        // DiagonalGaussianDistribution's bounds. A NaN stays one.
        for (size_t i = 0; i < count; i++)
            logvar[i] = logvar[i] < -30 ? -30 : logvar[i] > 20 ? 20 : logvar[i];
    }
    return finish(vae, &run, diag);
}
