#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/common.h"
#include "app/options.h"
#include "lib/image.h"

typedef struct difference {
    uint64_t values, pixels; // that differ
    uint64_t all_values, all_pixels;
    int largest;
    double mean, root_mean_square, psnr_db; // of all values; psnr is infinite for equal pictures
    int64_t x, y;                           // the first pixel of the largest difference
    int factor;                             // by which the picture of differences is amplified
} difference;

static difference compare(const ecd_image *a, const ecd_image *b)
{
    difference d = {.all_pixels = (uint64_t)(a->width * a->height)};
    uint64_t sum = 0, squares = 0;
    d.all_values = 3 * d.all_pixels;
    for (uint64_t i = 0; i < d.all_pixels; i++) {
        uint64_t before = d.values;
        for (int c = 0; c < 3; c++) {
            int by = abs(a->pixels[3 * i + (unsigned)c] - b->pixels[3 * i + (unsigned)c]);
            d.values += by != 0;
            sum += (unsigned)by;
            squares += (unsigned)(by * by);
            if (by > d.largest) {
                d.largest = by;
                d.x = (int64_t)i % a->width;
                d.y = (int64_t)i / a->width;
            }
        }
        d.pixels += d.values != before;
    }
    d.mean = (double)sum / (double)d.all_values;
    d.root_mean_square = sqrt((double)squares / (double)d.all_values);
    d.psnr_db = squares ? 20 * log10(255 / d.root_mean_square) : INFINITY;
    d.factor = d.largest ? 255 / d.largest : 1; // the largest becomes as bright as can be
    return d;
}

static ecd_status write_picture(const char *path, ecd_image *a, const ecd_image *b, int factor, ecd_diag *diag)
{
    for (int64_t i = 0; i < 3 * a->width * a->height; i++)
        a->pixels[i] = (uint8_t)(abs(a->pixels[i] - b->pixels[i]) * factor);
    return ecd_image_write(path, a->pixels, a->width, a->height, NULL, 0, diag);
}

static bool print_json(const difference *d, const char *picture)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddBoolToObject(root, "equal", !d->values) &&
              cJSON_AddNumberToObject(root, "largest_difference", d->largest) &&
              cJSON_AddNumberToObject(root, "mean_difference", d->mean) &&
              cJSON_AddNumberToObject(root, "rms_difference", d->root_mean_square) &&
              cJSON_AddNumberToObject(root, "values", (double)d->all_values) &&
              cJSON_AddNumberToObject(root, "values_different", (double)d->values) &&
              cJSON_AddNumberToObject(root, "pixels", (double)d->all_pixels) &&
              cJSON_AddNumberToObject(root, "pixels_different", (double)d->pixels);
    if (ok && d->values)
        ok = cJSON_AddNumberToObject(root, "psnr_db", d->psnr_db) &&
             cJSON_AddNumberToObject(root, "largest_x", (double)d->x) &&
             cJSON_AddNumberToObject(root, "largest_y", (double)d->y);
    else if (ok)
        ok = cJSON_AddNullToObject(root, "psnr_db") != NULL; // JSON has no infinity
    if (ok && picture)
        ok = cJSON_AddStringToObject(root, "picture", picture) && cJSON_AddNumberToObject(root, "factor", d->factor);
    char *text = ok ? cJSON_Print(root) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text != NULL;
}

static void print_text(const difference *d, const char *picture)
{
    if (!d->values)
        printf("the same %llu pixels\n", (unsigned long long)d->all_pixels);
    else
        printf("different: %llu of %llu pixels (%.3g%%), %llu of %llu values\n"
               "largest difference %d at pixel %lld,%lld; mean %.4g, root mean square %.4g, PSNR %.2f dB\n",
               (unsigned long long)d->pixels, (unsigned long long)d->all_pixels,
               100 * (double)d->pixels / (double)d->all_pixels, (unsigned long long)d->values,
               (unsigned long long)d->all_values, d->largest, (long long)d->x, (long long)d->y, d->mean,
               d->root_mean_square, d->psnr_db);
    if (picture)
        printf("%s: the differences, %d times as bright\n", picture, d->factor);
}

static ecd_status check_sizes(const ecd_image *a, const ecd_image *b, const char *a_path, ecd_diag *diag)
{
    if (a->width == b->width && a->height == b->height)
        return ECD_OK;
    ecd_fail(diag, ECD_DATA, "%lld x %lld pixels, expected %lld x %lld as the other picture", (long long)a->width,
             (long long)a->height, (long long)b->width, (long long)b->height);
    ecd_diag_file(diag, a_path);
    return ECD_DATA;
}

int ecd_cmd_diff(int argc, char **argv)
{
    bool json = false;
    int first = 0;
    const char *picture = NULL;
    ecd_image a = {0}, b = {0};
    ecd_image_format format;
    ecd_diag diag = {0};
    difference d = {0};
    const ecd_option options[] = {
        {.name = "json", .kind = ECD_OPTION_FLAG, .value = &json},
        {.name = "output", .letter = 'o', .kind = ECD_OPTION_TEXT, .value = &picture},
    };
    ecd_status status = ecd_options_parse(argc, argv, options, sizeof options / sizeof *options, &first, &diag);
    if (!status && argc - first != 2)
        status = ecd_fail(&diag, ECD_USAGE, "%d arguments, expected 2: diff A.png B.png", argc - first);
    if (!status && picture)
        status = ecd_image_format_of(picture, &format, &diag);
    if (!status)
        status = ecd_image_read_png(argv[first], &a, NULL, &diag);
    if (!status)
        status = ecd_image_read_png(argv[first + 1], &b, NULL, &diag);
    if (!status)
        status = check_sizes(&b, &a, argv[first + 1], &diag);
    if (status)
        goto out;
    d = compare(&a, &b);
    if (picture)
        status = write_picture(picture, &a, &b, d.factor, &diag);
    if (status)
        goto out;
    if (!json)
        print_text(&d, picture);
    else if (!print_json(&d, picture))
        status = ecd_fail_memory(&diag, 1024, "the report");
    if (!status)
        status = ecd_app_flush_stdout(&diag);
out:
    ecd_image_free(&a);
    ecd_image_free(&b);
    if (status)
        return ecd_app_fail(&diag);
    return d.values ? ECD_DATA : ECD_OK;
}
