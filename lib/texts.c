#define _GNU_SOURCE
#include "lib/texts_internal.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "weights/json.h"

// Which components of its folder a transformer is fed by: diffusers pipelines/flux/pipeline_flux.py, encode_prompt.
typedef struct text_use {
    const char *transformer_class;
    struct {
        const char *tokenizer, *encoder, *class_name;
        bool pooled;
    } parts[ECD_TEXTS_PARTS];
} text_use;

static const text_use uses[] = {
    {"FluxTransformer2DModel",
     {{"tokenizer", "text_encoder", "CLIPTextModel", true}, {"tokenizer_2", "text_encoder_2", "T5EncoderModel", false}}},
};

enum { POOLED_TOKENS = 77 }; // where the tokenizer does not say: pipeline_flux.py, tokenizer_max_length

static const text_use *find_use(const char *transformer_class)
{
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        if (!strcmp(uses[i].transformer_class, transformer_class))
            return &uses[i];
    return NULL;
}

// model_index.json: "text_encoder": ["transformers", "CLIPTextModel"]; [null, null] where the folder has none.
static ecd_status check_index(const ecd_model_folder *folder, const char *name, const char *expected, ecd_diag *diag)
{
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(folder->index, name);
    const cJSON *class_name = cJSON_IsArray(entry) ? cJSON_GetArrayItem(entry, 1) : NULL;
    if (!cJSON_IsString(class_name) || (expected && strcmp(class_name->valuestring, expected))) {
        ecd_fail(diag, ECD_DATA, "\"%s\" is %s%.60s, expected %s: without it no prompt can be read", name,
                 cJSON_IsString(class_name) ? "" : "not there", cJSON_IsString(class_name) ? class_name->valuestring : "",
                 expected ? expected : "a tokenizer");
        char *path = ecd_path_join(folder->path, "model_index.json");
        ecd_diag_file(diag, path ? path : "model_index.json");
        free(path);
        return ECD_DATA;
    }
    return ECD_OK;
}

static ecd_status open_encoder_config(ecd_text_part *part, ecd_diag *diag)
{
    char *path = ecd_path_join(part->encoder_path, "config.json");
    if (!path)
        return ecd_fail_memory(diag, 0, "a path");
    ecd_status status = ecd_json_read(path, &part->config, diag);
    if (!status)
        status = ecd_encoder_describe(part->class_name, part->config, &part->info, diag);
    if (status)
        ecd_diag_file(diag, path);
    if (status == ECD_USAGE) // a folder whose part is missing or unknown is bad, whoever named it
        status = diag->status = ECD_DATA;
    free(path);
    return status;
}

static ecd_status check_width(const ecd_text_part *part, int64_t expected, ecd_diag *diag)
{
    if (part->info.width == expected)
        return ECD_OK;
    ecd_fail(diag, ECD_DATA, "its width is %lld, but the transformer takes %lld", (long long)part->info.width,
             (long long)expected);
    ecd_diag_file(diag, part->encoder_path);
    return ECD_DATA;
}

static ecd_status open_part(const ecd_model_folder *folder, const ecd_transformer_info *info, int64_t max_tokens,
                            ecd_text_part *part, ecd_diag *diag)
{
    part->tokenizer_path = ecd_path_join(folder->path, part->tokenizer_name);
    part->encoder_path = ecd_path_join(folder->path, part->encoder_name);
    if (!part->tokenizer_path || !part->encoder_path)
        return ecd_fail_memory(diag, 0, "a path");
    ecd_status status = check_index(folder, part->tokenizer_name, NULL, diag);
    if (!status)
        status = check_index(folder, part->encoder_name, part->class_name, diag);
    if (!status)
        status = open_encoder_config(part, diag);
    if (!status)
        status = check_width(part, part->pooled ? info->pooled_width : info->text_width, diag);
    if (!status && (status = ecd_tokenizer_open(part->tokenizer_path, &part->tokenizer, diag)) == ECD_USAGE)
        status = diag->status = ECD_DATA;
    if (status)
        return status;
    int64_t own = (int64_t)ecd_tokenizer_max_length(part->tokenizer);
    part->tokens = !part->pooled ? max_tokens : own ? own : POOLED_TOKENS;
    if (part->info.max_tokens && part->tokens > part->info.max_tokens)
        part->tokens = part->info.max_tokens;
    part->floats = (size_t)(part->pooled ? part->info.width : part->tokens * part->info.width);
    return ECD_OK;
}

ecd_status ecd_texts_open(const ecd_model_folder *folder, const ecd_transformer_info *info, int64_t max_tokens,
                          ecd_texts **out, ecd_diag *diag)
{
    const text_use *use = find_use(info->class_name);
    ecd_status status = ECD_OK;
    *out = NULL;
    if (!use)
        return ecd_fail(diag, ECD_USAGE, "%s: prompts for it are not known", info->class_name);
    ecd_texts *texts = calloc(1, sizeof *texts);
    if (!texts)
        return ecd_fail_memory(diag, sizeof *texts, "the texts");
    texts->where.path = strdup(folder->path);
    texts->where.file = folder->file ? strdup(folder->file) : NULL;
    if (!texts->where.path || (folder->file && !texts->where.file))
        status = ecd_fail_memory(diag, 0, "a path");
    for (int i = 0; !status && i < ECD_TEXTS_PARTS; i++) {
        texts->parts[i] = (ecd_text_part){.tokenizer_name = use->parts[i].tokenizer,
                                          .encoder_name = use->parts[i].encoder,
                                          .class_name = use->parts[i].class_name,
                                          .pooled = use->parts[i].pooled};
        status = open_part(folder, info, max_tokens, &texts->parts[i], diag);
    }
    if (status)
        ecd_texts_close(texts);
    else
        *out = texts;
    return status;
}

void ecd_texts_close(ecd_texts *texts)
{
    if (!texts)
        return;
    for (int i = 0; i < ECD_TEXTS_PARTS; i++) {
        ecd_text_part *part = &texts->parts[i];
        ecd_tokenizer_close(part->tokenizer);
        cJSON_Delete(part->config);
        ecd_shelf_free(&part->outputs);
        free(part->tokenizer_path);
        free(part->encoder_path);
        free(part->ids);
    }
    ecd_model_folder_close(&texts->where);
    for (size_t i = 0; i < texts->count; i++)
        free(texts->prompts[i]);
    free(texts->prompts);
    free(texts->needed);
    free(texts);
}

static ecd_status tokenize(ecd_text_part *part, const char *prompt, size_t at, size_t *reach, bool *cut, ecd_diag *diag)
{
    ecd_tokens tokens;
    size_t size = strlen(prompt), length = (size_t)part->tokens;
    int32_t *ids = ecd_grow(part->ids, (at + 1) * length, &part->ids_capacity, sizeof *ids);
    if (!ids)
        return ecd_fail_memory(diag, (at + 1) * length * sizeof *ids, "token ids");
    part->ids = ids;
    ecd_status status = ecd_tokenizer_encode(part->tokenizer, prompt, size, length, true, &tokens, diag);
    if (status)
        return status;
    memcpy(ids + at * length, tokens.ids, length * sizeof *ids);
    *cut = tokens.left_out > 0;
    *reach = size;
    if (*cut)
        status = ecd_tokenizer_reach(part->tokenizer, prompt, size, length, reach, diag);
    ecd_tokens_free(&tokens);
    return status;
}

static ecd_status make_room(ecd_texts *texts, ecd_diag *diag)
{
    char **prompts = ecd_grow(texts->prompts, texts->count + 1, &texts->prompts_capacity, sizeof *prompts);
    texts->prompts = prompts ? prompts : texts->prompts;
    bool *needed = ecd_grow(texts->needed, texts->count + 1, &texts->needed_capacity, sizeof *needed);
    texts->needed = needed ? needed : texts->needed;
    return prompts && needed ? ECD_OK : ecd_fail_memory(diag, (texts->count + 1) * sizeof *prompts, "the prompts");
}

bool ecd_texts_find(const ecd_texts *texts, const char *prompt, size_t *index)
{
    for (*index = 0; *index < texts->count; ++*index)
        if (!strcmp(texts->prompts[*index], prompt))
            return true;
    return false;
}

bool ecd_texts_cut_text(const ecd_texts_cut *cut, int part, const char *prompt, char *out, size_t size)
{
    if (!cut->cut[part])
        return false;
    snprintf(out, size, "the prompt is cut at byte %zu of %zu: %s reads %" PRId64 " tokens", cut->bytes[part],
             strlen(prompt), cut->reader[part], cut->tokens[part]);
    return true;
}

ecd_status ecd_texts_add(ecd_texts *texts, const char *prompt, size_t *index, ecd_texts_cut *cut, ecd_diag *diag)
{
    *cut = (ecd_texts_cut){.cut = {false}};
    if (ecd_texts_find(texts, prompt, index))
        return ECD_OK;
    ecd_status status = make_room(texts, diag);
    for (int i = 0; !status && i < ECD_TEXTS_PARTS; i++) {
        ecd_text_part *part = &texts->parts[i];
        cut->reader[i] = part->encoder_name;
        cut->tokens[i] = part->tokens;
        status = tokenize(part, prompt, texts->count, &cut->bytes[i], &cut->cut[i], diag);
    }
    if (status)
        return status;
    if (!(texts->prompts[texts->count] = strdup(prompt)))
        return ecd_fail_memory(diag, strlen(prompt) + 1, "a prompt");
    texts->needed[texts->count++] = false;
    return ECD_OK;
}

void ecd_texts_need(ecd_texts *texts, size_t index)
{
    texts->needed[index] = true;
}

int64_t ecd_texts_tokens(const ecd_texts *texts)
{
    for (int i = 0; i < ECD_TEXTS_PARTS; i++)
        if (!texts->parts[i].pooled)
            return texts->parts[i].tokens;
    return 0;
}

size_t ecd_texts_from_cache(const ecd_texts *texts)
{
    return texts->from_cache;
}

size_t ecd_texts_encoded(const ecd_texts *texts)
{
    return texts->encoded;
}

ecd_status ecd_texts_take(const ecd_texts *texts, size_t index, float *hidden, float *pooled, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int i = 0; !status && i < ECD_TEXTS_PARTS; i++)
        status = ecd_shelf_take(&texts->parts[i].outputs, index, texts->parts[i].pooled ? pooled : hidden, diag);
    return status;
}

ecd_status ecd_texts_tokenizers(const char *folder, const char *names[ECD_TEXTS_PARTS],
                                ecd_tokenizer *tokenizers[ECD_TEXTS_PARTS], ecd_diag *diag)
{
    static const char *const usual[ECD_TEXTS_PARTS] = {"tokenizer", "tokenizer_2"};
    ecd_status status = ECD_OK;
    for (int i = 0; i < ECD_TEXTS_PARTS; i++)
        tokenizers[i] = NULL;
    for (int i = 0; !status && i < ECD_TEXTS_PARTS; i++) {
        char *path = ecd_path_join(folder, usual[i]);
        names[i] = usual[i];
        if (!path)
            status = ecd_fail_memory(diag, 0, "a path");
        else if (ecd_path_is_folder(path))
            status = ecd_tokenizer_open(path, &tokenizers[i], diag);
        free(path);
    }
    if (!status && !tokenizers[0] && !tokenizers[1]) { // a tokenizer's own folder
        names[0] = "";
        status = ecd_tokenizer_open(folder, &tokenizers[0], diag);
    }
    for (int i = 0; status && i < ECD_TEXTS_PARTS; i++) {
        ecd_tokenizer_close(tokenizers[i]);
        tokenizers[i] = NULL;
    }
    return status;
}
