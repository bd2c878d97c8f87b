// AutoencoderKL: latents to picture and back. diffusers: models/autoencoders/autoencoder_kl.py, vae.py.
#ifndef ECD_VAE_VAE_H
#define ECD_VAE_VAE_H

#include "weights/store.h"

typedef struct cJSON cJSON;
typedef struct ecd_vae ecd_vae;

typedef struct ecd_vae_info {
    int64_t latent_channels, in_channels, out_channels;
    int64_t factor;         // pixels a latent's side: 2^(levels - 1)
    float scaling_factor;   // decode takes latents / scaling_factor + shift_factor
    float shift_factor;     // 0 where the config has none
    uint64_t weights_bytes; // held in backend memory
    uint64_t lean_bytes;    // held at most where a lean VAE decodes; the mapped pages of its file are among them
    uint64_t scratch_bytes; // of a device: the backend's scratch, of ecd_vae_measure alone
} ecd_vae_info;

// Reads the config and all decoder (and, if with_encoder, encoder) tensors of the checkpoint: names, shapes and types
// are checked before anything is computed. The checkpoint may be closed afterwards; the backend must outlive the VAE.
// A lean VAE reads the weights of each resnet when it comes to it, for every picture anew, and holds no others: then the
// checkpoint must outlive it too. Its pictures are the same.
//
// With a tile, latents whose picture is larger than it on either side are decoded in overlapping tiles which are blended
// (diffusers: AutoencoderKL.enable_tiling, the overlap a quarter): memory is a tile's, but the picture is another, since
// group norms and the attention see a tile alone. The memory of whole pictures is bounded without (run.c): tiles are for
// pictures that are too large even so. Encoding is never tiled.
typedef struct ecd_vae_options {
    bool with_encoder, lean;
    int64_t tile; // pixels a side, a multiple of 4 factor, else ECD_USAGE; 0: none
} ecd_vae_options;
ecd_status ecd_vae_open(const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be, const ecd_vae_options *options,
                        ecd_vae **out, ecd_diag *diag);
// What a VAE will be, before its weights are read: weights_bytes of the info is what they take at most, *bytes what
// decoding latents of height x width does, or, with_encoder, that or encoding a picture to such.
ecd_status ecd_vae_measure(const cJSON *config, const ecd_checkpoint *cp, ecd_backend *be, const ecd_vae_options *options,
                           int64_t height, int64_t width, ecd_vae_info *out, uint64_t *bytes, ecd_diag *diag);
void ecd_vae_close(ecd_vae *vae); // NULL is allowed
const ecd_vae_info *ecd_vae_get_info(const ecd_vae *vae);

// Activation memory that decoding a latent of height x width takes, from the plan, before doing it; with the host's for
// tiles.
uint64_t ecd_vae_decode_bytes(const ecd_vae *vae, int64_t height, int64_t width);
uint64_t ecd_vae_encode_bytes(const ecd_vae *vae, int64_t height, int64_t width);

// latents: backend f32 [latent_channels, height, width], as the sampler leaves them (scaling and shift are applied here).
// picture: backend f32 [out_channels, factor * height, factor * width] in about -1..1, not clamped.
ecd_status ecd_vae_decode(ecd_vae *vae, const float *latents, int64_t height, int64_t width, float *picture,
                          ecd_diag *diag);

// picture: host f32 [in_channels, height, width] in -1..1, sides multiples of factor.
// mean, logvar: host f32 [latent_channels, height / factor, width / factor]; unscaled; logvar clamped to [-30, 20].
ecd_status ecd_vae_encode(ecd_vae *vae, const float *picture, int64_t height, int64_t width, float *mean, float *logvar,
                          ecd_diag *diag);

#endif
