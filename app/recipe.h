// The recipe: every setting that determines a picture, kept in its PNG's text, enough to draw it again.
//
// PNG texts: "Software" ("ecdit 0.1.0"), and "ecdit" with one JSON object:
//   {"version", "model", "width", "height", "steps", "guidance", "sampler", "backend", "compute", "weights",
//    "init": {"file", "sha256", "strength", "fit"} (pictures that begin from one),
//    "max_sequence_length" (models of texts), "vae_tile" (pixels, of pictures that are decoded by tiles),
//    "images": [{"class_id", "class", or "prompt"; "seed" (a text: JSON numbers lose 64 bits), "sha256"}, ..]}
// A sheet has one entry an image, in its order; "sha256" is that of the image's RGB bytes.
#ifndef ECD_APP_RECIPE_H
#define ECD_APP_RECIPE_H

#include "base/status.h"
#include "lib/sha256.h"

enum { ECD_RECIPE_NAME = 128, ECD_RECIPE_MAX_IMAGES = 1 << 16 };

#define ECD_RECIPE_KEY "ecdit"

typedef struct ecd_recipe_image {
    int64_t class_id;
    char *prompt; // NULL for a class; owned by a recipe that was parsed, borrowed where it is written
    uint64_t seed;
    char sha256[ECD_SHA256_TEXT]; // "" where not known
} ecd_recipe_image;

typedef struct ecd_recipe {
    char version[ECD_RECIPE_NAME];
    char model[ECD_RECIPE_NAME]; // the folder's name, not its path
    int64_t width, height, steps;
    int64_t max_tokens; // of a prompt; 0 for models of classes
    int64_t vae_tile;   // pixels; 0: none
    double guidance;
    char sampler[ECD_RECIPE_NAME];
    char backend[ECD_RECIPE_NAME], compute[ECD_RECIPE_NAME], weights[ECD_RECIPE_NAME];
    char init[ECD_RECIPE_NAME]; // the name of the file, without its path, that the pictures begin from; "": none
    char init_sha256[ECD_SHA256_TEXT]; // of its RGB bytes
    char init_fit[ECD_RECIPE_NAME];
    double strength; // NAN where there is no init
    ecd_recipe_image *images; // owned by a recipe that was parsed
    size_t count;
} ecd_recipe;

// JSON text of the recipe with `count` images; labels[i] (may be NULL) is the name of images[i]'s class.
// NULL when memory is out; free with free().
char *ecd_recipe_format(const ecd_recipe *recipe, const char *const *labels);

// Reads what ecd_recipe_format wrote; the text is hostile. ECD_DATA names the key. Free with ecd_recipe_free.
ecd_status ecd_recipe_parse(const char *text, ecd_recipe *out, ecd_diag *diag);

// The recipe of a PNG file. ECD_DATA where it has none.
ecd_status ecd_recipe_read(const char *path, ecd_recipe *out, ecd_diag *diag);

void ecd_recipe_free(ecd_recipe *recipe); // leaves it zeroed; harmless twice

#endif
