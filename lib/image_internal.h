// The encoders behind ecd_image_write. Each writes a checked picture [height, width, 3] into an open writer.
#ifndef ECD_LIB_IMAGE_INTERNAL_H
#define ECD_LIB_IMAGE_INTERNAL_H

#include "base/file.h"
#include "lib/image.h"

ecd_status ecd_image_encode_png(ecd_writer *writer, const uint8_t *rgb, int64_t width, int64_t height,
                                const ecd_image_text *texts, size_t count, ecd_diag *diag);
ecd_status ecd_image_encode_other(ecd_writer *writer, ecd_image_format format, const uint8_t *rgb, int64_t width,
                                  int64_t height, ecd_diag *diag);

// Sides within the limits, or ECD_USAGE.
ecd_status ecd_image_check_size(int64_t width, int64_t height, ecd_diag *diag);

#endif
