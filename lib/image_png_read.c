// Reading PNG by libpng, of files that may be hostile.
#include "lib/image_internal.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

// Deflate cannot shrink by more than this (zlib: "Maximum compression factor"), so that a file's size bounds its
// pixels.
enum { DEFLATE_MAX_FACTOR = 1032 };

typedef struct decoder {
    png_structp png;
    png_infop info;
    ecd_file file;
    uint64_t offset;
    ecd_status status;
    ecd_diag *diag;
    bool no_memory;
    uint8_t *pixels; // [height, width, channels]
    png_bytepp rows;
    int64_t width, height;
    int channels; // 3, or 4 with alpha
} decoder;

static void on_error(png_structp png, png_const_charp message)
{
    decoder *d = png_get_error_ptr(png);
    if (!d->status) {
        d->status = ecd_fail(d->diag, d->no_memory ? ECD_RESOURCE : ECD_DATA, "bad PNG: %s", message);
        ecd_diag_offset(d->diag, d->offset);
    }
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

// Libpng takes memory for a chunk on the word of its length: no chunk is longer than the file, no text when
// decompressed longer than its limit, and a row is shorter than that.
static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
    decoder *d = png_get_mem_ptr(png);
    if (size > d->file.size_bytes && size - d->file.size_bytes > ECD_IMAGE_MAX_TEXT_BYTES + (1u << 20))
        return NULL;
    void *memory = malloc(size);
    d->no_memory |= !memory;
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_read(png_structp png, png_bytep data, size_t size)
{
    decoder *d = png_get_io_ptr(png);
    if (size > d->file.size_bytes - d->offset)
        png_error(png, "the file ends too early");
    memcpy(data, d->file.data + d->offset, size);
    d->offset += size;
}

static void refuse(decoder *d, ecd_status status)
{
    d->status = status;
    png_longjmp(d->png, 1);
}

// Sides and pixels within our limits, and not more than the file can hold.
static void check_size(decoder *d)
{
    d->width = png_get_image_width(d->png, d->info);
    d->height = png_get_image_height(d->png, d->info);
    if (ecd_image_check_size(d->width, d->height, NULL))
        refuse(d, ecd_fail(d->diag, ECD_DATA, "a picture of %lld x %lld, expected sides of at most %d and %d pixels",
                           (long long)d->width, (long long)d->height, ECD_IMAGE_MAX_SIDE, ECD_IMAGE_MAX_PIXELS));
    uint64_t stored = png_get_rowbytes(d->png, d->info) * (uint64_t)d->height;
    if (stored / DEFLATE_MAX_FACTOR > d->file.size_bytes)
        refuse(d, ecd_fail(d->diag, ECD_DATA, "%lld x %lld pixels cannot come from a file of %llu bytes: truncated",
                           (long long)d->width, (long long)d->height, (unsigned long long)d->file.size_bytes));
}

static void allocate(decoder *d)
{
    size_t row = (size_t)d->width * (size_t)d->channels;
    d->pixels = malloc(row * (size_t)d->height);
    d->rows = malloc((size_t)d->height * sizeof *d->rows);
    if (!d->pixels || !d->rows)
        refuse(d, ecd_fail_memory(d->diag, row * (size_t)d->height, "a picture"));
    for (int64_t y = 0; y < d->height; y++)
        d->rows[y] = d->pixels + (size_t)y * row;
}

// The only frame that libpng may jump back to; it keeps nothing of its own.
static void decode(decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)))
        return;
    png_set_read_fn(d->png, d, on_read);
    png_set_user_limits(d->png, ECD_IMAGE_MAX_SIDE, ECD_IMAGE_MAX_SIDE);
    png_set_chunk_cache_max(d->png, ECD_IMAGE_MAX_TEXTS);
    png_set_chunk_malloc_max(d->png, ECD_IMAGE_MAX_TEXT_BYTES);
    png_set_crc_action(d->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(d->png, d->info);
    check_size(d);
    png_set_expand(d->png);
    png_set_scale_16(d->png);
    png_set_gray_to_rgb(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    d->channels = png_get_channels(d->png, d->info);
    if ((d->channels != 3 && d->channels != 4) || png_get_bit_depth(d->png, d->info) != 8)
        png_error(d->png, "unexpected kind of pixels");
    allocate(d);
    png_read_image(d->png, d->rows);
    png_read_end(d->png, d->info);
}

// Lays pixels with alpha over white, in place: what is written never passes what is read.
static void drop_alpha(decoder *d)
{
    const uint8_t *in = d->pixels;
    uint8_t *out = d->pixels;
    for (int64_t i = 0; i < d->width * d->height; i++, in += 4) {
        unsigned alpha = in[3];
        for (int c = 0; c < 3; c++)
            *out++ = (uint8_t)((in[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}

static bool is_utf8(const unsigned char *s, size_t length)
{
    for (size_t i = 0; i < length;) {
        int more = s[i] < 0x80                   ? 0
                   : s[i] >= 0xc2 && s[i] < 0xe0 ? 1
                   : (s[i] & 0xf0) == 0xe0       ? 2
                   : s[i] >= 0xf0 && s[i] < 0xf5 ? 3
                                                 : -1;
        if (more < 0 || (size_t)more >= length - i)
            return false;
        uint32_t code = more == 0 ? s[i] : s[i] & (0x3fu >> more);
        for (int j = 1; j <= more; j++) {
            if ((s[i + (size_t)j] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (s[i + (size_t)j] & 0x3f);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10ffff)) ||
            (code >= 0xd800 && code < 0xe000))
            return false;
        i += (size_t)more + 1;
    }
    return true;
}

// A new string in UTF-8. What is Latin-1, by its chunk or because it is not UTF-8, is converted.
static char *to_utf8(const char *text, size_t length, bool latin1)
{
    const unsigned char *s = (const unsigned char *)text;
    latin1 = latin1 || !is_utf8(s, length);
    char *out = malloc(2 * length + 1), *to = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < length; i++) {
        if (latin1 && s[i] >= 0x80) {
            *to++ = (char)(0xc0 | s[i] >> 6);
            *to++ = (char)(0x80 | (s[i] & 0x3f));
        } else {
            *to++ = (char)s[i];
        }
    }
    *to = 0;
    return out;
}

static ecd_status take_texts(const decoder *d, ecd_image_texts *out, ecd_diag *diag)
{
    png_textp texts = NULL;
    int count = 0;
    png_get_text(d->png, d->info, &texts, &count);
    if (count <= 0)
        return ECD_OK;
    out->items = calloc((size_t)count, sizeof *out->items);
    if (!out->items)
        return ecd_fail_memory(diag, (size_t)count * sizeof *out->items, "a picture's texts");
    for (int i = 0; i < count; i++) {
        bool latin1 = texts[i].compression < PNG_ITXT_COMPRESSION_NONE;
        size_t length = latin1 ? texts[i].text_length : texts[i].itxt_length;
        ecd_image_text *text = &out->items[out->count++];
        text->key = to_utf8(texts[i].key, strlen(texts[i].key), true);
        text->value = to_utf8(texts[i].text ? texts[i].text : "", texts[i].text ? length : 0, latin1);
        if (!text->key || !text->value)
            return ecd_fail_memory(diag, length, "a picture's text");
    }
    return ECD_OK;
}

ecd_status ecd_image_read_png(const char *path, ecd_image *image, ecd_image_texts *texts, ecd_diag *diag)
{
    decoder d = {.diag = diag};
    if (image)
        *image = (ecd_image){0};
    if (texts)
        *texts = (ecd_image_texts){0};
    ecd_status status = ecd_file_map(path, &d.file, diag);
    if (status)
        return status;
    if (d.file.size_bytes < 8 || png_sig_cmp(d.file.data, 0, 8)) {
        status = ecd_fail(diag, ECD_DATA, "not a PNG file");
        goto out;
    }
    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d, on_malloc, on_free);
    d.info = d.png ? png_create_info_struct(d.png) : NULL;
    if (d.info)
        decode(&d);
    status = d.status;
    if (!d.info && !status)
        status = ecd_fail_memory(diag, 0, "libpng");
    if (!status && d.channels == 4)
        drop_alpha(&d);
    if (!status && texts)
        status = take_texts(&d, texts, diag);
    if (!status && image) {
        *image = (ecd_image){.pixels = d.pixels, .width = d.width, .height = d.height};
        d.pixels = NULL;
    }
out:
    png_destroy_read_struct(&d.png, &d.info, NULL);
    free(d.rows);
    free(d.pixels);
    if (status) {
        if (texts)
            ecd_image_texts_free(texts);
        ecd_diag_file(diag, path);
    }
    ecd_file_unmap(&d.file);
    return status;
}
