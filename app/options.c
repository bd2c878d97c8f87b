#define _GNU_SOURCE
#include "app/options.h"

#include "app/nearest.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 48, FIRST_CODE = 256 };

// strtoll and strtod skip blanks, take signs, hexadecimal and "nan": only plain digits may reach them.
static bool is_plain_number(const char *text, const char *allowed)
{
    return *text && strspn(text, allowed) == strlen(text) && strpbrk(text, "0123456789");
}

bool ecd_parse_int(const char *text, int64_t min, int64_t max, int64_t *out)
{
    if (!is_plain_number(text[0] == '-' ? text + 1 : text, "0123456789"))
        return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno || value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool ecd_parse_seed(const char *text, uint64_t *out)
{
    if (!is_plain_number(text, "0123456789"))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno)
        return false;
    *out = value;
    return true;
}

bool ecd_parse_number(const char *text, double min, double max, double *out)
{
    char *end;
    if (!is_plain_number(text, "0123456789.eE+-"))
        return false;
    double value = strtod(text, &end);
    if (*end || !isfinite(value) || value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool ecd_parse_bytes(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    double value = strtod(text, &end);
    if (strspn(text, "0123456789.") != (size_t)(end - text))
        return false;
    const char *unit = *end ? strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end) : NULL;
    if (unit && *end) {
        value = ldexp(value, 10 * (int)(unit - units + 1));
        end++;
        if (*end == 'i')
            end++;
        if (*end == 'B')
            end++;
    }
    if (*end || !(value < 0x1p63))
        return false;
    *out = (uint64_t)value;
    return true;
}

bool ecd_parse_size(const char *text, int64_t min, int64_t max, ecd_option_size *out)
{
    char width[24];
    const char *cross = strchr(text, 'x');
    if (!cross || (size_t)(cross - text) >= sizeof width)
        return false;
    snprintf(width, sizeof width, "%.*s", (int)(cross - text), text);
    return ecd_parse_int(width, min, max, &out->width) && ecd_parse_int(cross + 1, min, max, &out->height);
}

static bool parse_list(const char *text, int64_t min, int64_t max, ecd_option_list *out)
{
    ecd_option_list list = {.count = 0};
    for (;;) {
        char item[24];
        size_t length = strcspn(text, ",");
        if (length >= sizeof item || list.count == ECD_OPTION_LIST_MAX)
            return false;
        snprintf(item, sizeof item, "%.*s", (int)length, text);
        if (!ecd_parse_int(item, min, max, &list.values[list.count++]))
            return false;
        if (!text[length])
            break;
        text += length + 1;
    }
    *out = list;
    return true;
}

static bool parse_choice(const char *text, const char *const *choices, int *out)
{
    for (int i = 0; choices[i]; i++) {
        if (!strcmp(text, choices[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool parse_value(const ecd_option *option, const char *text)
{
    switch (option->kind) {
    case ECD_OPTION_FLAG:
        *(bool *)option->value = true;
        return true;
    case ECD_OPTION_TEXT:
        *(const char **)option->value = text;
        return *text != 0;
    case ECD_OPTION_ANY_TEXT:
        *(const char **)option->value = text;
        return true;
    case ECD_OPTION_INT:
        return ecd_parse_int(text, option->min, option->max, option->value);
    case ECD_OPTION_SEED:
        return ecd_parse_seed(text, option->value);
    case ECD_OPTION_NUMBER:
        return ecd_parse_number(text, (double)option->min, (double)option->max, option->value);
    case ECD_OPTION_BYTES:
        return ecd_parse_bytes(text, option->value) && *(uint64_t *)option->value >= (uint64_t)option->min;
    case ECD_OPTION_SIZE:
        return ecd_parse_size(text, option->min, option->max, option->value);
    case ECD_OPTION_CHOICE:
        return parse_choice(text, option->choices, option->value);
    case ECD_OPTION_INT_LIST:
        return parse_list(text, option->min, option->max, option->value);
    }
    return false;
}

static void describe_choices(const char *const *choices, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; choices[i] && used < size; i++) {
        const char *joint = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        int length = snprintf(out + used, size - used, "%s%s", joint, choices[i]);
        used += length > 0 ? (size_t)length : size;
    }
}

static void describe(const ecd_option *option, char *out, size_t size)
{
    switch (option->kind) {
    case ECD_OPTION_FLAG: case ECD_OPTION_TEXT: case ECD_OPTION_ANY_TEXT:
        snprintf(out, size, "a text that is not empty");
        break;
    case ECD_OPTION_INT:
        if (option->max == INT64_MAX)
            snprintf(out, size, "a whole number of at least %" PRId64, option->min);
        else
            snprintf(out, size, "a whole number from %" PRId64 " to %" PRId64, option->min, option->max);
        break;
    case ECD_OPTION_SEED:
        snprintf(out, size, "a whole number from 0 to 18446744073709551615");
        break;
    case ECD_OPTION_NUMBER:
        snprintf(out, size, "a number from %" PRId64 " to %" PRId64, option->min, option->max);
        break;
    case ECD_OPTION_BYTES:
        snprintf(out, size, "a number of bytes such as 800M or 2G");
        break;
    case ECD_OPTION_SIZE:
        snprintf(out, size, "WIDTHxHEIGHT in pixels, each from %" PRId64 " to %" PRId64, option->min, option->max);
        break;
    case ECD_OPTION_CHOICE:
        describe_choices(option->choices, out, size);
        break;
    case ECD_OPTION_INT_LIST:
        snprintf(out, size, "whole numbers from %" PRId64 " to %" PRId64 " between commas, at most %d of them",
                 option->min, option->max, ECD_OPTION_LIST_MAX);
        break;
    }
}

// "-n" or "--steps", as the user wrote it.
static const char *spelling(const ecd_option *option, int code, char *out, size_t size)
{
    if (code < FIRST_CODE)
        snprintf(out, size, "-%c", code);
    else
        snprintf(out, size, "--%s", option->name);
    return out;
}

static ecd_status fail_value(const ecd_option *option, int code, const char *text, ecd_diag *diag)
{
    char expected[256], name[64];
    describe(option, expected, sizeof expected);
    spelling(option, code, name, sizeof name);
    return ecd_fail(diag, ECD_USAGE, "%s %s: expected %s", name, *text ? text : "\"\"", expected);
}

// getopt_long's own '?' covers unknown, ambiguous and superfluous values alike: tell them apart by the word itself.
static ecd_status fail_word(const char *word, const ecd_option *options, size_t count, ecd_diag *diag)
{
    const char *names[MAX_OPTIONS + 1];
    char plain[64];
    if (word[0] != '-' || word[1] != '-')
        return ecd_fail(diag, ECD_USAGE, "%s: unknown option", word);
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    int begun = 0;
    for (size_t i = 0; i < count; i++) {
        names[i] = options[i].name;
        if (!strcmp(plain, options[i].name))
            return ecd_fail(diag, ECD_USAGE, "--%s takes no value", plain);
        begun += !strncmp(plain, options[i].name, strlen(plain));
    }
    if (begun > 1)
        return ecd_fail(diag, ECD_USAGE, "--%s: several options begin so, write it out", plain);
    names[count] = NULL;
    const char *nearest = ecd_nearest(plain, names);
    if (nearest)
        return ecd_fail(diag, ECD_USAGE, "--%s: unknown option, did you mean --%s?", plain, nearest);
    return ecd_fail(diag, ECD_USAGE, "--%s: unknown option", plain);
}

static const ecd_option *option_of_code(const ecd_option *options, size_t count, int code)
{
    if (code >= FIRST_CODE)
        return &options[code - FIRST_CODE];
    for (size_t i = 0; i < count; i++)
        if (options[i].letter == code)
            return &options[i];
    return NULL;
}

ecd_status ecd_options_parse(int argc, char **argv, const ecd_option *options, size_t count, int *first, ecd_diag *diag)
{
    struct option table[MAX_OPTIONS + 1] = {0};
    char letters[2 * MAX_OPTIONS + 2] = ":"; // a leading colon tells a missing value from an unknown option
    size_t used = 1;
    if (count > MAX_OPTIONS)
        return ecd_fail(diag, ECD_USAGE, "%zu options, expected at most %d", count, MAX_OPTIONS);
    for (size_t i = 0; i < count; i++) {
        int takes_value = options[i].kind != ECD_OPTION_FLAG;
        table[i] = (struct option){options[i].name, takes_value, NULL, FIRST_CODE + (int)i};
        if (options[i].letter) {
            letters[used++] = options[i].letter;
            if (takes_value)
                letters[used++] = ':';
        }
    }
    optind = 0; // GNU: start afresh
    opterr = 0;
    for (;;) {
        int at = optind ? optind : 1;
        int code = getopt_long(argc, argv, letters, table, NULL);
        if (code < 0)
            break;
        if (code == '?' || code == ':') {
            const char *word = argv[optind > 1 ? optind - 1 : at];
            const ecd_option *known = code == ':' ? option_of_code(options, count, optopt) : NULL;
            char name[64], letter[3] = {'-', (char)optopt, 0};
            if (known)
                return ecd_fail(diag, ECD_USAGE, "%s needs a value", spelling(known, optopt, name, sizeof name));
            return fail_word(optopt > 0 && optopt < FIRST_CODE ? letter : word, options, count, diag);
        }
        const ecd_option *option = option_of_code(options, count, code);
        if (!parse_value(option, optarg ? optarg : ""))
            return fail_value(option, code, optarg, diag);
        if (option->given)
            *option->given = true;
    }
    *first = optind;
    return ECD_OK;
}
