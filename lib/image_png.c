// Writing PNG by libpng (W3C PNG specification, third edition).
#include "lib/image_internal.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

// What libpng's callbacks share. It lies in the caller's frame, so that it is whole after a longjmp.
typedef struct encoder {
    png_structp png;
    png_infop info;
    ecd_writer *writer;
    ecd_status status; // of the writer
    ecd_diag *diag;
    bool no_memory;
    const uint8_t *rgb;
    int64_t width, height;
    png_text *texts;
    size_t count;
    char none[1]; // an empty text
} encoder;

static void on_error(png_structp png, png_const_charp message)
{
    encoder *e = png_get_error_ptr(png);
    if (!e->status)
        e->status = ecd_fail(e->diag, e->no_memory ? ECD_RESOURCE : ECD_DATA, "cannot write PNG: %s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
    encoder *e = png_get_mem_ptr(png);
    void *memory = malloc(size);
    e->no_memory |= !memory;
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_write(png_structp png, png_bytep data, size_t size)
{
    encoder *e = png_get_io_ptr(png);
    e->status = ecd_writer_write(e->writer, data, size, e->diag);
    if (e->status)
        png_error(png, "write failed");
}

static void on_flush(png_structp png)
{
    (void)png;
}

// The only frame that libpng may jump back to; it keeps nothing of its own.
static void encode(encoder *e)
{
    if (setjmp(png_jmpbuf(e->png)))
        return;
    png_set_write_fn(e->png, e, on_write, on_flush);
    png_set_user_limits(e->png, ECD_IMAGE_MAX_SIDE, ECD_IMAGE_MAX_SIDE);
    png_set_IHDR(e->png, e->info, (png_uint_32)e->width, (png_uint_32)e->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_sRGB(e->png, e->info, PNG_sRGB_INTENT_PERCEPTUAL);
    png_set_text(e->png, e->info, e->texts, (int)e->count);
    png_write_info(e->png, e->info);
    for (int64_t y = 0; y < e->height; y++)
        png_write_row(e->png, e->rgb + y * e->width * 3);
    png_write_end(e->png, e->info);
}

// libpng would mend a bad key silently, and the recipe would not be found again.
static bool key_is_good(const char *key)
{
    size_t length = strlen(key);
    if (length < 1 || length > 79 || key[0] == ' ' || key[length - 1] == ' ' || strstr(key, "  "))
        return false;
    for (const unsigned char *c = (const unsigned char *)key; *c; c++)
        if (*c < 32 || (*c > 126 && *c < 161))
            return false;
    return true;
}

static bool is_ascii(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c > 126 || (*c < 32 && *c != '\n'))
            return false;
    return true;
}

// libpng takes texts by pointers to char that it does not write to.
static ecd_status prepare_texts(encoder *e, const ecd_image_text *texts, size_t count, ecd_diag *diag)
{
    if (count > ECD_IMAGE_MAX_TEXTS)
        return ecd_fail(diag, ECD_USAGE, "%zu texts for a picture, expected at most %d", count, ECD_IMAGE_MAX_TEXTS);
    e->texts = calloc(count + 1, sizeof *e->texts);
    if (!e->texts)
        return ecd_fail_memory(diag, (count + 1) * sizeof *e->texts, "a picture's texts");
    for (size_t i = 0; i < count; i++) {
        if (!key_is_good(texts[i].key))
            return ecd_fail(diag, ECD_USAGE, "text key \"%.100s\" is not one that PNG allows", texts[i].key);
        bool ascii = is_ascii(texts[i].value);
        e->texts[i] = (png_text){.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
                                 .key = texts[i].key,
                                 .text = texts[i].value,
                                 .text_length = ascii ? strlen(texts[i].value) : 0,
                                 .itxt_length = ascii ? 0 : strlen(texts[i].value),
                                 .lang = e->none,
                                 .lang_key = e->none};
    }
    e->count = count;
    return ECD_OK;
}

ecd_status ecd_image_encode_png(ecd_writer *writer, const uint8_t *rgb, int64_t width, int64_t height,
                                const ecd_image_text *texts, size_t count, ecd_diag *diag)
{
    encoder e = {.writer = writer, .diag = diag, .rgb = rgb, .width = width, .height = height};
    ecd_status status = prepare_texts(&e, texts, count, diag);
    if (status)
        goto out;
    e.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &e, on_error, on_warning, &e, on_malloc, on_free);
    e.info = e.png ? png_create_info_struct(e.png) : NULL;
    if (e.info)
        encode(&e);
    status = e.status;
    if (!e.info && !status)
        status = ecd_fail_memory(diag, 0, "libpng");
    png_destroy_write_struct(&e.png, &e.info);
out:
    free(e.texts);
    return status;
}
