#define _GNU_SOURCE
#include "weights/model_folder.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "weights/component.h"

// Reads folder/component/name. A component that is missing is bad data: the folder itself is there.
static ecd_status read_part(const char *folder, const char *name, bool optional, cJSON **out, ecd_diag *diag)
{
    *out = NULL;
    char *path = ecd_path_join(folder, name);
    if (!path)
        return ecd_fail_memory(diag, strlen(folder) + strlen(name), "a path");
    ecd_status status = ECD_OK;
    if (ecd_path_exists(path)) {
        status = ecd_json_read(path, out, diag);
    } else if (!optional) {
        status = ecd_fail(diag, ECD_DATA, "not there, expected a config file of the model");
        ecd_diag_file(diag, path);
    }
    free(path);
    return status;
}

static ecd_status fail_in(const char *folder, const char *name, ecd_status status, ecd_diag *diag)
{
    char *path = ecd_path_join(folder, name);
    ecd_diag_file(diag, path ? path : name);
    free(path);
    return status;
}

// diffusers models/modeling_utils.py, LegacyModelMixin: one class of old became several, told apart by norm_type.
static ecd_status find_class(ecd_model_folder *folder, ecd_diag *diag)
{
    const char *name = NULL, *norm = NULL;
    ecd_status status = ecd_json_string(folder->transformer, "_class_name", NULL, &name, diag);
    if (!status)
        status = ecd_json_string(folder->transformer, "norm_type", "layer_norm", &norm, diag);
    if (!status && !name)
        status = ecd_fail(diag, ECD_DATA, "no \"_class_name\", expected one such as \"DiTTransformer2DModel\"");
    if (status)
        return fail_in(folder->path, "transformer/config.json", status, diag);
    folder->transformer_class = name;
    if (strcmp(name, "Transformer2DModel"))
        return ECD_OK;
    if (!strcmp(norm, "ada_norm_zero"))
        folder->transformer_class = "DiTTransformer2DModel";
    else if (!strcmp(norm, "ada_norm_single"))
        folder->transformer_class = "PixArtTransformer2DModel";
    return ECD_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const ecd_label *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

// JSON's keys are strings: "0", "1", ... Only the plain spelling counts, so that no two keys mean one id.
static bool read_id(const char *text, int64_t *out)
{
    size_t length = strlen(text);
    if (length < 1 || length > 9 || strspn(text, "0123456789") != length || (length > 1 && text[0] == '0'))
        return false;
    *out = strtoll(text, NULL, 10);
    return true;
}

// "tench" of " tench , Tinca tinca", as a new string.
static char *first_name(const char *names)
{
    names += strspn(names, " \t");
    size_t length = strcspn(names, ",");
    while (length && (names[length - 1] == ' ' || names[length - 1] == '\t'))
        length--;
    return strndup(names, length);
}

static ecd_status read_labels(ecd_model_folder *folder, ecd_diag *diag)
{
    const cJSON *labels = cJSON_GetObjectItemCaseSensitive(folder->index, "id2label"), *entry;
    if (!labels || cJSON_IsNull(labels))
        return ECD_OK;
    if (!cJSON_IsObject(labels)) {
        ecd_fail(diag, ECD_DATA, "key \"id2label\" is not an object, expected one of id: \"names\"");
        return fail_in(folder->path, "model_index.json", ECD_DATA, diag);
    }
    size_t count = (size_t)cJSON_GetArraySize(labels);
    if (!count)
        return ECD_OK;
    folder->labels = calloc(count, sizeof *folder->labels);
    if (!folder->labels)
        return ecd_fail_memory(diag, count * sizeof *folder->labels, "the class labels");
    cJSON_ArrayForEach(entry, labels) {
        ecd_label *label = &folder->labels[folder->label_count++];
        if (!read_id(entry->string, &label->id) || !cJSON_IsString(entry)) {
            ecd_fail(diag, ECD_DATA, "key \"%.60s\" of \"id2label\", expected an integer with a string", entry->string);
            return fail_in(folder->path, "model_index.json", ECD_DATA, diag);
        }
        label->names = entry->valuestring;
        label->first = first_name(label->names);
        if (!label->first)
            return ecd_fail_memory(diag, strlen(label->names), "a class label");
    }
    qsort(folder->labels, folder->label_count, sizeof *folder->labels, compare_ids);
    return ECD_OK;
}

static ecd_status read_all(const char *path, ecd_model_folder *out, ecd_diag *diag)
{
    out->path = strdup(path);
    if (!out->path)
        return ecd_fail_memory(diag, strlen(path) + 1, "a path");
    ecd_status status = read_part(path, "model_index.json", false, &out->index, diag);
    if (!status)
        status = read_part(path, "transformer/config.json", false, &out->transformer, diag);
    if (!status)
        status = read_part(path, "vae/config.json", false, &out->vae, diag);
    if (!status)
        status = read_part(path, "scheduler/scheduler_config.json", false, &out->scheduler, diag);
    if (!status)
        status = read_part(path, "generation_config.json", true, &out->generation, diag);
    if (!status)
        status = find_class(out, diag);
    return status ? status : read_labels(out, diag);
}

ecd_status ecd_model_folder_open(const char *path, ecd_model_folder *out, ecd_diag *diag)
{
    *out = (ecd_model_folder){0};
    ecd_status status = ECD_OK;
    if (!ecd_path_is_folder(path)) {
        status = ecd_fail(diag, ECD_USAGE, "%s, expected a model folder",
                          ecd_component_is_file(path) ? "a single file, which holds no configs (--config FOLDER has them)"
                          : ecd_path_exists(path)     ? "not a folder"
                                                      : "no such folder");
        ecd_diag_file(diag, path);
        return status;
    }
    char *index = ecd_path_join(path, "model_index.json");
    if (!index)
        return ecd_fail_memory(diag, strlen(path), "a path");
    if (!ecd_path_exists(index)) {
        status = ecd_fail(diag, ECD_USAGE, "no model_index.json in it, expected a diffusers model folder");
        ecd_diag_file(diag, path);
    }
    free(index);
    if (!status)
        status = read_all(path, out, diag);
    if (status)
        ecd_model_folder_close(out);
    return status;
}

ecd_status ecd_model_folder_open_with(const char *model, const char *config, ecd_model_folder *out, ecd_diag *diag)
{
    *out = (ecd_model_folder){0};
    if (!config)
        return ecd_model_folder_open(model, out, diag);
    if (!ecd_component_is_file(model)) {
        ecd_status status = ecd_fail(diag, ECD_USAGE, "%s, expected a single .safetensors file beside --config",
                                     ecd_path_exists(model) ? "no file of tensors" : "no such file");
        ecd_diag_file(diag, model);
        return status;
    }
    ecd_status status = ecd_model_folder_open(config, out, diag);
    if (status)
        return status;
    out->file = strdup(model);
    if (out->file)
        return ECD_OK;
    ecd_model_folder_close(out);
    return ecd_fail_memory(diag, strlen(model), "a path");
}

ecd_status ecd_model_folder_weights(const ecd_model_folder *folder, const char *component, ecd_checkpoint **out,
                                    ecd_diag *diag)
{
    *out = NULL;
    ecd_status status = folder->file ? ecd_component_open(folder->file, component, out, diag) : ECD_OK;
    if (status || *out)
        return status;
    char *path = ecd_path_join(folder->path, component), *beside = NULL;
    if (!path)
        return ecd_fail_memory(diag, strlen(component), "a path");
    if (folder->file && !ecd_checkpoint_is_in(path))
        beside = ecd_component_beside(folder->file, component);
    status = ecd_component_open(beside ? beside : path, component, out, diag);
    if (!status && !*out) {
        status = ecd_fail(diag, ECD_DATA, "holds no %s, expected its tensors under names that are known", component);
        ecd_diag_file(diag, beside);
    } else if (status == ECD_DATA && folder->file && !beside && !ecd_checkpoint_is_in(path)) {
        status = ecd_fail(diag, ECD_DATA, "no %s in it, and no weights in %.300s, expected them in one of the two",
                          component, path);
        ecd_diag_file(diag, folder->file);
    }
    free(beside);
    free(path);
    return status;
}

void ecd_model_folder_close(ecd_model_folder *folder)
{
    free(folder->path);
    free(folder->file);
    cJSON_Delete(folder->index);
    cJSON_Delete(folder->transformer);
    cJSON_Delete(folder->vae);
    cJSON_Delete(folder->scheduler);
    cJSON_Delete(folder->generation);
    for (size_t i = 0; i < folder->label_count; i++)
        free(folder->labels[i].first);
    free(folder->labels);
    *folder = (ecd_model_folder){0};
}
