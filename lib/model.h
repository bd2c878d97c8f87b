// A model of libecdit: what ecdit.c opens and describes, and job.c draws with. Internal to lib/.
#ifndef ECD_LIB_MODEL_H
#define ECD_LIB_MODEL_H

#include "lib/batch.h"
#include "lib/ecdit.h"
#include "weights/summary.h"

enum { ECD_PLAN_TEXT = 512 };

// What a pipeline is opened for; one that was opened for more does as well.
typedef struct ecd_pipeline_need {
    int64_t width, height, batch; // batch: asked for; the pipeline may be for fewer at once
    bool guidance, init;
    uint64_t outside_bytes; // that the job holds beside it, under a budget
} ecd_pipeline_need;

struct ecdit_model {
    ecdit_options options;                         // but for its texts, which are those below
    char *path, *config, *text_cache; // NULL: none was given
    char *rates_file, *algorithms_file; // of options.cache_folder; likewise
    ecd_model_folder folder;
    ecd_transformer_info info;
    ecd_checkpoint_summary summary; // of the transformer
    int64_t steps, max_tokens;      // the model's own
    double guidance;
    ecd_backend *backend;
    ecd_texts *texts;       // of the last job, read; NULL: none
    ecd_pipeline *pipeline; // NULL until it is needed
    ecd_pipeline_need opened;
    int64_t batch; // pictures that the pipeline draws at once
    char plan[ECD_PLAN_TEXT];
    volatile int stop; // set by ecdit_cancel
};

// Copies a structure of the caller's, which may be a later version's: then what it has more must be 0. ECD_USAGE for
// bytes that are no version's.
ecd_status ecd_take_struct(void *to, size_t own_bytes, const void *from, size_t bytes, const char *name,
                           ecd_diag *diag);

// Fills `error` (NULL is allowed) and returns its status.
ecdit_status ecd_give_error(ecd_status status, const ecd_diag *diag, ecdit_error *error);

// The pipeline for `need`: the open one, or another in its place.
ecd_status ecd_model_prepare(ecdit_model *m, const ecd_pipeline_need *need, ecd_diag *diag);
void ecd_model_unload(ecdit_model *m); // closes the pipeline

#endif
