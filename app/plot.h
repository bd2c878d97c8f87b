// Plots: panels of bars and lines with axes, a legend and titles, as SVG or PNG by the file's extension.
//
// SVG is written by ourselves. PNG is drawn by cairo 2, which is loaded when a PNG is wanted (Debian: libcairo2);
// nothing else depends on it. Both show the same; text is in the viewer's sans-serif face.
#ifndef ECD_APP_PLOT_H
#define ECD_APP_PLOT_H

#include <stddef.h>

#include "base/status.h"

typedef enum ecd_plot_kind {
    ECD_PLOT_BARS = 0, // from base (or the axis' low end) to y, bar_width wide about x
    ECD_PLOT_LINE,     // through the points; a NaN breaks it
    ECD_PLOT_DOTS,     // the points, and a line through them
} ecd_plot_kind;

// Colours that stay apart also for the colour-blind (Okabe and Ito, 2008), light for bars.
enum {
    ECD_PLOT_BLUE = 0x0072b2,
    ECD_PLOT_ORANGE = 0xd55e00,
    ECD_PLOT_GREEN = 0x009e73,
    ECD_PLOT_PURPLE = 0xcc79a7,
    ECD_PLOT_LIGHT_BLUE = 0x9ecbe8,
    ECD_PLOT_GREY = 0xb4b4b4,
    ECD_PLOT_BLACK = 0x202020,
};

typedef struct ecd_plot_series {
    ecd_plot_kind kind;
    const char *name;    // in the legend; NULL: not there
    unsigned color;      // 0xRRGGBB
    const double *x, *y; // `count` of each
    const double *base;  // of bars: where each begins, to stack them; may be NULL
    size_t count;
    double bar_width; // in units of x
    bool dashed;
} ecd_plot_series;

typedef struct ecd_plot_axis {
    const char *label;
    double low, high; // low < high; of a logarithmic axis both positive
    bool logarithmic;
    const char *const *names; // NULL, or of the ticks at 0, 1, .. name_count - 1 (categories)
    size_t name_count;
} ecd_plot_axis;

typedef struct ecd_plot_panel {
    double left, top, width, height; // of the whole panel in pixels, labels and title included
    const char *title, *note;        // the note stands below the title, smaller; may be NULL
    ecd_plot_axis x, y;
    const ecd_plot_series *series;
    size_t series_count;
    double text_size;         // pixels; titles are larger. 0: 13
    bool legend, legend_left; // in the upper corner, right or left
} ecd_plot_panel;

typedef struct ecd_plot {
    double width, height; // pixels
    const char *title;    // above all panels, at the top left; may be NULL: leave 44 pixels for it
    const ecd_plot_panel *panels;
    size_t panel_count;
} ecd_plot;

// Is this a path that ecd_plot_write can write? ECD_USAGE unless it ends in .svg or .png, ECD_RESOURCE for a .png
// without cairo. Call it before the work that the plot shows.
ecd_status ecd_plot_check(const char *path, ecd_diag *diag);

// The file appears whole or not at all. Text in UTF-8.
ecd_status ecd_plot_write(const char *path, const ecd_plot *plot, ecd_diag *diag);

#endif
