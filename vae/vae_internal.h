// AutoencoderKL inside: its config, its parts and where they come from, and the run that carries an activation through.
#ifndef ECD_VAE_VAE_INTERNAL_H
#define ECD_VAE_VAE_INTERNAL_H

#include "base/arena.h"
#include "vae/vae.h"

enum {
    ECD_VAE_MAX_LEVELS = 8,
    ECD_VAE_MAX_LAYERS = 16,
    ECD_VAE_MAX_CHANNELS = 1 << 16,
    ECD_VAE_MAX_HEAD = 512,     // channels of the one attention head that every backend computes
    ECD_VAE_MAX_SIDE = 1 << 16, // of latents and of pictures to encode
    ECD_VAE_NAME = 96,
    ECD_VAE_SLOTS = 3,
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
    const ecd_checkpoint *cp; // NULL once loaded
    ecd_vae_part *items;
    int count, capacity;
    bool no_memory;      // a declaration found no memory; ecd_vae_parts_load reports it
    uint64_t held_bytes; // of norms and linears
} ecd_vae_parts;

// Declare a part named by a printf format, without the dot at its end.
void ecd_vae_declare_conv(ecd_vae_parts *parts, ecd_vae_conv *conv, ecd_conv_shape shape, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void ecd_vae_declare_norm(ecd_vae_parts *parts, ecd_vae_norm *norm, int64_t channels, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void ecd_vae_declare_linear(ecd_vae_parts *parts, ecd_vae_linear *linear, int64_t channels, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

ecd_status ecd_vae_parts_load(ecd_vae_parts *parts, ecd_diag *diag);
void ecd_vae_parts_free(ecd_vae_parts *parts);

// measure.c: what the parts will hold at most once they are loaded.
uint64_t ecd_vae_parts_bytes(const ecd_vae_parts *parts);

static inline ecd_conv_shape ecd_vae_conv3(int64_t in, int64_t out)
{
    return (ecd_conv_shape){
        .in_channels = in, .out_channels = out, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1};
}

static inline ecd_conv_shape ecd_vae_conv1(int64_t in, int64_t out)
{
    return (ecd_conv_shape){.in_channels = in, .out_channels = out, .kernel = 1, .stride = 1};
}

// ---- blocks.c: resnets, the mid block, and the run

// One activation [height, width, channels] on its way, in one of three slots of memory; the other two are scratch.
// The same code plans and runs: while planning, operations are left out and the sizes of the slots collected.
typedef struct ecd_vae_run {
    ecd_backend *be;
    int64_t groups;
    bool planning;
    size_t need[ECD_VAE_SLOTS];       // largest bytes asked for so far
    size_t slot_bytes[ECD_VAE_SLOTS]; // what there is; running only
    void *slot[ECD_VAE_SLOTS];
    int x; // the slot that holds the activation
    int64_t height, width, channels;
} ecd_vae_run;

// ResnetBlock2D without time embedding (diffusers models/resnet.py).
typedef struct ecd_vae_resnet {
    ecd_vae_norm norm1, norm2;
    ecd_vae_conv conv1, conv2, shortcut;
    bool has_shortcut;
} ecd_vae_resnet;

// UNetMidBlock2D: resnet, one-headed self-attention over all pixels (may be absent), resnet.
typedef struct ecd_vae_mid {
    ecd_vae_resnet resnets[2];
    bool has_attention;
    ecd_vae_norm norm;
    ecd_vae_linear q, k, v, out;
} ecd_vae_mid;

typedef struct ecd_vae_level {
    ecd_vae_resnet resnets[ECD_VAE_MAX_LAYERS + 1];
    int count;
    bool has_resample;
    ecd_vae_conv resample; // encoder: stride 2; decoder: after nearest neighbour upsampling
} ecd_vae_level;

typedef struct ecd_vae_coder {
    bool has_quant;
    ecd_vae_conv quant; // decoder: post_quant_conv, first; encoder: quant_conv, last
    ecd_vae_conv conv_in, conv_out;
    ecd_vae_mid mid;
    ecd_vae_level levels[ECD_VAE_MAX_LEVELS];
    int level_count;
    ecd_vae_norm norm_out;
} ecd_vae_coder;

// Bytes of count x channels elements; SIZE_MAX where that overflows.
size_t ecd_vae_bytes(int64_t pixels, int64_t channels, size_t element_bytes);

// Room of `bytes` in a slot: its address, or NULL while planning.
void *ecd_vae_room(ecd_vae_run *run, int slot, size_t bytes);

static inline int ecd_vae_other(const ecd_vae_run *run, int step)
{
    return (run->x + step) % ECD_VAE_SLOTS;
}

// The activation through a convolution into the next slot, which then holds it. f32 where out_f32.
void ecd_vae_run_conv(ecd_vae_run *run, const ecd_vae_conv *conv, bool upsample, bool out_f32);
// GroupNorm and SiLU in place.
void ecd_vae_run_norm_silu(ecd_vae_run *run, const ecd_vae_norm *norm);
void ecd_vae_run_level(ecd_vae_run *run, const ecd_vae_level *level, bool upsample);
void ecd_vae_run_mid(ecd_vae_run *run, const ecd_vae_mid *mid);

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
    ecd_vae_coder decoder, encoder;
    void *memory; // activations, kept from one picture to the next
    size_t memory_bytes;
    size_t used_bytes; // of the last run: equals its plan (a test looks)
};

#endif
