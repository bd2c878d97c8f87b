// Picture files: RGB8 in memory; PNG (with text chunks), JPEG, BMP and TGA on disk, chosen by the file's extension.
//
// Files are written through base/file.h's writer: whole or not at all. Reading is for PNG alone and takes hostile
// files: sides, pixels and text are limited, CRC errors and truncation are ECD_DATA, nothing is allocated on a header's
// word beyond the limits.
#ifndef ECD_LIB_IMAGE_H
#define ECD_LIB_IMAGE_H

#include "base/status.h"

enum {
    ECD_IMAGE_MAX_SIDE = 32768,
    ECD_IMAGE_MAX_PIXELS = 1 << 28,
    ECD_IMAGE_MAX_TEXT_BYTES = 1 << 24, // of one chunk, uncompressed
    ECD_IMAGE_MAX_TEXTS = 256,
    ECD_IMAGE_JPEG_QUALITY = 95,
};

// Rows from the top, three bytes (red, green, blue; sRGB) a pixel, no padding.
typedef struct ecd_image {
    uint8_t *pixels; // owned, [height, width, 3]
    int64_t width, height;
} ecd_image;

// One text of a PNG: key of 1 to 79 Latin-1 bytes without leading, trailing or double blanks; value in UTF-8.
typedef struct ecd_image_text {
    char *key, *value; // owned where read, borrowed where written
} ecd_image_text;

typedef struct ecd_image_texts {
    ecd_image_text *items; // owned
    size_t count;
} ecd_image_texts;

typedef enum ecd_image_format {
    ECD_IMAGE_NONE = 0,
    ECD_IMAGE_PNG,
    ECD_IMAGE_JPEG, // quality ECD_IMAGE_JPEG_QUALITY
    ECD_IMAGE_BMP,
    ECD_IMAGE_TGA,
} ecd_image_format;

// The format of a path's extension (.png .jpg .jpeg .bmp .tga, letter case ignored). ECD_USAGE for another one, naming
// those known. Call it before drawing, so that a wrong name does not cost a picture.
ecd_status ecd_image_format_of(const char *path, ecd_image_format *out, ecd_diag *diag);

// A black picture. ECD_USAGE for sides that are not positive or beyond the limits.
ecd_status ecd_image_new(int64_t width, int64_t height, ecd_image *out, ecd_diag *diag);
void ecd_image_free(ecd_image *image); // leaves it zeroed; harmless twice

// Writes `rgb` [height, width, 3]. `texts` (count of them, may be 0) go into a PNG, as tEXt where they are ASCII and
// iTXt otherwise; other formats have no place for them and leave them out. ECD_RESOURCE for a full disk.
ecd_status ecd_image_write(const char *path, const uint8_t *rgb, int64_t width, int64_t height,
                           const ecd_image_text *texts, size_t count, ecd_diag *diag);

// Reads a PNG of any kind (palette, grey, 16 bits, interlaced; alpha is laid over white) as RGB8. `texts` may be NULL;
// `image` may be NULL: then pixels are checked and dropped. Free both results, also where NULL parts came back.
ecd_status ecd_image_read_png(const char *path, ecd_image *image, ecd_image_texts *texts, ecd_diag *diag);

void ecd_image_texts_free(ecd_image_texts *texts);                               // leaves it zeroed; harmless twice
const char *ecd_image_texts_find(const ecd_image_texts *texts, const char *key); // NULL if there is none

#endif
