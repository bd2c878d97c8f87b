// Lines of mixed text, the same on every machine: many scripts, emoji, controls, combining marks, right to left, white
// space of all kinds, special tokens, very long words. Characters are of Unicode 9 or older, which all libraries agree on.
#ifndef ECD_TESTS_UNIT_TEXT_LINES_H
#define ECD_TESTS_UNIT_TEXT_LINES_H

#include <stdint.h>
#include <string.h>

#include "text/utf8.h"

enum { TEXT_LINE_MAX = 1 << 15 };

typedef struct text_line {
    char *out; // [TEXT_LINE_MAX]
    size_t size;
    uint64_t state;
} text_line;

// splitmix64
static inline uint32_t text_random(text_line *line, uint32_t below)
{
    uint64_t z = line->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

static inline void text_put(text_line *line, const char *text)
{
    size_t size = strlen(text);
    if (line->size + size > TEXT_LINE_MAX)
        return;
    memcpy(line->out + line->size, text, size);
    line->size += size;
}

static inline void text_put_char(text_line *line, int32_t character)
{
    char bytes[5] = {0};
    ecd_utf8_put(character, bytes);
    text_put(line, bytes);
}

static inline void text_put_range(text_line *line, int32_t first, int32_t last, uint32_t most)
{
    for (uint32_t n = 1 + text_random(line, most); n > 0; n--)
        text_put_char(line, first + (int32_t)text_random(line, (uint32_t)(last - first) + 1));
}

#define TEXT_PICK(line, list) ((list)[text_random(line, sizeof(list) / sizeof *(list))])

static inline void text_put_word(text_line *line)
{
    static const char *const words[] = {
        "a",        "photo",  "of",     "the",   "Cat",     "holding", "sign",   "that",   "says",   "hello",
        "World",    "oil",    "PAINTING", "in",  "style",   "with",    "ultra",  "detailed", "tower", "shadow",
        "dusk",     "woman",  "man",    "riding", "horse",  "snowy",   "mountains", "cyberpunk", "4k", "8K",
        "HDR",      "bokeh",  "don't",  "it's",  "WE'RE",   "they'll", "I'd",    "you've", "I'm",    "rock'n'roll",
    };
    text_put(line, TEXT_PICK(line, words));
}

static inline void text_put_special(text_line *line)
{
    static const char *const pieces[] = {
        "<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>", "</s>", "<pad>", "<unk>", "<extra_id_7>", "\xe2\x96\x81",
        "\xe2\x96\x81\xe2\x96\x81of", "</w>", "##", "<|", "|>", "'s", "'S", "''", "...", "?!", "--", "\\n", "&amp;",
        "http://example.org/a?b=c&d=%20", "(x:1.3)", "[[a|b]]", "e=mc\xc2\xb2", "1,000.50", "12:30", "#tag", "@me", "$9.99",
    };
    text_put(line, TEXT_PICK(line, pieces));
}

static inline void text_put_emoji(text_line *line)
{
    static const char *const emoji[] = {
        "\xf0\x9f\x98\x80", "\xf0\x9f\x90\xb1\xf0\x9f\x9a\x80", "\xe2\x9d\xa4\xef\xb8\x8f", "\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd",
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7", "\xf0\x9f\x87\xab\xf0\x9f\x87\xb7",
        "1\xef\xb8\x8f\xe2\x83\xa3", "\xe2\x98\xba", "\xf0\x9f\x8f\xb3\xef\xb8\x8f\xe2\x80\x8d\xf0\x9f\x8c\x88",
    };
    text_put(line, TEXT_PICK(line, emoji));
    text_put_range(line, 0x1f300, 0x1f5ff, 2);
}

static inline void text_put_space(text_line *line)
{
    static const int32_t spaces[] = {' ',    ' ',    '\t',   '\n',   '\r',   0x0b,   0x0c,   0x85,  0xa0,
                                     0x1680, 0x2000, 0x2003, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
    for (uint32_t n = 1 + text_random(line, 3); n > 0; n--)
        text_put_char(line, TEXT_PICK(line, spaces));
}

static inline void text_put_invisible(text_line *line)
{
    static const int32_t marks[] = {1,      7,      8,      0x1b,   0x1c,   0x1f,   0x7f,   0x80,   0x9f,   0xad,  0x200b,
                                    0x200c, 0x200d, 0x200e, 0x200f, 0x202a, 0x202e, 0x2060, 0x2066, 0xfeff, 0xfe0f, 0xfffd,
                                    0x180e, 0xe000, 0xf8ff};
    text_put_char(line, TEXT_PICK(line, marks));
}

static inline void text_put_marked(text_line *line) // base characters and combining marks, in any order of classes
{
    for (uint32_t n = 1 + text_random(line, 4); n > 0; n--) {
        text_put_char(line, (text_random(line, 2) ? 'a' : 'A') + (int32_t)text_random(line, 26));
        text_put_range(line, 0x300, 0x345, 3);
    }
}

static inline void text_put_case(text_line *line)
{
    static const int32_t letters[] = {0x130, 0x131, 0x1e9e, 0xdf,   0x3a3,  0x3c2,   0x1c4, 0x1c5,  0x1f88,
                                      0x212a, 0x2126, 0x13a0, 0x10400, 0x2c2f - 1, 0x49, 0x1e02, 0x149, 0x390};
    for (uint32_t n = 1 + text_random(line, 4); n > 0; n--)
        text_put_char(line, TEXT_PICK(line, letters));
}

static inline void text_put_script(text_line *line)
{
    static const int32_t ranges[][2] = {
        {0xc0, 0x17f},    {0x391, 0x3a1},   {0x3b1, 0x3c9},   {0x410, 0x44f},   {0x531, 0x556},   {0x5d0, 0x5ea},
        {0x5b0, 0x5bd},   {0x620, 0x65f},   {0x660, 0x669},   {0x671, 0x6d3},   {0x904, 0x939},   {0x93e, 0x94d},
        {0x985, 0x98c},   {0xb85, 0xb8a},   {0xe01, 0xe3a},   {0xe40, 0xe5b},   {0xf40, 0xf47},   {0x1000, 0x102a},
        {0x10d0, 0x10f0}, {0x1100, 0x1112}, {0x1161, 0x1175}, {0x11a8, 0x11c2}, {0x1200, 0x1248}, {0x1780, 0x17b3},
        {0x1e00, 0x1eff}, {0x1f00, 0x1f15}, {0x3041, 0x3096}, {0x3099, 0x309e}, {0x30a1, 0x30ff}, {0x4e00, 0x9fa5},
        {0xac00, 0xd7a3}, {0xf900, 0xfa2d}, {0xfb00, 0xfb06}, {0xfb1f, 0xfb36}, {0xfb50, 0xfbb1}, {0xfe70, 0xfe72},
        {0xff01, 0xffbe}, {0x2460, 0x24ff}, {0x2150, 0x2188}, {0x2100, 0x214f}, {0x3200, 0x321e}, {0x3300, 0x33ff},
        {0x1d400, 0x1d454}, {0x20000, 0x202ff}, {0x2070, 0x2071}, {0x2074, 0x208e}, {0x20a0, 0x20bc}, {0x2190, 0x22ff},
    };
    const int32_t *range = TEXT_PICK(line, ranges);
    text_put_range(line, range[0], range[1], 6);
}

static inline void text_put_long(text_line *line)
{
    uint32_t kind = text_random(line, 4);
    for (uint32_t n = 1 + text_random(line, 600); n > 0; n--) {
        if (kind == 0)
            text_put(line, "a");
        else if (kind == 1)
            text_put_char(line, 'a' + (int32_t)text_random(line, 26));
        else if (kind == 2)
            text_put_char(line, 0x4e00 + (int32_t)text_random(line, 2000));
        else
            text_put(line, text_random(line, 2) ? "the" : "ing");
    }
}

// Line `index` into out[TEXT_LINE_MAX]; returns its size.
static inline size_t text_line_make(uint32_t index, char *out)
{
    static void (*const kinds[])(text_line *) = {text_put_word,   text_put_word,  text_put_word,      text_put_special,
                                                 text_put_emoji,  text_put_space, text_put_invisible, text_put_marked,
                                                 text_put_script, text_put_script, text_put_script,   text_put_case};
    text_line line = {.out = out, .state = index};
    for (uint32_t n = text_random(&line, 16); n > 0; n--) {
        TEXT_PICK(&line, kinds)(&line);
        if (text_random(&line, 3))
            text_put(&line, text_random(&line, 12) ? " " : "  ");
    }
    if (!text_random(&line, 64))
        text_put_long(&line);
    return line.size;
}

#endif
