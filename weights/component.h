// A model's components (transformer, vae, text_encoder, text_encoder_2) under diffusers' names, whatever they are
// called where they lie: in a component's folder, or in a single file of other programs that may hold several of them.
//
// Known are FLUX.1's own names of the transformer (with and without "model.diffusion_model."), latent diffusion's of
// the VAE (ae.safetensors), and the prefixes of ComfyUI's checkpoints. Rows of fused matrices (qkv) are views: nothing
// is copied but the last modulation, whose halves stand the other way round. A scale of the whole matrix is each
// part's, scales of rows and of blocks are cut with the rows.
#ifndef ECD_WEIGHTS_COMPONENT_H
#define ECD_WEIGHTS_COMPONENT_H

#include "weights/checkpoint.h"

// Like ecd_checkpoint_open, of a component's folder or a single file; all of it as it is where `component` is NULL.
// *out is NULL, and ECD_OK, where a single file does not hold the component. ECD_DATA names the file's own tensor: rows
// that cannot be parted, a component that is there under two prefixes, two tensors that are one in diffusers.
ecd_status ecd_component_open(const char *path, const char *component, ecd_checkpoint **out, ecd_diag *diag);

// The file beside `file` that holds the component alone under its usual name (ae.safetensors, clip_l.safetensors,
// t5xxl_fp16.safetensors, ...); the caller frees. NULL if there is none.
char *ecd_component_beside(const char *file, const char *component);

// Is `path` a single file of tensors (.safetensors, .bin, .pt)?
bool ecd_component_is_file(const char *path);

#endif
