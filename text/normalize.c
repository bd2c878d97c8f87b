#include "text/normalize.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <utf8proc.h>

#include "text/utf8.h"

static const char space_symbol[] = "\xe2\x96\x81"; // U+2581

static ecd_status run_unicode(const ecd_normalize_step *step, const char *text, size_t size, ecd_strings *out,
                              ecd_diag *diag)
{
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t length =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &mapped, (utf8proc_option_t)step->options);
    if (length < 0)
        return ecd_fail(diag, length == UTF8PROC_ERROR_NOMEM ? ECD_RESOURCE : ECD_DATA, "normalising the text: %s",
                        utf8proc_errmsg(length));
    ecd_strings_add(out, (const char *)mapped, (size_t)length);
    free(mapped);
    return ECD_OK;
}

static void run_lowercase(const char *text, size_t size, ecd_strings *out)
{
    size_t length;
    for (size_t at = 0; at < size; at += length) {
        int32_t c = ecd_utf8_at(text, size, at, &length);
        if (c == 0x130) // the one character whose lower case is two
            ecd_strings_add(out, "i\xcc\x87", 3);
        else
            ecd_strings_add_char(out, utf8proc_tolower(c));
    }
}

static void run_strip(const ecd_normalize_step *step, const char *text, size_t size, ecd_strings *out)
{
    size_t begin = 0, end = 0, length;
    bool begun = !step->left;
    for (size_t at = 0; at < size; at += length) {
        bool space = ecd_utf8_is_space(ecd_utf8_at(text, size, at, &length));
        if (!begun && !space) {
            begin = at;
            begun = true;
        }
        if (!space)
            end = at + length;
    }
    if (!step->right)
        end = size;
    if (begun && end > begin)
        ecd_strings_add(out, text + begin, end - begin);
}

static const char *find_bytes(const char *text, size_t size, const char *what, size_t what_size)
{
    for (const char *end = text + size; (size_t)(end - text) >= what_size; text++) {
        text = memchr(text, what[0], (size_t)(end - text));
        if (!text || (size_t)(end - text) < what_size)
            return NULL;
        if (!memcmp(text, what, what_size))
            return text;
    }
    return NULL;
}

static ecd_status run_replace(const ecd_normalize_step *step, const char *text, size_t size, ecd_strings *out,
                              ecd_diag *diag)
{
    size_t from = 0, begin = 0, end = 0, content_size = strlen(step->content);
    while (from < size) {
        bool found;
        if (step->regex) {
            ecd_status status = ecd_regex_find(step->regex, text, size, from, &found, &begin, &end, diag);
            if (status)
                return status;
        } else {
            const char *place = find_bytes(text + from, size - from, step->pattern, strlen(step->pattern));
            found = place != NULL;
            begin = found ? (size_t)(place - text) : 0;
            end = begin + strlen(step->pattern);
        }
        if (!found)
            break;
        ecd_strings_add(out, text + from, begin - from);
        ecd_strings_add(out, step->content, content_size);
        from = end;
    }
    ecd_strings_add(out, text + from, size - from);
    return ECD_OK;
}

// The end of the extended grapheme cluster that begins at text[at].
static size_t grapheme_end(const char *text, size_t size, size_t at)
{
    utf8proc_int32_t state = 0;
    size_t length, next;
    int32_t before = ecd_utf8_at(text, size, at, &length);
    for (at += length; at < size; at += next) {
        int32_t c = ecd_utf8_at(text, size, at, &next);
        if (utf8proc_grapheme_break_stateful(before, c, &state))
            break;
        before = c;
    }
    return at;
}

// tokenizers replaces a whole cluster of less than 6 bytes by what the shortest prefix of it in the map stands for, and
// looks at the characters of others one by one (src/normalizers/precompiled.rs).
static void run_precompiled(const ecd_charsmap *map, const char *text, size_t size, ecd_strings *out)
{
    size_t end;
    for (size_t at = 0; at < size; at = end) {
        size_t matched, replacement_size, length;
        const char *replacement = NULL;
        end = grapheme_end(text, size, at);
        if (end - at < 6)
            replacement = ecd_charsmap_find(map, text + at, end - at, false, &matched, &replacement_size);
        if (replacement) {
            ecd_strings_add(out, replacement, replacement_size);
            continue;
        }
        for (; at < end; at += length) {
            (void)ecd_utf8_at(text, size, at, &length);
            replacement = ecd_charsmap_find(map, text + at, length, false, &matched, &replacement_size);
            ecd_strings_add(out, replacement ? replacement : text + at, replacement ? replacement_size : length);
        }
    }
}

// One step of sentencepiece's normaliser: what stands at text[at], at most `limit` bytes, replaced or not.
static const char *spiece_next(const ecd_charsmap *map, const char *text, size_t size, size_t at, size_t *used,
                               size_t *replaced_size)
{
    const char *replacement = ecd_charsmap_find(map, text + at, size - at, true, used, replaced_size);
    if (replacement)
        return replacement;
    (void)ecd_utf8_at(text, size, at, used);
    *replaced_size = *used;
    return text + at;
}

static void add_escaped(const ecd_normalize_step *step, const char *text, size_t size, ecd_strings *out)
{
    for (size_t i = 0; i < size; i++) {
        if (step->escape_space && text[i] == ' ')
            ecd_strings_add(out, space_symbol, 3);
        else
            ecd_strings_add(out, text + i, 1);
    }
}

static void run_spiece(const ecd_normalize_step *step, const char *text, size_t size, ecd_strings *out)
{
    size_t at = 0, used, n;
    const char *s;
    bool after_space = step->one_space;
    while (step->one_space && at < size) {
        s = spiece_next(&step->map, text, size, at, &used, &n);
        if (n != 1 || *s != ' ')
            break;
        at += used;
    }
    if (at < size && step->prefix_space)
        add_escaped(step, " ", 1, out);
    for (; at < size; at += used) {
        s = spiece_next(&step->map, text, size, at, &used, &n);
        for (; after_space && n && *s == ' '; n--)
            s++;
        add_escaped(step, s, n, out);
        if (n)
            after_space = s[n - 1] == ' ';
        after_space = after_space && step->one_space;
    }
    const char *space = step->escape_space ? space_symbol : " ";
    size_t space_size = step->escape_space ? 3 : 1;
    while (step->one_space && out->size >= space_size && !memcmp(out->text + out->size - space_size, space, space_size))
        out->size -= space_size;
}

static ecd_status run_step(const ecd_normalize_step *step, const char *text, size_t size, ecd_strings *out, ecd_diag *diag)
{
    switch (step->kind) {
    case ECD_NORMALIZE_UNICODE:
        return run_unicode(step, text, size, out, diag);
    case ECD_NORMALIZE_LOWERCASE:
        run_lowercase(text, size, out);
        return ECD_OK;
    case ECD_NORMALIZE_STRIP:
        run_strip(step, text, size, out);
        return ECD_OK;
    case ECD_NORMALIZE_REPLACE:
        return run_replace(step, text, size, out, diag);
    case ECD_NORMALIZE_PREPEND:
        ecd_strings_add(out, step->content, strlen(step->content));
        ecd_strings_add(out, text, size);
        return ECD_OK;
    case ECD_NORMALIZE_PRECOMPILED:
        run_precompiled(&step->map, text, size, out);
        return ECD_OK;
    case ECD_NORMALIZE_SPIECE:
        run_spiece(step, text, size, out);
        return ECD_OK;
    }
    return ECD_OK;
}

ecd_status ecd_normalizer_run(const ecd_normalizer *normalizer, const char *text, size_t size, ecd_strings *out,
                              ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    ecd_strings before = {0};
    ecd_strings_clear(out);
    ecd_strings_add(out, text, size);
    for (int i = 0; !status && i < normalizer->count && out->size; i++) {
        ecd_strings swap = before;
        before = *out;
        *out = swap;
        ecd_strings_clear(out);
        status = run_step(&normalizer->steps[i], before.text, before.size, out, diag);
        if (!status)
            status = ecd_strings_check(out, diag);
    }
    if (!status)
        status = ecd_strings_check(out, diag);
    ecd_strings_free(&before);
    return status;
}

void ecd_normalizer_free(ecd_normalizer *normalizer)
{
    for (int i = 0; i < normalizer->count; i++) {
        ecd_normalize_step *step = &normalizer->steps[i];
        free(step->pattern);
        free(step->content);
        ecd_regex_free(step->regex);
        ecd_charsmap_free(&step->map);
    }
    *normalizer = (ecd_normalizer){0};
}
