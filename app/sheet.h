// A sheet (contact sheet) of equal pictures: generate --grid.
#ifndef ECD_APP_SHEET_H
#define ECD_APP_SHEET_H

#include "lib/image.h"

enum { ECD_SHEET_MARGIN = 4 }; // white pixels around and between the pictures

typedef struct ecd_sheet {
    ecd_image image;       // white until pictures are put into it; owned
    int64_t width, height; // of one picture
    int64_t columns, rows;
} ecd_sheet;

// Room for `count` pictures of width x height: ceil(sqrt(count)) columns, as many rows as needed.
// ECD_USAGE if the sheet would pass the limits of ecd_image.
ecd_status ecd_sheet_new(int64_t count, int64_t width, int64_t height, ecd_sheet *out, ecd_diag *diag);

// Puts picture `index` (0 <= index < count; row by row from the top left) into its place. rgb: [height, width, 3].
void ecd_sheet_put(ecd_sheet *sheet, int64_t index, const uint8_t *rgb);

void ecd_sheet_free(ecd_sheet *sheet); // leaves it zeroed; harmless twice

#endif
