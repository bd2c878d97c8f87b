// Pre-tokenizers out of a tokenizer's JSON.
#include <string.h>

#include <cjson/cJSON.h>

#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/utf8.h"

static const char gpt2_words[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static ecd_status read_whitespace(const cJSON *json, ecd_cut_step *step, ecd_diag *diag)
{
    (void)json;
    (void)diag;
    step->kind = ECD_CUT_WHITESPACE;
    return ECD_OK;
}

// Older files say add_prefix_space where newer ones say prepend_scheme.
static ecd_status read_prepend(const cJSON *json, ecd_cut_step *step, ecd_diag *diag)
{
    bool prefix;
    const char *scheme;
    ecd_status status = ecd_json_bool(json, "add_prefix_space", true, &prefix, diag);
    if (status || (status = ecd_json_string(json, "prepend_scheme", prefix ? "always" : "never", &scheme, diag)))
        return status;
    if (!strcmp(scheme, "always"))
        step->prepend = ECD_PREPEND_ALWAYS;
    else if (!strcmp(scheme, "first"))
        step->prepend = ECD_PREPEND_FIRST;
    else if (strcmp(scheme, "never") != 0)
        return ecd_fail(diag, ECD_DATA, "prepend_scheme is \"%s\", expected always, first or never", scheme);
    return ECD_OK;
}

static ecd_status read_metaspace(const cJSON *json, ecd_cut_step *step, ecd_diag *diag)
{
    const char *replacement;
    size_t length;
    step->kind = ECD_CUT_METASPACE;
    ecd_status status = ecd_json_string(json, "replacement", "\xe2\x96\x81", &replacement, diag);
    if (status || (status = ecd_json_bool(json, "split", true, &step->split, diag)))
        return status;
    size_t size = strlen(replacement);
    if (!size || ecd_utf8_at(replacement, size, 0, &length) < 0 || length != size)
        return ecd_fail(diag, ECD_DATA, "Metaspace's replacement is \"%.32s\", expected one character", replacement);
    memcpy(step->replacement, replacement, size + 1);
    return read_prepend(json, step, diag);
}

static ecd_status read_split(const cJSON *json, ecd_cut_step *step, ecd_diag *diag)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *behavior;
    step->kind = ECD_CUT_SPLIT;
    ecd_status status = ecd_json_string(json, "behavior", "", &behavior, diag);
    if (status || (status = ecd_json_bool(json, "invert", false, &step->invert, diag)))
        return status;
    size_t i = 0;
    while (i < sizeof names / sizeof *names && strcmp(behavior, names[i]) != 0)
        i++;
    if (i == sizeof names / sizeof *names)
        return ecd_fail(diag, ECD_DATA,
                        "Split's behavior is \"%s\", expected Removed, Isolated, MergedWithPrevious, MergedWithNext or "
                        "Contiguous",
                        behavior);
    step->behavior = (ecd_cut_behavior)i;
    return ecd_pattern_read(cJSON_GetObjectItemCaseSensitive(json, "pattern"), &step->pattern, &step->regex, diag);
}

static ecd_status read_byte_level(const cJSON *json, ecd_cut_step *step, ecd_diag *diag)
{
    bool prefix, use_regex;
    step->kind = ECD_CUT_BYTE_LEVEL;
    step->behavior = ECD_CUT_ISOLATED;
    ecd_status status = ecd_json_bool(json, "add_prefix_space", true, &prefix, diag);
    if (status || (status = ecd_json_bool(json, "use_regex", true, &use_regex, diag)))
        return status;
    step->prepend = prefix ? ECD_PREPEND_ALWAYS : ECD_PREPEND_NEVER;
    return use_regex ? ecd_regex_new(gpt2_words, &step->regex, diag) : ECD_OK;
}

static const struct {
    const char *type;
    ecd_status (*read)(const cJSON *json, ecd_cut_step *step, ecd_diag *diag);
} types[] = {
    {"WhitespaceSplit", read_whitespace},
    {"Metaspace", read_metaspace},
    {"Split", read_split},
    {"ByteLevel", read_byte_level},
};

static ecd_status read_one(const cJSON *json, const char *type, void *opaque, ecd_diag *diag)
{
    ecd_pretokenizer *out = opaque;
    if (out->count == ECD_CUT_MAX_STEPS)
        return ecd_fail(diag, ECD_DATA, "more than %d pre-tokenizers", (int)ECD_CUT_MAX_STEPS);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(type, types[i].type) != 0)
            continue;
        out->steps[out->count] = (ecd_cut_step){0};
        return types[i].read(json, &out->steps[out->count++], diag);
    }
    return ecd_fail(diag, ECD_DATA,
                    "the pre-tokenizer \"%s\" is not supported, expected Sequence, WhitespaceSplit, Metaspace, Split or "
                    "ByteLevel",
                    type);
}

ecd_status ecd_pretokenizer_read(const cJSON *json, ecd_pretokenizer *out, ecd_diag *diag)
{
    *out = (ecd_pretokenizer){0};
    if (!json || cJSON_IsNull(json))
        return ECD_OK;
    ecd_status status = ecd_sequence_read(json, "pretokenizers", "pre-tokenizers", read_one, out, diag);
    if (status)
        ecd_pretokenizer_free(out);
    return status;
}
