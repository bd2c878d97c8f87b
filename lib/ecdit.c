// Opening, describing and closing models.
#define _GNU_SOURCE
#include "lib/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "lib/budget.h"
#include "lib/image.h"
#include "lib/model_defaults.h"

_Static_assert((int)ECDIT_ERR_USAGE == ECD_USAGE && (int)ECDIT_ERR_DATA == ECD_DATA &&
                   (int)ECDIT_ERR_RESOURCE == ECD_RESOURCE && (int)ECDIT_ERR_CANCELLED == ECD_INTERRUPTED,
               "a status is passed on as it is");
_Static_assert((int)ECDIT_WEIGHTS_ECF8 == ECD_WEIGHTS_ECF8 && (int)ECDIT_WEIGHTS_RAW == ECD_WEIGHTS_RAW &&
                   (int)ECDIT_COMPUTE_F32 == ECD_COMPUTE_F32 && (int)ECDIT_COMPUTE_BF16 == ECD_COMPUTE_BF16 &&
                   (int)ECDIT_COMPUTE_FP8 == ECD_COMPUTE_FP8,
               "so are choices");

static const char *const backend_names[] = {"auto", "ref", "cpu", "cuda"}; // as ecdit_backend counts

uint32_t ecdit_version(void)
{
    return ECDIT_VERSION;
}

const char *ecdit_status_name(ecdit_status status)
{
    switch (status) {
    case ECDIT_OK: return "ECDIT_OK";
    case ECDIT_ERR_USAGE: return "ECDIT_ERR_USAGE";
    case ECDIT_ERR_DATA: return "ECDIT_ERR_DATA";
    case ECDIT_ERR_RESOURCE: return "ECDIT_ERR_RESOURCE";
    case ECDIT_ERR_CANCELLED: return "ECDIT_ERR_CANCELLED";
    }
    return "unknown";
}

ecdit_status ecd_give_error(ecd_status status, const ecd_diag *diag, ecdit_error *error)
{
    if (error) {
        error->status = (ecdit_status)status;
        error->message[0] = 0;
        if (status)
            ecd_diag_format(diag, error->message, sizeof error->message);
    }
    return (ecdit_status)status;
}

// The first version's structures are all that there are: once there are others, `least` stays theirs.
static ecd_status check_struct(size_t bytes, size_t least, const char *name, ecd_diag *diag)
{
    static const size_t most = 4096; // more is no later version's but no size at all
    if (bytes >= least && bytes <= most)
        return ECD_OK;
    return ecd_fail(diag, ECD_USAGE, "%s: struct_bytes is %zu, expected %zu: begin with its _INIT", name, bytes, least);
}

ecd_status ecd_take_struct(void *to, size_t own_bytes, const void *from, size_t bytes, const char *name, ecd_diag *diag)
{
    const uint8_t *values = from;
    ecd_status status = check_struct(bytes, own_bytes, name, diag);
    if (status)
        return status;
    for (size_t i = own_bytes; i < bytes; i++)
        if (values[i])
            return ecd_fail(diag, ECD_USAGE, "%s: a field is set that this version of libecdit does not know", name);
    memcpy(to, from, own_bytes);
    return ECD_OK;
}

static ecd_status check_options(const ecdit_options *o, ecd_diag *diag)
{
    if ((unsigned)o->weights > ECDIT_WEIGHTS_RAW || (unsigned)o->backend > ECDIT_BACKEND_CUDA ||
        (unsigned)o->compute > ECDIT_COMPUTE_FP8)
        return ecd_fail(diag, ECD_USAGE, "ecdit_options: weights %d, backend %d, compute %d: expected one of ecdit.h's",
                        (int)o->weights, (int)o->backend, (int)o->compute);
    if (o->vae_tile < 0 || (o->vae_tile && o->vae_tile < ECD_MODEL_LEAST_TILE))
        return ecd_fail(diag, ECD_USAGE, "ecdit_options: vae_tile is %d, expected at least %d pixels, or 0 for none",
                        o->vae_tile, ECD_MODEL_LEAST_TILE);
    if (o->max_text_tokens < 0 || o->max_text_tokens > ECD_TEXTS_MAX_TOKENS)
        return ecd_fail(diag, ECD_USAGE,
                        "ecdit_options: max_text_tokens is %d, expected 1 to %d, or 0 for the model's own",
                        o->max_text_tokens, ECD_TEXTS_MAX_TOKENS);
    return ECD_OK;
}

// A copy of a text, which may be NULL.
static ecd_status keep_text(const char *text, char **out, ecd_diag *diag)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? ecd_fail_memory(diag, strlen(text) + 1, "a path") : ECD_OK;
}

// "folder/name"; NULL without a folder.
static ecd_status keep_name(const char *folder, const char *name, char **out, ecd_diag *diag)
{
    *out = folder ? ecd_path_join(folder, name) : NULL;
    return folder && !*out ? ecd_fail_memory(diag, strlen(folder), "a path") : ECD_OK;
}

static ecd_status take_options(ecdit_model *m, const char *path, const ecdit_options *options, ecd_diag *diag)
{
    static const ecdit_options usual = ECDIT_OPTIONS_INIT;
    const ecdit_options *from = options ? options : &usual;
    ecd_status status = ecd_take_struct(&m->options, sizeof usual, from, from->struct_bytes, "ecdit_options", diag);
    if (!status)
        status = check_options(&m->options, diag);
    if (!status)
        status = keep_text(path, &m->path, diag);
    if (!status)
        status = keep_text(m->options.config, &m->config, diag);
    if (!status)
        status = keep_text(m->options.text_cache, &m->text_cache, diag);
    if (!status)
        status = keep_name(m->options.cache_folder, "rates.json", &m->rates_file, diag);
    if (!status)
        status = keep_name(m->options.cache_folder, "cuda_algorithms", &m->algorithms_file, diag);
    m->options.config = m->options.text_cache = m->options.cache_folder = NULL; // the caller's
    return status;
}

// The transformer's files, whose headers are checked with it.
static ecd_status summarize(ecdit_model *m, ecd_diag *diag)
{
    ecd_checkpoint *cp = NULL;
    ecd_status status = ecd_model_folder_weights(&m->folder, "transformer", &cp, diag);
    if (!status)
        status = ecd_checkpoint_summarize(cp, &m->summary, diag);
    ecd_checkpoint_close(cp);
    return status;
}

static ecd_status describe(ecdit_model *m, ecd_diag *diag)
{
    ecd_status status = ecd_model_folder_open_with(m->path, m->config, &m->folder, diag);
    if (!status)
        status = ecd_transformer_describe(m->folder.transformer_class, m->folder.transformer, &m->info, diag);
    if (!status)
        status = ecd_model_defaults(&m->folder, &m->info, &m->steps, &m->guidance, diag);
    if (!status)
        status = summarize(m, diag);
    if (status)
        return status;
    m->max_tokens =
        m->options.max_text_tokens && m->info.text_width ? m->options.max_text_tokens : ecd_model_max_tokens(&m->info);
    return ECD_OK;
}

static ecd_status open_model(ecdit_model *m, const char *path, const ecdit_options *options, ecd_diag *diag)
{
    if (!path)
        return ecd_fail(diag, ECD_USAGE, "ecdit_open: path is NULL");
    ecd_status status = ecd_cpu_init(diag);
    if (!status)
        status = take_options(m, path, options, diag);
    if (!status)
        status = describe(m, diag);
    if (status)
        return status;
    const ecd_backend_options backend = {.name = backend_names[m->options.backend],
                                         .compute = (ecd_compute)m->options.compute,
                                         .threads = m->options.threads,
                                         .algorithms_file = m->algorithms_file};
    status = ecd_backend_open(&backend, &m->backend, diag);
    if (status || m->info.text_width)
        return status;
    int64_t side = ecd_model_own_side(&m->folder, &m->info);
    return ecd_model_prepare(
        m, &(ecd_pipeline_need){.width = side, .height = side, .batch = 1, .guidance = m->guidance > 1}, diag);
}

ecdit_status ecdit_open(const char *path, const ecdit_options *options, ecdit_model **model, ecdit_error *error)
{
    ecd_diag diag = {0};
    if (!model)
        return ecd_give_error(ecd_fail(&diag, ECD_USAGE, "ecdit_open: model is NULL"), &diag, error);
    ecdit_model *m = calloc(1, sizeof *m);
    ecd_status status = m ? open_model(m, path, options, &diag) : ecd_fail_memory(&diag, sizeof *m, "a model");
    if (status) {
        ecdit_close(m);
        m = NULL;
    }
    *model = m;
    return ecd_give_error(status, &diag, error);
}

void ecd_model_unload(ecdit_model *m)
{
    ecd_pipeline_close(m->pipeline);
    m->pipeline = NULL;
    m->plan[0] = 0;
}

void ecdit_close(ecdit_model *m)
{
    if (!m)
        return;
    ecd_model_unload(m);
    ecd_texts_close(m->texts);
    ecd_backend_close(m->backend);
    ecd_model_folder_close(&m->folder);
    free(m->path);
    free(m->config);
    free(m->text_cache);
    free(m->rates_file);
    free(m->algorithms_file);
    free(m);
}

static bool serves(const ecd_pipeline_need *opened, const ecd_pipeline_need *need)
{
    return need->width == opened->width && need->height == opened->height && need->batch <= opened->batch &&
           need->outside_bytes <= opened->outside_bytes && (opened->guidance || !need->guidance) &&
           (opened->init || !need->init);
}

ecd_status ecd_model_prepare(ecdit_model *m, const ecd_pipeline_need *need, ecd_diag *diag)
{
    const ecdit_options *o = &m->options;
    ecd_pipeline_report report;
    if (m->pipeline && serves(&m->opened, need))
        return ECD_OK;
    ecd_model_unload(m);
    const ecd_pipeline_options options = {
        .model = m->path,
        .config = m->config,
        .backend = m->backend,
        .store = {.mode = (ecd_weights_mode)o->weights,
                  .read_ahead = true,
                  .budget_bytes = o->memory_budget_bytes ? o->memory_budget_bytes : ecd_default_budget(m->backend),
                  .outside_bytes = need->outside_bytes,
                  .rates_file = m->rates_file},
        .max_pictures = need->batch,
        .height = need->height,
        .width = need->width,
        .text_tokens = m->texts ? ecd_texts_tokens(m->texts) : 0,
        .guidance = need->guidance,
        .init = need->init,
        .vae_tile = o->vae_tile,
    };
    ecd_status status = ecd_batch_open(&options, m->texts, &m->info, &m->batch, &m->pipeline, diag);
    if (status)
        return status;
    m->opened = *need;
    ecd_pipeline_report_get(m->pipeline, &report);
    ecd_pipeline_plan_text(&report, m->plan, sizeof m->plan);
    return ECD_OK;
}

static void fill_info(const ecdit_model *m, ecdit_info *out)
{
    int64_t side = ecd_model_own_side(&m->folder, &m->info);
    ecd_pipeline_report report = {0};
    if (m->pipeline)
        ecd_pipeline_report_get(m->pipeline, &report);
    *out = (ecdit_info){
        .kind = m->info.text_width ? ECDIT_KIND_TEXTS : ECDIT_KIND_CLASSES,
        .architecture = m->info.class_name,
        .class_count = m->info.num_classes,
        .width = (int)side,
        .height = (int)side,
        .size_step = m->info.any_size ? (int)(ecd_model_vae_factor(&m->folder) * m->info.patch_size) : 0,
        .steps = (int)m->steps,
        .guidance = m->guidance,
        .max_text_tokens = (int)m->max_tokens,
        .parameters = m->summary.parameters,
        .raw_bytes = m->summary.raw_bytes,
        .file_bytes = m->summary.stored_bytes,
        .held_bytes = report.store.weights_bytes,
        .compressed = m->summary.coded,
        .lossless = m->summary.restores,
        .backend = m->backend->name,
        .backend_detail = m->backend->detail,
        .compute = (ecdit_compute)m->backend->compute,
        .threads = m->backend->threads,
        .plan = m->plan,
    };
}

ecdit_status ecdit_get_info(const ecdit_model *model, ecdit_info *info, ecdit_error *error)
{
    ecd_diag diag = {0};
    ecdit_info own;
    if (!model || !info)
        return ecd_give_error(ecd_fail(&diag, ECD_USAGE, "ecdit_get_info: model or info is NULL"), &diag, error);
    ecd_status status = check_struct(info->struct_bytes, sizeof own, "ecdit_info", &diag);
    if (!status) {
        fill_info(model, &own);
        own.struct_bytes = info->struct_bytes;
        memcpy(info, &own, sizeof own); // a later version's has more, which stays as it is
    }
    return ecd_give_error(status, &diag, error);
}

const char *ecdit_class_name(const ecdit_model *model, int64_t id)
{
    return model ? ecd_model_folder_label(&model->folder, id) : NULL;
}

ecdit_status ecdit_class_find(const ecdit_model *model, const char *name, int64_t *id, ecdit_error *error)
{
    ecd_diag diag = {0};
    ecd_status status = ECD_OK;
    if (!model || !name || !id)
        status = ecd_fail(&diag, ECD_USAGE, "ecdit_class_find: an argument is NULL");
    else if (model->info.text_width)
        status = ecd_fail(&diag, ECD_USAGE, "this model draws texts: it has no classes");
    else
        status = ecd_model_folder_class(&model->folder, name, model->info.num_classes - 1, id, &diag);
    return ecd_give_error(status, &diag, error);
}

ecdit_status ecdit_write_picture(const char *path, const uint8_t *pixels, int width, int height, ecdit_error *error)
{
    ecd_diag diag = {0};
    ecd_status status = path && pixels ? ecd_image_write(path, pixels, width, height, NULL, 0, &diag)
                                       : ecd_fail(&diag, ECD_USAGE, "ecdit_write_picture: path or pixels is NULL");
    return ecd_give_error(status, &diag, error);
}
