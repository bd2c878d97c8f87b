// Embeddings of places and times that transformers share. diffusers: models/embeddings.py.
#ifndef ECD_DIT_TRANSFORMER_EMBEDDING_H
#define ECD_DIT_TRANSFORMER_EMBEDDING_H

#include <stdint.h>

// The fixed embedding of a grid of patches (get_2d_sincos_pos_embed): out f32 [rows * cols, dim], dim a multiple of 4.
// The first half comes from the column, the second from the row, each [sin | cos]. `base` is the grid's side at which
// positions are whole numbers (before division by `scale`, the interpolation_scale of newer models).
void ecd_embed_grid(int64_t dim, int64_t rows, int64_t cols, double base, double scale, float *out);

// The sinusoid of a timestep (get_timestep_embedding with flip_sin_to_cos): out f32 [dim] = [cos | sin], dim even.
// `shift` is downscale_freq_shift: 1 in DiT, 0 in PixArt and FLUX.
void ecd_embed_timestep(float timestep, int64_t dim, float shift, float *out);

// The angles of rotary embedding at a place of several axes (get_1d_rotary_pos_embed, FluxPosEmbed), in double: axis i
// has dims[i] channels, even, whose pair k turns by places[i] / theta^(2k / dims[i]). cosine, sine: f32 [sum of dims / 2].
void ecd_embed_rope(const double *places, const int64_t *dims, int axes, double theta, float *cosine, float *sine);

#endif
