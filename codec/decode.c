// Decoding a range of weights: tiles two at a time, in chunks that stay in the first-level cache.
#include "codec/lanes.h"

enum { CHUNK_GROUPS = 32, CHUNK_WEIGHTS = CHUNK_GROUPS * ECF8_GROUP };

size_t ecf8_decoder_bytes(const ecf8_view *view)
{
    return view->table_count ? view->table_count * sizeof(ecf8_table) + ECF8_ALIGN : 0;
}

static void build_table(const ecf8_view *v, const uint8_t *packed, ecf8_table *table)
{
    uint8_t lengths[ECF8_SYMBOLS];
    uint16_t codes[ECF8_SYMBOLS] = {0};
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        lengths[s] = ecf8_code_length(packed, s);
    ecf8_canonical_codes(lengths, v->code_bits, codes); // ecf8_open has checked them
    memset(table, 0, sizeof *table);                    // vector look-ups load neighbours too
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++) {
        if (!lengths[s])
            continue;
        const unsigned spare = v->code_bits - lengths[s];
        const unsigned entry = v->mode == ECF8_MODE_PAIRS ? (s & 15) << 3 | (s >> 4) << 11 | (unsigned)lengths[s] << 7
                                                          : s << 8 | lengths[s];
        for (uint32_t i = 0; i < UINT32_C(1) << spare; i++)
            table->entries[((uint32_t)codes[s] << spare) + i] = (uint16_t)entry;
        if (!codes[s])
            table->fill = s;
    }
}

ecf8_status ecf8_decoder_init(ecf8_decoder *decoder, const ecf8_view *view, void *memory, size_t memory_bytes,
                              ecf8_cpu cpu, ecf8_error *error)
{
    if (!decoder || !view)
        return ecf8_fail(error, ECF8_ERR_ARGUMENT, 0, ECF8_NO_TILE, "a decoder and a view");
    const size_t need = ecf8_decoder_bytes(view);
    if (need && (!memory || memory_bytes < need))
        return ecf8_fail(error, ECF8_ERR_SPACE, 0, ECF8_NO_TILE, "memory of ecf8_decoder_bytes");
    if (cpu == ECF8_CPU_AUTO)
        cpu = ecf8_cpu_best();
    if (!ecf8_kernels_of(cpu))
        return ecf8_fail(error, ECF8_ERR_CPU, 0, ECF8_NO_TILE, "a level scalar, avx2 or avx512 that this CPU has");
    ecf8_table *tables = NULL;
    if (need)
        tables = (ecf8_table *)(((uintptr_t)memory + ECF8_ALIGN - 1) & ~(uintptr_t)(ECF8_ALIGN - 1));
    for (uint32_t t = 0; t < view->table_count; t++)
        build_table(view, view->tables + t * ECF8_TABLE_BYTES, tables + t);
    *decoder = (ecf8_decoder){*view, cpu, tables};
    return ECF8_OK;
}

// ---------------------------------------------------------------- the range asked for

typedef struct range {
    const ecf8_decoder *decoder;
    const ecf8_kernels *kernels;
    uint64_t first, end; // weights
    ecf8_output output;
    size_t in_size, out_size; // bytes of a weight
    uint8_t *out;             // NULL: verify only
    bool verify;
    ecf8_error *error;
} range;

static size_t form_bytes(ecf8_form form, ecf8_dtype dtype)
{
    return form == ECF8_FORM_NATIVE ? ecf8_dtype_bytes(dtype) : form == ECF8_FORM_BF16 ? 2 : 4;
}

// Kernels want their operands aligned to their types; the caller's memory and the blob need not be.
static void convert(const range *r, const uint8_t *in, const float *scale, uint8_t *out, size_t count)
{
    const ecf8_dtype dtype = r->decoder->view.dtype;
    const ecf8_form form = r->output.form;
    if (!((uintptr_t)in % r->in_size) && !((uintptr_t)out % r->out_size)) {
        r->kernels->convert(in, dtype, form, scale, out, count);
        return;
    }
    while (count) {
        uint16_t from[256];
        float to[256];
        const size_t n = count < 256 ? count : 256;
        memcpy(from, in, n * r->in_size);
        r->kernels->convert(from, dtype, form, scale, to, n);
        memcpy(out, to, n * r->out_size);
        in += n * r->in_size;
        out += n * r->out_size;
        count -= n;
    }
}

// Puts native weights begin .. begin + count - 1, all inside the range, out in the form asked for.
static void emit(const range *r, uint64_t begin, const uint8_t *weights, uint64_t count)
{
    const ecf8_view *v = &r->decoder->view;
    uint8_t *out = r->out + (begin - r->first) * r->out_size;
    if (r->output.form == ECF8_FORM_NATIVE) {
        memcpy(out, weights, (size_t)(count * r->in_size));
        return;
    }
    while (count) {
        uint64_t n = count;
        const float *scale = r->output.scale;
        if (scale && r->output.scale_count > 1) {
            const uint64_t left = v->cols - begin % v->cols;
            n = left < count ? left : count;
            scale += begin / v->cols;
        }
        convert(r, weights, scale, out, (size_t)n);
        begin += n;
        count -= n;
        weights += n * r->in_size;
        out += n * r->out_size;
    }
}

// The same for weights of which only a part may be wanted.
static void emit_part(const range *r, uint64_t begin, const uint8_t *weights, uint64_t count)
{
    const uint64_t end = begin + count;
    const uint64_t from = begin > r->first ? begin : r->first, to = end < r->end ? end : r->end;
    if (r->out && from < to)
        emit(r, from, weights + (from - begin) * r->in_size, to - from);
}

// ---------------------------------------------------------------- coded tiles

typedef struct job {
    ecf8_stream stream;
    const ecf8_table *table;
    uint64_t tile, weight;    // `weight`: the next to decode, counted in the tensor
    uint64_t groups;          // left to decode
    bool complete;            // to the tile's end
    const uint8_t *words_end; // of the tile
    const uint8_t *patch, *patch_end;
    uint32_t place;             // codes decoded so far
    uint32_t crc, expected_crc; // as registers, not inverted
    const uint8_t *plane;       // of singles of 16 bits
    uint8_t *target;            // where this chunk's native weights go
} job;

static ecf8_status fail_at(const range *r, ecf8_status status, const uint8_t *at, const job *j, const char *what)
{
    return ecf8_fail(r->error, status, (uint64_t)(at - r->decoder->view.blob), j->tile, what);
}

static void start_job(const range *r, job *j, uint64_t tile)
{
    const ecf8_view *v = &r->decoder->view;
    const ecf8_entry a = ecf8_entry_of(v->directory, tile), b = ecf8_entry_of(v->directory, tile + 1);
    memset(&j->stream.lanes, 0, sizeof j->stream.lanes);
    j->tile = tile;
    j->weight = tile * v->tile_weights;
    const uint64_t tile_end = v->count - j->weight < v->tile_weights ? v->count : j->weight + v->tile_weights;
    j->complete = r->end >= tile_end;
    const uint64_t end = j->complete ? tile_end : r->end;
    j->groups = (end - j->weight + ECF8_GROUP - 1) / ECF8_GROUP;
    j->table = r->decoder->tables + a.table;
    j->stream.entries = j->table->entries;
    j->stream.lanes.words = v->words + a.word_offset * 2;
    j->words_end = v->words + b.word_offset * 2;
    j->patch = v->patches + (size_t)a.patch_begin * ECF8_PATCH_BYTES;
    j->patch_end = v->patches + (size_t)b.patch_begin * ECF8_PATCH_BYTES;
    j->place = 0;
    j->crc = 0;
    j->expected_crc = a.crc;
    j->plane = v->plane ? v->plane + j->weight / ECF8_GROUP * ecf8_plane_group_bytes(v->dtype, v->mode) : NULL;
    j->stream.plane = j->plane;
}

static ecf8_status finish_job(const range *r, const job *j)
{
    if (!j->complete)
        return ECF8_OK;
    uint32_t rest = 0;
    for (unsigned l = 0; l < ECF8_LANES; l++)
        rest |= j->stream.lanes.window[l];
    if (rest || j->stream.lanes.words != j->words_end)
        return fail_at(r, ECF8_ERR_STREAM, j->words_end, j, "lanes that use the tile's words up and end in zeros");
    if (r->verify && j->crc != j->expected_crc)
        return fail_at(r, ECF8_ERR_DATA_CHECKSUM, r->decoder->view.directory + j->tile * ECF8_ENTRY_BYTES + 12, j,
                       "decoded weights of this CRC32C");
    return ECF8_OK;
}

// Puts right what was too rare for a code. `symbols` is what was just decoded, from code j->place on.
static ecf8_status apply_patches(const range *r, job *j, uint8_t *symbols, uint32_t codes)
{
    const bool pairs = r->decoder->view.mode == ECF8_MODE_PAIRS;
    const uint32_t fill = j->table->fill;
    for (; j->patch < j->patch_end; j->patch += ECF8_PATCH_BYTES) {
        const uint32_t place = ecf8_load16(j->patch), symbol = j->patch[2];
        if (place >= j->place + codes)
            break;
        uint8_t *at = symbols + (place - j->place) * (pairs ? 2 : 1);
        const uint32_t there = pairs ? (at[0] >> 3 & 15U) | (at[1] >> 3 & 15U) << 4 : at[0];
        if (there != fill)
            return fail_at(r, ECF8_ERR_PATCH, j->patch, j, "a patch on the symbol of code 0");
        if (pairs) {
            at[0] = (uint8_t)((at[0] & 0x87) | (symbol & 15) << 3);
            at[1] = (uint8_t)((at[1] & 0x87) | (symbol >> 4) << 3);
        } else {
            at[0] = (uint8_t)symbol;
        }
    }
    j->place += codes;
    return ECF8_OK;
}

typedef struct scratch {
    uint8_t symbols[2][CHUNK_WEIGHTS];
    uint16_t weights[2][CHUNK_WEIGHTS];
} scratch;

// Decodes a chunk of each job; returns its groups, or 0 if a lane ran out of words.
static unsigned run_chunk(const range *r, job *jobs, unsigned count, ecf8_stream *streams)
{
    const ecf8_view *v = &r->decoder->view;
    const unsigned read = ECF8_GROUP_READ(ecf8_codes_per_group(v->mode));
    const uint8_t *end = v->blob + v->blob_bytes;
    uint64_t groups = CHUNK_GROUPS;
    for (unsigned i = 0; i < count; i++) {
        const uint64_t left = (uint64_t)(end - streams[i].lanes.words);
        const uint64_t safe = left < ECF8_SLACK ? 0 : (left - ECF8_SLACK) / read;
        groups = safe < groups ? safe : groups;
        groups = jobs[i].groups < groups ? jobs[i].groups : groups;
    }
    if (groups) {
        (v->mode == ECF8_MODE_PAIRS ? r->kernels->pairs : r->kernels->singles)(streams, count, v->code_bits,
                                                                               (unsigned)groups);
        return (unsigned)groups;
    }
    for (unsigned i = 0; i < count; i++)
        if (!ecf8_lanes_careful(streams + i, v->mode, v->code_bits, end))
            return 0;
    return 1;
}

// Native weights of a chunk may go straight to the caller if all of them are wanted as they are.
static uint8_t *direct_target(const range *r, const job *j, unsigned groups)
{
    const uint64_t end = j->weight + (uint64_t)groups * ECF8_GROUP;
    if (!r->out || r->output.form != ECF8_FORM_NATIVE || j->weight < r->first || end > r->end)
        return NULL;
    uint8_t *out = r->out + (j->weight - r->first) * r->in_size;
    return (uintptr_t)out % r->in_size ? NULL : out;
}

static ecf8_status advance(const range *r, job *jobs, unsigned count, ecf8_stream *streams, scratch *work)
{
    const ecf8_view *v = &r->decoder->view;
    const bool wide = r->in_size == 2;
    for (unsigned i = 0; i < count; i++) {
        const uint64_t groups = jobs[i].groups < CHUNK_GROUPS ? jobs[i].groups : CHUNK_GROUPS;
        uint8_t *direct = direct_target(r, jobs + i, (unsigned)groups);
        jobs[i].target = direct ? direct : wide ? (uint8_t *)work->weights[i] : work->symbols[i];
        streams[i].out = wide ? work->symbols[i] : jobs[i].target;
    }
    const unsigned groups = run_chunk(r, jobs, count, streams);
    const unsigned weights = groups * ECF8_GROUP;
    for (unsigned i = 0; i < count; i++) {
        job *j = jobs + i;
        if (!groups)
            return fail_at(r, ECF8_ERR_STREAM, v->blob + v->blob_bytes, j, "more words than the blob has");
        uint8_t *symbols = streams[i].out - weights;
        const ecf8_status status = apply_patches(r, j, symbols, groups * ECF8_LANES * ecf8_codes_per_group(v->mode));
        if (status)
            return status;
        if (wide) {
            r->kernels->merge16(symbols, j->plane, v->dtype, (uint16_t *)(void *)j->target, weights);
            j->plane += weights;
        }
        if (r->verify && j->complete)
            j->crc = ecf8_crc32c(j->crc, j->target, weights * r->in_size);
        if (j->target == work->symbols[i] || j->target == (uint8_t *)work->weights[i])
            emit_part(r, j->weight, j->target, weights);
        j->weight += weights;
        j->groups -= groups;
    }
    return ECF8_OK;
}

static ecf8_status decode_tiles(const range *r, uint64_t tile, unsigned count)
{
    job jobs[2];
    ecf8_stream streams[2];
    scratch work;
    for (unsigned i = 0; i < count; i++) {
        start_job(r, jobs + i, tile + i);
        streams[i] = jobs[i].stream;
    }
    // Only the second tile can be the shorter one; it then ends first.
    ecf8_status status = ECF8_OK;
    while (!status && jobs[0].groups)
        status = advance(r, jobs, count == 2 && jobs[1].groups ? 2 : 1, streams, &work);
    for (unsigned i = 0; i < count && !status; i++) {
        jobs[i].stream = streams[i];
        status = finish_job(r, jobs + i);
    }
    return status;
}

static ecf8_status decode_coded(const range *r)
{
    const uint32_t tile_weights = r->decoder->view.tile_weights;
    const uint64_t last = (r->end - 1) / tile_weights;
    for (uint64_t tile = r->first / tile_weights; tile <= last; tile += 2) {
        const ecf8_status status = decode_tiles(r, tile, tile < last ? 2 : 1);
        if (status)
            return status;
    }
    return ECF8_OK;
}

// ---------------------------------------------------------------- the other modes

static ecf8_status decode_raw(const range *r)
{
    const ecf8_view *v = &r->decoder->view;
    for (uint64_t tile = r->first / v->tile_weights; tile * v->tile_weights < r->end; tile++) {
        const uint64_t begin = tile * v->tile_weights;
        const uint64_t count = v->count - begin < v->tile_weights ? v->count - begin : v->tile_weights;
        const uint8_t *weights = v->plane + begin * r->in_size, *crc = v->directory + tile * ECF8_RAW_ENTRY_BYTES;
        if (r->verify && begin + count <= r->end &&
            ecf8_crc32c(0, weights, (size_t)(count * r->in_size)) != ecf8_load32(crc))
            return ecf8_fail(r->error, ECF8_ERR_DATA_CHECKSUM, (uint64_t)(crc - v->blob), tile,
                             "weights of this CRC32C");
        emit_part(r, begin, weights, count);
    }
    return ECF8_OK;
}

static void decode_constant(const range *r)
{
    uint16_t weights[256];
    for (unsigned i = 0; i < 256; i++)
        if (r->in_size == 2)
            weights[i] = r->decoder->view.constant;
        else
            weights[i] = (uint16_t)(r->decoder->view.constant * 0x0101U);
    for (uint64_t at = r->first; r->out && at < r->end; at += 256)
        emit_part(r, at, (const uint8_t *)weights, 256);
}

static ecf8_status decode_range(range *r)
{
    const ecf8_view *v = &r->decoder->view;
    r->kernels = ecf8_kernels_of(r->decoder->cpu);
    r->in_size = ecf8_dtype_bytes(v->dtype);
    r->out_size = form_bytes(r->output.form, v->dtype);
    if (!r->kernels)
        return ecf8_fail(r->error, ECF8_ERR_CPU, 0, ECF8_NO_TILE, "a decoder that ecf8_decoder_init made");
    if (r->first == r->end)
        return ECF8_OK;
    if (v->mode == ECF8_MODE_CONSTANT) {
        decode_constant(r);
        return ECF8_OK;
    }
    return v->mode == ECF8_MODE_RAW ? decode_raw(r) : decode_coded(r);
}

static bool output_fits(const ecf8_view *v, const ecf8_output *o)
{
    if (o->form > ECF8_FORM_F32)
        return false;
    if (!o->scale)
        return true;
    return o->form != ECF8_FORM_NATIVE && (o->scale_count == 1 || (o->scale_count == v->rows && v->cols));
}

ecf8_status ecf8_decode_weights(const ecf8_decoder *decoder, uint64_t first, uint64_t count, const ecf8_output *output,
                                void *out, uint64_t out_bytes, unsigned flags, ecf8_error *error)
{
    if (!decoder || flags & ~(unsigned)ECF8_VERIFY)
        return ecf8_fail(error, ECF8_ERR_ARGUMENT, 0, ECF8_NO_TILE, "a decoder and known flags");
    const ecf8_view *v = &decoder->view;
    range r = {.decoder = decoder, .first = first, .out = out, .verify = flags & ECF8_VERIFY, .error = error};
    if (output)
        r.output = *output;
    if (first > v->count || count > v->count - first)
        return ecf8_fail(error, ECF8_ERR_ARGUMENT, 0, ECF8_NO_TILE, "a range inside the tensor");
    if (!output_fits(v, &r.output))
        return ecf8_fail(error, ECF8_ERR_ARGUMENT, 0, ECF8_NO_TILE, "a known form, and no, one or `rows` scales");
    if (count && (!out || out_bytes / form_bytes(r.output.form, v->dtype) < count))
        return ecf8_fail(error, ECF8_ERR_SPACE, 0, ECF8_NO_TILE, "room for all weights of the range");
    r.end = first + count;
    return decode_range(&r);
}

ecf8_status ecf8_decode(const ecf8_decoder *decoder, void *out, uint64_t out_bytes, unsigned flags, ecf8_error *error)
{
    return ecf8_decode_weights(decoder, 0, decoder ? decoder->view.count : 0, NULL, out, out_bytes, flags, error);
}

ecf8_status ecf8_decode_rows(const ecf8_decoder *decoder, uint64_t first, uint64_t count, const ecf8_output *output,
                             void *out, uint64_t out_bytes, unsigned flags, ecf8_error *error)
{
    if (!decoder)
        return ecf8_fail(error, ECF8_ERR_ARGUMENT, 0, ECF8_NO_TILE, "a decoder");
    const ecf8_view *v = &decoder->view;
    if (first > v->rows || count > v->rows - first) // a tensor without rows has none to decode
        return ecf8_fail(error, ECF8_ERR_ARGUMENT, 0, ECF8_NO_TILE, "rows inside the tensor");
    return ecf8_decode_weights(decoder, first * v->cols, count * v->cols, output, out, out_bytes, flags, error);
}

ecf8_status ecf8_verify(const ecf8_decoder *decoder, ecf8_error *error)
{
    if (!decoder)
        return ecf8_fail(error, ECF8_ERR_ARGUMENT, 0, ECF8_NO_TILE, "a decoder");
    range r = {.decoder = decoder, .end = decoder->view.count, .verify = true, .error = error};
    return decode_range(&r);
}
