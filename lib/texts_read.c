// Runs a model's text encoders, one after the other, each opened, used and let go.
#include "lib/texts_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    const ecd_texts_reading *r;
    ecd_texts *texts;
    ecd_text_part *part;
    char print[ECD_SHA256_TEXT]; // of the encoder's files, with a cache
    size_t *missing, count;      // prompts whose output must be computed
    ecd_checkpoint *cp;
    ecd_encoder *encoder;
    size_t wave, group; // prompts for which a pass over the weights is made; and that are computed at once
    int32_t *ids;       // [wave][tokens]
    float *hidden;      // [wave][tokens][width]
    float *pooled;      // [wave][width]
} reader;

// States of a wave take at most this share of the budget, and this many bytes without one. A group's activations are
// some ten times its states: four long texts of T5-XXL take 0.4 GB.
enum { STATES_SHARE = 8, GROUP = 4 };
static const uint64_t states_bytes = 1 << 30;

static size_t states_of(const ecd_text_part *part)
{
    return (size_t)(part->tokens * part->info.width);
}

static void warn(const reader *d, const char *file, const char *what)
{
    char text[ECD_DIAG_NAME + ECD_DIAG_TEXT];
    snprintf(text, sizeof text, "%s: %s", file, what);
    if (d->r->warn)
        d->r->warn(d->r->user, text);
}

static ecd_status look_up(reader *d, size_t prompt, bool *found, ecd_diag *diag)
{
    ecd_text_part *part = d->part;
    ecd_status status = ECD_OK;
    bool damaged = false;
    *found = false;
    if (!d->r->cache)
        return ECD_OK;
    char *file = ecd_texts_cache_name(d->r->cache, part, d->print, d->r->backend, part->ids + prompt * (size_t)part->tokens);
    float *output = malloc(part->floats * sizeof *output);
    if (!file || !output)
        status = ecd_fail_memory(diag, part->floats * sizeof *output, "a text");
    else if ((*found = ecd_texts_cache_load(file, part, output, &damaged)))
        status = ecd_shelf_put(&part->outputs, prompt, output, diag);
    if (damaged)
        warn(d, file, "damaged, its text is encoded anew");
    free(file);
    free(output);
    return status;
}

static ecd_status find_missing(reader *d, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    d->missing = malloc((d->texts->count + 1) * sizeof *d->missing);
    if (!d->missing)
        return ecd_fail_memory(diag, d->texts->count * sizeof *d->missing, "the prompts");
    if (d->r->cache)
        status = ecd_texts_cache_print(&d->texts->where, d->part->encoder_name, d->part->encoder_path, d->print, diag);
    for (size_t i = 0; !status && i < d->texts->count; i++) {
        bool found = false;
        if (!d->texts->needed[i])
            continue;
        status = look_up(d, i, &found, diag);
        if (found)
            d->texts->from_cache++;
        else
            d->missing[d->count++] = i;
    }
    return status;
}

static void show(void *user, int done, int blocks)
{
    const reader *d = user;
    d->r->progress(d->r->user, d->part->encoder_name, done, blocks);
}

static ecd_status try_encoder(reader *d, ecd_diag *diag)
{
    const ecd_text_part *part = d->part;
    uint64_t wave_bytes = d->wave * ((states_of(part) + (size_t)part->info.width) * sizeof(float) +
                                     (size_t)part->tokens * sizeof(int32_t));
    const ecd_encoder_options options = {
        .store = {.read_ahead = true,
                  .once = d->wave == d->count,
                  .budget_bytes = d->r->budget_bytes,
                  .outside_bytes = ecd_store_program_bytes(d->cp, d->r->backend) +
                                   (d->r->backend->host_memory ? wave_bytes + ecd_shelf_memory_bytes(&part->outputs) : 0),
                  .rates_file = d->r->rates_file},
        .max_prompts = (int64_t)d->group,
        .tokens = part->tokens,
        .progress = d->r->progress ? show : NULL,
        .user = d,
    };
    return ecd_encoder_open(part->class_name, part->config, d->cp, d->r->backend, &options, &d->encoder, diag);
}

// As many prompts in a pass over the weights as the budget has room for.
static ecd_status open_encoder(reader *d, ecd_diag *diag)
{
    size_t one = states_of(d->part) * sizeof(float);
    uint64_t most = d->r->budget_bytes ? d->r->budget_bytes / STATES_SHARE : states_bytes;
    size_t fits = (size_t)((most < states_bytes ? most : states_bytes) / one);
    ecd_status status = ecd_model_folder_weights(&d->texts->where, d->part->encoder_name, &d->cp, diag);
    d->wave = fits < 1 ? 1 : fits < d->count ? fits : d->count;
    d->group = d->wave < GROUP ? d->wave : GROUP;
    while (!status && (status = try_encoder(d, diag)) == ECD_RESOURCE && d->wave > 1) {
        d->wave = d->group > 1 ? d->wave : (d->wave + 1) / 2;
        d->group = d->group > 1 ? d->group / 2 : 1;
        status = ECD_OK;
    }
    if (status == ECD_RESOURCE && !diag->file[0])
        ecd_diag_file(diag, d->part->encoder_path);
    if (status)
        return status;
    d->ids = malloc(d->wave * (size_t)d->part->tokens * sizeof *d->ids);
    d->hidden = malloc(d->wave * one);
    d->pooled = malloc(d->wave * (size_t)d->part->info.width * sizeof *d->pooled);
    return d->ids && d->hidden && d->pooled ? ECD_OK : ecd_fail_memory(diag, d->wave * one, "the texts' states");
}

// A cache that takes nothing more costs time at the next run, not this one.
static ecd_status keep(reader *d, size_t prompt, const float *output, ecd_diag *diag)
{
    ecd_diag fault;
    ecd_text_part *part = d->part;
    ecd_status status = ecd_shelf_put(&part->outputs, prompt, output, diag);
    if (status || !d->r->cache)
        return status;
    char *file = ecd_texts_cache_name(d->r->cache, part, d->print, d->r->backend, part->ids + prompt * (size_t)part->tokens);
    if (!file)
        return ecd_fail_memory(diag, 0, "a path");
    if (ecd_texts_cache_save(file, part, output, &fault))
        warn(d, file, fault.what);
    free(file);
    return ECD_OK;
}

static ecd_status run_wave(reader *d, size_t from, ecd_diag *diag)
{
    const ecd_text_part *part = d->part;
    size_t count = d->count - from < d->wave ? d->count - from : d->wave, tokens = (size_t)part->tokens;
    for (size_t i = 0; i < count; i++)
        memcpy(d->ids + i * tokens, part->ids + d->missing[from + i] * tokens, tokens * sizeof *d->ids);
    ecd_status status = ecd_encoder_run(d->encoder, d->ids, (int64_t)count, d->hidden, part->pooled ? d->pooled : NULL,
                                        d->r->cancel, diag);
    for (size_t i = 0; !status && i < count; i++)
        status = keep(d, d->missing[from + i], (part->pooled ? d->pooled : d->hidden) + i * part->floats, diag);
    d->texts->encoded += status ? 0 : count;
    return status;
}

static ecd_status read_part(ecd_texts *texts, ecd_text_part *part, const ecd_texts_reading *r, ecd_diag *diag)
{
    reader d = {.r = r, .texts = texts, .part = part};
    ecd_status status = ecd_shelf_new(texts->count, part->floats, &part->outputs, diag);
    if (!status)
        status = find_missing(&d, diag);
    if (!status && d.count)
        status = open_encoder(&d, diag);
    for (size_t from = 0; !status && from < d.count; from += d.wave)
        status = run_wave(&d, from, diag);
    ecd_encoder_close(d.encoder);
    ecd_checkpoint_close(d.cp);
    free(d.missing);
    free(d.ids);
    free(d.hidden);
    free(d.pooled);
    return status;
}

ecd_status ecd_texts_read(ecd_texts *texts, const ecd_texts_reading *reading, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int i = 0; i < ECD_TEXTS_PARTS; i++) {
        ecd_tokenizer_close(texts->parts[i].tokenizer);
        texts->parts[i].tokenizer = NULL;
    }
    for (int i = 0; !status && texts->count && i < ECD_TEXTS_PARTS; i++)
        status = read_part(texts, &texts->parts[i], reading, diag);
    return status;
}
