#include "lib/image_fit.h"

#include "lib/image_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Pillow's resampling of bytes: weights in fixed point, the rows first, rounded to bytes, then the columns.
enum { FRACTION = 22, LOBES = 3 };

// The weights of one side: out[i] is the sum of weights[i][k] in[first[i] + k] for k < counts[i].
typedef struct taps {
    int64_t most; // of a place
    int64_t *first, *counts;
    int32_t *weights; // [out][most]
} taps;

static double sinc(double x)
{
    double angle = x * 3.14159265358979323846;
    return x == 0 ? 1 : sin(angle) / angle;
}

static double lanczos(double x)
{
    return x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

static void taps_free(taps *t)
{
    free(t->first);
    free(t->counts);
    free(t->weights);
}

static void weigh(int64_t in, double centre, double stretch, double *weights, int64_t *first, int64_t *count)
{
    double support = LOBES * stretch, sum = 0;
    *first = (int64_t)(centre - support + 0.5);
    *first = *first < 0 ? 0 : *first;
    int64_t end = (int64_t)(centre + support + 0.5);
    *count = (end < in ? end : in) - *first;
    for (int64_t k = 0; k < *count; k++) {
        weights[k] = lanczos(((double)(k + *first) - centre + 0.5) * (1 / stretch));
        sum += weights[k];
    }
    for (int64_t k = 0; k < *count && sum != 0; k++)
        weights[k] *= 1 / sum;
}

static ecd_status taps_of(int64_t in, int64_t out, taps *t, ecd_diag *diag)
{
    double scale = (double)in / (double)out, stretch = scale < 1 ? 1 : scale;
    t->most = (int64_t)ceil(LOBES * stretch) * 2 + 1;
    t->first = calloc((size_t)out, sizeof *t->first);
    t->counts = calloc((size_t)out, sizeof *t->counts);
    t->weights = calloc((size_t)(out * t->most), sizeof *t->weights);
    double *weights = calloc((size_t)t->most, sizeof *weights);
    bool there = t->first && t->counts && t->weights && weights;
    for (int64_t i = 0; there && i < out; i++) {
        weigh(in, ((double)i + 0.5) * scale, stretch, weights, &t->first[i], &t->counts[i]);
        for (int64_t k = 0; k < t->counts[i]; k++) {
            double fixed = weights[k] * (1 << FRACTION);
            t->weights[i * t->most + k] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
        }
    }
    free(weights);
    return there ? ECD_OK : ecd_fail_memory(diag, (uint64_t)(out * t->most) * sizeof *t->weights, "a picture's scaling");
}

// One side of `lines` lines: from pixels `step` bytes apart in lines `from_line` apart, to the same of `to`.
static void resample(const taps *t, int64_t out, int64_t lines, const uint8_t *from, int64_t step, int64_t from_line,
                     uint8_t *to, int64_t to_line)
{
    for (int64_t line = 0; line < lines; line++)
        for (int64_t i = 0; i < out; i++)
            for (int channel = 0; channel < 3; channel++) {
                const uint8_t *at = from + line * from_line + t->first[i] * step + channel;
                int64_t sum = 1 << (FRACTION - 1);
                for (int64_t k = 0; k < t->counts[i]; k++)
                    sum += (int64_t)at[k * step] * t->weights[i * t->most + k];
                sum >>= FRACTION;
                to[line * to_line + i * step + channel] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
            }
}

// All of `image` in width x height, which are checked.
static ecd_status scale(const ecd_image *image, int64_t width, int64_t height, ecd_image *out, ecd_diag *diag)
{
    taps across = {0}, down = {0};
    ecd_image wide = {0};
    ecd_status status = ecd_image_new(width, image->height, &wide, diag);
    if (!status)
        status = ecd_image_new(width, height, out, diag);
    if (!status)
        status = taps_of(image->width, width, &across, diag);
    if (!status)
        status = taps_of(image->height, height, &down, diag);
    if (!status) { // a side that stays is left alone
        if (width == image->width)
            memcpy(wide.pixels, image->pixels, (size_t)(3 * width * image->height));
        else
            resample(&across, width, image->height, image->pixels, 3, 3 * image->width, wide.pixels, 3 * width);
        if (height == image->height)
            memcpy(out->pixels, wide.pixels, (size_t)(3 * width * height));
        else
            resample(&down, height, width, wide.pixels, 3 * width, 3, out->pixels, 3);
    }
    taps_free(&across);
    taps_free(&down);
    ecd_image_free(&wide);
    return status;
}

// Scaled so that it covers width x height, and that cut from its middle: VaeImageProcessor's _resize_and_crop, which takes
// the middles in whole pixels.
static ecd_status crop(const ecd_image *image, int64_t width, int64_t height, ecd_image *out, ecd_diag *diag)
{
    bool wider = (double)width / (double)height > (double)image->width / (double)image->height;
    int64_t covering_width = wider ? width : image->width * height / image->height;
    int64_t covering_height = wider ? image->height * width / image->width : height;
    ecd_image covering = {0};
    ecd_status status = scale(image, covering_width, covering_height, &covering, diag);
    if (!status)
        status = ecd_image_new(width, height, out, diag);
    int64_t left = covering_width / 2 - width / 2, top = covering_height / 2 - height / 2;
    for (int64_t y = 0; !status && y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int64_t from_x = x + left, from_y = y + top;
            if (from_x < covering_width && from_y < covering_height) // it is cut to whole pixels, so one may lack
                memcpy(out->pixels + 3 * (y * width + x), covering.pixels + 3 * (from_y * covering_width + from_x), 3);
        }
    ecd_image_free(&covering);
    return status;
}

ecd_status ecd_image_fit_of(const char *name, ecd_image_fit *out, ecd_diag *diag)
{
    *out = ECD_IMAGE_SCALE;
    if (!strcmp(name, "crop"))
        *out = ECD_IMAGE_CROP;
    else if (strcmp(name, "scale"))
        return ecd_fail(diag, ECD_USAGE, "\"%.40s\" is no way to fit a picture, expected scale or crop", name);
    return ECD_OK;
}

ecd_status ecd_image_fit_to(const ecd_image *image, int64_t width, int64_t height, ecd_image_fit fit, ecd_image *out,
                            ecd_diag *diag)
{
    *out = (ecd_image){0};
    ecd_status status = ecd_image_check_size(width, height, diag);
    if (status)
        return status;
    status = (fit == ECD_IMAGE_CROP ? crop : scale)(image, width, height, out, diag);
    if (status)
        ecd_image_free(out);
    return status;
}
