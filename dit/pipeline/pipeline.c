#include "dit/pipeline/pipeline_internal.h"

#include <stdlib.h>

#include "base/process.h"

static void close_vae(ecd_pipeline *p)
{
    ecd_vae_close(p->vae);
    ecd_checkpoint_close(p->vae_weights);
    p->vae = NULL;
    p->vae_weights = NULL;
}

static ecd_status open_vae(ecd_pipeline *p, ecd_diag *diag)
{
    ecd_vae_options options = {.with_encoder = p->options.init, .lean = p->lean, .tile = p->options.vae_tile};
    ecd_status status = ecd_model_folder_weights(&p->folder, "vae", &p->vae_weights, diag);
    if (status == ECD_OK)
        status = ecd_vae_open(p->folder.vae, p->vae_weights, p->options.backend, &options, &p->vae, diag);
    if (status != ECD_OK)
        close_vae(p);
    if (p->lean)
        return status;
    ecd_checkpoint_close(p->vae_weights);
    p->vae_weights = NULL;
    return status;
}

ecd_status ecd_pipeline_vae_in(ecd_pipeline *p, ecd_diag *diag)
{
    if (p->vae)
        return ECD_OK;
    ecd_transformer_rest(p->transformer); // what it held comes back when the next batch wants it
    return open_vae(p, diag);
}

void ecd_pipeline_vae_out(ecd_pipeline *p)
{
    if (p->staged)
        close_vae(p);
}

// What the VAE will be, from its config and the names in its files.
static ecd_status measure_vae(ecd_pipeline *p, ecd_diag *diag)
{
    ecd_checkpoint *cp = NULL;
    ecd_vae_options options = {.with_encoder = p->options.init, .tile = p->options.vae_tile};
    ecd_status status = ecd_model_folder_weights(&p->folder, "vae", &cp, diag);
    if (status == ECD_OK)
        status = ecd_vae_measure(p->folder.vae, cp, p->options.backend, &options, p->height, p->width, &p->vae_info,
                                 &p->vae_bytes, diag);
    ecd_checkpoint_close(cp);
    return status;
}

static bool is_small(const ecd_pipeline *p)
{
    static const uint64_t small = 64 << 20;
    return p->vae_bytes <= small && p->vae_info.weights_bytes <= small - p->vae_bytes;
}

// Opened at first in any case: so that its files are checked before anything is computed.
static ecd_status try_vae(ecd_pipeline *p, ecd_diag *diag)
{
    ecd_store_report store;
    uint64_t unused;
    ecd_transformer_report(p->transformer, &store, &unused);
    p->staged = p->options.vae == ECD_VAE_STAGED ||
                (p->options.vae == ECD_VAE_STAY_AUTO && (store.planned ? !store.together : !is_small(p)));
    ecd_status status = open_vae(p, diag);
    if (status == ECD_OK && !p->lean)
        p->vae_info = *ecd_vae_get_info(p->vae);
    ecd_pipeline_vae_out(p);
    return status;
}

// The parts must fit each other, and the size asked for must be one that the model draws.
static ecd_status fit(ecd_pipeline *p, const ecd_transformer_info *t, ecd_diag *diag)
{
    const ecd_vae_info *v = &p->vae_info;
    if (v->latent_channels != t->in_channels)
        return ecd_fail(diag, ECD_DATA, "%s has %lld latent channels, but the VAE has %lld", p->folder.path,
                        (long long)t->in_channels, (long long)v->latent_channels);
    if (v->out_channels != 3)
        return ecd_fail(diag, ECD_DATA, "%s: the VAE gives %lld channels, expected 3", p->folder.path,
                        (long long)v->out_channels);
    if (t->out_channels != t->in_channels && t->out_channels != 2 * t->in_channels)
        return ecd_fail(diag, ECD_DATA,
                        "%s: \"out_channels\" is %lld, expected %lld, or twice that with a learned variance",
                        p->folder.path, (long long)t->out_channels, (long long)t->in_channels);
    int64_t factor = v->factor, side = t->sample_size * factor, step = factor * t->patch_size;
    int64_t height = p->options.height ? p->options.height : side, width = p->options.width ? p->options.width : side;
    if (!t->any_size && (height != side || width != side))
        return ecd_fail(diag, ECD_USAGE, "size %lldx%lld, this model draws only %lldx%lld", (long long)width,
                        (long long)height, (long long)side, (long long)side);
    if (height < step || width < step || height % step || width % step)
        return ecd_fail(diag, ECD_USAGE, "size %lldx%lld, expected multiples of %lld", (long long)width,
                        (long long)height, (long long)step);
    p->height = height / factor;
    p->width = width / factor;
    return ECD_OK;
}

static ecd_status plan_transformer(ecd_pipeline *p, ecd_diag *diag)
{
    ecd_transformer_options options = {
        .store = p->options.store,
        .max_pictures = p->options.max_pictures,
        .height = p->height,
        .width = p->width,
        .text_tokens = p->options.text_tokens,
        .guidance = p->options.guidance,
    };
    if (options.store.budget_bytes)
        ecd_pipeline_plan(p, &options.store);
    return ecd_transformer_open(p->folder.transformer_class, p->folder.transformer, p->weights, p->options.backend,
                                &options, &p->transformer, diag);
}

// A budget in which the VAE's weights have no room beside its activations makes it lean. Nothing is loaded before the
// plan is made, so that a second one costs nothing.
static ecd_status open_transformer(ecd_pipeline *p, ecd_diag *diag)
{
    ecd_status status = ecd_model_folder_weights(&p->folder, "transformer", &p->weights, diag);
    if (status != ECD_OK)
        return status;
    status = plan_transformer(p, diag);
    bool may_be_lean = p->options.store.budget_bytes && p->options.vae != ECD_VAE_RESIDENT;
    if (status != ECD_RESOURCE || !may_be_lean || p->vae_info.lean_bytes >= p->vae_info.weights_bytes)
        return status;
    p->lean = true;
    if (diag)
        *diag = (ecd_diag){0};
    return plan_transformer(p, diag);
}

// The VAE is measured before the transformer is planned, and read after it: a budget that is too small is refused
// before anything is.
static ecd_status open_parts(ecd_pipeline *p, const char *model, const char *config, ecd_diag *diag)
{
    ecd_transformer_info info;
    ecd_status status;
    if ((status = ecd_model_folder_open_with(model, config, &p->folder, diag)) != ECD_OK ||
        (status = ecd_transformer_describe(p->folder.transformer_class, p->folder.transformer, &info, diag)) != ECD_OK)
        return status;
    if ((status = measure_vae(p, diag)) != ECD_OK || (status = fit(p, &info, diag)) != ECD_OK)
        return status;
    p->info = info;
    if ((status = measure_vae(p, diag)) != ECD_OK) // once more: now the size is known
        return status;
    status = open_transformer(p, diag);
    return status != ECD_OK ? status : try_vae(p, diag);
}

ecd_status ecd_pipeline_open(const ecd_pipeline_options *options, ecd_pipeline **out, ecd_diag *diag)
{
    *out = NULL;
    uint64_t start = ecd_now_ns();
    ecd_pipeline *p = calloc(1, sizeof *p);
    if (!p)
        return ecd_fail_memory(diag, sizeof *p, "the pipeline");
    p->options = *options;
    p->options.model = p->options.config = NULL;
    ecd_status status = open_parts(p, options->model, options->config, diag);
    if (status != ECD_OK) {
        ecd_pipeline_close(p);
        return status;
    }
    p->options.store.rates_file = NULL;
    p->open_ns = ecd_now_ns() - start;
    *out = p;
    return ECD_OK;
}

void ecd_pipeline_close(ecd_pipeline *p)
{
    if (!p)
        return;
    ecd_transformer_close(p->transformer);
    ecd_checkpoint_close(p->weights);
    close_vae(p);
    ecd_model_folder_close(&p->folder);
    free(p);
}

const ecd_model_folder *ecd_pipeline_folder(const ecd_pipeline *p)
{
    return &p->folder;
}

const ecd_transformer_info *ecd_pipeline_info(const ecd_pipeline *p)
{
    return ecd_transformer_get_info(p->transformer);
}

void ecd_pipeline_size(const ecd_pipeline *p, int64_t *height, int64_t *width)
{
    int64_t factor = p->vae_info.factor;
    *height = p->height * factor;
    *width = p->width * factor;
}

void ecd_pipeline_report_get(const ecd_pipeline *p, ecd_pipeline_report *out)
{
    *out = (ecd_pipeline_report){
        .open_ns = p->open_ns,
        .denoise_ns = p->denoise_ns,
        .vae_ns = p->vae_ns,
        .vae_bytes = p->vae_bytes,
        .vae_weights_bytes = p->lean ? p->vae_info.lean_bytes : p->vae_info.weights_bytes,
        .vae_lean = p->lean,
        .vae_staged = p->staged,
        .program_bytes = p->program_bytes,
        .canvas_bytes = p->canvas_bytes,
    };
    int64_t tile = p->options.vae_tile, factor = p->vae_info.factor;
    out->vae_tile = tile < p->height * factor || tile < p->width * factor ? tile : 0;
    ecd_transformer_report(p->transformer, &out->store, &out->activation_bytes);
}
