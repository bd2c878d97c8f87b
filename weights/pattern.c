// A backtracking matcher. Only single characters repeat, so its depth is bounded by the pattern's length; its steps are
// counted, as hostile patterns may backtrack for ever.
#include "weights/pattern.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { MAX_PATTERN = 1024, MAX_STEPS = 200000 };

typedef struct matcher {
    const char *text;
    unsigned steps;
    bool unsupported;
} matcher;

// What stays to be matched once the innermost part is.
typedef struct rest {
    const char *at, *end;
    const struct rest *outer;
    bool lookahead; // nothing stays: any end will do
} rest;

static bool match_any(matcher *m, const char *at, const char *end, const char *text, const rest *after);

static bool give_up(matcher *m)
{
    m->unsupported = true;
    return false;
}

// The end of the character, class or group that begins at `at`; NULL if it has none.
static const char *atom_end(const char *at, const char *end)
{
    if (*at == '\\')
        return at + 2 <= end ? at + 2 : NULL;
    if (*at == '[') {
        const char *p = at + 1;
        p += p < end && *p == '^';
        p += p < end && *p == ']'; // first in a class it stands for itself
        for (; p < end; p++) {
            p += *p == '\\';
            if (p < end && *p == ']')
                return p + 1;
        }
        return NULL;
    }
    if (*at != '(')
        return at + 1;
    for (const char *p = at + 1; p < end && *p != ')';) {
        p = atom_end(p, end);
        if (!p)
            return NULL;
        if (p < end && *p == ')')
            return p + 1;
    }
    return at + 1 < end && at[1] == ')' ? at + 2 : NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool escape_holds(matcher *m, char escape, char c)
{
    switch (escape) {
    case 'd': return is_digit(c);
    case 'D': return !is_digit(c);
    case 'w': return is_word(c);
    case 'W': return !is_word(c);
    default: return is_word(escape) ? give_up(m) : escape == c;
    }
}

static bool class_holds(matcher *m, const char *at, const char *end, char c)
{
    bool negated = at < end && *at == '^', holds = false;
    for (at += negated; at < end; at++) {
        if (*at == '\\' && at + 1 < end) {
            holds |= escape_holds(m, *++at, c);
        } else if (at + 2 < end && at[1] == '-') {
            holds |= c >= at[0] && c <= at[2];
            at += 2;
        } else {
            holds |= *at == c;
        }
    }
    return holds != negated;
}

static bool character_holds(matcher *m, const char *at, const char *end, char c)
{
    if (!c)
        return false;
    if (*at == '\\')
        return escape_holds(m, at[1], c);
    if (*at == '[')
        return class_holds(m, at + 1, end - 1, c);
    if (strchr("*+?{}|)", *at)) // nothing before it to repeat, {2,3}, a group that never began
        return give_up(m);
    return *at == '.' ? c != '\n' : *at == c;
}

static bool match_sequence(matcher *m, const char *at, const char *end, const char *text, const rest *after)
{
    if (++m->steps > MAX_STEPS)
        return give_up(m);
    if (at == end) {
        if (after->lookahead)
            return true;
        return after->outer ? match_sequence(m, after->at, after->end, text, after->outer) : !*text;
    }
    const char *next = atom_end(at, end);
    if (!next)
        return give_up(m);
    char quantifier = next < end && strchr("*+?", *next) ? *next : 0;
    const char *follow = next + (quantifier != 0);
    if (follow < end && strchr("*+?{", *follow))
        return give_up(m);
    if (*at == '$' || *at == '^')
        return (*at == '$' ? !*text : text == m->text) && match_sequence(m, follow, end, text, after);
    if (*at == '(') {
        const rest behind = {follow, end, after, false}, nothing = {.lookahead = true};
        if (quantifier)
            return give_up(m);
        if (at[1] != '?')
            return match_any(m, at + 1, next - 1, text, &behind);
        if (at[2] == ':')
            return match_any(m, at + 3, next - 1, text, &behind);
        if (at[2] != '=' && at[2] != '!')
            return give_up(m);
        return match_any(m, at + 3, next - 1, text, &nothing) == (at[2] == '=') && !m->unsupported &&
               match_sequence(m, follow, end, text, after);
    }
    size_t least = quantifier == '*' || quantifier == '?' ? 0 : 1, most = 0;
    bool many = quantifier == '*' || quantifier == '+';
    while ((many || most < 1) && character_holds(m, at, next, text[most]))
        most++;
    for (size_t n = most + 1; n-- > least && !m->unsupported;)
        if (match_sequence(m, follow, end, text + n, after))
            return true;
    return false;
}

// Alternatives from left to right.
static bool match_any(matcher *m, const char *at, const char *end, const char *text, const rest *after)
{
    for (const char *p = at; !m->unsupported; p = atom_end(p, end)) {
        if (!p)
            return give_up(m);
        if (p < end && *p != '|')
            continue;
        if (match_sequence(m, at, p, text, after))
            return true;
        if (p == end)
            return false;
        at = p + 1;
    }
    return false;
}

ecd_pattern_result ecd_pattern_match(const char *pattern, const char *text)
{
    matcher m = {.text = text};
    const rest end = {0};
    size_t length = strlen(pattern);
    if (length > MAX_PATTERN)
        return ECD_PATTERN_UNSUPPORTED;
    bool match = match_any(&m, pattern, pattern + length, text, &end);
    return m.unsupported ? ECD_PATTERN_UNSUPPORTED : match ? ECD_PATTERN_MATCH : ECD_PATTERN_OTHER;
}
