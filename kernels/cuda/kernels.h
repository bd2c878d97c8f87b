// The kernels of cuda/, as the host's C code calls them: one function launches one operation on a stream.
//
// Each returns NULL, or the runtime's text for why the launch failed; what fails while a kernel runs is seen at the next
// synchronisation. Pointers are device memory. `narrow`: activations are BF16, else float. Sizes were checked (shape.h).
#ifndef ECD_KERNELS_CUDA_KERNELS_H
#define ECD_KERNELS_CUDA_KERNELS_H

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/backend.h"

typedef struct ecd_cuda_stream ecd_cuda_stream; // cudaStream_t

// elementwise.cu
const char *ecd_cuda_launch_to_act(ecd_cuda_stream *stream, bool narrow, const float *x, int64_t count, bool silu,
                                   void *out);
const char *ecd_cuda_launch_to_f32(ecd_cuda_stream *stream, bool narrow, const void *x, int64_t count, float *out);
const char *ecd_cuda_launch_combine(ecd_cuda_stream *stream, const ecd_combine *op);
// What follows a product: out = epilogue(sums * scale + bias) as ecd_linear says, for `rows` rows from `first_row` on
// (the gate's vector depends on it); sums f32, sums_stride apart.
const char *ecd_cuda_launch_epilogue(ecd_cuda_stream *stream, bool narrow, const ecd_linear *op, int64_t first_row,
                                     int64_t rows, const float *sums, int64_t sums_stride);
// out (act, or f32 if op->out_f32) = y * scale[c] + bias[c] + residual for pixels [first, first + pixels) of op's out and
// residual; y: act, its first pixel is `first`, pixels y_stride apart; y may be out. scale, bias: [channels].
const char *ecd_cuda_launch_conv_epilogue(ecd_cuda_stream *stream, bool narrow, const ecd_conv *op, int64_t channels,
                                          int64_t first, int64_t pixels, const void *y, int64_t y_stride,
                                          const float *scale, const float *bias);

// weights.cu
// out[r][k] (BF16 if narrow, else float) = the weight's value without the scales of tensor or row, rows out_stride apart,
// zeros from cols to out_stride.
const char *ecd_cuda_launch_expand(ecd_cuda_stream *stream, bool narrow, const ecd_weight *w, int64_t out_stride,
                                   void *out);
// A convolution's weight, [out][in][tap], to [out_channels][tap][in_channels] with zeros where there are more channels than
// in the weight; its rows' scales and biases (zeros if NULL) as vectors of out_channels.
const char *ecd_cuda_launch_expand_conv(ecd_cuda_stream *stream, bool narrow, const ecd_weight *w, const float *bias,
                                        int64_t taps, int64_t in_channels, int64_t out_channels, void *out,
                                        float *scales, float *biases);
// Rows of activations, `cols` of them from rows x_stride apart to rows out_stride apart, zeros between.
const char *ecd_cuda_launch_pack_rows(ecd_cuda_stream *stream, bool narrow, const void *x, int64_t rows, int64_t cols,
                                      int64_t x_stride, int64_t out_stride, void *out);
// quantize.cu: x (BF16, x_stride elements apart) to E4M3, dense: out * *scale is x as near as E4M3 has it, the largest
// magnitude being 448. cols: a multiple of 8. largest: a word to work in.
const char *ecd_cuda_launch_quantize(ecd_cuda_stream *stream, const void *x, int64_t rows, int64_t cols, int64_t x_stride,
                                     void *out, float *scale, uint32_t *largest);
const char *ecd_cuda_launch_add_rows(ecd_cuda_stream *stream, const ecd_weight *table, const int64_t *device_ids,
                                     int64_t count, float *out);

// norm.cu, group_norm.cu, rope.cu
const char *ecd_cuda_launch_norm(ecd_cuda_stream *stream, bool narrow, const ecd_norm *op);
const char *ecd_cuda_launch_rope(ecd_cuda_stream *stream, bool narrow, const ecd_rope *op);
// Mean and 1 / standard deviation of a channel's group: what op->measured holds, one a channel.
typedef struct ecd_cuda_moments {
    float mean, inverse;
} ecd_cuda_moments;
size_t ecd_cuda_group_measure_bytes(const ecd_group_norm *op); // of scratch
const char *ecd_cuda_launch_group_measure(ecd_cuda_stream *stream, bool narrow, const ecd_group_norm *op, void *scratch);
const char *ecd_cuda_launch_group_apply(ecd_cuda_stream *stream, bool narrow, const ecd_group_norm *op);

// attention.cu: f32, heads of up to 512 channels; attention_mma.cu: BF16, up to 128; attention_wide.cu: BF16, up to 512. The
// number of multiprocessors changes speed, no bits.
const char *ecd_cuda_launch_attention(ecd_cuda_stream *stream, const ecd_attention *op);
const char *ecd_cuda_launch_attention_mma(ecd_cuda_stream *stream, uint32_t multiprocessors, const ecd_attention *op);
const char *ecd_cuda_launch_attention_wide(ecd_cuda_stream *stream, const ecd_attention *op);

// layout.cu
const char *ecd_cuda_launch_patchify(ecd_cuda_stream *stream, bool narrow, const float *x, int64_t batch,
                                     int64_t channels, int64_t height, int64_t width, int patch, void *out);
const char *ecd_cuda_launch_unpatchify(ecd_cuda_stream *stream, const float *x, int64_t batch, int64_t channels,
                                       int64_t height, int64_t width, int patch, bool channels_first, float *out);
const char *ecd_cuda_launch_to_bytes(ecd_cuda_stream *stream, const float *x, int64_t channels, int64_t pixels,
                                     uint8_t *out);
const char *ecd_cuda_launch_channels_last(ecd_cuda_stream *stream, bool narrow, const float *x, int64_t channels,
                                          int64_t pixels, void *out);
const char *ecd_cuda_launch_channels_first(ecd_cuda_stream *stream, const float *x, int64_t channels, int64_t pixels,
                                           float *out);
// Rows [first, first + rows) of a picture as a convolution reads it, row 0 being the first of upsampled x: normalised by
// op->norm, upsampled, zeros outside, `before` and `after` pixels of them left and right, and in the channels from x's on.
// out: act [rows, before + width * grow + after, out_channels]. Reads op's height, width, x, x_stride, upsample, norm.
const char *ecd_cuda_launch_gather(ecd_cuda_stream *stream, bool narrow, const ecd_conv *op, int64_t channels,
                                   int64_t first, int64_t rows, int before, int after, int64_t out_channels, void *out);

#ifdef __cplusplus
}
#endif

#endif
