// dfloat_config.json and pattern_dict.json, which stand beside the tensor files of a published ECF8 model.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "weights/json.h"
#include "weights/pattern.h"
#include "weights/published.h"

static const char version[] = "0.2.0";

static ecd_status read_beside(const char *file, const char *name, char **path, cJSON **out, ecd_diag *diag)
{
    const char *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, (size_t)(slash - file)) : strdup(".");
    *path = folder ? ecd_path_join(folder, name) : NULL;
    *out = NULL;
    free(folder);
    if (!*path)
        return ecd_fail_memory(diag, strlen(file), "a path");
    return ecd_path_exists(*path) ? ecd_json_read(*path, out, diag) : ECD_OK;
}

static ecd_status read_numbers(const cJSON *object, ecd_published_config *out, ecd_diag *diag)
{
    const char *text;
    int64_t threads, bytes;
    ecd_status status = ecd_json_string(object, "version", version, &text, diag);
    if (!status && strcmp(text, version))
        status = ecd_fail(diag, ECD_DATA, "ECF8 version \"%.40s\", expected \"%s\"", text, version);
    if (!status)
        status = ecd_json_int(object, "threads_per_block", ECF8_PUBLISHED_THREADS, 2, 1024, &threads, diag);
    if (!status)
        status = ecd_json_int(object, "bytes_per_thread", ECF8_PUBLISHED_THREAD_BYTES, ECF8_PUBLISHED_THREAD_BYTES,
                              ECF8_PUBLISHED_THREAD_BYTES, &bytes, diag);
    if (!status && (threads & (threads - 1)))
        status = ecd_fail(diag, ECD_DATA, "\"threads_per_block\" is %lld, expected a power of two", (long long)threads);
    if (!status)
        out->threads = (uint32_t)threads;
    return status;
}

// dfloat_config.json of diffusion models; language models have the same object in config.json.
static ecd_status read_config(const char *file, ecd_published_config *out, ecd_diag *diag)
{
    char *path = NULL;
    cJSON *root = NULL;
    const cJSON *object;
    ecd_status status = read_beside(file, "dfloat_config.json", &path, &root, diag);
    object = root;
    if (!status && !root) {
        free(path);
        status = read_beside(file, "config.json", &path, &root, diag);
        object = cJSON_GetObjectItemCaseSensitive(root, "dfloat_config");
    }
    if (!status && cJSON_IsObject(object) && (status = read_numbers(object, out, diag)))
        ecd_diag_file(diag, path);
    cJSON_Delete(root);
    free(path);
    return status;
}

ecd_status ecd_published_config_read(const char *file, ecd_published_config *out, ecd_diag *diag)
{
    *out = (ecd_published_config){.threads = ECF8_PUBLISHED_THREADS};
    ecd_status status = read_config(file, out, diag);
    if (!status)
        status = read_beside(file, "pattern_dict.json", &out->path, &out->root, diag);
    if (!status && out->root) {
        out->patterns = cJSON_GetObjectItemCaseSensitive(out->root, "fp8");
        if (!cJSON_IsObject(out->patterns)) {
            status = ecd_fail(diag, ECD_DATA, "no \"fp8\", expected an object of pattern: layers");
            ecd_diag_file(diag, out->path);
        }
    }
    if (status)
        ecd_published_config_free(out);
    return status;
}

void ecd_published_config_free(ecd_published_config *config)
{
    cJSON_Delete(config->root);
    free(config->path);
    *config = (ecd_published_config){0};
}

ecd_status ecd_published_layers(const ecd_published_config *config, const char *block, const cJSON **out,
                                ecd_diag *diag)
{
    const cJSON *entry, *layer;
    *out = NULL;
    cJSON_ArrayForEach(entry, config->patterns)
    {
        ecd_pattern_result result = ecd_pattern_match(entry->string, block);
        bool good = result != ECD_PATTERN_UNSUPPORTED && (cJSON_IsArray(entry) || cJSON_IsNull(entry));
        cJSON_ArrayForEach(layer, entry) good &= cJSON_IsString(layer);
        if (!good) {
            (void)ecd_fail(diag, ECD_DATA,
                           "pattern \"%.200s\": expected a regular expression of simple kind with an "
                           "array of layers' names",
                           entry->string);
            ecd_diag_file(diag, config->path);
            return ECD_DATA;
        }
        if (result == ECD_PATTERN_MATCH && cJSON_IsArray(entry)) {
            *out = entry;
            return ECD_OK;
        }
    }
    return ECD_OK;
}
