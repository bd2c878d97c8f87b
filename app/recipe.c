#define _GNU_SOURCE
#include "app/recipe.h"

#include "app/options.h"
#include "lib/image.h"
#include "weights/json.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add_image(cJSON *images, const ecd_recipe_image *image, const char *label)
{
    char seed[24];
    cJSON *item = cJSON_CreateObject();
    if (!item || !cJSON_AddItemToArray(images, item)) {
        cJSON_Delete(item);
        return false;
    }
    snprintf(seed, sizeof seed, "%" PRIu64, image->seed);
    bool ok = image->prompt ? cJSON_AddStringToObject(item, "prompt", image->prompt) != NULL
                            : cJSON_AddNumberToObject(item, "class_id", (double)image->class_id) &&
                                  (!label || cJSON_AddStringToObject(item, "class", label));
    return ok && cJSON_AddStringToObject(item, "seed", seed) &&
           cJSON_AddStringToObject(item, "sha256", image->sha256);
}

static bool add_init(cJSON *root, const ecd_recipe *recipe)
{
    cJSON *init = recipe->init[0] ? cJSON_AddObjectToObject(root, "init") : NULL;
    return !recipe->init[0] || (init && cJSON_AddStringToObject(init, "file", recipe->init) &&
                                cJSON_AddStringToObject(init, "sha256", recipe->init_sha256) &&
                                cJSON_AddNumberToObject(init, "strength", recipe->strength) &&
                                cJSON_AddStringToObject(init, "fit", recipe->init_fit));
}

char *ecd_recipe_format(const ecd_recipe *recipe, const char *const *labels)
{
    char *text = NULL;
    cJSON *root = cJSON_CreateObject(), *images = NULL;
    bool ok = root && cJSON_AddStringToObject(root, "version", recipe->version) &&
              cJSON_AddStringToObject(root, "model", recipe->model) &&
              cJSON_AddNumberToObject(root, "width", (double)recipe->width) &&
              cJSON_AddNumberToObject(root, "height", (double)recipe->height) &&
              cJSON_AddNumberToObject(root, "steps", (double)recipe->steps) &&
              cJSON_AddNumberToObject(root, "guidance", recipe->guidance) &&
              cJSON_AddStringToObject(root, "sampler", recipe->sampler) &&
              cJSON_AddStringToObject(root, "backend", recipe->backend) &&
              cJSON_AddStringToObject(root, "compute", recipe->compute) &&
              cJSON_AddStringToObject(root, "weights", recipe->weights) &&
              (!recipe->max_tokens ||
               cJSON_AddNumberToObject(root, "max_sequence_length", (double)recipe->max_tokens)) &&
              (!recipe->vae_tile || cJSON_AddNumberToObject(root, "vae_tile", (double)recipe->vae_tile)) &&
              add_init(root, recipe) && (images = cJSON_AddArrayToObject(root, "images"));
    for (size_t i = 0; ok && i < recipe->count; i++)
        ok = add_image(images, &recipe->images[i], labels ? labels[i] : NULL);
    if (ok)
        text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

static ecd_status read_name(const cJSON *root, const char *key, char out[ECD_RECIPE_NAME], ecd_diag *diag)
{
    const char *text;
    ecd_status status = ecd_json_string(root, key, NULL, &text, diag);
    if (status)
        return status;
    if (!text || !*text || strlen(text) >= ECD_RECIPE_NAME)
        return ecd_fail(diag, ECD_DATA, "key %s: expected a text of 1 to %d bytes", key, ECD_RECIPE_NAME - 1);
    memcpy(out, text, strlen(text) + 1);
    return ECD_OK;
}

static ecd_status read_image(const cJSON *item, ecd_recipe_image *out, ecd_diag *diag)
{
    const char *seed = NULL, *hash = NULL, *prompt = NULL;
    if (!cJSON_IsObject(item))
        return ecd_fail(diag, ECD_DATA, "key images: expected objects");
    ecd_status status = ecd_json_int(item, "class_id", -1, 0, INT32_MAX, &out->class_id, diag);
    if (!status)
        status = ecd_json_string(item, "seed", "", &seed, diag);
    if (!status)
        status = ecd_json_string(item, "sha256", "", &hash, diag);
    if (!status)
        status = ecd_json_string(item, "prompt", NULL, &prompt, diag);
    if (status)
        return status;
    if (!prompt && out->class_id < 0)
        return ecd_fail(diag, ECD_DATA, "key class_id: expected a class, or a prompt");
    if (!ecd_parse_seed(seed, &out->seed))
        return ecd_fail(diag, ECD_DATA, "key seed: expected the digits of a seed");
    if (*hash && !ecd_sha256_is(hash))
        return ecd_fail(diag, ECD_DATA, "key sha256: expected 64 hexadecimal digits");
    snprintf(out->sha256, sizeof out->sha256, "%s", hash);
    if (prompt && !(out->prompt = strdup(prompt)))
        return ecd_fail_memory(diag, strlen(prompt) + 1, "a recipe");
    return ECD_OK;
}

static ecd_status read_images(const cJSON *root, ecd_recipe *out, ecd_diag *diag)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "images"), *item;
    size_t count = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0;
    if (!count || count > ECD_RECIPE_MAX_IMAGES)
        return ecd_fail(diag, ECD_DATA, "key images: expected a list of 1 to %d", ECD_RECIPE_MAX_IMAGES);
    out->images = calloc(count, sizeof *out->images);
    if (!out->images)
        return ecd_fail_memory(diag, count * sizeof *out->images, "a recipe");
    cJSON_ArrayForEach(item, list)
    {
        ecd_status status = read_image(item, &out->images[out->count], diag);
        if (status)
            return status;
        out->count++;
    }
    return ECD_OK;
}

static ecd_status read_init(const cJSON *root, ecd_recipe *out, ecd_diag *diag)
{
    const cJSON *init = cJSON_GetObjectItemCaseSensitive(root, "init");
    char hash[ECD_RECIPE_NAME];
    out->strength = NAN;
    if (!init)
        return ECD_OK;
    if (!cJSON_IsObject(init))
        return ecd_fail(diag, ECD_DATA, "key init: expected an object");
    ecd_status status = read_name(init, "file", out->init, diag);
    if (!status)
        status = read_name(init, "sha256", hash, diag);
    if (!status)
        status = read_name(init, "fit", out->init_fit, diag);
    if (!status)
        status = ecd_json_number(init, "strength", NAN, &out->strength, diag);
    if (status)
        return status;
    if (strchr(out->init, '/'))
        return ecd_fail(diag, ECD_DATA, "key file: expected a name without a path");
    if (!ecd_sha256_is(hash))
        return ecd_fail(diag, ECD_DATA, "key sha256: expected 64 hexadecimal digits");
    if (!(out->strength > 0 && out->strength <= 1))
        return ecd_fail(diag, ECD_DATA, "key strength: expected above 0 and at most 1");
    memcpy(out->init_sha256, hash, sizeof out->init_sha256);
    return ECD_OK;
}

static ecd_status read_settings(const cJSON *root, ecd_recipe *out, ecd_diag *diag)
{
    const struct {
        const char *key;
        char *to;
    } names[] = {{"version", out->version}, {"model", out->model},     {"sampler", out->sampler},
                 {"backend", out->backend}, {"compute", out->compute}, {"weights", out->weights}};
    ecd_status status = ECD_OK;
    for (size_t i = 0; !status && i < sizeof names / sizeof *names; i++)
        status = read_name(root, names[i].key, names[i].to, diag);
    if (!status)
        status = ecd_json_int(root, "width", 0, 1, ECD_IMAGE_MAX_SIDE, &out->width, diag);
    if (!status)
        status = ecd_json_int(root, "height", 0, 1, ECD_IMAGE_MAX_SIDE, &out->height, diag);
    if (!status)
        status = ecd_json_int(root, "steps", 0, 1, INT32_MAX, &out->steps, diag);
    if (!status)
        status = ecd_json_int(root, "max_sequence_length", 0, 1, 1 << 20, &out->max_tokens, diag);
    if (!status)
        status = ecd_json_int(root, "vae_tile", 0, 1, ECD_IMAGE_MAX_SIDE, &out->vae_tile, diag);
    if (!status)
        status = ecd_json_number(root, "guidance", NAN, &out->guidance, diag);
    if (!status && (!out->width || !out->height || !out->steps || !isfinite(out->guidance)))
        status = ecd_fail(diag, ECD_DATA, "expected width, height, steps and guidance");
    return status;
}

ecd_status ecd_recipe_parse(const char *text, ecd_recipe *out, ecd_diag *diag)
{
    cJSON *root = NULL;
    *out = (ecd_recipe){0};
    ecd_status status = ecd_json_parse(text, strlen(text), 0, &root, diag);
    if (!status)
        status = read_settings(root, out, diag);
    if (!status)
        status = read_init(root, out, diag);
    if (!status)
        status = read_images(root, out, diag);
    cJSON_Delete(root);
    if (status)
        ecd_recipe_free(out);
    return status;
}

ecd_status ecd_recipe_read(const char *path, ecd_recipe *out, ecd_diag *diag)
{
    ecd_image_texts texts = {0};
    *out = (ecd_recipe){0};
    ecd_status status = ecd_image_read_png(path, NULL, &texts, diag);
    const char *text = status ? NULL : ecd_image_texts_find(&texts, ECD_RECIPE_KEY);
    if (!status && !text)
        status = ecd_fail(diag, ECD_DATA, "holds no recipe: expected a PNG drawn by ecdit");
    if (text && ecd_recipe_parse(text, out, diag)) {
        status = ECD_DATA;
        if (diag) // the text is a part of the file: its own offsets would mislead
            ecd_fail(diag, diag->status, "recipe: %s", diag->what);
    }
    if (status)
        ecd_diag_file(diag, path);
    ecd_image_texts_free(&texts);
    return status;
}

void ecd_recipe_free(ecd_recipe *recipe)
{
    for (size_t i = 0; i < recipe->count; i++)
        free(recipe->images[i].prompt);
    free(recipe->images);
    *recipe = (ecd_recipe){0};
}
