#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/file.h"
#include "text/tokenizer_internal.h"
#include "text/utf8.h"

enum { SPIECE_MAX_BYTES = 1 << 28, MERGES_MAX_BYTES = 1 << 28 };

void ecd_tokenizer_clear(ecd_tokenizer *t)
{
    ecd_vocab_free(&t->vocab);
    ecd_added_free(&t->added);
    ecd_normalizer_free(&t->normalizer);
    ecd_pretokenizer_free(&t->pretokenizer);
    ecd_bpe_free(&t->bpe);
    ecd_unigram_free(&t->unigram);
}

void ecd_tokenizer_close(ecd_tokenizer *t)
{
    if (!t)
        return;
    ecd_tokenizer_clear(t);
    free(t);
}

static ecd_status open_json(const char *path, ecd_tokenizer *t, ecd_diag *diag)
{
    cJSON *root = NULL;
    ecd_status status = ecd_json_read(path, &root, diag);
    t->source = "tokenizer.json";
    if (!status)
        status = ecd_tokenizer_read_json(root, t, diag);
    cJSON_Delete(root);
    if (status)
        ecd_diag_file(diag, path);
    return status;
}

static ecd_status open_merges(const char *vocab_path, const char *path, ecd_tokenizer *t, ecd_diag *diag)
{
    cJSON *vocab = NULL;
    char *merges = NULL;
    size_t size = 0;
    t->source = "vocab.json";
    ecd_status status = ecd_json_read(vocab_path, &vocab, diag);
    if (!status && !(status = ecd_file_read_text(path, MERGES_MAX_BYTES, &merges, &size, diag)))
        status = ecd_tokenizer_read_merges(vocab, merges, size, t, diag);
    if (status)
        ecd_diag_file(diag, merges ? path : vocab_path);
    free(merges);
    cJSON_Delete(vocab);
    return status;
}

static ecd_status open_spiece(const char *path, ecd_tokenizer *t, ecd_diag *diag)
{
    ecd_file file = {0};
    t->source = "spiece.model";
    ecd_status status = ecd_file_map(path, &file, diag);
    if (!status && file.size_bytes > SPIECE_MAX_BYTES)
        status = ecd_fail(diag, ECD_DATA, "%llu bytes, expected at most %d", (unsigned long long)file.size_bytes,
                          (int)SPIECE_MAX_BYTES);
    if (!status)
        status = ecd_tokenizer_read_spiece(file.data, (size_t)file.size_bytes, t, diag);
    if (status)
        ecd_diag_file(diag, path);
    ecd_file_unmap(&file);
    return status;
}

static ecd_status open_config(const char *folder, const char *name, ecd_tokenizer *t, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    cJSON *root = NULL;
    char *path = ecd_path_join(folder, name);
    if (!path)
        return ecd_fail_memory(diag, 0, "a path");
    if (ecd_path_exists(path)) {
        status = ecd_json_read(path, &root, diag);
        if (!status)
            status = ecd_tokenizer_read_config(root, t, diag);
        if (status)
            ecd_diag_file(diag, path);
    }
    cJSON_Delete(root);
    free(path);
    return status;
}

static ecd_status open_model(const char *folder, ecd_tokenizer *t, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    char *json = ecd_path_join(folder, "tokenizer.json"), *vocab = ecd_path_join(folder, "vocab.json");
    char *merges = ecd_path_join(folder, "merges.txt"), *spiece = ecd_path_join(folder, "spiece.model");
    if (!json || !vocab || !merges || !spiece) {
        status = ecd_fail_memory(diag, 0, "paths");
    } else if (ecd_path_exists(json)) {
        status = open_json(json, t, diag);
    } else if (ecd_path_exists(vocab) && ecd_path_exists(merges)) {
        status = open_merges(vocab, merges, t, diag);
    } else if (ecd_path_exists(spiece)) {
        status = open_spiece(spiece, t, diag);
    } else {
        status = ecd_fail(diag, ECD_USAGE,
                          "no tokenizer, expected tokenizer.json, vocab.json with merges.txt, or spiece.model");
        ecd_diag_file(diag, folder);
    }
    free(json);
    free(vocab);
    free(merges);
    free(spiece);
    return status;
}

ecd_status ecd_tokenizer_open(const char *folder, ecd_tokenizer **out, ecd_diag *diag)
{
    ecd_tokenizer *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return ecd_fail_memory(diag, sizeof *t, "a tokenizer");
    t->pad = -1;
    ecd_status status = open_model(folder, t, diag);
    if (!status)
        status = open_config(folder, "tokenizer_config.json", t, diag);
    if (!status)
        status = open_config(folder, "special_tokens_map.json", t, diag);
    if (status)
        ecd_tokenizer_close(t);
    else
        *out = t;
    return status;
}

static ecd_status encode_word(const ecd_tokenizer *t, const char *word, size_t size, ecd_ids *out, ecd_diag *diag)
{
    return t->kind == ECD_MODEL_BPE ? ecd_bpe_encode(&t->bpe, &t->vocab, word, size, out, diag)
                                    : ecd_unigram_encode(&t->unigram, word, size, out, diag);
}

// What lies between two added tokens, normalised.
static ecd_status encode_words(const ecd_tokenizer *t, const char *text, size_t size, bool at_start, ecd_ids *out,
                               ecd_diag *diag)
{
    ecd_strings words = {.at_start = at_start};
    ecd_strings_add(&words, text, size);
    ecd_strings_end(&words);
    ecd_status status = ecd_strings_check(&words, diag);
    if (!status)
        status = ecd_pretokenizer_run(&t->pretokenizer, &words, diag);
    for (size_t i = 0; !status && i < words.count; i++) {
        size_t begin = ecd_strings_begin(&words, i);
        status = encode_word(t, words.text + begin, words.ends[i] - begin, out, diag);
    }
    ecd_strings_free(&words);
    return status;
}

// Cuts the added tokens out that are looked for after normalising.
static ecd_status encode_normalized(const ecd_tokenizer *t, const char *text, size_t size, bool at_start, ecd_ids *out,
                                    ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    size_t from = 0, begin = 0, end = 0;
    for (int32_t id = 0; !status && from < size; from = end) {
        ecd_added_find(&t->added, true, text, size, from, &begin, &end, &id);
        if (id < 0)
            begin = end = size;
        status = encode_words(t, text + from, begin - from, at_start && !from, out, diag);
        if (id >= 0)
            ecd_ids_add(out, id);
    }
    return status;
}

static ecd_status encode_text(const ecd_tokenizer *t, const char *text, size_t size, ecd_ids *out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    ecd_strings normal = {0};
    size_t from = 0, begin = 0, end = 0;
    for (int32_t id = 0; !status && from < size; from = end) {
        ecd_added_find(&t->added, false, text, size, from, &begin, &end, &id);
        if (id < 0)
            begin = end = size;
        status = ecd_normalizer_run(&t->normalizer, text + from, begin - from, &normal, diag);
        if (!status)
            status = encode_normalized(t, normal.text, normal.size, !from, out, diag);
        if (id >= 0)
            ecd_ids_add(out, id);
    }
    ecd_strings_free(&normal);
    return status;
}

void ecd_tokens_free(ecd_tokens *tokens)
{
    free(tokens->ids);
    *tokens = (ecd_tokens){0};
}

// Puts the special ids around, cuts and pads.
static ecd_status finish(const ecd_tokenizer *t, const ecd_ids *ids, size_t max_length, bool pad, ecd_tokens *out,
                         ecd_diag *diag)
{
    size_t special = (size_t)t->before_count + (size_t)t->behind_count, kept = ids->count;
    if (max_length && kept + special > max_length)
        kept = max_length - special;
    size_t used = kept + special, count = pad && max_length ? max_length : used;
    int32_t *all = malloc((count + 1) * sizeof *all), *to = all;
    if (!all)
        return ecd_fail_memory(diag, count * sizeof *all, "token ids");
    for (int i = 0; i < t->before_count; i++)
        *to++ = t->before[i];
    for (size_t i = 0; i < kept; i++)
        *to++ = ids->ids[i];
    for (int i = 0; i < t->behind_count; i++)
        *to++ = t->behind[i];
    while (to < all + count)
        *to++ = t->pad;
    *out = (ecd_tokens){.ids = all, .count = count, .used = used, .left_out = ids->count - kept};
    return ECD_OK;
}

ecd_status ecd_tokenizer_encode(const ecd_tokenizer *t, const char *text, size_t size, size_t max_length, bool pad,
                                ecd_tokens *out, ecd_diag *diag)
{
    ecd_ids ids = {0};
    *out = (ecd_tokens){0};
    if (size > ECD_TEXT_MAX_BYTES)
        return ecd_fail(diag, ECD_USAGE, "a text of %zu bytes, expected at most %d", size, (int)ECD_TEXT_MAX_BYTES);
    if (max_length && max_length < (size_t)t->before_count + (size_t)t->behind_count)
        return ecd_fail(diag, ECD_USAGE, "a length of %zu tokens has no room for the special ones", max_length);
    if (pad && max_length && t->pad < 0)
        return ecd_fail(diag, ECD_DATA, "the tokenizer names no pad_token");
    ecd_status status = ecd_utf8_check(text, size, diag);
    if (!status)
        status = encode_text(t, text, size, &ids, diag);
    if (!status && ids.no_memory)
        status = ecd_fail_memory(diag, ids.count * sizeof *ids.ids, "token ids");
    if (!status)
        status = finish(t, &ids, max_length, pad, out, diag);
    ecd_ids_free(&ids);
    return status;
}

static ecd_status check_fit(const ecd_tokenizer *t, const char *text, size_t size, size_t max_length, bool *fits,
                            ecd_diag *diag)
{
    ecd_tokens tokens;
    ecd_status status = ecd_tokenizer_encode(t, text, size, max_length, false, &tokens, diag);
    *fits = !status && !tokens.left_out;
    ecd_tokens_free(&tokens);
    return status;
}

static size_t round_down(const char *text, size_t at)
{
    while (at && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static size_t round_up(const char *text, size_t size, size_t at)
{
    while (at < size && ((unsigned char)text[at] & 0xc0) == 0x80)
        at++;
    return at;
}

ecd_status ecd_tokenizer_reach(const ecd_tokenizer *t, const char *text, size_t size, size_t max_length, size_t *bytes,
                               ecd_diag *diag)
{
    size_t low = 0, high = size; // what fits, and what does not
    bool fits = false;
    ecd_status status = check_fit(t, text, size, max_length, &fits, diag);
    while (!status && !fits && low < high) {
        size_t middle = round_down(text, low + (high - low) / 2);
        if (middle <= low)
            middle = round_up(text, size, low + 1);
        if (middle >= high)
            break;
        bool part_fits = false;
        status = check_fit(t, text, middle, max_length, &part_fits, diag);
        *(part_fits ? &low : &high) = middle;
    }
    *bytes = fits ? size : low;
    return status;
}

const char *ecd_tokenizer_piece(const ecd_tokenizer *t, int32_t id, size_t *size)
{
    return ecd_vocab_piece(&t->vocab, id, size);
}

int32_t ecd_tokenizer_id_limit(const ecd_tokenizer *t)
{
    return t->vocab.id_limit;
}

size_t ecd_tokenizer_max_length(const ecd_tokenizer *t)
{
    return t->max_length;
}

const char *ecd_tokenizer_source(const ecd_tokenizer *t)
{
    return t->source;
}

const char *ecd_tokenizer_model(const ecd_tokenizer *t)
{
    return t->kind == ECD_MODEL_BPE ? "BPE" : "Unigram";
}
