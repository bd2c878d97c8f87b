// What the files of `ecdit bench` share: settings, figures, measurements.
//
// A measurement is one process: this program again, with the hidden command bench-run, which draws one batch on one
// path and writes its figures as one line of JSON to standard output. So the peak of resident memory is the path's own.
//
// A point is a batch size under a memory budget (or none): both paths are measured there in turn.
#ifndef ECD_APP_BENCH_H
#define ECD_APP_BENCH_H

#include "app/options.h"
#include "base/file.h"
#include "dit/pipeline/pipeline.h"
#include "lib/sha256.h"

#include <cjson/cJSON.h>

enum {
    ECD_BENCH_MAX_BATCH = 64,
    ECD_BENCH_MAX_RUNS = 1000,
    ECD_BENCH_MAX_BUDGETS = 64,
    ECD_BENCH_TEXT = 128,
    ECD_BENCH_REASON = 256,
};

typedef enum ecd_bench_path { ECD_BENCH_ECF8, ECD_BENCH_RAW, ECD_BENCH_PATHS } ecd_bench_path;

typedef enum ecd_bench_figure {
    ECD_BENCH_OPEN,           // seconds, once a process: reading, checking, encoding or decoding at opening
    ECD_BENCH_DENOISE,        // seconds a picture, all steps
    ECD_BENCH_VAE,            // seconds a picture
    ECD_BENCH_PICTURE,        // seconds a picture: denoise and VAE
    ECD_BENCH_STEP,           // seconds a step of the whole batch
    ECD_BENCH_HOURLY,         // pictures an hour, at that rate
    ECD_BENCH_DECODE_HIDDEN,  // seconds a picture: decoding of weights while others compute
    ECD_BENCH_DECODE_EXPOSED, // seconds a picture: decoding that compute waited for
    ECD_BENCH_WEIGHTS,        // bytes held for the transformer's weights
    ECD_BENCH_UNCOMPRESSED,   // bytes of the same weights uncompressed
    ECD_BENCH_BUFFERS,        // bytes of decoded blocks
    ECD_BENCH_ACTIVATIONS,    // bytes planned for the transformer's activations
    ECD_BENCH_VAE_WEIGHTS,
    ECD_BENCH_VAE_ACTIVATIONS,
    ECD_BENCH_READ,     // bytes that the kernel read from disk for the process, page cache not counted
    ECD_BENCH_SENT,      // bytes of weights sent over a device's bus to stay there; these three are 0 without a device
    ECD_BENCH_SENT_STEP, // and for each step of the whole batch
    ECD_BENCH_DEVICE,    // bytes of the device's memory held at most, of which PREDICTED is then
    ECD_BENCH_PREDICTED, // bytes of the whole process at its peak, as planned before drawing
    ECD_BENCH_PEAK_RSS, // bytes resident at most, the whole process
    ECD_BENCH_FIGURES,
} ecd_bench_figure;

typedef enum ecd_bench_unit { ECD_BENCH_SECONDS, ECD_BENCH_BYTES, ECD_BENCH_RATE } ecd_bench_unit;

typedef struct ecd_bench_figure_info {
    const char *key;   // in JSON and CSV
    const char *title; // in the table
    ecd_bench_unit unit;
} ecd_bench_figure_info;

extern const ecd_bench_figure_info ecd_bench_figures[ECD_BENCH_FIGURES];
extern const char *const ecd_bench_path_names[ECD_BENCH_PATHS]; // "ecf8", "raw"

typedef struct ecd_bench_sample {
    double values[ECD_BENCH_FIGURES];
    char plan[ECD_BENCH_REASON]; // what the pipeline chose, in words
    double least_bytes;          // where the budget was refused: the least that works; else 0
} ecd_bench_sample;

// One picture's hash and who drew it first: every later drawing of this class and seed must agree.
typedef struct ecd_bench_hash {
    char sha256[ECD_SHA256_TEXT]; // "" until drawn
    ecd_bench_path path;
    int64_t batch;
} ecd_bench_hash;

// What a child says about itself beside its figures.
typedef struct ecd_bench_context {
    char backend[ECD_BENCH_TEXT], detail[ECD_BENCH_TEXT], compute[ECD_BENCH_TEXT];
    int threads;
    int64_t width, height;
} ecd_bench_context;

typedef struct ecd_bench_point {
    uint64_t budget_bytes; // 0: none given
    int64_t batch;
    bool refused[ECD_BENCH_PATHS]; // the path does not fit the budget
    char reason[ECD_BENCH_PATHS][ECD_BENCH_REASON]; // of the refusal, or the plan
} ecd_bench_point;

typedef struct ecd_bench_settings {
    const char *model, *csv, *plot, *compare, *scratch, *budgets; // NULL: not given; borrowed from argv
    int synthetic; // index into ecd_synthetic_names
    bool has_synthetic;
    ecd_option_list batches;
    int64_t steps, runs, threads; // steps and threads 0: the model's default, all processors
    int backend, compute;
    ecd_option_size size; // 0: the model's own
    bool json;
} ecd_bench_settings;

typedef struct ecd_bench {
    ecd_bench_settings settings;
    char *command; // the command line, owned
    char *model_path, *model_name;
    char *folders[ECD_BENCH_PATHS]; // what each path reads; owned
    ecd_bench_point *points;        // owned
    int point_count;
    int64_t classes;  // 0: a model of texts
    char *texts_file; // then what ECD_BENCH_PROMPT's encoders gave; owned, and removed at the end
    double guidance;
    ecd_bench_context context;
    ecd_bench_sample *samples;                  // [points][paths][runs], owned
    ecd_bench_hash hashes[ECD_BENCH_MAX_BATCH]; // of picture i
} ecd_bench;

typedef struct ecd_bench_summary {
    double median, min, max;
    bool defined; // false for a ratio to nothing
} ecd_bench_summary;

// Picture i of a batch, the same for every batch and path.
ecd_picture_request ecd_bench_request(int64_t index, int64_t classes);

// bench_points.c: the points that --budgets and --batch ask for, budgets outermost.
ecd_status ecd_bench_make_points(ecd_bench *b, ecd_diag *diag);
const char *ecd_bench_point_text(const ecd_bench_point *point, char out[ECD_BENCH_TEXT]); // "batch 1, budget 1.50G"
// bench_prepare.c: from the settings to points and folders, all checked, nothing measured.
ecd_status ecd_bench_prepare(ecd_bench *b, ecd_diag *diag);
void ecd_bench_free(ecd_bench *b); // what b owns
// bench_texts.c: the text of models of texts, encoded; in the child its outputs [tokens, text_width] and [pooled_width], one
// behind the other. The caller frees *out.
#define ECD_BENCH_PROMPT "a red fox that sleeps in the snow"
ecd_status ecd_bench_make_text(ecd_bench *b, const ecd_model_folder *folder, const ecd_transformer_info *info,
                               ecd_diag *diag);
ecd_status ecd_bench_take_text(const char *file, const ecd_transformer_info *info, float **out, ecd_diag *diag);
// bench_folders.c: the folders that the paths read, made in the scratch folder where needed.
ecd_status ecd_bench_find_folders(ecd_bench *b, ecd_diag *diag);

// bench_spawn.c: one measurement in a process of its own. ECD_DATA if a picture is not the one drawn before.
ecd_status ecd_bench_measure(ecd_bench *b, ecd_bench_path path, const ecd_bench_point *point, ecd_bench_sample *out,
                             ecd_diag *diag);
// bench_reply.c: what the child wrote (a line of JSON) becomes figures, or the child's own diagnosis.
ecd_status ecd_bench_read_reply(ecd_bench *b, ecd_bench_path path, int64_t batch, const char *text,
                                ecd_bench_sample *out, ecd_diag *diag);

// bench_stats.c
ecd_bench_sample *ecd_bench_samples(const ecd_bench *b, int point, ecd_bench_path path); // [runs]
ecd_bench_summary ecd_bench_summarise(double *values, int64_t count);                          // sorts the values
ecd_status ecd_bench_figure_of(const ecd_bench *b, int point, ecd_bench_path path, ecd_bench_figure figure,
                               ecd_bench_summary *out, ecd_diag *diag);
// Of ecf8 / raw, run by run: a pair is measured in turn, so that what else the machine does meets both.
ecd_status ecd_bench_ratio_of(const ecd_bench *b, int point, ecd_bench_figure figure, ecd_bench_summary *out,
                              ecd_diag *diag);

// bench_table.c, bench_sweep.c (one line a point), bench_json.c, bench_csv.c
ecd_status ecd_bench_print_table(const ecd_bench *b, ecd_diag *diag);
ecd_status ecd_bench_print_sweep(const ecd_bench *b, ecd_diag *diag);
ecd_status ecd_bench_print_json(const ecd_bench *b, ecd_diag *diag);
ecd_status ecd_bench_write_csv(const ecd_bench *b, ecd_writer *writer, ecd_diag *diag);
ecd_status ecd_bench_write_plot(const ecd_bench *b, ecd_diag *diag); // bench_plot.c
const char *ecd_bench_compiler(void); // "gcc 12.2.0"
// bench_compare.c: what became slower or larger than in an earlier --json report, for people. The file is read and
// checked first of all.
ecd_status ecd_bench_read_old(const char *path, cJSON **out, ecd_diag *diag);
ecd_status ecd_bench_print_comparison(const ecd_bench *b, const cJSON *old, ecd_diag *diag);

#endif
