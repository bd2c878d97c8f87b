// Drawing by cairo, whose library is opened when it is needed: other commands start without it, and it need not be
// there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "app/plot_internal.h"
#include "lib/image.h"

typedef struct extents { // cairo_text_extents_t
    double x_bearing, y_bearing, width, height, x_advance, y_advance;
} extents;

// The functions of cairo 1.x that are used, with the prototypes of cairo.h (its ABI is stable as libcairo.so.2).
typedef struct cairo_calls {
    void *(*image_surface_create)(int format, int width, int height);
    int (*surface_status)(void *surface);
    void (*surface_flush)(void *surface);
    void (*surface_destroy)(void *surface);
    unsigned char *(*image_surface_get_data)(void *surface);
    int (*image_surface_get_stride)(void *surface);
    void *(*create)(void *surface);
    int (*status)(void *cr);
    void (*destroy)(void *cr);
    void (*set_source_rgb)(void *cr, double red, double green, double blue);
    void (*rectangle)(void *cr, double x, double y, double width, double height);
    void (*arc)(void *cr, double x, double y, double radius, double from, double to);
    void (*fill)(void *cr);
    void (*move_to)(void *cr, double x, double y);
    void (*line_to)(void *cr, double x, double y);
    void (*set_line_width)(void *cr, double width);
    void (*set_line_join)(void *cr, int join);
    void (*set_dash)(void *cr, const double *dashes, int count, double offset);
    void (*stroke)(void *cr);
    void (*save)(void *cr);
    void (*restore)(void *cr);
    void (*translate)(void *cr, double x, double y);
    void (*rotate)(void *cr, double angle);
    void (*select_font_face)(void *cr, const char *family, int slant, int weight);
    void (*set_font_size)(void *cr, double size);
    void (*text_extents)(void *cr, const char *text, extents *out);
    void (*show_text)(void *cr, const char *text);
} cairo_calls;

static const char *const names[] = {
    "cairo_image_surface_create",
    "cairo_surface_status",
    "cairo_surface_flush",
    "cairo_surface_destroy",
    "cairo_image_surface_get_data",
    "cairo_image_surface_get_stride",
    "cairo_create",
    "cairo_status",
    "cairo_destroy",
    "cairo_set_source_rgb",
    "cairo_rectangle",
    "cairo_arc",
    "cairo_fill",
    "cairo_move_to",
    "cairo_line_to",
    "cairo_set_line_width",
    "cairo_set_line_join",
    "cairo_set_dash",
    "cairo_stroke",
    "cairo_save",
    "cairo_restore",
    "cairo_translate",
    "cairo_rotate",
    "cairo_select_font_face",
    "cairo_set_font_size",
    "cairo_text_extents",
    "cairo_show_text",
};

_Static_assert(sizeof(cairo_calls) == sizeof names / sizeof *names * sizeof(void *), "a name for each function");

enum { FORMAT_RGB24 = 1, JOIN_ROUND = 1, BOLD = 1 }; // of cairo.h

struct ecd_plot_canvas {
    cairo_calls cairo;
    char *path;
    int width, height;
    void *surface, *cr;
};

// The library stays open: fontconfig keeps memory that a closed library could not give back.
static bool load(cairo_calls *calls)
{
    void *library = dlopen("libcairo.so.2", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < sizeof names / sizeof *names; i++) {
        void *function = dlsym(library, names[i]);
        if (!function)
            return false;
        memcpy((char *)calls + i * sizeof function, &function, sizeof function);
    }
    return library != NULL;
}

ecd_status ecd_plot_png_check(ecd_diag *diag)
{
    cairo_calls calls;
    return load(&calls) ? ECD_OK
                        : ecd_fail(diag, ECD_RESOURCE,
                                   "a PNG plot needs cairo (libcairo.so.2), which is not installed; "
                                   "expected it, or a plot ending in .svg");
}

static void png_free(ecd_plot_canvas *c)
{
    if (c->cr)
        c->cairo.destroy(c->cr);
    if (c->surface)
        c->cairo.surface_destroy(c->surface);
    free(c->path);
    free(c);
}

static ecd_status png_open(const char *path, double width, double height, ecd_plot_canvas **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_plot_canvas *c = calloc(1, sizeof *c);
    if (!c || !(c->path = strdup(path))) {
        free(c);
        return ecd_fail_memory(diag, sizeof *c, "a plot");
    }
    if (!load(&c->cairo)) {
        png_free(c);
        return ecd_plot_png_check(diag);
    }
    c->width = (int)width;
    c->height = (int)height;
    c->surface = c->cairo.image_surface_create(FORMAT_RGB24, c->width, c->height);
    c->cr = c->cairo.create(c->surface); // never NULL, but with a status
    if (c->cairo.status(c->cr)) {
        png_free(c);
        return ecd_fail_memory(diag, (size_t)(width * height * 4), "a plot");
    }
    c->cairo.set_line_join(c->cr, JOIN_ROUND);
    *out = c;
    return ECD_OK;
}

static void set_color(ecd_plot_canvas *c, unsigned color)
{
    c->cairo.set_source_rgb(c->cr, (color >> 16 & 255) / 255.0, (color >> 8 & 255) / 255.0, (color & 255) / 255.0);
}

static void png_rectangle(ecd_plot_canvas *c, double x, double y, double width, double height, unsigned color)
{
    set_color(c, color);
    c->cairo.rectangle(c->cr, x, y, width, height);
    c->cairo.fill(c->cr);
}

static void png_line(ecd_plot_canvas *c, const double *xy, size_t points, double width, unsigned color, bool dashed)
{
    static const double dashes[] = {6, 4};
    set_color(c, color);
    c->cairo.set_line_width(c->cr, width);
    c->cairo.set_dash(c->cr, dashes, dashed ? 2 : 0, 0);
    for (size_t i = 0; i < points; i++)
        (i ? c->cairo.line_to : c->cairo.move_to)(c->cr, xy[2 * i], xy[2 * i + 1]);
    c->cairo.stroke(c->cr);
}

static void png_dot(ecd_plot_canvas *c, double x, double y, double radius, unsigned color)
{
    set_color(c, color);
    c->cairo.arc(c->cr, x, y, radius, 0, 6.283185307179586);
    c->cairo.fill(c->cr);
}

static void png_text(ecd_plot_canvas *c, const ecd_plot_text *how, const char *text)
{
    extents size;
    set_color(c, how->color);
    c->cairo.select_font_face(c->cr, "DejaVu Sans", 0, how->bold ? BOLD : 0);
    c->cairo.set_font_size(c->cr, how->size);
    c->cairo.text_extents(c->cr, text, &size);
    double back = how->anchor == ECD_PLOT_LEFT    ? 0
                  : how->anchor == ECD_PLOT_RIGHT ? size.x_advance
                                                  : size.x_advance / 2;
    c->cairo.save(c->cr);
    c->cairo.translate(c->cr, how->x, how->y);
    if (how->upwards)
        c->cairo.rotate(c->cr, -1.5707963267948966);
    c->cairo.move_to(c->cr, -back, 0);
    c->cairo.show_text(c->cr, text);
    c->cairo.restore(c->cr);
}

static ecd_status png_close(ecd_plot_canvas *c, bool keep, ecd_diag *diag)
{
    if (!keep) {
        png_free(c);
        return ECD_OK;
    }
    ecd_image image = {0};
    ecd_status status = c->cairo.status(c->cr) ? ecd_fail(diag, ECD_RESOURCE, "cairo could not draw the plot")
                                               : ecd_image_new(c->width, c->height, &image, diag);
    if (!status) {
        c->cairo.surface_flush(c->surface);
        const unsigned char *data = c->cairo.image_surface_get_data(c->surface);
        int stride = c->cairo.image_surface_get_stride(c->surface);
        uint8_t *to = image.pixels;
        for (int y = 0; y < c->height; y++)
            for (int x = 0; x < c->width; x++) {
                uint32_t pixel; // 0x00RRGGBB in the machine's order
                memcpy(&pixel, data + (size_t)y * (size_t)stride + (size_t)x * 4, 4);
                *to++ = (uint8_t)(pixel >> 16);
                *to++ = (uint8_t)(pixel >> 8);
                *to++ = (uint8_t)pixel;
            }
        status = ecd_image_write(c->path, image.pixels, c->width, c->height, NULL, 0, diag);
    }
    ecd_image_free(&image);
    png_free(c);
    return status;
}

const ecd_plot_calls ecd_plot_png_calls = {png_open, png_rectangle, png_line, png_dot, png_text, png_close};
