// Pictures brought to another size, as diffusers' VaeImageProcessor has Pillow do it: Lanczos, bytes in, bytes out, the
// same bytes.
#ifndef ECD_LIB_IMAGE_FIT_H
#define ECD_LIB_IMAGE_FIT_H

#include "lib/image.h"

typedef enum ecd_image_fit {
    ECD_IMAGE_SCALE = 0, // the whole picture, its proportions given up (resize_mode "default")
    ECD_IMAGE_CROP,      // its middle, in its proportions (resize_mode "crop")
} ecd_image_fit;

// "scale" or "crop". ECD_USAGE for another name.
ecd_status ecd_image_fit_of(const char *name, ecd_image_fit *out, ecd_diag *diag);

// A new picture of width x height. ECD_USAGE for sides that cannot be.
ecd_status ecd_image_fit_to(const ecd_image *image, int64_t width, int64_t height, ecd_image_fit fit, ecd_image *out,
                            ecd_diag *diag);

#endif
