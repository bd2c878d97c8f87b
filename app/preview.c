#include "app/preview.h"

#include <stdlib.h>
#include <string.h>

enum {
    KITTY_CHUNK = 4096,
    DEFAULT_COLUMNS = 80,
    SIXEL_LEVELS = 6,
    SIXEL_COLOURS = SIXEL_LEVELS * SIXEL_LEVELS * SIXEL_LEVELS
};

static bool begins(const char *text, const char *start)
{
    return text && !strncmp(text, start, strlen(start));
}

static bool equals(const char *text, const char *other)
{
    return text && !strcmp(text, other);
}

ecd_preview_kind ecd_preview_choose(const char *term, const char *term_program, const char *kitty_window_id)
{
    if (!term || !term[0] || !strcmp(term, "dumb"))
        return ECD_PREVIEW_NONE;
    if (begins(term, "screen") || begins(term, "tmux"))
        return ECD_PREVIEW_HALF_BLOCKS;
    if ((kitty_window_id && kitty_window_id[0]) || equals(term, "xterm-kitty") || equals(term, "xterm-ghostty") ||
        equals(term_program, "ghostty") || equals(term_program, "WezTerm"))
        return ECD_PREVIEW_KITTY;
    // xterm itself shows sixel only where it emulates a terminal that had it, which TERM does not tell.
    if (begins(term, "foot") || begins(term, "mlterm") || begins(term, "yaft") || begins(term, "contour") ||
        equals(term_program, "iTerm.app") || equals(term_program, "mintty"))
        return ECD_PREVIEW_SIXEL;
    return ECD_PREVIEW_HALF_BLOCKS;
}

ecd_preview_kind ecd_preview_of_environment(void)
{
    return ecd_preview_choose(getenv("TERM"), getenv("TERM_PROGRAM"), getenv("KITTY_WINDOW_ID"));
}

// ---- kitty: raw RGB in base64, at most 4096 characters an escape sequence

static void base64(const uint8_t *in, size_t count, char out[4])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)in[0] << 16 | (count > 1 ? (uint32_t)in[1] << 8 : 0) | (count > 2 ? in[2] : 0u);
    for (int i = 0; i < 4; i++)
        out[i] = (size_t)i > count ? '=' : digits[bits >> (18 - 6 * i) & 63];
}

static void show_kitty(FILE *out, const uint8_t *rgb, int64_t width, int64_t height)
{
    size_t size = (size_t)(width * height * 3), step = KITTY_CHUNK / 4 * 3;
    for (size_t at = 0; at < size; at += step) {
        size_t end = size - at < step ? size : at + step;
        int more = end < size;
        if (at == 0)
            fprintf(out, "\033_Ga=T,f=24,q=2,s=%lld,v=%lld,m=%d;", (long long)width, (long long)height, more);
        else
            fprintf(out, "\033_Gm=%d;", more);
        for (size_t i = at; i < end; i += 3) {
            char text[4];
            base64(rgb + i, end - i < 3 ? end - i : 3, text);
            fwrite(text, 1, sizeof text, out);
        }
        fputs("\033\\", out);
    }
    fputc('\n', out);
}

// ---- sixel: a 6x6x6 cube of colours with ordered dithering, six rows of pixels a band

// The cube's colour of a pixel. The 4x4 Bayer matrix decides between the two nearest levels.
static uint8_t sixel_colour(const uint8_t *pixel, int64_t x, int64_t y)
{
    static const uint8_t bayer[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
    int threshold = 2 * bayer[y & 3][x & 3] + 1, colour = 0; // of 32
    for (int c = 0; c < 3; c++)
        colour = colour * SIXEL_LEVELS + (pixel[c] * (SIXEL_LEVELS - 1) * 32 + threshold * 255) / (255 * 32);
    return (uint8_t)colour;
}

// Runs of more than three of the same character are shortened to "!<count><character>".
static void sixel_run(FILE *out, int character, int64_t count)
{
    if (count > 3) {
        fprintf(out, "!%lld%c", (long long)count, character);
        return;
    }
    while (count-- > 0)
        fputc(character, out);
}

static void sixel_row(FILE *out, const uint8_t *band, int64_t width, int64_t rows, int colour)
{
    int last = 0;
    int64_t run = 0;
    for (int64_t x = 0; x < width; x++) {
        int bits = 0;
        for (int64_t y = 0; y < rows; y++)
            bits |= (band[y * width + x] == colour) << y;
        if (run && bits + 63 != last) {
            sixel_run(out, last, run);
            run = 0;
        }
        last = bits + 63;
        run++;
    }
    sixel_run(out, last, run);
}

static ecd_status show_sixel(FILE *out, const uint8_t *rgb, int64_t width, int64_t height, ecd_diag *diag)
{
    uint8_t *band = malloc((size_t)width * 6);
    if (!band)
        return ecd_fail_memory(diag, (uint64_t)width * 6, "the preview");
    fprintf(out, "\033Pq\"1;1;%lld;%lld", (long long)width, (long long)height);
    for (int i = 0; i < SIXEL_COLOURS; i++)
        fprintf(out, "#%d;2;%d;%d;%d", i, i / 36 * 20, i / 6 % 6 * 20, i % 6 * 20); // in per cent
    for (int64_t top = 0; top < height; top += 6) {
        int64_t rows = height - top < 6 ? height - top : 6;
        bool used[SIXEL_COLOURS] = {false};
        for (int64_t i = 0; i < rows * width; i++) {
            band[i] = sixel_colour(rgb + (top * width + i) * 3, i % width, top + i / width);
            used[band[i]] = true;
        }
        const char *separator = "";
        for (int colour = 0; colour < SIXEL_COLOURS; colour++) {
            if (!used[colour])
                continue;
            fprintf(out, "%s#%d", separator, colour);
            sixel_row(out, band, width, rows, colour);
            separator = "$";
        }
        fputc('-', out);
    }
    fputs("\033\\\n", out);
    free(band);
    return ECD_OK;
}

// ---- half blocks: a character is two pixels, the upper in the foreground's colour

// The mean of a rectangle [left, right) x [top, bottom) of pixels, never empty.
static void mean_of(const uint8_t *rgb, int64_t width, const int64_t box[4], uint8_t out[3])
{
    uint64_t sum[3] = {0}, count = (uint64_t)((box[1] - box[0]) * (box[3] - box[2]));
    for (int64_t y = box[2]; y < box[3]; y++)
        for (int64_t x = box[0]; x < box[1]; x++)
            for (int c = 0; c < 3; c++)
                sum[c] += rgb[(y * width + x) * 3 + c];
    for (int c = 0; c < 3; c++)
        out[c] = (uint8_t)((sum[c] + count / 2) / count);
}

static void show_half_blocks(FILE *out, const uint8_t *rgb, int64_t width, int64_t height, int columns)
{
    int64_t across = columns > 0 ? columns : DEFAULT_COLUMNS;
    if (across > width)
        across = width;
    int64_t down = (height * across + width / 2) / width;
    if (down < 1)
        down = 1;
    for (int64_t y = 0; y < down; y += 2) {
        for (int64_t x = 0; x < across; x++) {
            uint8_t c[2][3];
            bool lower = y + 1 < down;
            for (int half = 0; half < (lower ? 2 : 1); half++) {
                int64_t box[4] = {x * width / across, (x + 1) * width / across, (y + half) * height / down,
                                  (y + half + 1) * height / down};
                mean_of(rgb, width, box, c[half]);
            }
            fprintf(out, "\033[38;2;%d;%d;%dm", c[0][0], c[0][1], c[0][2]);
            if (lower)
                fprintf(out, "\033[48;2;%d;%d;%dm", c[1][0], c[1][1], c[1][2]);
            fputs("\xe2\x96\x80", out);
        }
        fputs("\033[0m\n", out);
    }
}

ecd_status ecd_preview_show(FILE *out, ecd_preview_kind kind, const uint8_t *rgb, int64_t width, int64_t height,
                            int columns, ecd_diag *diag)
{
    if (width < 1 || height < 1)
        return ecd_fail(diag, ECD_USAGE, "no pixels to show");
    ecd_status status = ECD_OK;
    switch (kind) {
    case ECD_PREVIEW_KITTY: show_kitty(out, rgb, width, height); break;
    case ECD_PREVIEW_SIXEL: status = show_sixel(out, rgb, width, height, diag); break;
    case ECD_PREVIEW_HALF_BLOCKS: show_half_blocks(out, rgb, width, height, columns); break;
    default: status = ecd_fail(diag, ECD_USAGE, "this terminal cannot show pictures (TERM is unset or dumb)"); break;
    }
    if (!status && (fflush(out) || ferror(out)))
        status = ecd_fail_errno(diag, "", "write the preview");
    return status;
}
