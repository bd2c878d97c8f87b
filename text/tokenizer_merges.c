// vocab.json and merges.txt: CLIP's tokenizer as transformers builds it (models/clip/tokenization_clip.py).
#include <math.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "text/tokenizer_internal.h"

// What tokenizer.json says of the same tokenizer.
static const char clip_pipeline[] =
    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"},"
    " {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"\\\\s+\"}, \"content\": \" \"}, {\"type\": \"Lowercase\"}]},"
    " \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\":"
    " \"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},"
    " \"behavior\": \"Removed\", \"invert\": true}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false}]}}";

static ecd_status read_pipeline(ecd_tokenizer *t, ecd_diag *diag)
{
    cJSON *root = NULL;
    ecd_status status = ecd_json_parse(clip_pipeline, sizeof clip_pipeline - 1, 0, &root, diag);
    if (!status)
        status = ecd_normalizer_read(cJSON_GetObjectItemCaseSensitive(root, "normalizer"), &t->normalizer, diag);
    if (!status)
        status = ecd_pretokenizer_read(cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer"), &t->pretokenizer, diag);
    cJSON_Delete(root);
    return status;
}

static ecd_status read_vocab(const cJSON *vocab, ecd_tokenizer *t, ecd_diag *diag)
{
    const cJSON *entry;
    cJSON_ArrayForEach(entry, vocab)
    {
        double id = entry->valuedouble; // not by ecd_json_int, which would look for each key from the start
        if (!cJSON_IsNumber(entry) || !(id >= 0 && id < ECD_VOCAB_MAX) || id != floor(id))
            return ecd_fail(diag, ECD_DATA, "key \"%.100s\", expected an integer from 0 to %d", entry->string,
                            ECD_VOCAB_MAX - 1);
        ecd_status status = ecd_vocab_add(&t->vocab, entry->string, strlen(entry->string), (int64_t)id, diag);
        if (status)
            return status;
    }
    return ecd_vocab_finish(&t->vocab, diag);
}

static ecd_status read_line(const char *line, size_t size, size_t number, ecd_tokenizer *t, ecd_diag *diag)
{
    static const char version[] = "#version";
    if (size && line[size - 1] == '\r')
        size--;
    if (!size || (size >= sizeof version - 1 && !memcmp(line, version, sizeof version - 1)))
        return ECD_OK;
    const char *space = memchr(line, ' ', size);
    size_t left = space ? (size_t)(space - line) : 0, right = space ? size - left - 1 : 0;
    if (!left || !right || memchr(space + 1, ' ', right))
        return ecd_fail(diag, ECD_DATA, "line %zu is \"%.*s\", expected two pieces with a space between", number,
                        size < 64 ? (int)size : 64, line);
    ecd_status status = ecd_bpe_add(&t->bpe, &t->vocab, line, left, space + 1, right, diag);
    return status;
}

static ecd_status add_special(const char *piece, ecd_tokenizer *t, int32_t *id, ecd_diag *diag)
{
    static const ecd_normalizer none = {0};
    *id = ecd_vocab_find(&t->vocab, piece, strlen(piece));
    if (*id < 0)
        return ecd_fail(diag, ECD_DATA, "the vocabulary lacks \"%s\"", piece);
    return ecd_added_add(&t->added, piece, &(ecd_added_token){.id = *id}, &none, diag);
}

ecd_status ecd_tokenizer_read_merges(const cJSON *vocab, const char *merges, size_t size, ecd_tokenizer *t, ecd_diag *diag)
{
    ecd_status status;
    t->kind = ECD_MODEL_BPE;
    memcpy(t->bpe.suffix, "</w>", 5);
    if ((status = read_pipeline(t, diag)) || (status = read_vocab(vocab, t, diag)) ||
        (status = add_special("<|startoftext|>", t, &t->before[0], diag)) ||
        (status = add_special("<|endoftext|>", t, &t->behind[0], diag)) ||
        (status = ecd_added_finish(&t->added, diag)))
        return status;
    t->before_count = t->behind_count = 1;
    t->bpe.unknown = t->behind[0];
    size_t number = 1, length;
    for (size_t at = 0; at < size; at += length + 1, number++) {
        const char *end = memchr(merges + at, '\n', size - at);
        length = end ? (size_t)(end - merges) - at : size - at;
        if ((status = read_line(merges + at, length, number, t, diag))) {
            ecd_diag_offset(diag, at);
            return status;
        }
    }
    return ecd_bpe_finish(&t->bpe, diag);
}
