// Drawing with a model of libecdit: a job is checked whole, its prompts are read, then it goes through the pipeline
// batch by batch.
#include "lib/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dit/sampler/sampler.h"
#include "lib/budget.h"
#include "lib/image_fit.h"
#include "lib/image_internal.h"
#include "lib/model_defaults.h"

_Static_assert((int)ECDIT_FIT_SCALE == ECD_IMAGE_SCALE && (int)ECDIT_FIT_CROP == ECD_IMAGE_CROP, "passed on as it is");

typedef struct drawing {
    ecdit_model *m;
    ecdit_job job;
    int64_t width, height, steps;
    double guidance;
    size_t picture_bytes;
    ecd_picture_request *requests; // [job.count], owned
    size_t *texts;                 // [job.count], owned: of each picture, in m->texts
    ecd_image init;                // in the job's size; owned
    uint8_t *pixels;
    size_t done; // pictures of batches before
} drawing;

// ---- what a job asks for

static ecd_status take_size(drawing *d, ecd_diag *diag)
{
    const ecdit_job *job = &d->job;
    int64_t side = ecd_model_own_side(&d->m->folder, &d->m->info);
    size_t all;
    d->width = job->width ? job->width : side;
    d->height = job->height ? job->height : side;
    ecd_status status = ecd_image_check_size(d->width, d->height, diag);
    if (status)
        return status;
    if (d->m->info.text_width && d->width * d->height > ECD_MODEL_MAX_TEXT_PIXELS)
        return ecd_fail(diag, ECD_USAGE, "size %" PRId64 "x%" PRId64 ", expected at most two megapixels (%d)", d->width,
                        d->height, ECD_MODEL_MAX_TEXT_PIXELS);
    d->picture_bytes = (size_t)(3 * d->width * d->height);
    if (!job->count || !job->pictures || __builtin_mul_overflow(job->count, d->picture_bytes, &all))
        return ecd_fail(diag, ECD_USAGE, "%zu pictures of %zu bytes, expected at least one and a list of them",
                        job->count, d->picture_bytes);
    return ECD_OK;
}

static bool is_sampler(const char *name)
{
    for (const char *const *known = ecd_sampler_names(); *known; known++)
        if (!strcmp(*known, name))
            return true;
    return false;
}

static ecd_status take_numbers(drawing *d, ecd_diag *diag)
{
    const ecdit_job *job = &d->job;
    if (job->sampler && !is_sampler(job->sampler))
        return ecd_fail(diag, ECD_USAGE, "sampler %.40s is not known: expected one of ecdit.h's", job->sampler);
    d->steps = job->steps ? job->steps : d->m->steps;
    d->guidance = job->guidance < 0 ? d->m->guidance : job->guidance;
    if (d->steps < 1 || d->steps > ECD_MODEL_MAX_STEPS)
        return ecd_fail(diag, ECD_USAGE, "%" PRId64 " steps, expected 1 to %d, or 0 for the model's own", d->steps,
                        ECD_MODEL_MAX_STEPS);
    if (!isfinite(d->guidance))
        return ecd_fail(diag, ECD_USAGE, "guidance %g, expected a finite number", d->guidance);
    if (job->init && !(job->strength > 0 && job->strength <= 1))
        return ecd_fail(diag, ECD_USAGE, "strength %g, expected above 0 and at most 1", job->strength);
    if (job->init && (unsigned)job->init_fit > ECDIT_FIT_CROP)
        return ecd_fail(diag, ECD_USAGE, "init_fit %d, expected one of ecdit.h's", (int)job->init_fit);
    return job->init ? ecd_image_check_size(job->init_width, job->init_height, diag) : ECD_OK;
}

static ecd_status take_class(const drawing *d, const ecdit_picture *picture, int64_t *id, ecd_diag *diag)
{
    int64_t count = d->m->info.num_classes;
    *id = picture->class_id;
    if (picture->subject)
        return ecd_model_folder_class(&d->m->folder, picture->subject, count - 1, id, diag);
    if (*id < 0 || *id >= count)
        return ecd_fail(diag, ECD_USAGE, "class %" PRId64 ", expected 0 to %" PRId64, *id, count - 1);
    return ECD_OK;
}

static ecd_status take_pictures(drawing *d, ecd_diag *diag)
{
    size_t count = d->job.count;
    ecd_status status = ECD_OK;
    d->requests = calloc(count, sizeof *d->requests);
    d->texts = calloc(count, sizeof *d->texts);
    if (!d->requests || !d->texts)
        return ecd_fail_memory(diag, count * (sizeof *d->requests + sizeof *d->texts), "the list of pictures");
    for (size_t i = 0; !status && i < count; i++) {
        const ecdit_picture *picture = &d->job.pictures[i];
        d->requests[i].seed = picture->seed;
        if (!d->m->info.text_width)
            status = take_class(d, picture, &d->requests[i].class_id, diag);
        else if (!picture->subject)
            status = ecd_fail(diag, ECD_USAGE, "this model draws texts: picture %zu has none", i);
    }
    return status;
}

// All that the pictures' size follows from.
static ecd_status take_job(drawing *d, const ecdit_job *job, ecd_diag *diag)
{
    if (!job)
        return ecd_fail(diag, ECD_USAGE, "the job is NULL");
    ecd_status status = ecd_take_struct(&d->job, sizeof d->job, job, job->struct_bytes, "ecdit_job", diag);
    return status ? status : take_size(d, diag);
}

size_t ecdit_job_bytes(const ecdit_model *model, const ecdit_job *job)
{
    drawing d = {.m = (ecdit_model *)(uintptr_t)model};
    return model && !take_job(&d, job, NULL) ? d.job.count * d.picture_bytes : 0;
}

// ---- what is told meanwhile

static void tell(drawing *d, ecdit_phase phase, int done, int total)
{
    size_t decoded = phase == ECDIT_PHASE_DECODE ? (size_t)done : 0;
    const ecdit_progress progress = {phase, done, total, d->done + decoded, d->job.count};
    if (!d->job.progress || !d->job.progress(d->job.user, &progress))
        return;
    ecdit_cancel(d->m);
}

static void tell_drawing(void *user, ecd_phase phase, int done, int total)
{
    tell(user, phase == ECD_PHASE_DECODE ? ECDIT_PHASE_DECODE : ECDIT_PHASE_STEPS, done, total);
}

static void tell_reading(void *user, const char *encoder, int done, int blocks)
{
    (void)encoder;
    tell(user, ECDIT_PHASE_TEXT, done, blocks);
}

static void notice(void *user, const char *text)
{
    const drawing *d = user;
    if (d->job.notice)
        d->job.notice(d->job.user, text);
}

void ecdit_cancel(ecdit_model *model)
{
    if (model)
        __atomic_store_n(&model->stop, 1, __ATOMIC_RELAXED);
}

static ecd_status check_stop(const drawing *d, ecd_diag *diag)
{
    return ecd_is_set(&d->m->stop) ? ecd_fail(diag, ECD_INTERRUPTED, "cancelled") : ECD_OK;
}

// ---- texts

// Were they all read for the job before?
static bool find_texts(drawing *d)
{
    for (size_t i = 0; i < d->job.count; i++)
        if (!d->m->texts || !ecd_texts_find(d->m->texts, d->job.pictures[i].subject, &d->texts[i]))
            return false;
    return true;
}

static ecd_status add_texts(drawing *d, ecd_texts *texts, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    char text[256];
    for (size_t i = 0; !status && i < d->job.count; i++) {
        const char *prompt = d->job.pictures[i].subject;
        ecd_texts_cut cut;
        status = ecd_texts_add(texts, prompt, &d->texts[i], &cut, diag);
        for (int part = 0; !status && part < ECD_TEXTS_PARTS; part++)
            if (ecd_texts_cut_text(&cut, part, prompt, text, sizeof text))
                notice(d, text);
        if (!status)
            ecd_texts_need(texts, d->texts[i]);
        if (!status)
            status = check_stop(d, diag);
    }
    return status;
}

// The encoders come in the transformer's place: the peak is the larger of them, not their sum.
static ecd_status read_texts(drawing *d, ecd_diag *diag)
{
    ecdit_model *m = d->m;
    const ecdit_options *o = &m->options;
    ecd_texts *texts = NULL;
    if (!m->info.text_width || find_texts(d))
        return ECD_OK;
    ecd_model_unload(m);
    ecd_texts_close(m->texts);
    m->texts = NULL;
    ecd_status status = ecd_texts_open(&m->folder, &m->info, m->max_tokens, &texts, diag);
    if (!status)
        status = add_texts(d, texts, diag);
    const ecd_texts_reading reading = {
        .backend = m->backend,
        .budget_bytes = o->memory_budget_bytes ? o->memory_budget_bytes : ecd_default_budget(m->backend),
        .rates_file = m->rates_file,
        .cache = m->text_cache,
        .cancel = &m->stop,
        .progress = tell_reading,
        .warn = notice,
        .user = d,
    };
    if (!status)
        status = ecd_texts_read(texts, &reading, diag);
    if (status)
        ecd_texts_close(texts);
    else
        m->texts = texts;
    return status;
}

// ---- pictures

static ecd_status fit_init(drawing *d, ecd_diag *diag)
{
    const ecdit_job *job = &d->job;
    const ecd_image given = {(uint8_t *)(uintptr_t)job->init, job->init_width, job->init_height};
    return job->init ? ecd_image_fit_to(&given, d->width, d->height, (ecd_image_fit)job->init_fit, &d->init, diag)
                     : ECD_OK;
}

static ecd_status keep(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    drawing *d = user;
    if (height != d->height || width != d->width)
        return ecd_fail(diag, ECD_DATA, "a picture of %" PRId64 "x%" PRId64 ", expected %" PRId64 "x%" PRId64, width,
                        height, d->width, d->height);
    memcpy(d->pixels + (d->done + (size_t)index) * d->picture_bytes, rgb, d->picture_bytes);
    return check_stop(d, diag);
}

static ecd_status draw_batch(drawing *d, size_t count, ecd_diag *diag)
{
    ecdit_model *m = d->m;
    const ecdit_job *job = &d->job;
    int first = job->init ? ecd_pipeline_first_step(m->pipeline, (int)d->steps, job->strength) : 0;
    const ecd_draw draw = {
        .pictures = d->requests + d->done,
        .count = (int64_t)count,
        .steps = (int)d->steps,
        .guidance = (float)d->guidance,
        .sampler = job->sampler,
        .init = d->init.pixels,
        .strength = job->strength,
        .cancel = &m->stop,
        .progress = tell_drawing,
        .sink = keep,
        .user = d,
    };
    tell(d, ECDIT_PHASE_STEPS, 0, (int)d->steps - first);
    return ecd_batch_draw(m->pipeline, &draw, m->texts, d->texts + d->done, diag);
}

static ecd_status draw_pictures(drawing *d, ecd_diag *diag)
{
    ecdit_model *m = d->m;
    size_t count = d->job.count, bytes = count * d->picture_bytes, init_bytes = d->job.init ? 2 * d->picture_bytes : 0;
    ecd_pipeline_need need = {
        .width = d->width,
        .height = d->height,
        .batch = count < ECD_BATCH_MOST ? (int64_t)count : ECD_BATCH_MOST,
        .guidance = m->info.guidance == ECD_GUIDANCE_CLASSIFIER_FREE && d->guidance > 1,
        .init = d->job.init != NULL,
        .outside_bytes = m->options.memory_budget_bytes && m->backend->host_memory ? bytes + init_bytes : 0,
    };
    ecd_status status = ecd_model_prepare(m, &need, diag);
    if (!status)
        status = fit_init(d, diag);
    while (!status && d->done < count) {
        size_t left = count - d->done, batch = left < (size_t)m->batch ? left : (size_t)m->batch;
        status = draw_batch(d, batch, diag);
        d->done += batch;
    }
    return status;
}

static ecd_status draw(drawing *d, const ecdit_job *job, size_t pixels_bytes, ecd_diag *diag)
{
    ecd_status status = take_job(d, job, diag);
    if (!status)
        status = take_numbers(d, diag);
    if (!status && (!d->pixels || pixels_bytes < d->job.count * d->picture_bytes))
        status = ecd_fail(diag, ECD_USAGE, "room for %zu bytes of pixels, expected %zu", d->pixels ? pixels_bytes : 0,
                          d->job.count * d->picture_bytes);
    if (!status)
        status = take_pictures(d, diag);
    if (!status)
        status = read_texts(d, diag);
    if (!status)
        status = draw_pictures(d, diag);
    return status ? status : check_stop(d, diag); // asked at the very end: a cancelled job never looks like another
}

ecdit_status ecdit_draw(ecdit_model *model, const ecdit_job *job, uint8_t *pixels, size_t pixels_bytes,
                        ecdit_error *error)
{
    ecd_diag diag = {0};
    drawing d = {.m = model, .pixels = pixels};
    ecd_status status;
    if (!model)
        return ecd_give_error(ecd_fail(&diag, ECD_USAGE, "ecdit_draw: model is NULL"), &diag, error);
    __atomic_store_n(&model->stop, 0, __ATOMIC_RELAXED);
    status = draw(&d, job, pixels_bytes, &diag);
    free(d.requests);
    free(d.texts);
    ecd_image_free(&d.init);
    return ecd_give_error(status, &diag, error);
}
