#define _GNU_SOURCE
#include "app/generate.h"

#include "app/common.h"
#include "lib/model_defaults.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = 1024 };

static bool holds(const int64_t *ids, size_t count, int64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static ecd_status keep_class(int64_t ids[MAX_CLASSES], size_t *count, int64_t id, ecd_diag *diag)
{
    if (holds(ids, *count, id)) // named twice: drawn once
        return ECD_OK;
    if (*count == MAX_CLASSES)
        return ecd_fail(diag, ECD_USAGE, "--class: expected at most %d classes", MAX_CLASSES);
    ids[(*count)++] = id;
    return ECD_OK;
}

static ecd_status classes_of_text(const ecd_generate *g, int64_t ids[MAX_CLASSES], size_t *count, ecd_diag *diag)
{
    const char *text = g->settings.classes;
    for (;;) {
        size_t length = strcspn(text, ",");
        int64_t id;
        char *name = strndup(text, length);
        if (!name)
            return ecd_fail_memory(diag, length + 1, "a class name");
        ecd_status status = ecd_model_folder_class(&g->folder, name, g->info.num_classes - 1, &id, diag);
        free(name);
        if (!status)
            status = keep_class(ids, count, id, diag);
        if (status || !text[length])
            return status;
        text += length + 1;
    }
}

static ecd_status classes_of_recipe(const ecd_generate *g, int64_t ids[MAX_CLASSES], size_t *count, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (size_t i = 0; !status && i < g->settings.recipe.count; i++)
        status = keep_class(ids, count, g->settings.recipe.images[i].class_id, diag);
    return status;
}

static ecd_status make_pictures(ecd_generate *g, size_t subjects, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    if (subjects > ECD_GENERATE_MAX_PICTURES || subjects * (size_t)s->count > ECD_GENERATE_MAX_PICTURES)
        return ecd_fail(diag, ECD_USAGE, "%zu pictures, expected at most %d", subjects * (size_t)s->count,
                        ECD_GENERATE_MAX_PICTURES);
    g->count = subjects * (size_t)s->count;
    g->pictures = calloc(g->count, sizeof *g->pictures);
    if (!g->pictures)
        return ecd_fail_memory(diag, g->count * sizeof *g->pictures, "the list of pictures");
    for (size_t i = 0; i < g->count; i++)
        g->pictures[i] = (ecd_picture){.size = s->size, .steps = s->steps, .guidance = s->guidance};
    return ECD_OK;
}

static ecd_status check_seeds(uint64_t seed, int64_t count, ecd_diag *diag)
{
    if (seed > UINT64_MAX - (uint64_t)(count - 1))
        return ecd_fail(diag, ECD_USAGE, "seed %" PRIu64 " with -n %" PRId64 ": seeds end at %" PRIu64, seed, count,
                        UINT64_MAX);
    return ECD_OK;
}

// A recipe of the other kind of model: what it says cannot be drawn.
static ecd_status check_recipe(const ecd_generate *g, ecd_diag *diag)
{
    const ecd_recipe *r = &g->settings.recipe;
    bool texts = g->info.text_width > 0;
    for (size_t i = 0; i < r->count; i++) {
        if ((r->images[i].prompt != NULL) != texts)
            return ecd_fail(diag, ECD_USAGE, "%s: its recipe is of a %s, and this model draws %s", g->settings.replay,
                            texts ? "class" : "text", texts ? "texts" : "classes");
        if (!texts && r->images[i].class_id >= g->info.num_classes)
            return ecd_fail(diag, ECD_USAGE, "%s: class %" PRId64 " of its recipe: this model has %" PRId64,
                            g->settings.replay, r->images[i].class_id, g->info.num_classes);
    }
    return ECD_OK;
}

static ecd_status plan_recipe(ecd_generate *g, ecd_diag *diag)
{
    const ecd_recipe *r = &g->settings.recipe;
    g->settings.count = 1;
    ecd_status status = make_pictures(g, r->count, diag);
    for (size_t i = 0; !status && i < g->count; i++) {
        g->pictures[i].request = (ecd_picture_request){r->images[i].class_id, r->images[i].seed};
        g->pictures[i].prompt = r->images[i].prompt;
        if (!g->settings.overridden && r->images[i].sha256[0])
            g->pictures[i].expected = r->images[i].sha256;
    }
    return status;
}

static ecd_status plan_classes(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    int64_t ids[MAX_CLASSES];
    size_t classes = 0, each = (size_t)s->count;
    ecd_status status = s->classes ? classes_of_text(g, ids, &classes, diag) : classes_of_recipe(g, ids, &classes, diag);
    if (!status)
        status = make_pictures(g, classes, diag);
    for (size_t i = 0; !status && i < g->count; i++)
        g->pictures[i].request = (ecd_picture_request){ids[i / each], s->seed + i % each};
    return status;
}

// One prompt, of the command line or of the recipe's first picture.
static ecd_status plan_prompt(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    ecd_status status = make_pictures(g, 1, diag);
    for (size_t i = 0; !status && i < g->count; i++) {
        g->pictures[i].prompt = s->prompt ? s->prompt : s->recipe.images[0].prompt;
        g->pictures[i].request.seed = s->seed + i;
    }
    return status;
}

static void take_line(const ecd_prompt *line, size_t nth, const ecd_settings *s, ecd_picture *picture)
{
    picture->prompt = line->text;
    picture->line = line->line;
    picture->request.seed = (line->has_seed ? line->seed : s->seed) + nth;
    picture->size = line->size.width ? line->size : picture->size;
    picture->steps = line->steps ? line->steps : picture->steps;
    picture->guidance = isnan(line->guidance) ? picture->guidance : line->guidance;
}

// A bad line has failed before it is begun.
static ecd_status plan_list(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    size_t each = (size_t)s->count;
    ecd_status status = ecd_prompts_read(s->prompts, &g->prompts, diag);
    if (!status)
        status = make_pictures(g, g->prompts.count, diag);
    for (size_t i = 0; !status && i < g->count; i++)
        take_line(&g->prompts.items[i / each], i % each, s, &g->pictures[i]);
    return status;
}

// `line` is the picture's of --prompts, or NULL.
static ecd_status check_picture(const ecd_generate *g, const ecd_picture *picture, const ecd_prompt *line, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    if (line && line->diag.status) {
        *diag = line->diag;
        return diag->status;
    }
    ecd_status status = line && line->has_seed ? check_seeds(line->seed, s->count, diag) : ECD_OK;
    if (status)
        return status;
    if (g->info.text_width && picture->size.width * picture->size.height > ECD_MODEL_MAX_TEXT_PIXELS)
        return ecd_fail(diag, ECD_USAGE, "size %" PRId64 "x%" PRId64 ", expected at most two megapixels (%d)",
                        picture->size.width, picture->size.height, ECD_MODEL_MAX_TEXT_PIXELS);
    return ECD_OK;
}

// Ranks share out the lines of a list, so that each text is read by one of them, or else the pictures.
static bool is_elsewhere(const ecd_generate *g, size_t picture)
{
    size_t each = g->settings.prompts ? (size_t)g->settings.count : 1;
    return picture / each % (size_t)g->ranks.count != (size_t)g->ranks.rank;
}

static ecd_status check_pictures(ecd_generate *g, ecd_diag *diag)
{
    size_t each = (size_t)g->settings.count;
    for (size_t i = 0; i < g->count; i++) {
        ecd_picture *picture = &g->pictures[i];
        const ecd_prompt *line = g->settings.prompts ? &g->prompts.items[i / each] : NULL;
        ecd_diag fault = {0};
        ecd_status status = ECD_OK;
        if (is_elsewhere(g, i)) {
            picture->state = ECD_PICTURE_ELSEWHERE;
            continue;
        }
        status = check_picture(g, picture, line, &fault);
        if (status && (status = ecd_generate_fail_picture(g, i, status, &fault))) {
            *diag = fault;
            return status;
        }
    }
    return ECD_OK;
}

ecd_status ecd_generate_plan_pictures(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    bool given = s->classes || s->prompt || s->prompts;
    ecd_status status = s->replay && !given ? check_recipe(g, diag) : check_seeds(s->seed, s->count, diag);
    if (status)
        return status;
    if (s->replay && !given && !s->has_count && !s->has_seed)
        status = plan_recipe(g, diag);
    else if (s->prompts)
        status = plan_list(g, diag);
    else if (g->info.text_width)
        status = plan_prompt(g, diag);
    else
        status = plan_classes(g, diag);
    for (size_t i = 0; !status && !g->info.text_width && i < g->count; i++)
        g->pictures[i].label = ecd_model_folder_label(&g->folder, g->pictures[i].request.class_id);
    return status ? status : check_pictures(g, diag);
}
