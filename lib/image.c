#include "lib/image_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

ecd_status ecd_image_format_of(const char *path, ecd_image_format *out, ecd_diag *diag)
{
    static const struct {
        const char *extension;
        ecd_image_format format;
    } known[] = {{".png", ECD_IMAGE_PNG},
                 {".jpg", ECD_IMAGE_JPEG},
                 {".jpeg", ECD_IMAGE_JPEG},
                 {".bmp", ECD_IMAGE_BMP},
                 {".tga", ECD_IMAGE_TGA}};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    *out = ECD_IMAGE_NONE;
    for (size_t i = 0; dot && i < sizeof known / sizeof known[0]; i++)
        if (!strcasecmp(dot, known[i].extension))
            *out = known[i].format;
    if (*out != ECD_IMAGE_NONE)
        return ECD_OK;
    ecd_fail(diag, ECD_USAGE,
             "cannot tell the picture's format from the name, expected .png, .jpg, .jpeg, .bmp or .tga");
    ecd_diag_file(diag, path);
    return ECD_USAGE;
}

ecd_status ecd_image_check_size(int64_t width, int64_t height, ecd_diag *diag)
{
    if (width < 1 || height < 1 || width > ECD_IMAGE_MAX_SIDE || height > ECD_IMAGE_MAX_SIDE ||
        width * height > ECD_IMAGE_MAX_PIXELS)
        return ecd_fail(diag, ECD_USAGE, "a picture of %lld x %lld, expected sides from 1 to %d and at most %d pixels",
                        (long long)width, (long long)height, ECD_IMAGE_MAX_SIDE, ECD_IMAGE_MAX_PIXELS);
    return ECD_OK;
}

ecd_status ecd_image_new(int64_t width, int64_t height, ecd_image *out, ecd_diag *diag)
{
    *out = (ecd_image){0};
    ecd_status status = ecd_image_check_size(width, height, diag);
    if (status)
        return status;
    uint8_t *pixels = calloc((size_t)(width * height), 3);
    if (!pixels)
        return ecd_fail_memory(diag, (uint64_t)(width * height * 3), "a picture");
    *out = (ecd_image){.pixels = pixels, .width = width, .height = height};
    return ECD_OK;
}

void ecd_image_free(ecd_image *image)
{
    free(image->pixels);
    *image = (ecd_image){0};
}

ecd_status ecd_image_write(const char *path, const uint8_t *rgb, int64_t width, int64_t height,
                           const ecd_image_text *texts, size_t count, ecd_diag *diag)
{
    ecd_image_format format;
    ecd_writer writer;
    ecd_status status = ecd_image_format_of(path, &format, diag);
    if (!status)
        status = ecd_image_check_size(width, height, diag);
    if (!status)
        status = ecd_writer_open(path, &writer, diag);
    if (status)
        goto out;
    if (format == ECD_IMAGE_PNG)
        status = ecd_image_encode_png(&writer, rgb, width, height, texts, count, diag);
    else
        status = ecd_image_encode_other(&writer, format, rgb, width, height, diag);
    if (status)
        ecd_writer_abandon(&writer);
    else
        status = ecd_writer_commit(&writer, diag);
out:
    if (status)
        ecd_diag_file(diag, path);
    return status;
}

void ecd_image_texts_free(ecd_image_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->items[i].key);
        free(texts->items[i].value);
    }
    free(texts->items);
    *texts = (ecd_image_texts){0};
}

const char *ecd_image_texts_find(const ecd_image_texts *texts, const char *key)
{
    for (size_t i = 0; i < texts->count; i++)
        if (!strcmp(texts->items[i].key, key))
            return texts->items[i].value;
    return NULL;
}
