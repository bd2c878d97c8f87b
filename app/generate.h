// What the files of `ecdit generate` share: settings, the pictures to draw, and where they go.
#ifndef ECD_APP_GENERATE_H
#define ECD_APP_GENERATE_H

#include "app/options.h"
#include "app/recipe.h"
#include "app/sheet.h"
#include "dit/pipeline/pipeline.h"

enum { ECD_GENERATE_MAX_PICTURES = ECD_RECIPE_MAX_IMAGES, ECD_GENERATE_BATCH = 8 };

extern const char *const ecd_weights_names[];  // "auto", "ecf8", "raw": as ecd_weights_mode counts
extern const char *const ecd_backend_names[];  // "auto", "ref", "cpu", "cuda"
extern const char *const ecd_compute_names[];  // "auto", "f32", "bf16": as ecd_compute counts

// The command line (and the recipe under it), borrowed from argv.
typedef struct ecd_settings {
    const char *model, *classes, *output, *replay; // NULL: not given
    int64_t count, steps; // steps 0: the model's default
    uint64_t seed;
    double guidance; // NAN: the model's default
    ecd_option_size size; // 0: the model's own
    int sampler;          // 0: the model's own; see ecd_generate_sampler
    int weights, backend, compute;
    int64_t threads; // 0: all
    uint64_t memory_budget; // 0: what is free
    bool grid, show, json, quiet;
    bool has_class, has_count, has_seed; // given beside --replay
    bool overridden; // a setting beside --replay that may change the picture
    ecd_recipe recipe; // of --replay; owned
} ecd_settings;

typedef struct ecd_picture {
    ecd_picture_request request;
    const char *label; // borrowed from the model folder; NULL for a class without a name
    char *file;        // owned; NULL with --grid
    char sha256[ECD_SHA256_TEXT];
    const char *expected; // sha256 of the recipe or NULL
} ecd_picture;

// One run of the command.
typedef struct ecd_generate {
    ecd_settings settings;
    char *model_path, *model_name;
    ecd_model_folder folder;
    ecd_transformer_info info;
    ecd_backend *backend;
    ecd_pipeline *pipeline;
    ecd_pipeline_report report;
    ecd_picture *pictures;
    size_t count;
    char *sheet_file;
    ecd_sheet sheet;
    int64_t batch, width, height;
    size_t drawn, batch_start; // pictures finished; index of the batch's first
    uint64_t start_ns, draw_start_ns;
    bool progress_shown;
} ecd_generate;

// generate_options.c: the command line, over the recipe of --replay.
ecd_status ecd_generate_parse(int argc, char **argv, ecd_settings *out, ecd_diag *diag);
const char *ecd_generate_sampler(int index); // settings.sampler as ecd_draw takes it: NULL for the model's own

// generate_plan.c: the pictures, their files, all checked before anything is computed.
ecd_status ecd_generate_plan_pictures(ecd_generate *g, ecd_diag *diag);
ecd_status ecd_generate_plan_files(ecd_generate *g, ecd_diag *diag);
// generate_output.c: progress, files, standard output.
void ecd_generate_progress(void *user, ecd_phase phase, int done, int total);
void ecd_generate_tell_plan(const ecd_generate *g); // what was planned, for people
void ecd_generate_clear_progress(ecd_generate *g);
ecd_status ecd_generate_sink(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag);
ecd_status ecd_generate_write_sheet(ecd_generate *g, ecd_diag *diag);
ecd_status ecd_generate_print(ecd_generate *g, ecd_diag *diag);

#endif
