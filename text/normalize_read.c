// Normalisers out of a tokenizer's JSON.
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <utf8proc.h>

#include "text/normalize.h"

char *ecd_text_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

ecd_status ecd_pattern_read(const cJSON *json, char **string, ecd_regex **regex, ecd_diag *diag)
{
    const cJSON *plain = cJSON_GetObjectItemCaseSensitive(json, "String");
    const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(json, "Regex");
    if (cJSON_IsString(pattern))
        return ecd_regex_new(pattern->valuestring, regex, diag);
    if (!cJSON_IsString(plain) || !plain->valuestring[0])
        return ecd_fail(diag, ECD_DATA, "expected a pattern: {\"String\": text} or {\"Regex\": text}");
    *string = ecd_text_copy(plain->valuestring);
    return *string ? ECD_OK : ecd_fail_memory(diag, strlen(plain->valuestring), "a pattern");
}

static ecd_status read_strip(const cJSON *json, ecd_normalize_step *step, ecd_diag *diag)
{
    step->kind = ECD_NORMALIZE_STRIP;
    ecd_status status = ecd_json_bool(json, "strip_left", true, &step->left, diag);
    return status ? status : ecd_json_bool(json, "strip_right", true, &step->right, diag);
}

static ecd_status read_content(const cJSON *json, const char *key, ecd_normalize_step *step, ecd_diag *diag)
{
    const char *content;
    ecd_status status = ecd_json_string(json, key, NULL, &content, diag);
    if (status)
        return status;
    if (!content)
        return ecd_fail(diag, ECD_DATA, "a normalizer lacks \"%s\"", key);
    step->content = ecd_text_copy(content);
    return step->content ? ECD_OK : ecd_fail_memory(diag, strlen(content), "a normalizer");
}

static ecd_status read_replace(const cJSON *json, ecd_normalize_step *step, ecd_diag *diag)
{
    step->kind = ECD_NORMALIZE_REPLACE;
    ecd_status status = read_content(json, "content", step, diag);
    return status ? status
                  : ecd_pattern_read(cJSON_GetObjectItemCaseSensitive(json, "pattern"), &step->pattern, &step->regex, diag);
}

static ecd_status read_prepend(const cJSON *json, ecd_normalize_step *step, ecd_diag *diag)
{
    step->kind = ECD_NORMALIZE_PREPEND;
    return read_content(json, "prepend", step, diag);
}

static ecd_status read_precompiled(const cJSON *json, ecd_normalize_step *step, ecd_diag *diag)
{
    const char *text;
    step->kind = ECD_NORMALIZE_PRECOMPILED;
    ecd_status status = ecd_json_string(json, "precompiled_charsmap", NULL, &text, diag);
    if (status)
        return status;
    if (!text)
        return ecd_fail(diag, ECD_DATA, "a Precompiled normalizer lacks \"precompiled_charsmap\"");
    return ecd_charsmap_new_base64(text, strlen(text), &step->map, diag);
}

static ecd_status read_lowercase(const cJSON *json, ecd_normalize_step *step, ecd_diag *diag)
{
    (void)json;
    (void)diag;
    step->kind = ECD_NORMALIZE_LOWERCASE;
    return ECD_OK;
}

static const struct {
    const char *type;
    ecd_status (*read)(const cJSON *json, ecd_normalize_step *step, ecd_diag *diag); // NULL: a Unicode form
    int options;
} types[] = {
    {"NFC", NULL, UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {"NFD", NULL, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {"NFKC", NULL, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", NULL, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    {"Lowercase", read_lowercase, 0},
    {"Strip", read_strip, 0},
    {"Replace", read_replace, 0},
    {"Prepend", read_prepend, 0},
    {"Precompiled", read_precompiled, 0},
};

static ecd_status read_one(const cJSON *json, const char *type, void *opaque, ecd_diag *diag)
{
    ecd_normalizer *out = opaque;
    if (out->count == ECD_NORMALIZE_MAX_STEPS)
        return ecd_fail(diag, ECD_DATA, "more than %d normalizers", (int)ECD_NORMALIZE_MAX_STEPS);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(type, types[i].type) != 0)
            continue;
        ecd_normalize_step *step = &out->steps[out->count++];
        *step = (ecd_normalize_step){.kind = ECD_NORMALIZE_UNICODE, .options = types[i].options};
        return types[i].read ? types[i].read(json, step, diag) : ECD_OK;
    }
    return ecd_fail(diag, ECD_DATA,
                    "the normalizer \"%s\" is not supported, expected Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, "
                    "Replace, Prepend or Precompiled",
                    type);
}

ecd_status ecd_sequence_read(const cJSON *json, const char *list_key, const char *what, ecd_read_one *each, void *out,
                             ecd_diag *diag)
{
    const char *type;
    ecd_status status = ecd_json_string(json, "type", "", &type, diag);
    if (status)
        return status;
    if (strcmp(type, "Sequence") != 0)
        return each(json, type, out, diag);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, list_key), *entry;
    if (!cJSON_IsArray(list))
        return ecd_fail(diag, ECD_DATA, "a Sequence of %s lacks its list \"%s\"", what, list_key);
    cJSON_ArrayForEach(entry, list)
    {
        if ((status = ecd_sequence_read(entry, list_key, what, each, out, diag)))
            return status;
    }
    return ECD_OK;
}

ecd_status ecd_normalizer_read(const cJSON *json, ecd_normalizer *out, ecd_diag *diag)
{
    *out = (ecd_normalizer){0};
    if (!json || cJSON_IsNull(json))
        return ECD_OK;
    ecd_status status = ecd_sequence_read(json, "normalizers", "normalizers", read_one, out, diag);
    if (status)
        ecd_normalizer_free(out);
    return status;
}
