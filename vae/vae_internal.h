// AutoencoderKL inside: its config, its parts and where they come from, and the run that carries an activation through.
#ifndef ECD_VAE_VAE_INTERNAL_H
#define ECD_VAE_VAE_INTERNAL_H

#include "vae/vae.h"

enum {
    ECD_VAE_MAX_LEVELS = 8,
    ECD_VAE_MAX_LAYERS = 16,
    ECD_VAE_MAX_CHANNELS = 1 << 16,
    ECD_VAE_MAX_HEAD = 512,     // channels of the one attention head that every backend computes
    ECD_VAE_MAX_SIDE = 1 << 16, // of latents and of pictures to encode
    ECD_VAE_NAME = 96,
};

// ---- config.c: vae/config.json with the defaults of diffusers' class

typedef struct ecd_vae_config {
    int64_t in_channels, out_channels, latent_channels;
    int levels;
    int64_t channels[ECD_VAE_MAX_LEVELS]; // block_out_channels, from the picture's side
    int layers;                           // layers_per_block: resnets of an encoder level; a decoder level has one more
    int64_t groups;
    float scaling_factor, shift_factor;
    bool quant_conv, post_quant_conv, mid_attention;
} ecd_vae_config;

ecd_status ecd_vae_config_read(const cJSON *json, ecd_vae_config *out, ecd_diag *diag);

// ---- parts.c: what has weights

typedef struct ecd_vae_conv {
    ecd_conv_shape shape;
    ecd_conv_weight *w;
} ecd_vae_conv;

typedef struct ecd_vae_norm {
    int64_t channels;
    float *gamma, *beta; // backend memory
} ecd_vae_norm;

typedef struct ecd_vae_linear {
    ecd_weight w; // w.data is `data`, w.scale is `scale`
    void *data;   // backend memory
    float *scale, *bias;
} ecd_vae_linear;

typedef enum ecd_vae_part_kind { ECD_VAE_CONV, ECD_VAE_NORM, ECD_VAE_LINEAR } ecd_vae_part_kind;

// A module with a weight and a bias: one block of the store while loading.
typedef struct ecd_vae_part {
    ecd_vae_part_kind kind;
    char prefix[ECD_VAE_NAME]; // "decoder.conv_in."
    ecd_tensor_spec tensors[2];
    union {
        ecd_vae_conv *conv;
        ecd_vae_norm *norm;
        ecd_vae_linear *linear;
    } to; // in the VAE, filled by ecd_vae_parts_load
} ecd_vae_part;

// The list of all parts: declared first, then checked as a whole and loaded; it owns what the parts hold.
typedef struct ecd_vae_parts {
    ecd_backend *be;
    const ecd_checkpoint *cp; // NULL once loaded for good
    ecd_vae_part *items;
    int count, capacity;
    bool no_memory;      // a declaration found no memory; ecd_vae_parts_open reports it
    uint64_t held_bytes; // of norms and linears
    ecd_store *store;    // of lean parts: each is loaded when it is wanted
} ecd_vae_parts;

// Parts that are used together: a resnet, an attention, a lone convolution.
typedef struct ecd_vae_range {
    int first, end;
} ecd_vae_range;

// Declare a part named by a printf format, without the dot at its end.
void ecd_vae_declare_conv(ecd_vae_parts *parts, ecd_vae_conv *conv, ecd_conv_shape shape, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void ecd_vae_declare_norm(ecd_vae_parts *parts, ecd_vae_norm *norm, int64_t channels, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void ecd_vae_declare_linear(ecd_vae_parts *parts, ecd_vae_linear *linear, int64_t channels, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Checks all parts, and loads them unless they are `lean`: then the checkpoint must stay open, and a range of them is
// loaded from ecd_vae_parts_take to ecd_vae_parts_give, which do nothing for others.
ecd_status ecd_vae_parts_open(ecd_vae_parts *parts, bool lean, ecd_diag *diag);
ecd_status ecd_vae_parts_take(ecd_vae_parts *parts, ecd_vae_range range, ecd_diag *diag);
void ecd_vae_parts_give(ecd_vae_parts *parts, ecd_vae_range range);
void ecd_vae_parts_free(ecd_vae_parts *parts);

// measure.c: what the parts will hold at most once they are loaded, and what a range of lean ones does, the pages of
// the file among it.
uint64_t ecd_vae_parts_bytes(const ecd_vae_parts *parts);
uint64_t ecd_vae_range_bytes(const ecd_vae_parts *parts, ecd_vae_range range);

static inline ecd_conv_shape ecd_vae_conv3(int64_t in, int64_t out)
{
    return (ecd_conv_shape){
        .in_channels = in, .out_channels = out, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1};
}

static inline ecd_conv_shape ecd_vae_conv1(int64_t in, int64_t out)
{
    return (ecd_conv_shape){.in_channels = in, .out_channels = out, .kernel = 1, .stride = 1};
}

// ---- run.c: an activation on its way

// One activation [height, width, channels] in one block of memory, at its start or at its end. What a convolution makes
// of it goes to the other side; where both do not fit, the convolution takes rows in turn, and its result grows over the
// rows that are used up (docs/NUMERICS.md). The same code plans and runs: while planning, operations are left out and
// the largest need of memory is found.
typedef struct ecd_vae_run {
    ecd_backend *be;
    ecd_vae_parts *parts;
    int64_t groups;
    bool planning;
    size_t need;          // largest bytes asked for so far
    uint64_t weights_need; // of lean parts: largest range
    uint64_t scratch_need; // of a device: the backend's own
    uint8_t *memory;      // aligned; running only
    size_t memory_bytes;  // a multiple of 64
    void *measured;       // of the group norm in use; before `memory`
    bool high;            // the activation ends where the memory does, else it begins there
    int64_t stride;       // elements from pixel to pixel
    size_t element;       // bytes of one
    int64_t height, width, channels;
    ecd_status status;    // the first failure of loading a part: nothing is done any more
    ecd_diag *diag;
} ecd_vae_run;

// Pixels in the memory; `at` is NULL while planning.
typedef struct ecd_vae_place {
    char *at;
    int64_t stride; // elements
} ecd_vae_place;

// Bytes of pixels x channels elements, whole cache lines; SIZE_MAX where that overflows.
size_t ecd_vae_bytes(int64_t pixels, int64_t channels, size_t element_bytes);
size_t ecd_vae_sum(size_t a, size_t b); // likewise

// The activation, and room of `bytes` on the other side of the memory.
ecd_vae_place ecd_vae_here(const ecd_vae_run *run);
void *ecd_vae_room(ecd_vae_run *run, size_t bytes);
static inline ecd_vae_place ecd_vae_beside(const ecd_vae_run *run, ecd_vae_place place, int64_t channels)
{
    return (ecd_vae_place){place.at ? place.at + (size_t)channels * run->be->act_bytes : NULL, place.stride};
}

// A group norm over the activation's pixels, without x; with SiLU.
ecd_group_norm ecd_vae_norm_op(const ecd_vae_run *run, const ecd_vae_norm *norm);
// The statistics of a group norm of `x`, for the next convolution.
void ecd_vae_measure_norm(ecd_vae_run *run, const ecd_vae_norm *norm, ecd_vae_place x);

// A convolution of `from`, normalised where norm is not NULL, with the run's height and width.
typedef struct ecd_vae_step {
    const ecd_vae_conv *conv;
    const ecd_vae_norm *norm; // measured; with SiLU
    ecd_vae_place from, residual, to; // residual.at NULL: none
    bool upsample, out_f32;
    int64_t first_row, rows;
} ecd_vae_step;
void ecd_vae_convolve(ecd_vae_run *run, const ecd_vae_step *step);
// While planning: that a linear of so many channels to as many meets all pixels.
void ecd_vae_count_linear(ecd_vae_run *run, int64_t channels);

// The activation through one or two convolutions to the other side. Of two, both read it and their channels stand side
// by side; the first's are then the activation, pixels that of both apart.
void ecd_vae_rewrite(ecd_vae_run *run, const ecd_vae_step *steps, int count);

// Weights of lean parts, for the time of their use.
void ecd_vae_hold(ecd_vae_run *run, ecd_vae_range range);
void ecd_vae_drop(ecd_vae_run *run, ecd_vae_range range);

static inline bool ecd_vae_idle(const ecd_vae_run *run)
{
    return run->planning || run->status;
}

// ---- blocks.c: resnets, the mid block, levels

// ResnetBlock2D without time embedding (diffusers models/resnet.py).
typedef struct ecd_vae_resnet {
    ecd_vae_norm norm1, norm2;
    ecd_vae_conv conv1, conv2, shortcut;
    bool has_shortcut;
    ecd_vae_range range;
} ecd_vae_resnet;

// UNetMidBlock2D: resnet, one-headed self-attention over all pixels (may be absent), resnet.
typedef struct ecd_vae_mid {
    ecd_vae_resnet resnets[2];
    bool has_attention;
    ecd_vae_norm norm;
    ecd_vae_linear q, k, v, out;
    ecd_vae_range range; // of the attention
} ecd_vae_mid;

// A convolution that stands alone, after a group norm and SiLU if has_norm.
typedef struct ecd_vae_lone {
    bool has_norm;
    ecd_vae_norm norm;
    ecd_vae_conv conv;
    ecd_vae_range range;
} ecd_vae_lone;

typedef struct ecd_vae_level {
    ecd_vae_resnet resnets[ECD_VAE_MAX_LAYERS + 1];
    int count;
    bool has_resample;
    ecd_vae_lone resample; // encoder: stride 2; decoder: after nearest neighbour upsampling
} ecd_vae_level;

typedef struct ecd_vae_coder {
    bool has_quant;
    ecd_vae_lone quant; // decoder: post_quant_conv, first; encoder: quant_conv, last
    ecd_vae_lone conv_in, conv_out;
    ecd_vae_mid mid;
    ecd_vae_level levels[ECD_VAE_MAX_LEVELS];
    int level_count;
} ecd_vae_coder;

void ecd_vae_run_lone(ecd_vae_run *run, const ecd_vae_lone *lone, bool upsample, bool out_f32);
void ecd_vae_run_level(ecd_vae_run *run, const ecd_vae_level *level, bool upsample);
void ecd_vae_run_mid(ecd_vae_run *run, const ecd_vae_mid *mid);

// A norm's name is NULL where there is none.
void ecd_vae_declare_lone(ecd_vae_parts *parts, ecd_vae_lone *lone, ecd_conv_shape shape, const char *norm,
                          const char *name);
void ecd_vae_declare_resnet(ecd_vae_parts *parts, ecd_vae_resnet *resnet, int64_t in, int64_t out, const char *name);
void ecd_vae_declare_mid(ecd_vae_parts *parts, ecd_vae_mid *mid, int64_t channels, bool attention, const char *name);

// ---- decoder.c and encoder.c

// The activation before: act [height, width, latent_channels]; after: f32 [factor * height, factor * width,
// out_channels].
void ecd_vae_decoder_declare(ecd_vae_parts *parts, const ecd_vae_config *config, ecd_vae_coder *decoder);
void ecd_vae_decoder_run(ecd_vae_run *run, const ecd_vae_coder *decoder);

// Before: act [height, width, in_channels]; after: f32 [height / factor, width / factor, 2 latent_channels].
void ecd_vae_encoder_declare(ecd_vae_parts *parts, const ecd_vae_config *config, ecd_vae_coder *encoder);
void ecd_vae_encoder_run(ecd_vae_run *run, const ecd_vae_coder *encoder);

// ---- vae.c

struct ecd_vae {
    ecd_vae_config config;
    ecd_vae_info info;
    ecd_backend *be;
    ecd_vae_parts parts;
    bool has_encoder;
    int64_t tile; // pixels; 0: none
    ecd_vae_coder decoder, encoder;
    uint8_t *memory; // activations, kept from one picture to the next
    size_t memory_bytes;
    size_t used_bytes; // of the last run: equals its plan (a test looks)
};

// ecd_vae_decode of latents whose sides are checked, without tiles.
ecd_status ecd_vae_decode_whole(ecd_vae *vae, const float *latents, int64_t height, int64_t width, float *picture,
                                ecd_diag *diag);

// ---- tiles.c; tile in pixels, height and width of all latents

ecd_status ecd_vae_check_tile(int64_t factor, int64_t tile, ecd_diag *diag); // ECD_USAGE
bool ecd_vae_is_tiled(int64_t factor, int64_t tile, int64_t height, int64_t width);
// The host's memory beside the activations of a tile, where that is the backend's too.
uint64_t ecd_vae_tiles_bytes(const ecd_vae_info *info, int64_t tile, int64_t height, int64_t width);
ecd_status ecd_vae_decode_tiles(ecd_vae *vae, const float *latents, int64_t height, int64_t width, float *picture,
                                ecd_diag *diag);

#endif
