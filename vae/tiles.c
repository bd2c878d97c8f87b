// Decoding by tiles that overlap by a quarter, as diffusers' enable_tiling does (models/autoencoders/autoencoder_kl.py:
// tiled_decode, blend_v, blend_h). A tile is blended downwards with the blended tile above it, then to the right with
// the blended one at its left, and all but its last quarter becomes picture; the last of a row or column is no longer
// than that.
#include "vae/vae_internal.h"

#include <stdlib.h>
#include <string.h>

enum { OVERLAP = 4 }; // a part of so many

// Planes [channels, height, width], of a tile or kept for its neighbours.
typedef struct planes {
    float *at;
    int64_t channels, height, width;
} planes;

typedef struct tiling {
    int64_t side, step;         // latents of a tile, and from one to the next
    int64_t factor, in, out;    // channels
    int64_t height, width;      // latents
    int64_t blend, rows, columns; // pixels that overlap; tiles
    float *memory, *latents;
    float *there;               // latents and pixels of a tile in the backend's memory; NULL where that is the host's
    planes tile, left, *above;  // above: of each column the last `blend` rows, or less, of the tile before
} tiling;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool ecd_vae_is_tiled(int64_t factor, int64_t tile, int64_t height, int64_t width)
{
    return tile && (height > tile / factor || width > tile / factor);
}

ecd_status ecd_vae_check_tile(int64_t factor, int64_t tile, ecd_diag *diag)
{
    int64_t unit = OVERLAP * factor;
    if (tile >= 0 && tile % unit == 0)
        return ECD_OK;
    return ecd_fail(diag, ECD_USAGE, "VAE tiles of %lld pixels, expected a multiple of %lld", (long long)tile,
                    (long long)unit);
}

static tiling plan(const ecd_vae_info *info, int64_t tile, int64_t height, int64_t width)
{
    int64_t side = tile / info->factor, step = side - side / OVERLAP;
    return (tiling){.side = side,
                    .step = step,
                    .factor = info->factor,
                    .in = info->latent_channels,
                    .out = info->out_channels,
                    .height = height,
                    .width = width,
                    .blend = tile / OVERLAP,
                    .rows = (height + step - 1) / step,
                    .columns = (width + step - 1) / step};
}

// Floats of the parts of a tiling's memory: latents and pixels of a tile, pixels that overlap to the right and downwards.
typedef struct sizes {
    size_t latents, tile, left, above;
} sizes;

static sizes sizes_of(const tiling *t)
{
    size_t area = (size_t)(least(t->side, t->height) * least(t->side, t->width));
    size_t out = (size_t)(t->out * t->blend), side = (size_t)(t->side * t->factor);
    return (sizes){.latents = (size_t)t->in * area,
                   .tile = (size_t)(t->out * t->factor * t->factor) * area,
                   .left = out * side,
                   .above = out * side * (size_t)t->columns};
}

uint64_t ecd_vae_tiles_bytes(const ecd_vae_info *info, int64_t tile, int64_t height, int64_t width)
{
    tiling t = plan(info, tile, height, width);
    sizes s = sizes_of(&t);
    return (s.latents + s.tile + s.left + s.above) * sizeof(float) + (size_t)t.columns * sizeof *t.above;
}

static bool open_tiling(tiling *t)
{
    sizes s = sizes_of(t);
    t->memory = malloc((s.latents + s.tile + s.left + s.above) * sizeof(float));
    t->above = calloc((size_t)t->columns, sizeof *t->above);
    if (!t->memory || !t->above)
        return false;
    t->latents = t->memory;
    t->tile.at = t->latents + s.latents;
    t->left.at = t->tile.at + s.tile;
    float *above = t->left.at + s.left;
    for (int64_t j = 0; j < t->columns; j++)
        t->above[j].at = above + s.above / (size_t)t->columns * (size_t)j;
    return true;
}

// The tile's latents through the decoder, by way of the backend's memory.
static ecd_status decode_latents(ecd_vae *vae, const tiling *t, int64_t height, int64_t width, ecd_diag *diag)
{
    if (!t->there)
        return ecd_vae_decode_whole(vae, t->latents, height, width, t->tile.at, diag);
    const ecd_backend_ops *ops = vae->be->ops;
    float *pixels = t->there + sizes_of(t).latents;
    ops->upload(vae->be, t->there, t->latents, (size_t)(t->in * height * width) * sizeof(float));
    ecd_status status = ecd_vae_decode_whole(vae, t->there, height, width, pixels, diag);
    ops->download(vae->be, t->tile.at, pixels,
                  (size_t)(t->tile.channels * t->tile.height * t->tile.width) * sizeof(float));
    return status ? status : ecd_backend_check(vae->be, diag);
}

static float *pixel(const planes *p, int64_t channel, int64_t y, int64_t x)
{
    return p->at + (channel * p->height + y) * p->width + x;
}

// Copies height x width of each plane.
static void copy(const planes *from, int64_t y, int64_t x, const planes *to, int64_t to_y, int64_t to_x, int64_t height,
                 int64_t width)
{
    for (int64_t c = 0; c < to->channels; c++)
        for (int64_t i = 0; i < height; i++)
            memcpy(pixel(to, c, to_y + i, to_x), pixel(from, c, y + i, x), (size_t)width * sizeof(float));
}

// Weights of the neighbour and of the tile at place i of an overlap, rounded as torch rounds Python's numbers.
typedef struct pair {
    float neighbour, own;
} pair;

static pair weights_at(int64_t i, int64_t extent)
{
    double own = (double)i / (double)extent;
    return (pair){(float)(1 - own), (float)own};
}

// The tile above ends with the rows that the tile begins with; kept of them are the last.
static void blend_down(const planes *above, const planes *tile)
{
    int64_t extent = least(above->height, tile->height);
    for (int64_t y = 0; y < extent; y++) {
        pair w = weights_at(y, extent);
        for (int64_t c = 0; c < tile->channels; c++) {
            const float *a = pixel(above, c, above->height - extent + y, 0);
            float *b = pixel(tile, c, y, 0);
            for (int64_t x = 0; x < tile->width; x++)
                b[x] = a[x] * w.neighbour + b[x] * w.own;
        }
    }
}

static void blend_right(const planes *left, const planes *tile)
{
    int64_t extent = least(left->width, tile->width);
    for (int64_t x = 0; x < extent; x++) {
        pair w = weights_at(x, extent);
        for (int64_t c = 0; c < tile->channels; c++)
            for (int64_t y = 0; y < tile->height; y++) {
                float *b = pixel(tile, c, y, x);
                *b = *pixel(left, c, y, left->width - extent + x) * w.neighbour + *b * w.own;
            }
    }
}

// What the next tiles are blended with.
static void keep_edges(tiling *t, int64_t column)
{
    planes *tile = &t->tile, *above = &t->above[column], *left = &t->left;
    *above = (planes){above->at, tile->channels, least(t->blend, tile->height), tile->width};
    copy(tile, tile->height - above->height, 0, above, 0, 0, above->height, above->width);
    *left = (planes){left->at, tile->channels, tile->height, least(t->blend, tile->width)};
    copy(tile, 0, tile->width - left->width, left, 0, 0, left->height, left->width);
}

static ecd_status decode_tile(ecd_vae *vae, tiling *t, const float *latents, int64_t row, int64_t column, float *picture,
                              ecd_diag *diag)
{
    int64_t y = row * t->step, x = column * t->step, f = t->factor;
    int64_t height = least(t->side, t->height - y), width = least(t->side, t->width - x);
    const planes all = {(float *)(uintptr_t)latents, t->in, t->height, t->width};
    const planes own = {t->latents, t->in, height, width};
    copy(&all, y, x, &own, 0, 0, height, width);
    t->tile = (planes){t->tile.at, t->out, height * f, width * f};
    ecd_status status = decode_latents(vae, t, height, width, diag);
    if (status)
        return status;
    if (row)
        blend_down(&t->above[column], &t->tile);
    if (column)
        blend_right(&t->left, &t->tile);
    keep_edges(t, column);
    const planes out = {picture, t->out, t->height * f, t->width * f};
    copy(&t->tile, 0, 0, &out, y * f, x * f, least(height, t->step) * f, least(width, t->step) * f);
    return ECD_OK;
}

// latents and picture: the host's.
static ecd_status decode_all(ecd_vae *vae, tiling *t, const float *latents, float *picture, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    if (!open_tiling(t))
        status = ecd_fail_memory(diag, ecd_vae_tiles_bytes(&vae->info, vae->tile, t->height, t->width), "the VAE's tiles");
    for (int64_t i = 0; !status && i < t->rows * t->columns; i++)
        status = decode_tile(vae, t, latents, i / t->columns, i % t->columns, picture, diag);
    free(t->memory);
    free(t->above);
    return status;
}

// Tiles are blended on the host: of a backend with other memory, latents come from it and the picture goes to it.
static ecd_status decode_by_host(ecd_vae *vae, tiling *t, const float *latents, float *picture, ecd_diag *diag)
{
    const ecd_backend_ops *ops = vae->be->ops;
    sizes s = sizes_of(t);
    size_t in = (size_t)(t->in * t->height * t->width);
    size_t out = (size_t)(t->out * t->factor * t->factor * t->height * t->width);
    void *there = NULL;
    float *host = malloc((in + out) * sizeof *host);
    ecd_status status = host ? ECD_OK : ecd_fail_memory(diag, (in + out) * sizeof *host, "the VAE's tiles");
    if (!status)
        status = ecd_backend_alloc(vae->be, (s.latents + s.tile) * sizeof(float), "the VAE's tiles", &there, diag);
    if (!status) {
        t->there = there;
        ops->download(vae->be, host, latents, in * sizeof *host);
        status = decode_all(vae, t, host, host + in, diag);
    }
    if (!status) {
        ops->upload(vae->be, picture, host + in, out * sizeof *host);
        status = ecd_backend_check(vae->be, diag);
    }
    if (there)
        ops->free(vae->be, there);
    free(host);
    return status;
}

ecd_status ecd_vae_decode_tiles(ecd_vae *vae, const float *latents, int64_t height, int64_t width, float *picture,
                                ecd_diag *diag)
{
    tiling t = plan(&vae->info, vae->tile, height, width);
    return vae->be->host_memory ? decode_all(vae, &t, latents, picture, diag)
                                : decode_by_host(vae, &t, latents, picture, diag);
}
