#include "text/pretokenize.h"

#include <stdlib.h>
#include <string.h>

#include "text/utf8.h"

// Bytes that show as themselves, and the 256 + n that stand for the n-th of the others.
static bool is_plain(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

int32_t ecd_byte_char(uint8_t byte)
{
    int32_t others = 0;
    if (is_plain(byte))
        return byte;
    for (unsigned b = 0; b < byte; b++)
        others += !is_plain(b);
    return 256 + others;
}

int ecd_char_byte(int32_t character)
{
    for (int byte = 0; byte < 256; byte++) {
        if (ecd_byte_char((uint8_t)byte) == character)
            return byte;
    }
    return -1;
}

static void cut_whitespace(const char *text, size_t size, ecd_strings *out)
{
    size_t length;
    for (size_t at = 0; at < size; at += length) {
        if (ecd_utf8_is_space(ecd_utf8_at(text, size, at, &length)))
            ecd_strings_end(out);
        else
            ecd_strings_add(out, text + at, length);
    }
    ecd_strings_end(out);
}

static void cut_metaspace(const ecd_cut_step *step, const char *text, size_t size, bool at_start, ecd_strings *out)
{
    size_t mark = strlen(step->replacement), length;
    bool begins = (size >= mark && !memcmp(text, step->replacement, mark)) || text[0] == ' ';
    if (!begins && (step->prepend == ECD_PREPEND_ALWAYS || (step->prepend == ECD_PREPEND_FIRST && at_start)))
        ecd_strings_add(out, step->replacement, mark);
    for (size_t at = 0; at < size; at += length) {
        (void)ecd_utf8_at(text, size, at, &length);
        bool is_mark = length == mark && !memcmp(text + at, step->replacement, mark);
        if (step->split && (is_mark || text[at] == ' '))
            ecd_strings_end(out);
        if (text[at] == ' ')
            ecd_strings_add(out, step->replacement, mark);
        else
            ecd_strings_add(out, text + at, length);
    }
    ecd_strings_end(out);
}

// One part of a text that is cut at a pattern: a delimiter, or what lies between two.
typedef struct cutter {
    const ecd_cut_step *step;
    ecd_strings *out;
    bool any, was_delimiter; // the part before
} cutter;

static void cut_part(cutter *c, const char *text, size_t size, bool delimiter)
{
    bool apart = true; // from the part before
    if (!size)
        return;
    switch (c->step->behavior) {
    case ECD_CUT_REMOVED:
        ecd_strings_end(c->out);
        if (delimiter)
            size = 0;
        break;
    case ECD_CUT_ISOLATED:
        break;
    case ECD_CUT_MERGED_WITH_PREVIOUS:
        apart = !delimiter || c->was_delimiter;
        break;
    case ECD_CUT_MERGED_WITH_NEXT:
        apart = delimiter || !c->was_delimiter;
        break;
    case ECD_CUT_CONTIGUOUS:
        apart = delimiter != c->was_delimiter;
        break;
    }
    if (c->any && apart)
        ecd_strings_end(c->out);
    ecd_strings_add(c->out, text, size);
    c->any = true;
    c->was_delimiter = delimiter;
}

static ecd_status find(const ecd_cut_step *step, const char *text, size_t size, size_t from, bool *found, size_t *begin,
                       size_t *end, ecd_diag *diag)
{
    if (step->regex)
        return ecd_regex_find(step->regex, text, size, from, found, begin, end, diag);
    size_t length = strlen(step->pattern);
    *found = false;
    for (size_t at = from; !*found && size - at >= length; at++) {
        *found = !memcmp(text + at, step->pattern, length);
        *begin = at;
        *end = at + length;
    }
    return ECD_OK;
}

static ecd_status cut_split(const ecd_cut_step *step, const char *text, size_t size, ecd_strings *out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    cutter c = {.step = step, .out = out};
    size_t from = 0, begin = 0, end = 0;
    while (from < size) {
        bool found;
        if ((status = find(step, text, size, from, &found, &begin, &end, diag)))
            return status;
        if (!found)
            break;
        cut_part(&c, text + from, begin - from, step->invert);
        cut_part(&c, text + begin, end - begin, !step->invert);
        from = end;
    }
    cut_part(&c, text + from, size - from, step->invert);
    ecd_strings_end(out);
    return ECD_OK;
}

// Each byte of the parts from `first` on becomes the character that stands for it.
static void spell_bytes(const ecd_strings *in, ecd_strings *out)
{
    for (size_t i = 0; i < in->count; i++) {
        for (size_t at = ecd_strings_begin(in, i); at < in->ends[i]; at++)
            ecd_strings_add_char(out, ecd_byte_char((uint8_t)in->text[at]));
        ecd_strings_end(out);
    }
}

static ecd_status cut_byte_level(const ecd_cut_step *step, const char *text, size_t size, ecd_strings *out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    ecd_strings spaced = {0}, words = {0};
    if (step->prepend && text[0] != ' ')
        ecd_strings_add(&spaced, " ", 1);
    ecd_strings_add(&spaced, text, size);
    if ((status = ecd_strings_check(&spaced, diag)))
        goto out;
    if (step->regex) {
        if ((status = cut_split(step, spaced.text, spaced.size, &words, diag)))
            goto out;
    } else {
        ecd_strings_add(&words, spaced.text, spaced.size);
        ecd_strings_end(&words);
    }
    if (!(status = ecd_strings_check(&words, diag)))
        spell_bytes(&words, out);
out:
    ecd_strings_free(&spaced);
    ecd_strings_free(&words);
    return status;
}

static ecd_status run_step(const ecd_cut_step *step, const ecd_strings *in, ecd_strings *out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (size_t i = 0; !status && i < in->count; i++) {
        size_t begin = ecd_strings_begin(in, i), size = in->ends[i] - begin;
        const char *text = in->text + begin;
        if (step->kind == ECD_CUT_WHITESPACE)
            cut_whitespace(text, size, out);
        else if (step->kind == ECD_CUT_METASPACE)
            cut_metaspace(step, text, size, !i && in->at_start, out);
        else if (step->kind == ECD_CUT_SPLIT)
            status = cut_split(step, text, size, out, diag);
        else
            status = cut_byte_level(step, text, size, out, diag);
    }
    size_t length;
    bool skipped = step->kind == ECD_CUT_WHITESPACE && in->size && ecd_utf8_is_space(ecd_utf8_at(in->text, in->size, 0, &length));
    out->at_start = in->at_start && !skipped;
    return status ? status : ecd_strings_check(out, diag);
}

ecd_status ecd_pretokenizer_run(const ecd_pretokenizer *pretokenizer, ecd_strings *strings, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    ecd_strings out = {0};
    for (int i = 0; !status && i < pretokenizer->count; i++) {
        ecd_strings_clear(&out);
        status = run_step(&pretokenizer->steps[i], strings, &out, diag);
        ecd_strings swap = *strings;
        *strings = out;
        out = swap;
    }
    ecd_strings_free(&out);
    return status;
}

void ecd_pretokenizer_free(ecd_pretokenizer *pretokenizer)
{
    for (int i = 0; i < pretokenizer->count; i++) {
        free(pretokenizer->steps[i].pattern);
        ecd_regex_free(pretokenizer->steps[i].regex);
    }
    *pretokenizer = (ecd_pretokenizer){0};
}
