// What the files of `ecdit generate` share: settings, the pictures to draw, and where they go.
#ifndef ECD_APP_GENERATE_H
#define ECD_APP_GENERATE_H

#include "app/options.h"
#include "app/prompts.h"
#include "app/ranks.h"
#include "app/recipe.h"
#include "app/sheet.h"
#include "dit/pipeline/pipeline.h"
#include "lib/batch.h"
#include "lib/image_fit.h"

enum { ECD_GENERATE_MAX_PICTURES = ECD_RECIPE_MAX_IMAGES, ECD_GENERATE_BATCH = ECD_BATCH_MOST };

extern const char *const ecd_weights_names[];  // "auto", "ecf8", "raw": as ecd_weights_mode counts
extern const char *const ecd_backend_names[];  // "auto", "ref", "cpu", "cuda"
extern const char *const ecd_compute_names[];  // "auto", "f32", "bf16", "fp8": as ecd_compute counts

// The command line (and the recipe under it), borrowed from argv.
typedef struct ecd_settings {
    const char *model, *classes, *prompt, *prompts, *output, *replay, *cache_text, *config;
    const char *init;     // a picture to begin from; those that are NULL were not given
    int64_t count, steps; // steps 0: the model's default
    int64_t max_tokens;   // of a text; 0: the model's default
    uint64_t seed;
    double guidance; // NAN: the model's default
    double strength; // NAN: not given
    int init_fit;    // ecd_image_fit
    ecd_option_size size; // 0: the model's own
    int64_t vae_tile;     // pixels; 0: none
    int sampler;          // 0: the model's own; see ecd_generate_sampler
    int weights, backend, compute;
    int64_t threads; // 0: all
    uint64_t memory_budget; // 0: what is free
    bool grid, show, json, quiet, resume;
    bool has_init; // on the command line: a recipe's may be another
    bool has_count, has_seed, has_max_tokens; // given beside --replay
    bool overridden; // a setting beside --replay that may change the picture
    ecd_recipe recipe; // of --replay; owned
} ecd_settings;

typedef enum ecd_picture_state {
    ECD_PICTURE_PLANNED,
    ECD_PICTURE_ELSEWHERE, // another process of the run draws it
    ECD_PICTURE_THERE,     // --resume found it
    ECD_PICTURE_DRAWN,
    ECD_PICTURE_FAILED,
} ecd_picture_state;

typedef struct ecd_picture {
    ecd_picture_request request;
    const char *label;  // of the class, borrowed from the model folder; NULL for a class without a name
    const char *prompt; // borrowed; NULL for models of classes
    size_t text;        // the prompt's in g->texts
    size_t line;        // of --prompts; 0 without
    ecd_option_size size; // as asked for, 0: the model's own; once drawn, as it is
    int64_t steps;
    double guidance;
    char *file;        // owned; NULL with --grid
    char sha256[ECD_SHA256_TEXT];
    const char *expected; // sha256 of the recipe or NULL
    ecd_picture_state state;
} ecd_picture;

// One run of the command.
typedef struct ecd_generate {
    ecd_settings settings;
    ecd_ranks ranks; // the processes that share the pictures
    char *model_path, *model_name;
    ecd_model_folder folder;
    ecd_transformer_info info;
    ecd_prompts prompts; // of --prompts
    ecd_texts *texts;    // NULL for models of classes
    ecd_image init, fitted; // of --init: as read, and in the size of the open pipeline
    char init_sha256[ECD_SHA256_TEXT]; // of its RGB bytes
    ecd_backend *backend;
    ecd_pipeline *pipeline; // for pictures of one size; the last one stays open for its report
    ecd_option_size asked;  // the size that it was opened for
    ecd_pipeline_report report; // of all pipelines, times added up
    ecd_picture *pictures;
    size_t count, to_draw; // to_draw: by this process
    char *sheet_file;
    ecd_sheet sheet;
    int64_t batch, width, height; // most pictures at once; of the open pipeline
    size_t drawn, batch_size, batch_pictures[ECD_GENERATE_BATCH]; // pictures finished; those of the batch
    ecd_status first_failure; // of a picture of --prompts
    uint64_t start_ns, draw_start_ns, text_ns;
    uint64_t text_peak_bytes; // resident at most while texts were read
    bool progress_shown;
} ecd_generate;

// generate_options.c: the command line, over the recipe of --replay.
ecd_status ecd_generate_parse(int argc, char **argv, ecd_settings *out, ecd_diag *diag);
// What the model that was found cannot take: ECD_USAGE, naming what to use.
ecd_status ecd_generate_check_options(const ecd_generate *g, ecd_diag *diag);
const char *ecd_generate_sampler(int index); // settings.sampler as ecd_draw takes it: NULL for the model's own
int64_t ecd_generate_tile(const ecd_settings *s, int64_t width, int64_t height); // 0 where a picture fits in one

// generate_init.c: the picture of --init or of the recipe, read and checked, and brought to the size of the pipeline.
ecd_status ecd_generate_read_init(ecd_generate *g, ecd_diag *diag);
ecd_status ecd_generate_fit_init(ecd_generate *g, ecd_diag *diag);
uint64_t ecd_generate_init_bytes(const ecd_generate *g, uint64_t width, uint64_t height); // that they take in memory
void ecd_generate_recipe_init(const ecd_generate *g, ecd_recipe *out);

// generate_plan.c: the pictures, all checked before anything is computed.
ecd_status ecd_generate_plan_pictures(ecd_generate *g, ecd_diag *diag);
// generate_names.c: their files.
ecd_status ecd_generate_plan_files(ecd_generate *g, ecd_diag *diag);
// generate_texts.c: tokens of all prompts, with warnings about what is cut; later their encoders' outputs.
ecd_status ecd_generate_plan_texts(ecd_generate *g, ecd_diag *diag);
ecd_status ecd_generate_read_texts(ecd_generate *g, ecd_diag *diag);
// generate_resume.c: which of the pictures are there already.
void ecd_generate_resume(ecd_generate *g);
// generate_draw.c: all pictures, by size and batch. A picture of --prompts that cannot be drawn is told, kept as
// first_failure, and left.
ecd_status ecd_generate_draw(ecd_generate *g, ecd_diag *diag);
ecd_status ecd_generate_fail_picture(ecd_generate *g, size_t picture, ecd_status status, const ecd_diag *diag);
uint64_t ecd_generate_budget(const ecd_generate *g); // bytes of this process
void ecd_generate_report(const ecd_generate *g, ecd_pipeline_report *out); // of the open pipeline, texts counted

// generate_output.c: progress, files, standard output.
void ecd_generate_progress(void *user, ecd_phase phase, int done, int total);
void ecd_generate_tell_plan(const ecd_generate *g); // what was planned, for people
void ecd_generate_clear_progress(ecd_generate *g);
ecd_status ecd_generate_sink(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag);
ecd_status ecd_generate_write_sheet(ecd_generate *g, ecd_diag *diag);
ecd_status ecd_generate_print(ecd_generate *g, ecd_diag *diag); // generate_report.c
void ecd_generate_recipe(const ecd_generate *g, const ecd_picture *picture, ecd_recipe *out); // all but the images

#endif
