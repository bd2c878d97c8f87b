#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/grow.h"
#include "text/utf8.h"

void ecd_added_free(ecd_added *added)
{
    ecd_vocab_free(&added->plain);
    ecd_vocab_free(&added->normalized);
    free(added->tokens);
    *added = (ecd_added){0};
}

ecd_status ecd_added_add(ecd_added *added, const char *content, const ecd_added_token *token,
                         const ecd_normalizer *normalizer, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    ecd_strings spelled = {0};
    ecd_added_token *tokens = ecd_grow(added->tokens, added->count + 1, &added->capacity, sizeof *tokens);
    if (!tokens)
        return ecd_fail_memory(diag, (added->count + 1) * sizeof *tokens, "added tokens");
    added->tokens = tokens;
    if (token->normalized)
        status = ecd_normalizer_run(normalizer, content, strlen(content), &spelled, diag);
    else
        ecd_strings_add(&spelled, content, strlen(content));
    if (!status)
        status = ecd_strings_check(&spelled, diag);
    if (!status)
        status = ecd_vocab_add(token->normalized ? &added->normalized : &added->plain, spelled.text, spelled.size,
                               (int64_t)added->count, diag);
    if (!status)
        added->tokens[added->count++] = *token;
    ecd_strings_free(&spelled);
    return status;
}

ecd_status ecd_added_finish(ecd_added *added, ecd_diag *diag)
{
    ecd_status status = ecd_vocab_finish(&added->plain, diag);
    return status ? status : ecd_vocab_finish(&added->normalized, diag);
}

// Oniguruma's \w: what is alphabetic, marks, decimal digits and connectors.
static bool is_word(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return false;
    }
}

// The begin of the character that ends at text[at], at > 0.
static size_t before(const char *text, size_t at)
{
    do
        at--;
    while (at && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

static bool stands_alone(const char *text, size_t size, size_t begin, size_t end)
{
    size_t length;
    if (begin && is_word(ecd_utf8_at(text, size, before(text, begin), &length)))
        return false;
    return end == size || !is_word(ecd_utf8_at(text, size, end, &length));
}

static void strip(const ecd_added_token *token, const char *text, size_t size, size_t from, size_t *begin, size_t *end)
{
    size_t length;
    while (token->lstrip && *begin > from && ecd_utf8_is_space(ecd_utf8_at(text, size, before(text, *begin), &length)))
        *begin = before(text, *begin);
    while (token->rstrip && *end < size && ecd_utf8_is_space(ecd_utf8_at(text, size, *end, &length)))
        *end += length;
}

void ecd_added_find(const ecd_added *added, bool normalized, const char *text, size_t size, size_t from, size_t *begin,
                    size_t *end, int32_t *id)
{
    const ecd_vocab *vocab = normalized ? &added->normalized : &added->plain;
    size_t length = 1;
    *id = -1;
    if (!vocab->count)
        return;
    for (size_t at = from; at < size; at += length) {
        length = 1;
        int32_t index = ecd_vocab_longest(vocab, text, size, at, &length);
        if (index < 0)
            continue;
        const ecd_added_token *token = &added->tokens[index];
        if (token->single_word && !stands_alone(text, size, at, at + length))
            continue;
        *begin = at;
        *end = at + length;
        *id = token->id;
        strip(token, text, size, from, begin, end);
        return;
    }
}
