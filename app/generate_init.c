// --init: the picture that others begin from.
#define _GNU_SOURCE
#include "app/generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// A recipe knows the file's name alone: it is looked for here, then beside the picture that holds the recipe.
static ecd_status read_recipes_init(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    const char *name = s->recipe.init;
    int folder = (int)(name_of(s->replay) - s->replay);
    char *beside = NULL;
    if (asprintf(&beside, "%.*s%s", folder, s->replay, name) < 0)
        return ecd_fail_memory(diag, 0, "a path");
    ecd_status status = ECD_OK;
    const char *path = ecd_path_exists(name) ? name : beside;
    if (!ecd_path_exists(path))
        status = ecd_fail(diag, ECD_USAGE, "%s: its recipe begins from %s, which is neither here nor beside it: give --init",
                          s->replay, name);
    if (!status)
        status = ecd_image_read_png(path, &g->init, NULL, diag);
    free(beside);
    return status;
}

ecd_status ecd_generate_read_init(ecd_generate *g, ecd_diag *diag)
{
    ecd_settings *s = &g->settings;
    const char *recorded = s->recipe.init_sha256;
    if (!s->init && !s->recipe.init[0])
        return ECD_OK;
    if (s->has_init && strlen(name_of(s->init)) >= ECD_RECIPE_NAME)
        return ecd_fail(diag, ECD_USAGE, "--init: expected a file whose name has at most %d bytes", ECD_RECIPE_NAME - 1);
    ecd_status status = s->has_init ? ecd_image_read_png(s->init, &g->init, NULL, diag) : read_recipes_init(g, diag);
    if (status)
        return status;
    ecd_sha256(g->init.pixels, (size_t)(g->init.width * g->init.height * 3), g->init_sha256);
    bool same = !strcmp(g->init_sha256, recorded);
    if (!s->has_init && !same)
        return ecd_fail(diag, ECD_DATA,
                        "%s: %s is not the picture that its recipe begins from (SHA-256 of its pixels %.12s.., the "
                        "recipe's %.12s..): give that, or another one by --init",
                        s->replay, s->recipe.init, g->init_sha256, recorded);
    s->overridden = s->overridden || (s->replay && !same);
    if (!s->has_init)
        s->init = s->recipe.init;
    return ECD_OK;
}

ecd_status ecd_generate_fit_init(ecd_generate *g, ecd_diag *diag)
{
    ecd_image_free(&g->fitted);
    return ecd_image_fit_to(&g->init, g->width, g->height, (ecd_image_fit)g->settings.init_fit, &g->fitted, diag);
}

uint64_t ecd_generate_init_bytes(const ecd_generate *g, uint64_t width, uint64_t height)
{
    uint64_t read = (uint64_t)(g->init.width * g->init.height);
    return g->settings.init ? 3 * (read + 2 * width * height) : 0;
}

void ecd_generate_recipe_init(const ecd_generate *g, ecd_recipe *out)
{
    const ecd_settings *s = &g->settings;
    if (!s->init)
        return;
    snprintf(out->init, sizeof out->init, "%s", name_of(s->init));
    snprintf(out->init_fit, sizeof out->init_fit, "%s", s->init_fit == ECD_IMAGE_CROP ? "crop" : "scale");
    memcpy(out->init_sha256, g->init_sha256, sizeof out->init_sha256);
    out->strength = s->strength;
}
