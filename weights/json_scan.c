// A recursive-descent check of JSON's grammar. cJSON does the parsing; this runs first because cJSON does not know
// Python's constants, does not check UTF-8, cuts strings at an escaped NUL and reports no place for a fault.
#include "weights/json_scan.h"

#include <stdio.h>
#include <string.h>

static ecd_status scan_value(ecd_json_scan *s, ecd_diag *diag);

static ecd_status fail_at(const ecd_json_scan *s, size_t at, ecd_diag *diag, const char *expected)
{
    char found[32];
    if (at >= s->size)
        snprintf(found, sizeof found, "its end");
    else if ((unsigned char)s->text[at] < 0x20 || (unsigned char)s->text[at] >= 0x7f)
        snprintf(found, sizeof found, "byte 0x%02x", (unsigned char)s->text[at]);
    else
        snprintf(found, sizeof found, "'%c'", s->text[at]);
    ecd_status status = ecd_fail(diag, ECD_DATA, "bad JSON: %s, expected %s", found, expected);
    ecd_diag_offset(diag, s->base_offset + at);
    return status;
}

static int peek(const ecd_json_scan *s)
{
    return s->at < s->size ? (unsigned char)s->text[s->at] : -1;
}

static void skip_space(ecd_json_scan *s)
{
    while (s->at < s->size && strchr(" \t\r\n", s->text[s->at]) && s->text[s->at])
        s->at++;
}

static bool take_word(ecd_json_scan *s, const char *word)
{
    size_t length = strlen(word);
    if (s->size - s->at < length || memcmp(s->text + s->at, word, length))
        return false;
    s->at += length;
    return true;
}

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

// The four digits after "\u"; -1 if they are not there. Moves past them.
static int take_unit(ecd_json_scan *s)
{
    int unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(peek(s));
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
        s->at++;
    }
    return unit;
}

static ecd_status scan_escape(ecd_json_scan *s, ecd_diag *diag)
{
    size_t start = s->at++; // the backslash
    int c = peek(s);
    if (c != 'u') {
        if (c <= 0 || !strchr("\"\\/bfnrt", c))
            return fail_at(s, s->at, diag,
                           "an escape (\\\", \\\\, \\/, \\b, \\f, \\n, \\r, \\t or \\u and 4 hex digits)");
        s->at++;
        return ECD_OK;
    }
    s->at++;
    int unit = take_unit(s);
    if (unit < 0)
        return fail_at(s, s->at, diag, "4 hex digits after \\u");
    if (unit == 0)
        return fail_at(s, start, diag, "a string without NUL");
    if (unit >= 0xd800 && unit < 0xdc00 && take_word(s, "\\u")) {
        int low = take_unit(s);
        if (low < 0xdc00 || low > 0xdfff)
            return fail_at(s, start, diag, "a low surrogate after a high one");
    } else if (unit >= 0xd800 && unit <= 0xdfff) {
        return fail_at(s, start, diag, "surrogates in pairs");
    }
    return ECD_OK;
}

// One multi-byte UTF-8 character: no overlong forms, no surrogates, at most U+10FFFF (RFC 3629).
static ecd_status scan_utf8(ecd_json_scan *s, ecd_diag *diag)
{
    size_t start = s->at;
    int lead = peek(s), extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4)
        return fail_at(s, start, diag, "UTF-8");
    uint32_t code = (uint32_t)lead & (0x3fu >> extra);
    s->at++;
    for (int i = 0; i < extra; i++, s->at++) {
        int c = peek(s);
        if (c < 0x80 || c > 0xbf)
            return fail_at(s, start, diag, "UTF-8");
        code = code << 6 | ((uint32_t)c & 0x3f);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (code < least[extra] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return fail_at(s, start, diag, "UTF-8");
    return ECD_OK;
}

static ecd_status scan_string(ecd_json_scan *s, ecd_diag *diag)
{
    if (peek(s) != '"')
        return fail_at(s, s->at, diag, "a string");
    s->at++;
    for (;;) {
        int c = peek(s);
        ecd_status status = ECD_OK;
        if (c == '"')
            break;
        if (c < 0x20)
            return fail_at(s, s->at, diag, "the rest of a string");
        if (c == '\\')
            status = scan_escape(s, diag);
        else if (c >= 0x80)
            status = scan_utf8(s, diag);
        else
            s->at++;
        if (status)
            return status;
    }
    s->at++;
    return ECD_OK;
}

static bool take_digits(ecd_json_scan *s)
{
    size_t start = s->at;
    while (peek(s) >= '0' && peek(s) <= '9')
        s->at++;
    return s->at > start;
}

static ecd_status scan_number(ecd_json_scan *s, ecd_diag *diag)
{
    size_t start = s->at;
    take_word(s, "-");
    if (!take_word(s, "0") && !take_digits(s))
        return fail_at(s, s->at, diag, s->at > start ? "a digit" : "a value");
    if (take_word(s, ".") && !take_digits(s))
        return fail_at(s, s->at, diag, "a digit");
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (!take_word(s, "+"))
            take_word(s, "-");
        if (!take_digits(s))
            return fail_at(s, s->at, diag, "a digit");
    }
    if (s->at - start > ECD_JSON_MAX_NUMBER)
        return fail_at(s, start, diag, "a number of at most 60 characters");
    return ECD_OK;
}

// Replaces text[from, at) in the copy by something that cJSON reads, padded with blanks.
static void rewrite(ecd_json_scan *s, size_t from, const char *replacement)
{
    s->constants = true;
    if (!s->rewrite)
        return;
    memset(s->rewrite + from, ' ', s->at - from);
    memcpy(s->rewrite + from, replacement, strlen(replacement));
}

// Infinity becomes a number too large for a double. NaN becomes a string of the byte 0xff, which no string that
// passed this check can be; ecd_json_parse turns it into the number.
static bool scan_constant(ecd_json_scan *s)
{
    size_t from = s->at;
    if (take_word(s, "NaN"))
        rewrite(s, from, "\"\xff\"");
    else if (take_word(s, "Infinity"))
        rewrite(s, from, "1e999");
    else if (take_word(s, "-Infinity"))
        rewrite(s, from, "-1e999");
    else
        return false;
    return true;
}

static ecd_status scan_member(ecd_json_scan *s, ecd_diag *diag)
{
    if (s->keys++ == s->wanted_key)
        s->key_at = s->at;
    ecd_status status = scan_string(s, diag);
    if (status)
        return status;
    skip_space(s);
    if (!take_word(s, ":"))
        return fail_at(s, s->at, diag, "':'");
    return scan_value(s, diag);
}

// An object or an array: the two differ in what an element is and in the closing bracket.
static ecd_status scan_container(ecd_json_scan *s, const char *closing, ecd_diag *diag)
{
    if (++s->depth > ECD_JSON_MAX_DEPTH)
        return fail_at(s, s->at, diag, "at most 256 levels of nesting");
    s->at++;
    skip_space(s);
    if (!take_word(s, closing)) {
        for (;;) {
            skip_space(s);
            ecd_status status = closing[0] == '}' ? scan_member(s, diag) : scan_value(s, diag);
            if (status)
                return status;
            skip_space(s);
            if (take_word(s, closing))
                break;
            if (!take_word(s, ","))
                return fail_at(s, s->at, diag, closing[0] == '}' ? "',' or '}'" : "',' or ']'");
        }
    }
    s->depth--;
    return ECD_OK;
}

static ecd_status scan_value(ecd_json_scan *s, ecd_diag *diag)
{
    skip_space(s);
    switch (peek(s)) {
    case '{': return scan_container(s, "}", diag);
    case '[': return scan_container(s, "]", diag);
    case '"': return scan_string(s, diag);
    default: break;
    }
    if (take_word(s, "true") || take_word(s, "false") || take_word(s, "null") || scan_constant(s))
        return ECD_OK;
    return scan_number(s, diag);
}

ecd_status ecd_json_scan_run(ecd_json_scan *s, ecd_diag *diag)
{
    skip_space(s);
    if (peek(s) != '{')
        return fail_at(s, s->at, diag, "an object");
    ecd_status status = scan_value(s, diag);
    if (status)
        return status;
    skip_space(s);
    return s->at < s->size ? fail_at(s, s->at, diag, "nothing after the object") : ECD_OK;
}
