// --resume: a picture whose file is there, with the recipe that this run would give it and the bytes that the recipe
// names, is not drawn again.
#include "app/generate.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "lib/image.h"
#include "lib/model_defaults.h"

static bool same_image(const ecd_picture *picture, const ecd_recipe_image *image)
{
    bool same = picture->prompt ? image->prompt && !strcmp(picture->prompt, image->prompt)
                                : !image->prompt && image->class_id == picture->request.class_id;
    return same && image->seed == picture->request.seed;
}

// All that may change a picture.
static bool same_recipe(const ecd_generate *g, const ecd_picture *picture, const ecd_recipe *r)
{
    ecd_recipe own;
    ecd_generate_recipe(g, picture, &own);
    int64_t side = ecd_model_own_side(&g->folder, &g->info);
    ecd_option_size size = picture->size.width ? picture->size : (ecd_option_size){side, side};
    bool sized = r->width == size.width && r->height == size.height;
    return r->count == 1 && sized && same_image(picture, &r->images[0]) && !strcmp(r->model, own.model) &&
           r->steps == own.steps && r->guidance == own.guidance && r->max_tokens == own.max_tokens &&
           r->vae_tile == ecd_generate_tile(&g->settings, size.width, size.height) &&
           !strcmp(r->init_sha256, own.init_sha256) && !strcmp(r->init_fit, own.init_fit) &&
           (!r->init[0] || r->strength == own.strength) &&
           !strcmp(r->sampler, own.sampler) && !strcmp(r->backend, own.backend) && !strcmp(r->compute, own.compute);
}

// Anything wrong with the file means that it is drawn again.
static bool is_there(const ecd_generate *g, ecd_picture *picture)
{
    ecd_recipe recipe = {0};
    ecd_image image = {0};
    char hash[ECD_SHA256_TEXT];
    bool there = ecd_path_exists(picture->file) && !ecd_recipe_read(picture->file, &recipe, NULL) &&
                 same_recipe(g, picture, &recipe) && !ecd_image_read_png(picture->file, &image, NULL, NULL);
    if (there) {
        ecd_sha256(image.pixels, (size_t)(image.width * image.height * 3), hash);
        there = !strcmp(hash, recipe.images[0].sha256);
        memcpy(picture->sha256, hash, sizeof hash);
    }
    if (there && !picture->size.width)
        picture->size = (ecd_option_size){image.width, image.height};
    ecd_image_free(&image);
    ecd_recipe_free(&recipe);
    return there;
}

void ecd_generate_resume(ecd_generate *g)
{
    size_t there = 0;
    for (size_t i = 0; g->settings.resume && i < g->count; i++) {
        ecd_picture *picture = &g->pictures[i];
        if (picture->state != ECD_PICTURE_PLANNED || !is_there(g, picture))
            continue;
        picture->state = ECD_PICTURE_THERE;
        there++;
    }
    if (there && !g->settings.quiet)
        fprintf(stderr, "ecdit: resume: %zu of %zu pictures are there already\n", there, g->count);
}
