// What draws a plot: a canvas, of SVG or of cairo. Internal to app/plot*.c.
#ifndef ECD_APP_PLOT_INTERNAL_H
#define ECD_APP_PLOT_INTERNAL_H

#include "app/plot.h"

typedef enum ecd_plot_anchor { ECD_PLOT_LEFT, ECD_PLOT_MIDDLE, ECD_PLOT_RIGHT } ecd_plot_anchor;

typedef struct ecd_plot_text {
    double x, y, size; // of the baseline, pixels
    ecd_plot_anchor anchor;
    bool bold, upwards; // turned by 90 degrees
    unsigned color;
} ecd_plot_text;

typedef struct ecd_plot_canvas ecd_plot_canvas;
typedef struct ecd_plot_calls {
    ecd_status (*open)(const char *path, double width, double height, ecd_plot_canvas **out, ecd_diag *diag);
    void (*rectangle)(ecd_plot_canvas *canvas, double x, double y, double width, double height, unsigned color);
    void (*line)(ecd_plot_canvas *canvas, const double *xy, size_t points, double width, unsigned color, bool dashed);
    void (*dot)(ecd_plot_canvas *canvas, double x, double y, double radius, unsigned color);
    void (*text)(ecd_plot_canvas *canvas, const ecd_plot_text *how, const char *text);
    // Frees the canvas; with `keep` the file appears, and only then is a status given back.
    ecd_status (*close)(ecd_plot_canvas *canvas, bool keep, ecd_diag *diag);
} ecd_plot_calls;

extern const ecd_plot_calls ecd_plot_svg_calls, ecd_plot_png_calls;
ecd_status ecd_plot_png_check(ecd_diag *diag); // ECD_RESOURCE without cairo

#endif
