// tokenizer.json: source huggingface/tokenizers, src/tokenizer/serialization.rs and the models' own.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "text/tokenizer_internal.h"

static const cJSON *child(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    return value && !cJSON_IsNull(value) ? value : NULL;
}

static ecd_status read_affix(const cJSON *model, const char *key, char out[32], ecd_diag *diag)
{
    const char *text;
    ecd_status status = ecd_json_string(model, key, "", &text, diag);
    if (status)
        return status;
    if (strlen(text) > 31)
        return ecd_fail(diag, ECD_DATA, "%s has %zu bytes, expected at most 31", key, strlen(text));
    memcpy(out, text, strlen(text) + 1);
    return ECD_OK;
}

static ecd_status read_vocab(const cJSON *map, ecd_vocab *vocab, ecd_diag *diag)
{
    const cJSON *entry;
    if (!cJSON_IsObject(map))
        return ecd_fail(diag, ECD_DATA, "expected an object \"vocab\" of pieces and their ids");
    cJSON_ArrayForEach(entry, map)
    {
        double id = cJSON_IsNumber(entry) ? entry->valuedouble : -1;
        if (!(id >= 0 && id < ECD_VOCAB_MAX) || id != floor(id))
            return ecd_fail(diag, ECD_DATA, "the piece \"%.64s\" has no id from 0 to %d", entry->string, (int)ECD_VOCAB_MAX - 1);
        ecd_status status = ecd_vocab_add(vocab, entry->string, strlen(entry->string), (int64_t)id, diag);
        if (status)
            return status;
    }
    return ECD_OK;
}

// A merge is "left right" or ["left", "right"].
static ecd_status read_merge(const cJSON *entry, ecd_tokenizer *t, ecd_diag *diag)
{
    const char *left = NULL, *right = NULL;
    size_t left_size = 0;
    if (cJSON_IsString(entry)) {
        left = entry->valuestring;
        const char *space = strchr(left, ' ');
        left_size = space ? (size_t)(space - left) : 0;
        right = space ? space + 1 : NULL;
    } else if (cJSON_IsArray(entry) && cJSON_GetArraySize(entry) == 2 && cJSON_IsString(entry->child) &&
               cJSON_IsString(entry->child->next)) {
        left = entry->child->valuestring;
        left_size = strlen(left);
        right = entry->child->next->valuestring;
    }
    if (!left_size || !right || !right[0] || (cJSON_IsString(entry) && strchr(right, ' ')))
        return ecd_fail(diag, ECD_DATA, "merge %zu is not two pieces", t->bpe.count);
    return ecd_bpe_add(&t->bpe, &t->vocab, left, left_size, right, strlen(right), diag);
}

static ecd_status read_unknown(const cJSON *model, ecd_tokenizer *t, ecd_diag *diag)
{
    const char *unknown;
    ecd_status status = ecd_json_string(model, "unk_token", NULL, &unknown, diag);
    t->bpe.unknown = -1;
    if (status || !unknown)
        return status;
    t->bpe.unknown = ecd_vocab_find(&t->vocab, unknown, strlen(unknown));
    return t->bpe.unknown >= 0 ? ECD_OK
                               : ecd_fail(diag, ECD_DATA, "unk_token \"%.64s\" is not in the vocabulary", unknown);
}

static ecd_status read_bpe(const cJSON *model, ecd_tokenizer *t, ecd_diag *diag)
{
    const cJSON *merges = child(model, "merges"), *entry;
    ecd_status status;
    t->kind = ECD_MODEL_BPE;
    if ((status = ecd_json_bool(model, "fuse_unk", false, &t->bpe.fuse_unknown, diag)) ||
        (status = ecd_json_bool(model, "ignore_merges", false, &t->bpe.ignore_merges, diag)) ||
        (status = read_affix(model, "continuing_subword_prefix", t->bpe.prefix, diag)) ||
        (status = read_affix(model, "end_of_word_suffix", t->bpe.suffix, diag)) ||
        (status = read_vocab(child(model, "vocab"), &t->vocab, diag)))
        return status;
    if (!cJSON_IsArray(merges))
        return ecd_fail(diag, ECD_DATA, "the model lacks its list \"merges\"");
    // Merges are looked up by spelling: added tokens come into the vocabulary later, and are no part of any.
    if ((status = ecd_vocab_finish(&t->vocab, diag)) || (status = read_unknown(model, t, diag)))
        return status;
    cJSON_ArrayForEach(entry, merges)
    {
        if ((status = read_merge(entry, t, diag)))
            return status;
    }
    return ecd_bpe_finish(&t->bpe, diag);
}

static ecd_status read_scored(const cJSON *list, ecd_tokenizer *t, ecd_diag *diag)
{
    const cJSON *entry;
    ecd_unigram *u = &t->unigram;
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (count < 1 || count > ECD_VOCAB_MAX)
        return ecd_fail(diag, ECD_DATA, "expected a list \"vocab\" of 1 to %d pieces and scores", (int)ECD_VOCAB_MAX);
    u->scores = malloc((size_t)count * sizeof *u->scores);
    if (!u->scores)
        return ecd_fail_memory(diag, (size_t)count * sizeof *u->scores, "scores");
    u->least = HUGE_VAL;
    cJSON_ArrayForEach(entry, list)
    {
        const cJSON *piece = cJSON_IsArray(entry) ? entry->child : NULL, *score = piece ? piece->next : NULL;
        if (!cJSON_IsString(piece) || !cJSON_IsNumber(score) || score->next || !isfinite(score->valuedouble))
            return ecd_fail(diag, ECD_DATA, "entry %d of the vocabulary is not a piece and its score", (int)u->limit);
        size_t size = strlen(piece->valuestring);
        ecd_status status = ecd_vocab_add(&u->pieces, piece->valuestring, size, u->limit, diag);
        if (status || (status = ecd_vocab_add(&t->vocab, piece->valuestring, size, u->limit, diag)))
            return status;
        u->scores[u->limit++] = score->valuedouble;
        u->least = score->valuedouble < u->least ? score->valuedouble : u->least;
    }
    return ecd_vocab_finish(&u->pieces, diag);
}

static ecd_status read_unigram(const cJSON *model, ecd_tokenizer *t, ecd_diag *diag)
{
    int64_t unknown;
    t->kind = ECD_MODEL_UNIGRAM;
    ecd_status status = read_scored(child(model, "vocab"), t, diag);
    if (status || (status = ecd_json_int(model, "unk_id", -1, -1, (int64_t)t->unigram.limit - 1, &unknown, diag)))
        return status;
    t->unigram.unknown = (int32_t)unknown;
    return ecd_vocab_finish(&t->vocab, diag);
}

static ecd_status read_model(const cJSON *model, ecd_tokenizer *t, ecd_diag *diag)
{
    const char *type;
    bool byte_fallback;
    if (!model)
        return ecd_fail(diag, ECD_DATA, "no \"model\": this is no tokenizer.json");
    // Files older than the key "type" tell by what they hold.
    const char *guess = child(model, "merges") ? "BPE" : "Unigram";
    ecd_status status = ecd_json_string(model, "type", guess, &type, diag);
    if (status || (status = ecd_json_bool(model, "byte_fallback", false, &byte_fallback, diag)))
        return status;
    if (byte_fallback)
        return ecd_fail(diag, ECD_DATA, "the model's byte_fallback is not supported");
    if (!strcmp(type, "BPE"))
        return read_bpe(model, t, diag);
    if (!strcmp(type, "Unigram"))
        return read_unigram(model, t, diag);
    return ecd_fail(diag, ECD_DATA, "the model \"%.64s\" is not supported, expected BPE or Unigram", type);
}

// Added tokens that are pieces already must have their ids; others come into the vocabulary.
static ecd_status add_spelling(ecd_vocab *more, const ecd_vocab *vocab, const char *content, int32_t id, ecd_diag *diag)
{
    int32_t known = ecd_vocab_find(vocab, content, strlen(content));
    if (known >= 0 && known != id)
        return ecd_fail(diag, ECD_DATA, "the added token \"%.64s\" has the id %d, but %d in the vocabulary", content, (int)id,
                        (int)known);
    return known >= 0 ? ECD_OK : ecd_vocab_add(more, content, strlen(content), id, diag);
}

static ecd_status read_added_token(const cJSON *entry, ecd_tokenizer *t, ecd_vocab *more, ecd_diag *diag)
{
    const char *content;
    int64_t id;
    bool special;
    ecd_added_token token = {0};
    ecd_status status;
    if ((status = ecd_json_string(entry, "content", "", &content, diag)) ||
        (status = ecd_json_int(entry, "id", -1, 0, ECD_VOCAB_MAX - 1, &id, diag)) ||
        (status = ecd_json_bool(entry, "single_word", false, &token.single_word, diag)) ||
        (status = ecd_json_bool(entry, "lstrip", false, &token.lstrip, diag)) ||
        (status = ecd_json_bool(entry, "rstrip", false, &token.rstrip, diag)) ||
        (status = ecd_json_bool(entry, "special", false, &special, diag)) ||
        (status = ecd_json_bool(entry, "normalized", !special, &token.normalized, diag)))
        return status;
    if (id < 0 || !content[0])
        return ecd_fail(diag, ECD_DATA, "an added token lacks its id or content");
    token.id = (int32_t)id;
    if ((status = add_spelling(more, &t->vocab, content, token.id, diag)))
        return status;
    return ecd_added_add(&t->added, content, &token, &t->normalizer, diag);
}

// The finished vocabulary and the new spellings, sorted again.
static ecd_status join_vocab(ecd_vocab *vocab, const ecd_vocab *more, ecd_diag *diag)
{
    free(vocab->by_id);
    vocab->by_id = NULL;
    for (size_t i = 0; i < more->count; i++) {
        const ecd_piece *p = &more->pieces[i];
        ecd_status status = ecd_vocab_add(vocab, more->blob + p->begin, p->size, p->id, diag);
        if (status)
            return status;
    }
    return ecd_vocab_finish(vocab, diag);
}

static ecd_status read_added(const cJSON *list, ecd_tokenizer *t, ecd_diag *diag)
{
    const cJSON *entry;
    ecd_vocab more = {0};
    ecd_status status = ECD_OK;
    if (list && !cJSON_IsArray(list))
        return ecd_fail(diag, ECD_DATA, "added_tokens is no list");
    cJSON_ArrayForEach(entry, list)
    {
        status = read_added_token(entry, t, &more, diag);
        if (status)
            break;
    }
    if (!status && more.count)
        status = join_vocab(&t->vocab, &more, diag);
    if (!status)
        status = ecd_added_finish(&t->added, diag);
    ecd_vocab_free(&more);
    return status;
}

static ecd_status add_special(ecd_tokenizer *t, bool behind, int64_t id, ecd_diag *diag)
{
    int *count = behind ? &t->behind_count : &t->before_count;
    size_t size;
    if (*count == ECD_SPECIAL_MAX || id < 0 || id >= t->vocab.id_limit || !ecd_vocab_piece(&t->vocab, (int32_t)id, &size))
        return ecd_fail(diag, ECD_DATA, "the post-processor adds the id %lld, expected at most %d ids of the vocabulary",
                        (long long)id, (int)ECD_SPECIAL_MAX);
    (behind ? t->behind : t->before)[(*count)++] = (int32_t)id;
    return ECD_OK;
}

// {"SpecialToken": {"id": NAME}}, whose ids special_tokens has under that name.
static ecd_status read_template_special(const cJSON *entry, const cJSON *tokens, bool behind, ecd_tokenizer *t,
                                        ecd_diag *diag)
{
    const char *name;
    ecd_status status = ecd_json_string(child(entry, "SpecialToken"), "id", "", &name, diag);
    const cJSON *ids = child(child(tokens, name), "ids"), *id;
    if (status)
        return status;
    if (!cJSON_IsArray(ids))
        return ecd_fail(diag, ECD_DATA, "the post-processor's special token \"%.64s\" has no ids", name);
    cJSON_ArrayForEach(id, ids)
    {
        double value = cJSON_IsNumber(id) ? id->valuedouble : -1;
        if ((status = add_special(t, behind, value >= 0 && value < ECD_VOCAB_MAX ? (int64_t)value : -1, diag)))
            return status;
    }
    return ECD_OK;
}

static ecd_status read_template(const cJSON *json, ecd_tokenizer *t, ecd_diag *diag)
{
    const cJSON *list = child(json, "single"), *entry;
    bool behind = false;
    if (!cJSON_IsArray(list))
        return ecd_fail(diag, ECD_DATA, "TemplateProcessing lacks its list \"single\"");
    cJSON_ArrayForEach(entry, list)
    {
        if (child(entry, "Sequence")) {
            behind = true;
            continue;
        }
        ecd_status status = read_template_special(entry, child(json, "special_tokens"), behind, t, diag);
        if (status)
            return status;
    }
    return behind ? ECD_OK : ecd_fail(diag, ECD_DATA, "TemplateProcessing leaves the text out");
}

// RobertaProcessing and BertProcessing: "cls" before, "sep" behind, each [piece, id].
static ecd_status read_pair(const cJSON *json, const char *key, bool behind, ecd_tokenizer *t, ecd_diag *diag)
{
    const cJSON *id = cJSON_GetArrayItem(child(json, key), 1);
    double value = cJSON_IsNumber(id) ? id->valuedouble : -1;
    return add_special(t, behind, value >= 0 && value < ECD_VOCAB_MAX ? (int64_t)value : -1, diag);
}

static ecd_status read_post_processor(const cJSON *json, ecd_tokenizer *t, ecd_diag *diag)
{
    const cJSON *entry;
    const char *type;
    if (!json)
        return ECD_OK;
    ecd_status status = ecd_json_string(json, "type", "", &type, diag);
    if (status || !strcmp(type, "ByteLevel")) // which changes offsets alone
        return status;
    if (!strcmp(type, "TemplateProcessing"))
        return read_template(json, t, diag);
    if (!strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing")) {
        status = read_pair(json, "cls", false, t, diag);
        return status ? status : read_pair(json, "sep", true, t, diag);
    }
    if (strcmp(type, "Sequence") != 0)
        return ecd_fail(diag, ECD_DATA, "the post-processor \"%.64s\" is not supported", type);
    cJSON_ArrayForEach(entry, child(json, "processors"))
    {
        if ((status = read_post_processor(entry, t, diag)))
            return status;
    }
    return ECD_OK;
}

ecd_status ecd_tokenizer_read_json(const cJSON *root, ecd_tokenizer *t, ecd_diag *diag)
{
    ecd_status status;
    if ((status = ecd_normalizer_read(child(root, "normalizer"), &t->normalizer, diag)) ||
        (status = ecd_pretokenizer_read(child(root, "pre_tokenizer"), &t->pretokenizer, diag)) ||
        (status = read_model(child(root, "model"), t, diag)) || (status = read_added(child(root, "added_tokens"), t, diag)))
        return status;
    return read_post_processor(child(root, "post_processor"), t, diag);
}

// A special token is written as its text or as an object with "content".
static ecd_status read_pad(const cJSON *config, ecd_tokenizer *t, ecd_diag *diag)
{
    const cJSON *pad = child(config, "pad_token");
    if (cJSON_IsObject(pad))
        pad = child(pad, "content");
    if (!pad || t->pad >= 0)
        return ECD_OK;
    if (!cJSON_IsString(pad))
        return ecd_fail(diag, ECD_DATA, "pad_token is no text");
    t->pad = ecd_vocab_find(&t->vocab, pad->valuestring, strlen(pad->valuestring));
    return t->pad >= 0 ? ECD_OK
                       : ecd_fail(diag, ECD_DATA, "pad_token \"%.64s\" is not in the vocabulary", pad->valuestring);
}

ecd_status ecd_tokenizer_read_config(const cJSON *config, ecd_tokenizer *t, ecd_diag *diag)
{
    double longest;
    ecd_status status = ecd_json_number(config, "model_max_length", 0, &longest, diag);
    if (status)
        return status;
    if (!t->max_length && longest >= 1 && longest <= 1 << 24)
        t->max_length = (size_t)longest;
    return read_pad(config, t, diag);
}
