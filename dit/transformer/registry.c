#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dit/transformer/architecture.h"

static const ecd_architecture *const architectures[] = {
    &ecd_architecture_dit,
    &ecd_architecture_flux,
};

enum { ARCHITECTURES = sizeof architectures / sizeof *architectures, MAX_PICTURES = 1 << 16, MAX_TEXT = 1 << 16 };

static ecd_status find(const char *class_name, const ecd_architecture **out, ecd_diag *diag)
{
    char known[ECD_DIAG_TEXT / 2] = "";
    for (int i = 0; i < ARCHITECTURES; i++) {
        if (!strcmp(architectures[i]->class_name, class_name)) {
            *out = architectures[i];
            return ECD_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", architectures[i]->class_name);
    }
    return ecd_fail(diag, ECD_USAGE, "transformer class \"%.64s\" is not known, expected %s", class_name, known);
}

// What the config alone says.
static ecd_status read(const char *class_name, const cJSON *config, ecd_transformer **out, ecd_diag *diag)
{
    const ecd_architecture *architecture;
    ecd_status status = find(class_name, &architecture, diag);
    if (status != ECD_OK)
        return status;
    ecd_transformer *t = calloc(1, architecture->size_bytes);
    if (!t)
        return ecd_fail_memory(diag, architecture->size_bytes, "the transformer");
    t->architecture = architecture;
    t->info.class_name = architecture->class_name;
    *out = t;
    return architecture->read_config(t, config, diag);
}

ecd_status ecd_transformer_describe(const char *class_name, const cJSON *config, ecd_transformer_info *out,
                                    ecd_diag *diag)
{
    ecd_transformer *t = NULL;
    ecd_status status = read(class_name, config, &t, diag);
    if (status == ECD_OK)
        *out = t->info;
    free(t);
    return status;
}

static ecd_status check_size(const ecd_transformer_info *info, int64_t height, int64_t width, ecd_diag *diag)
{
    int64_t side = info->sample_size, patch = info->patch_size;
    if (!info->any_size && (height != side || width != side))
        return ecd_fail(diag, ECD_USAGE, "latents of %lldx%lld, %s takes only %lldx%lld", (long long)width,
                        (long long)height, info->class_name, (long long)side, (long long)side);
    if (height < patch || width < patch || height % patch || width % patch)
        return ecd_fail(diag, ECD_USAGE, "latents of %lldx%lld, expected sides that are multiples of the patch, %lld",
                        (long long)width, (long long)height, (long long)patch);
    return ECD_OK;
}

static ecd_status take_options(ecd_transformer *t, const ecd_transformer_options *options, ecd_diag *diag)
{
    const ecd_transformer_info *info = &t->info;
    ecd_transformer_options *o = &t->options;
    *o = *options;
    o->height = o->height ? o->height : info->sample_size;
    o->width = o->width ? o->width : info->sample_size;
    o->guidance = o->guidance && info->guidance == ECD_GUIDANCE_CLASSIFIER_FREE;
    if (o->max_pictures < 1 || o->max_pictures > MAX_PICTURES)
        return ecd_fail(diag, ECD_USAGE, "a batch of %lld pictures, expected 1 to %d", (long long)o->max_pictures,
                        MAX_PICTURES);
    if (info->text_width && (o->text_tokens < 1 || o->text_tokens > MAX_TEXT))
        return ecd_fail(diag, ECD_USAGE, "texts of %lld tokens, expected 1 to %d", (long long)o->text_tokens, MAX_TEXT);
    return check_size(info, o->height, o->width, diag);
}

static ecd_status allocate(ecd_transformer *t, ecd_diag *diag)
{
    t->memory = t->be->ops->alloc(t->be, t->activation_bytes);
    if (!t->memory) {
        ecd_status status = ecd_backend_check(t->be, diag);
        return status != ECD_OK ? status : ecd_fail_memory(diag, t->activation_bytes, "the transformer's activations");
    }
    ecd_arena arena = ecd_arena_over(t->memory, t->activation_bytes);
    t->architecture->place(t, &arena);
    ecd_status status = t->architecture->fill(t, diag);
    return status != ECD_OK ? status : ecd_backend_check(t->be, diag);
}

ecd_status ecd_transformer_open(const char *class_name, const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be,
                                const ecd_transformer_options *options, ecd_transformer **out, ecd_diag *diag)
{
    ecd_transformer *t = NULL;
    *out = NULL;
    ecd_status status = read(class_name, config, &t, diag);
    if (status == ECD_OK)
        status = take_options(t, options, diag);
    if (status != ECD_OK) {
        free(t);
        return status;
    }
    t->be = be;
    ecd_store_options store = t->options.store;
    store.rows = t->architecture->measure(t);
    store.picture_rows = store.rows / t->options.max_pictures;
    ecd_arena plan = ecd_arena_plan();
    t->architecture->place(t, &plan);
    t->activation_bytes = plan.peak_bytes;
    store.outside_bytes += plan.peak_bytes;
    status = t->architecture->open_store(t, cp, &store, diag);
    if (status == ECD_OK)
        status = allocate(t, diag);
    if (status == ECD_OK)
        *out = t;
    else
        ecd_transformer_close(t);
    return status;
}

void ecd_transformer_close(ecd_transformer *t)
{
    if (!t)
        return;
    ecd_store_close(t->store);
    if (t->memory)
        t->be->ops->free(t->be, t->memory);
    if (t->architecture->free_host)
        t->architecture->free_host(t);
    free(t);
}

const ecd_transformer_info *ecd_transformer_get_info(const ecd_transformer *t)
{
    return &t->info;
}

static ecd_status check_condition(const ecd_transformer_info *info, const ecd_transformer_call *call, ecd_diag *diag)
{
    if (info->text_width)
        return call->text && call->pooled ? ECD_OK : ecd_fail(diag, ECD_USAGE, "%s draws texts", info->class_name);
    if (!call->classes)
        return ecd_fail(diag, ECD_USAGE, "%s draws classes", info->class_name);
    for (int64_t i = 0; i < call->pictures; i++)
        if (call->classes[i] < 0 || call->classes[i] > info->num_classes)
            return ecd_fail(diag, ECD_USAGE, "class %lld, expected 0 to %lld", (long long)call->classes[i],
                            (long long)info->num_classes);
    return ECD_OK;
}

static ecd_status predict(ecd_transformer *t, const ecd_transformer_call *call, const volatile int *cancel,
                          ecd_diag *diag)
{
    ecd_block ends, block;
    ecd_status status = ecd_store_acquire(t->store, 0, &ends, diag);
    if (status != ECD_OK)
        return status;
    t->architecture->begin(t, &ends, call);
    for (int i = 0; i < t->info.blocks && status == ECD_OK; i++) {
        if (ecd_is_set(cancel)) {
            status = ecd_fail(diag, ECD_INTERRUPTED, "interrupted");
            break;
        }
        status = ecd_store_acquire(t->store, i + 1, &block, diag);
        if (status != ECD_OK)
            break;
        ecd_sequence_begin(t->be);
        t->architecture->run_block(t, i, &block, call);
        ecd_sequence_end(t->be);
        ecd_store_release(t->store, i + 1);
    }
    if (status == ECD_OK)
        t->architecture->finish(t, &ends, call);
    ecd_store_release(t->store, 0);
    return status == ECD_OK ? ecd_backend_check(t->be, diag) : status;
}

ecd_status ecd_transformer_predict(ecd_transformer *t, const ecd_transformer_call *call, const volatile int *cancel,
                                   ecd_diag *diag)
{
    const ecd_transformer_options *o = &t->options;
    if (call->pictures < 1 || call->pictures > o->max_pictures)
        return ecd_fail(diag, ECD_USAGE, "%lld pictures at once, planned for 1 to %lld", (long long)call->pictures,
                        (long long)o->max_pictures);
    if (call->height != o->height || call->width != o->width)
        return ecd_fail(diag, ECD_USAGE, "latents of %lldx%lld, planned for %lldx%lld", (long long)call->width,
                        (long long)call->height, (long long)o->width, (long long)o->height);
    if (call->guidance && !o->guidance)
        return ecd_fail(diag, ECD_USAGE, "guidance, but the transformer was opened without");
    ecd_status status = check_condition(&t->info, call, diag);
    return status == ECD_OK ? predict(t, call, cancel, diag) : status;
}

void ecd_transformer_rest(ecd_transformer *t)
{
    ecd_store_rest(t->store);
}

void ecd_transformer_report(const ecd_transformer *t, ecd_store_report *store, uint64_t *activation_bytes)
{
    ecd_store_report_get(t->store, store);
    *activation_bytes = t->activation_bytes;
}
