#include "weights/stream.h"

#include <stdlib.h>

ecd_status ecd_tensor_stream_open(const ecd_tensor *tensor, ecd_tensor_stream *out, ecd_diag *diag)
{
    *out = (ecd_tensor_stream){.tensor = tensor};
    if (tensor->encoding == ECD_ENCODING_RAW)
        return ECD_OK;
    ecd_status status = ecd_coded_open(tensor, tensor->data, tensor->size_bytes, &out->coded, diag);
    if (status)
        return status;
    uint64_t elements = tensor->count < ECD_STREAM_ELEMENTS ? tensor->count : ECD_STREAM_ELEMENTS;
    size_t tables = ecd_coded_table_bytes(&out->coded), piece = elements * ecd_dtype_size(tensor->dtype);
    out->tables = malloc(tables + 1);
    out->piece = malloc(piece + 1);
    if (!out->tables || !out->piece)
        status = ecd_fail_memory(diag, tables + piece, "decoding a tensor");
    ecf8_error error = {0};
    if (!status && ecf8_decoder_init(&out->decoder, &out->coded.view, out->tables, tables, ECF8_CPU_AUTO, &error))
        status = ecd_coded_fail(&out->coded, &error, diag);
    if (status)
        ecd_tensor_stream_close(out);
    return status;
}

ecd_status ecd_tensor_stream_next(ecd_tensor_stream *stream, const uint8_t **data, uint64_t *size_bytes, ecd_diag *diag)
{
    const ecd_tensor *tensor = stream->tensor;
    uint64_t left = tensor->count - stream->at, count = left < ECD_STREAM_ELEMENTS ? left : ECD_STREAM_ELEMENTS;
    size_t element = ecd_dtype_size(tensor->dtype);
    uint64_t first = stream->at;
    stream->at += count;
    *size_bytes = count * element;
    *data = stream->piece;
    if (tensor->encoding == ECD_ENCODING_RAW) {
        *data = tensor->data + first * element;
        return ECD_OK;
    }
    ecf8_error error = {0};
    if (count && ecf8_decode_weights(&stream->decoder, first, count, NULL, stream->piece, *size_bytes, ECF8_VERIFY,
                                     &error))
        return ecd_coded_fail(&stream->coded, &error, diag);
    return ECD_OK;
}

void ecd_tensor_stream_close(ecd_tensor_stream *stream)
{
    free(stream->tables);
    free(stream->piece);
    stream->tables = stream->piece = NULL;
}
