#include "text/regex.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    MAX_PATTERN = 4096,
    MAX_NESTING = 50,
    MATCH_LIMIT = 200000, // backtracks of one match
    HEAP_LIMIT_KIB = 16 << 10,
    JIT_STACK = 1 << 20,
};

struct ecd_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

// White_Space, to be put between brackets.
static const char spaces[] = "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
                             "\\x{205f}\\x{3000}";

typedef struct translation {
    const char *in;
    char *out; // room for sizeof spaces + 4 bytes a byte of `in`
    size_t at, size;
    bool in_class, class_begun; // class_begun: nothing but ^ has come since the bracket
} translation;

static void put(translation *t, const char *text, size_t size)
{
    memcpy(t->out + t->size, text, size);
    t->size += size;
}

static ecd_status translate_escape(translation *t, ecd_diag *diag)
{
    char c = t->in[t->at + 1];
    if (!c)
        return ecd_fail(diag, ECD_DATA, "the pattern ends in a backslash");
    if (strchr("hHwWbBRXGKkgQE", c))
        return ecd_fail(diag, ECD_DATA, "the pattern uses \\%c, which is not supported", c);
    if (c == 's' || (c == 'S' && !t->in_class)) {
        if (!t->in_class)
            put(t, c == 's' ? "[" : "[^", c == 's' ? 1 : 2);
        put(t, spaces, sizeof spaces - 1);
        if (!t->in_class)
            put(t, "]", 1);
    } else {
        put(t, t->in + t->at, 2);
    }
    t->at += 2;
    return ECD_OK;
}

static ecd_status translate_in_class(translation *t, ecd_diag *diag)
{
    char c = t->in[t->at];
    if (c == '[' || (c == '&' && t->in[t->at + 1] == '&'))
        return ecd_fail(diag, ECD_DATA, "the pattern uses sets inside a class, which is not supported");
    if (c == ']' && t->class_begun)
        return ecd_fail(diag, ECD_DATA, "the pattern has an empty class");
    t->in_class = c != ']';
    put(t, &c, 1);
    t->class_begun = t->class_begun && c == '^';
    t->at++;
    return ECD_OK;
}

static ecd_status translate(translation *t, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    while (!status && t->in[t->at]) {
        if (t->in[t->at] == '\\') {
            t->class_begun = false;
            status = translate_escape(t, diag);
        } else if (t->in_class) {
            status = translate_in_class(t, diag);
        } else {
            t->in_class = t->class_begun = t->in[t->at] == '[';
            put(t, t->in + t->at++, 1);
        }
    }
    return status;
}

static ecd_status compile(ecd_regex *regex, const char *pattern, size_t size, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    int fault = 0;
    PCRE2_SIZE place = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return ecd_fail_memory(diag, 0, "a pattern");
    pcre2_set_parens_nest_limit(context, MAX_NESTING);
    pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, size, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &fault, &place,
                                context);
    if (!regex->code) {
        PCRE2_UCHAR message[256];
        pcre2_get_error_message(fault, message, sizeof message);
        status = ecd_fail(diag, ECD_DATA, "the pattern does not compile: %s", (const char *)message);
    }
    pcre2_compile_context_free(context);
    return status;
}

static ecd_status prepare(ecd_regex *regex, ecd_diag *diag)
{
    regex->data = pcre2_match_data_create(1, NULL);
    regex->context = pcre2_match_context_create(NULL);
    if (!regex->data || !regex->context)
        return ecd_fail_memory(diag, 0, "a pattern");
    pcre2_set_match_limit(regex->context, MATCH_LIMIT);
    pcre2_set_heap_limit(regex->context, HEAP_LIMIT_KIB);
    // Where the system lets no program make code, the interpreter takes over.
    if (pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE) == 0) {
        regex->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK, NULL);
        if (!regex->stack)
            return ecd_fail_memory(diag, JIT_STACK, "a pattern's stack");
        pcre2_jit_stack_assign(regex->context, NULL, regex->stack);
    }
    return ECD_OK;
}

static ecd_status match(const ecd_regex *regex, const char *text, size_t size, size_t from, int *count, ecd_diag *diag)
{
    *count = pcre2_match(regex->code, (PCRE2_SPTR)text, size, from, PCRE2_NO_UTF_CHECK, regex->data, regex->context);
    if (*count >= 0 || *count == PCRE2_ERROR_NOMATCH)
        return ECD_OK;
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(*count, message, sizeof message);
    return ecd_fail(diag, *count == PCRE2_ERROR_NOMEMORY ? ECD_RESOURCE : ECD_DATA, "a pattern does not come to an end: %s",
                    (const char *)message);
}

ecd_status ecd_regex_new(const char *pattern, ecd_regex **out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    int count = 0;
    ecd_regex *regex = NULL;
    translation t = {.in = pattern};
    size_t size = strlen(pattern);
    if (!size || size > MAX_PATTERN)
        return ecd_fail(diag, ECD_DATA, "a pattern of %zu bytes, expected 1 to %d", size, MAX_PATTERN);
    t.out = malloc(size * (sizeof spaces + 4));
    regex = calloc(1, sizeof *regex);
    if (!t.out || !regex) {
        status = ecd_fail_memory(diag, size, "a pattern");
        goto out;
    }
    if ((status = translate(&t, diag)) || (status = compile(regex, t.out, t.size, diag)) ||
        (status = prepare(regex, diag)) || (status = match(regex, "", 0, 0, &count, diag)))
        goto out;
    if (count >= 0)
        status = ecd_fail(diag, ECD_DATA, "the pattern matches the empty text");
out:
    free(t.out);
    if (status) {
        ecd_regex_free(regex);
        regex = NULL;
    }
    *out = regex;
    return status;
}

void ecd_regex_free(ecd_regex *regex)
{
    if (!regex)
        return;
    pcre2_code_free(regex->code);
    pcre2_match_data_free(regex->data);
    pcre2_match_context_free(regex->context);
    pcre2_jit_stack_free(regex->stack);
    free(regex);
}

ecd_status ecd_regex_find(const ecd_regex *regex, const char *text, size_t size, size_t from, bool *found, size_t *begin,
                          size_t *end, ecd_diag *diag)
{
    *found = false;
    while (from < size) {
        int count;
        ecd_status status = match(regex, text, size, from, &count, diag);
        if (status || count < 0)
            return status;
        const PCRE2_SIZE *place = pcre2_get_ovector_pointer(regex->data);
        *begin = place[0];
        *end = place[1];
        *found = place[1] > place[0] && place[0] >= from;
        if (*found)
            return ECD_OK;
        // An empty match (of a look-around) says nothing: go on behind the next character.
        from = place[1] > from ? place[1] : from;
        do
            from++;
        while (from < size && ((unsigned char)text[from] & 0xc0) == 0x80);
    }
    return ECD_OK;
}
