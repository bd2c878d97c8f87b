#define _GNU_SOURCE
#include "app/generate.h"

#include "app/image.h"
#include "base/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_CLASSES = 1024, SLUG = 64 };

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

static ecd_status make_pictures(ecd_generate *g, size_t count, ecd_diag *diag)
{
    if (count > ECD_GENERATE_MAX_PICTURES)
        return ecd_fail(diag, ECD_USAGE, "%zu pictures, expected at most %d", count, ECD_GENERATE_MAX_PICTURES);
    g->pictures = calloc(count, sizeof *g->pictures);
    g->count = count;
    return g->pictures ? ECD_OK : ecd_fail_memory(diag, count * sizeof *g->pictures, "the list of pictures");
}

static ecd_status plan_recipe(ecd_generate *g, ecd_diag *diag)
{
    const ecd_recipe *r = &g->settings.recipe;
    ecd_status status = make_pictures(g, r->count, diag);
    for (size_t i = 0; !status && i < g->count; i++) {
        if (r->images[i].class_id >= g->info.num_classes)
            return ecd_fail(diag, ECD_USAGE, "%s: class %" PRId64 " of its recipe: this model has %" PRId64,
                            g->settings.replay, r->images[i].class_id, g->info.num_classes);
        g->pictures[i].request = (ecd_picture_request){r->images[i].class_id, r->images[i].seed};
        if (!g->settings.overridden && r->images[i].sha256[0])
            g->pictures[i].expected = r->images[i].sha256;
    }
    return status;
}

static ecd_status plan_classes(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    int64_t ids[MAX_CLASSES];
    size_t classes = 0;
    ecd_status status = s->classes ? classes_of_text(g, ids, &classes, diag) : classes_of_recipe(g, ids, &classes, diag);
    if (status)
        return status;
    if (s->seed > UINT64_MAX - (uint64_t)(s->count - 1))
        return ecd_fail(diag, ECD_USAGE, "--seed %" PRIu64 " with -n %" PRId64 ": seeds end at %" PRIu64, s->seed, s->count,
                        UINT64_MAX);
    size_t each = (size_t)s->count;
    status = make_pictures(g, classes * each, diag);
    for (size_t i = 0; !status && i < g->count; i++)
        g->pictures[i].request = (ecd_picture_request){ids[i / each], s->seed + i % each};
    return status;
}

ecd_status ecd_generate_plan_pictures(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    bool as_recorded = s->replay && !s->has_class && !s->has_count && !s->has_seed;
    ecd_status status = as_recorded ? plan_recipe(g, diag) : plan_classes(g, diag);
    for (size_t i = 0; !status && i < g->count; i++)
        g->pictures[i].label = ecd_model_folder_label(&g->folder, g->pictures[i].request.class_id);
    return status;
}

// A class' name as part of a file name: small ASCII letters and digits, everything else one dash.
static void make_slug(const ecd_picture *picture, char out[SLUG])
{
    size_t used = 0;
    bool gap = false;
    for (const char *c = picture->label ? picture->label : ""; *c && used + 2 < SLUG; c++) {
        char small = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        bool plain = (small >= 'a' && small <= 'z') || (small >= '0' && small <= '9');
        if (plain && gap && used)
            out[used++] = '-';
        gap = !plain;
        if (plain)
            out[used++] = small;
    }
    out[used] = 0;
    if (!used)
        snprintf(out, SLUG, "class-%" PRId64, picture->request.class_id);
}

// "-ID" where another class of this run has the same file name (ImageNet's two cranes), else "".
static void make_distinction(const ecd_generate *g, const ecd_picture *picture, const char *slug, char out[24])
{
    char other[SLUG];
    out[0] = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (g->pictures[i].request.class_id == picture->request.class_id)
            continue;
        make_slug(&g->pictures[i], other);
        if (!strcmp(other, slug))
            snprintf(out, 24, "-%" PRId64, picture->request.class_id);
    }
}

static ecd_status name_picture(ecd_generate *g, ecd_picture *picture, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    bool folder = s->output && ecd_path_is_folder(s->output);
    char slug[SLUG], distinction[24];
    int length;
    make_slug(picture, slug);
    make_distinction(g, picture, slug, distinction);
    if (s->output && !folder && g->count == 1) {
        picture->file = strdup(s->output);
        length = picture->file ? 0 : -1;
    } else if (s->output && !folder) {
        const char *dot = strrchr(s->output, '.');
        length = asprintf(&picture->file, "%.*s-%s%s-%" PRIu64 "%s", (int)(dot - s->output), s->output, slug, distinction,
                          picture->request.seed, dot);
    } else {
        size_t end = folder ? strlen(s->output) : 0;
        length = asprintf(&picture->file, "%s%s%s%s-%" PRIu64 "%s.png", folder ? s->output : "",
                          folder && s->output[end - 1] != '/' ? "/" : "", slug, distinction, picture->request.seed,
                          s->replay ? "-replay" : "");
    }
    if (length >= 0)
        return ECD_OK;
    picture->file = NULL;
    return ecd_fail_memory(diag, SLUG, "a file name");
}

static ecd_status name_sheet(ecd_generate *g, ecd_diag *diag)
{
    const char *output = g->settings.output;
    if (!output)
        output = "sheet.png";
    g->sheet_file = ecd_path_is_folder(output) ? ecd_path_join(output, "sheet.png") : strdup(output);
    return g->sheet_file ? ECD_OK : ecd_fail_memory(diag, strlen(output), "a file name");
}

// Creates and removes the writer's temporary file: nothing short of that tells whether the folder takes one.
static ecd_status check_writable(const char *path, ecd_diag *diag)
{
    struct stat info;
    ecd_writer writer;
    if (!stat(path, &info) && !S_ISREG(info.st_mode)) {
        ecd_fail(diag, ECD_USAGE, "exists and is no regular file");
        ecd_diag_file(diag, path);
        return ECD_USAGE;
    }
    ecd_status status = ecd_writer_open(path, &writer, diag);
    if (!status)
        ecd_writer_abandon(&writer);
    return status;
}

ecd_status ecd_generate_plan_files(ecd_generate *g, ecd_diag *diag)
{
    ecd_image_format format;
    const char *output = g->settings.output;
    ecd_status status = ECD_OK;
    if (output && !ecd_path_is_folder(output))
        status = ecd_image_format_of(output, &format, diag);
    if (status)
        return status;
    if (g->settings.grid) {
        status = name_sheet(g, diag);
        return status ? status : check_writable(g->sheet_file, diag);
    }
    for (size_t i = 0; !status && i < g->count; i++)
        status = name_picture(g, &g->pictures[i], diag);
    if (!status) // all lie in one folder: one probe is enough
        status = check_writable(g->pictures[0].file, diag);
    return status;
}
