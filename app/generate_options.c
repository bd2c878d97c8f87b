#include "app/generate.h"

#include "dit/sampler/sampler.h"
#include "lib/image.h"
#include "lib/model_defaults.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const ecd_weights_names[] = {"auto", "ecf8", "raw", NULL};
const char *const ecd_backend_names[] = {"auto", "ref", "cpu", "cuda", NULL};
const char *const ecd_compute_names[] = {"auto", "f32", "bf16", "fp8", NULL};
static const char *const fit_names[] = {"scale", "crop", NULL}; // as ecd_image_fit counts
static const double default_strength = 0.6;                     // FluxImg2ImgPipeline's

enum { MAX_SAMPLERS = 16 };

// "auto", then the samplers by name.
static void sampler_choices(const char *out[MAX_SAMPLERS + 1])
{
    const char *const *names = ecd_sampler_names();
    size_t count = 0;
    out[count++] = "auto";
    while (*names && count < MAX_SAMPLERS)
        out[count++] = *names++;
    out[count] = NULL;
}

const char *ecd_generate_sampler(int index)
{
    return index ? ecd_sampler_names()[index - 1] : NULL;
}

int64_t ecd_generate_tile(const ecd_settings *s, int64_t width, int64_t height)
{
    return s->vae_tile < width || s->vae_tile < height ? s->vae_tile : 0;
}

// What was given, apart from the values: --replay asks.
typedef struct presence {
    bool output, steps, guidance, size, sampler, backend, compute, classes, prompt, prompts, strength, fit, tile;
} presence;

static ecd_status parse(int argc, char **argv, ecd_settings *s, presence *given, int *first, ecd_diag *diag)
{
    const char *samplers[MAX_SAMPLERS + 1];
    sampler_choices(samplers);
    const ecd_option all[] = {
        {"class", 0, ECD_OPTION_TEXT, &s->classes, &given->classes, 0, 0, NULL},
        {"prompt", 0, ECD_OPTION_ANY_TEXT, &s->prompt, &given->prompt, 0, 0, NULL},
        {"prompts", 0, ECD_OPTION_TEXT, &s->prompts, &given->prompts, 0, 0, NULL},
        {"max-sequence-length", 0, ECD_OPTION_INT, &s->max_tokens, &s->has_max_tokens, 1, ECD_TEXTS_MAX_TOKENS, NULL},
        {"config", 0, ECD_OPTION_TEXT, &s->config, NULL, 0, 0, NULL},
        {"cache-text", 0, ECD_OPTION_TEXT, &s->cache_text, NULL, 0, 0, NULL},
        {"resume", 0, ECD_OPTION_FLAG, &s->resume, NULL, 0, 0, NULL},
        {"output", 'o', ECD_OPTION_TEXT, &s->output, &given->output, 0, 0, NULL},
        {"count", 'n', ECD_OPTION_INT, &s->count, &s->has_count, 1, ECD_GENERATE_MAX_PICTURES, NULL},
        {"seed", 0, ECD_OPTION_SEED, &s->seed, &s->has_seed, 0, 0, NULL},
        {"steps", 0, ECD_OPTION_INT, &s->steps, &given->steps, 1, ECD_MODEL_MAX_STEPS, NULL},
        {"guidance", 0, ECD_OPTION_NUMBER, &s->guidance, &given->guidance, 0, 1000, NULL},
        {"size", 0, ECD_OPTION_SIZE, &s->size, &given->size, 1, ECD_IMAGE_MAX_SIDE, NULL},
        {"sampler", 0, ECD_OPTION_CHOICE, &s->sampler, &given->sampler, 0, 0, samplers},
        {"init", 0, ECD_OPTION_TEXT, &s->init, &s->has_init, 0, 0, NULL},
        {"strength", 0, ECD_OPTION_NUMBER, &s->strength, &given->strength, 0, 1, NULL},
        {"init-fit", 0, ECD_OPTION_CHOICE, &s->init_fit, &given->fit, 0, 0, fit_names},
        {"vae-tile", 0, ECD_OPTION_INT, &s->vae_tile, &given->tile, 0, ECD_IMAGE_MAX_SIDE, NULL},
        {"weights", 0, ECD_OPTION_CHOICE, &s->weights, NULL, 0, 0, ecd_weights_names},
        {"memory-budget", 0, ECD_OPTION_BYTES, &s->memory_budget, NULL, 1, 0, NULL},
        {"backend", 0, ECD_OPTION_CHOICE, &s->backend, &given->backend, 0, 0, ecd_backend_names},
        {"compute", 0, ECD_OPTION_CHOICE, &s->compute, &given->compute, 0, 0, ecd_compute_names},
        {"threads", 0, ECD_OPTION_INT, &s->threads, NULL, 1, 1024, NULL},
        {"replay", 0, ECD_OPTION_TEXT, &s->replay, NULL, 0, 0, NULL},
        {"grid", 0, ECD_OPTION_FLAG, &s->grid, NULL, 0, 0, NULL},
        {"show", 0, ECD_OPTION_FLAG, &s->show, NULL, 0, 0, NULL},
        {"json", 0, ECD_OPTION_FLAG, &s->json, NULL, 0, 0, NULL},
        {"quiet", 0, ECD_OPTION_FLAG, &s->quiet, NULL, 0, 0, NULL},
    };
    return ecd_options_parse(argc, argv, all, sizeof all / sizeof *all, first, diag);
}

// What cannot stand together, whatever the model.
static ecd_status check_together(const ecd_settings *s, const presence *given, ecd_diag *diag)
{
    int subjects = given->classes + given->prompt + given->prompts;
    if (subjects > 1)
        return ecd_fail(diag, ECD_USAGE, "--class, --prompt and --prompts: expected one of them");
    if (!s->replay && !subjects)
        return ecd_fail(diag, ECD_USAGE,
                        "expected --class NAME, --prompt TEXT or --prompts FILE (or --replay IN.png), see ecdit generate "
                        "--help");
    bool begins = s->init || s->recipe.init[0];
    if ((given->strength || given->fit) && !begins && (!s->replay || s->recipe.count))
        return ecd_fail(diag, ECD_USAGE, "--%s: expected --init IN.png beside it", given->strength ? "strength" : "init-fit");
    if (given->strength && !(s->strength > 0))
        return ecd_fail(diag, ECD_USAGE, "--strength: expected more than 0 and at most 1");
    if (s->vae_tile && s->vae_tile < ECD_MODEL_LEAST_TILE)
        return ecd_fail(diag, ECD_USAGE, "--vae-tile: expected at least %d pixels, or 0 for none", ECD_MODEL_LEAST_TILE);
    if (s->grid && given->prompts)
        return ecd_fail(diag, ECD_USAGE, "--grid: not with --prompts, whose pictures are files of their own");
    if (s->grid && s->resume)
        return ecd_fail(diag, ECD_USAGE, "--resume: not with --grid, which is one file");
    return ECD_OK;
}

ecd_status ecd_generate_check_options(const ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    bool texts = g->info.text_width > 0;
    if (texts && s->classes)
        return ecd_fail(diag, ECD_USAGE, "--class: this model draws texts: use --prompt");
    if (!texts && (s->prompt || s->prompts))
        return ecd_fail(diag, ECD_USAGE, "--prompt%s: this model draws classes: use --class", s->prompt ? "" : "s");
    if (!texts && s->has_max_tokens)
        return ecd_fail(diag, ECD_USAGE, "--max-sequence-length: not for models that draw classes");
    if (!texts && s->cache_text)
        return ecd_fail(diag, ECD_USAGE, "--cache-text: not for models that draw classes");
    return ECD_OK;
}

static ecd_status index_of(const char *name, const char *const *names, const char *key, int *out, ecd_diag *diag)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], name)) {
            *out = i;
            return ECD_OK;
        }
    }
    return ecd_fail(diag, ECD_DATA, "recipe: key %s: %s is not known", key, name);
}

static ecd_status take_recipe(ecd_settings *s, ecd_diag *diag)
{
    const ecd_recipe *r = &s->recipe;
    const char *samplers[MAX_SAMPLERS + 1];
    sampler_choices(samplers);
    ecd_status status = ecd_recipe_read(s->replay, &s->recipe, diag);
    if (status)
        return status;
    s->model = r->model;
    s->seed = r->images[0].seed;
    s->steps = r->steps;
    s->guidance = r->guidance;
    s->size = (ecd_option_size){r->width, r->height};
    s->max_tokens = r->max_tokens;
    s->strength = r->strength;
    s->vae_tile = r->vae_tile;
    s->grid = r->count > 1;
    status = index_of(r->sampler, samplers, "sampler", &s->sampler, diag);
    if (!status)
        status = index_of(r->init[0] ? r->init_fit : fit_names[0], fit_names, "fit", &s->init_fit, diag);
    if (!status)
        status = index_of(r->weights, ecd_weights_names, "weights", &s->weights, diag);
    if (!status)
        status = index_of(r->backend, ecd_backend_names, "backend", &s->backend, diag);
    if (!status)
        status = index_of(r->compute, ecd_compute_names, "compute", &s->compute, diag);
    if (status)
        ecd_diag_file(diag, s->replay);
    return status;
}

ecd_status ecd_generate_parse(int argc, char **argv, ecd_settings *out, ecd_diag *diag)
{
    presence given = {0};
    int first;
    *out = (ecd_settings){.count = 1, .guidance = NAN, .strength = NAN};
    ecd_status status = parse(argc, argv, out, &given, &first, diag);
    if (status)
        return status;
    if (argc - first > 1)
        return ecd_fail(diag, ECD_USAGE, "%s: one MODEL is enough (classes go to --class, texts to --prompt)",
                        argv[first + 1]);
    if ((status = check_together(out, &given, diag)))
        return status;
    if (out->replay) { // the recipe first, then once more what stands beside it
        status = take_recipe(out, diag);
        if (!status)
            status = parse(argc, argv, out, &given, &first, diag);
        if (!status)
            status = check_together(out, &given, diag);
        if (status)
            return status;
    }
    if (first < argc)
        out->model = argv[first];
    if (isnan(out->strength))
        out->strength = default_strength;
    out->overridden = first < argc || given.classes || given.prompt || given.prompts || out->has_count || out->has_seed ||
                      given.steps || given.guidance || given.size || given.sampler || given.backend || given.compute ||
                      given.strength || given.fit || given.tile || out->has_max_tokens;
    return ECD_OK;
}
