// JPEG, BMP and TGA by stb_image_write. Its functions and its settings stay inside this file.
#include "lib/image_internal.h"

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic ignored "-Wunused-function" // its PNG and HDR writers; gcc asks at the end of the file
#include <stb/stb_image_write.h>

typedef struct sink {
    ecd_writer *writer;
    ecd_status status; // the first failure; stb_image_write goes on without noticing
    ecd_diag *diag;
} sink;

static void on_write(void *user, void *data, int size)
{
    sink *s = user;
    if (!s->status)
        s->status = ecd_writer_write(s->writer, data, (size_t)size, s->diag);
}

ecd_status ecd_image_encode_other(ecd_writer *writer, ecd_image_format format, const uint8_t *rgb, int64_t width,
                                  int64_t height, ecd_diag *diag)
{
    sink s = {.writer = writer, .diag = diag};
    int done = 0, w = (int)width, h = (int)height;
    if (format == ECD_IMAGE_JPEG)
        done = stbi_write_jpg_to_func(on_write, &s, w, h, 3, rgb, ECD_IMAGE_JPEG_QUALITY);
    else if (format == ECD_IMAGE_BMP)
        done = stbi_write_bmp_to_func(on_write, &s, w, h, 3, rgb);
    else if (format == ECD_IMAGE_TGA)
        done = stbi_write_tga_to_func(on_write, &s, w, h, 3, rgb);
    if (s.status)
        return s.status;
    return done ? ECD_OK : ecd_fail(diag, ECD_DATA, "the picture could not be encoded");
}
