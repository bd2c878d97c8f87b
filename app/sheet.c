#include "app/sheet.h"

#include <string.h>

ecd_status ecd_sheet_new(int64_t count, int64_t width, int64_t height, ecd_sheet *out, ecd_diag *diag)
{
    *out = (ecd_sheet){0};
    // Limits on each number keep the products below small; the picture's own limits are checked by ecd_image_new.
    if (count < 1 || count > ECD_IMAGE_MAX_PIXELS || width < 1 || width > ECD_IMAGE_MAX_SIDE || height < 1 ||
        height > ECD_IMAGE_MAX_SIDE)
        return ecd_fail(diag, ECD_USAGE, "a sheet of %lld pictures of %lld x %lld is not possible", (long long)count,
                        (long long)width, (long long)height);
    ecd_sheet sheet = {.width = width, .height = height, .columns = 1};
    while (sheet.columns * sheet.columns < count)
        sheet.columns++;
    sheet.rows = (count + sheet.columns - 1) / sheet.columns;
    ecd_status status = ecd_image_new(sheet.columns * (width + ECD_SHEET_MARGIN) + ECD_SHEET_MARGIN,
                                      sheet.rows * (height + ECD_SHEET_MARGIN) + ECD_SHEET_MARGIN, &sheet.image, diag);
    if (status)
        return status;
    memset(sheet.image.pixels, 255, (size_t)(sheet.image.width * sheet.image.height * 3));
    *out = sheet;
    return ECD_OK;
}

void ecd_sheet_put(ecd_sheet *sheet, int64_t index, const uint8_t *rgb)
{
    int64_t left = index % sheet->columns * (sheet->width + ECD_SHEET_MARGIN) + ECD_SHEET_MARGIN;
    int64_t top = index / sheet->columns * (sheet->height + ECD_SHEET_MARGIN) + ECD_SHEET_MARGIN;
    for (int64_t y = 0; y < sheet->height; y++)
        memcpy(sheet->image.pixels + ((top + y) * sheet->image.width + left) * 3, rgb + y * sheet->width * 3,
               (size_t)sheet->width * 3);
}

void ecd_sheet_free(ecd_sheet *sheet)
{
    ecd_image_free(&sheet->image);
    *sheet = (ecd_sheet){0};
}
