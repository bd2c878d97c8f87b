// A diffusers model folder: model_index.json and the configs of its components. Or a single file of weights with such a
// folder beside it, for what the file lacks.
#ifndef ECD_WEIGHTS_MODEL_FOLDER_H
#define ECD_WEIGHTS_MODEL_FOLDER_H

#include "weights/checkpoint.h"
#include "weights/json.h"

typedef struct ecd_label {
    int64_t id;
    const char *names; // "tench, Tinca tinca": synonyms between commas, as written
    char *first;       // "tench", trimmed; owned by the folder
} ecd_label;

typedef struct ecd_model_folder {
    char *path;               // of the folder
    char *file;               // the single file whose weights go before the folder's; NULL: there is none
    cJSON *index;             // model_index.json
    cJSON *transformer;       // transformer/config.json
    cJSON *vae;               // vae/config.json
    cJSON *scheduler;         // scheduler/scheduler_config.json
    cJSON *generation;        // generation_config.json (our own file), NULL if absent
    const char *transformer_class; // after renaming of legacy classes: Transformer2DModel -> DiTTransformer2DModel by norm_type
    ecd_label *labels;        // id2label sorted by id; NULL if there is none
    size_t label_count;
} ecd_model_folder;

// Reads the JSON files. ECD_USAGE if the folder is not there or has no model_index.json, ECD_DATA for bad content.
ecd_status ecd_model_folder_open(const char *path, ecd_model_folder *out, ecd_diag *diag);
// The same where `model` may be a single file of weights: configs (and tokenizers) are then those of the folder `config`.
// ECD_USAGE for a file without `config`, and for a folder with it.
ecd_status ecd_model_folder_open_with(const char *model, const char *config, ecd_model_folder *out, ecd_diag *diag);
// Opens a component's weights ("vae"), under diffusers' names: the file's, if it holds them, or those in the folder, or those of a
// file beside it that has the usual name (weights/component.h). ECD_DATA if there are none.
ecd_status ecd_model_folder_weights(const ecd_model_folder *folder, const char *component, ecd_checkpoint **out,
                                    ecd_diag *diag);
void ecd_model_folder_close(ecd_model_folder *folder); // leaves it zeroed; harmless twice

// The id of a class given as number, name or any synonym (trimmed; letter case ignored for ASCII). `max_id` bounds a number.
// An unknown one is ECD_USAGE; the message offers the nearest names.
ecd_status ecd_model_folder_class(const ecd_model_folder *folder, const char *text, int64_t max_id, int64_t *out, ecd_diag *diag);
// First synonym of an id, or NULL.
const char *ecd_model_folder_label(const ecd_model_folder *folder, int64_t id);

#endif
