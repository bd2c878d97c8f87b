// ECF8 on the device: containers and published groups, copied there once or sent for each use, decoded on a stream of their
// own beside the operations.
//
// Weights that are wanted as BF16 are checked in their own types, of which the file has checksums, and then decoded again.
//
// Events order the streams, the host waits for none: a decode begins when the operations queued before it are done (they may
// still read what it overwrites), and operations queued after ecd_cuda_decode_join wait for it.
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/ecf8_decode.h"
#include "kernels/cuda/ecf8_published.h"
#include "kernels/cuda/runtime.h"
#include "kernels/decode_part.h"

_Static_assert((int)ECD_DECODE_ALIGN == (int)ECD_ECF8_BLOB_ALIGN, "parts lie as containers are read");

typedef struct group {
    ecf8_published view; // of sizes: its host pointers are not followed
    const void *pieces[ECF8_PUBLISHED_PARTS]; // device
    size_t out_at;
} group;

// A plan of the containers, whose image on the host is kept for messages.
typedef struct image {
    ecd_ecf8_plan plan;
    const void *there;
} image;

struct ecd_decode_plan {
    image own, wide; // to their own types, with checksums if need be; to BF16, if that is wanted
    bool is_wide;
    group *groups;
    int *numbers; // the containers' among the parts, then the groups'
    int containers, group_count;
    void *memory; // device: parts that are not elsewhere, stops, then images, then status of the plan and of each group
    uint32_t *status, *host_status;
    uint64_t status_count; // of the plan
    cudaEvent_t done;
    size_t size_bytes;
    bool noted; // the stops of its pieces, by a launch that found no fault
};

// The event that says when the second stream may begin, made at the first plan.
static bool make_event(ecd_backend *be)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    cudaEvent_t free_again = NULL;
    if (cuda->free_again)
        return true;
    if (!ecd_cuda_queue(be, ECD_QUEUE_DECODE) ||
        !ecd_cuda_went(be, "an event", cudaEventCreateWithFlags(&free_again, cudaEventDisableTiming)))
        return false;
    cuda->free_again = free_again;
    return true;
}

void ecd_cuda_decode_close(ecd_cuda_backend *cuda)
{
    if (cuda->free_again)
        cudaEventDestroy((cudaEvent_t)cuda->free_again);
}

// ---- what a plan takes

// The containers among the parts, opened on the host.
typedef struct opened {
    ecf8_view *views;
    ecd_ecf8_part *parts;
    int count, groups;
    size_t copied_bytes, stops_bytes, image_bytes; // copied: of all parts that are not elsewhere
    bool wide;
} opened;

static void close_parts(opened *o)
{
    free(o->views);
    free(o->parts);
}

// Cuts what stays on the device into pieces, where its tiles are too few. What is sent for each use comes more slowly than it is
// decoded.
static void cut(const ecd_backend *be, opened *o)
{
    uint64_t tiles = 0;
    for (int i = 0; i < o->count; i++)
        tiles += o->parts[i].tile_count;
    for (int i = 0; i < o->count; i++) {
        o->parts[i].piece_groups = ecd_ecf8_piece_groups(o->parts[i].view, tiles, ((const ecd_cuda_backend *)be)->decode_blocks);
        o->stops_bytes += ecd_decode_rounded(ecd_ecf8_stops_bytes(&o->parts[i]));
    }
}

static bool open_parts(ecd_backend *be, const ecd_decode_part *from, int count, bool there, opened *o)
{
    bool stays = !there;
    *o = (opened){.wide = from[0].wide, .views = calloc((size_t)count + 1, sizeof *o->views), .parts = calloc((size_t)count + 1, sizeof *o->parts)};
    if (!o->views || !o->parts) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a plan to decode %d tensors", count);
        return false;
    }
    for (int i = 0; i < count; i++) {
        stays = stays && !from[i].there;
        if (!there && !from[i].there)
            o->copied_bytes += ecd_decode_part_bytes(&from[i]);
        if (from[i].group) {
            o->groups++;
            continue;
        }
        ecf8_view *view = &o->views[o->count];
        if (ecf8_open(from[i].blob, from[i].blob_bytes, view, NULL) != ECF8_OK) {
            ecd_backend_fail(be, ECD_DATA, "decoding: a container that does not open");
            return false;
        }
        o->parts[o->count++] = (ecd_ecf8_part){.view = view, .tile_count = ecd_ecf8_tile_count(view),
                                               .out_bytes_at = from[i].out_offset_bytes,
                                               .at_once = ecd_cuda_of(be)->decode_blocks};
    }
    if (stays)
        cut(be, o);
    o->image_bytes = o->count ? ecd_ecf8_plan_bytes(o->parts, (uint32_t)o->count) : 0;
    if (o->count && !o->image_bytes)
        ecd_backend_fail(be, ECD_DATA, "decoding: containers of too many tiles");
    return !o->count || o->image_bytes;
}

// A block's status words are fewer than the bytes of its entry in the image.
static size_t plan_bytes(const opened *o)
{
    return o->copied_bytes + o->stops_bytes + (o->wide ? 3 : 2) * ecd_decode_rounded(o->image_bytes) +
           ecd_decode_rounded((size_t)(o->groups + 1) * sizeof(uint32_t));
}

uint64_t ecd_cuda_decode_bytes(ecd_backend *be, const ecd_decode_part *parts, int count, bool there)
{
    opened o;
    uint64_t bytes = open_parts(be, parts, count, there, &o) ? plan_bytes(&o) : 0;
    close_parts(&o);
    return bytes;
}

// ---- making one

// Copies a part to *at in the plan's memory, unless it is elsewhere. Where it then is.
static char *place_part(ecd_backend *be, const ecd_decode_part *part, char **at)
{
    char *there = part->there ? (char *)(uintptr_t)part->there : *at;
    for (int i = 0; !part->there && i < ecd_decode_part_pieces(part); i++) {
        ecf8_published_buffer piece = ecd_decode_part_piece(part, i);
        ecd_cuda_upload(be, *at, piece.data, piece.bytes);
        *at += ecd_decode_rounded(piece.bytes);
    }
    return there;
}

static void describe_group(const ecd_decode_part *part, const char *there, group *out)
{
    *out = (group){.view = *part->group, .out_at = part->out_offset_bytes};
    for (int i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        out->pieces[i] = there;
        there += ecd_decode_rounded(ecd_decode_part_piece(part, i).bytes);
    }
}

static bool make_image(ecd_backend *be, const opened *o, ecf8_form form, char **at, image *out)
{
    ecd_diag diag = {0};
    void *memory = aligned_alloc(ECD_DECODE_ALIGN, ecd_decode_rounded(o->image_bytes));
    if (!memory)
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: %zu bytes for a plan to decode", o->image_bytes);
    else if (ecd_ecf8_plan_make(o->parts, (uint32_t)o->count, form, memory, o->image_bytes, &out->plan, &diag))
        ecd_backend_fail(be, diag.status, "%s", diag.what);
    else
        ecd_cuda_upload(be, *at, memory, out->plan.image_bytes);
    out->plan.image = memory;
    out->there = *at;
    *at += ecd_decode_rounded(o->image_bytes);
    return ecd_backend_ok(be);
}

// With both images the status words are as many as the larger one writes.
static bool make_images(ecd_backend *be, ecd_decode_plan *p, const opened *o, char **at)
{
    p->status_count = 1;
    if (!o->count)
        return true;
    if (!make_image(be, o, ECF8_FORM_NATIVE, at, &p->own) || (o->wide && !make_image(be, o, ECF8_FORM_BF16, at, &p->wide)))
        return false;
    const uint64_t own = p->own.plan.status_count, wide = p->wide.plan.status_count;
    p->status_count = own > wide ? own : wide;
    return true;
}

static bool fill(ecd_backend *be, ecd_decode_plan *p, const ecd_decode_part *from, int count, const opened *o)
{
    p->size_bytes = plan_bytes(o);
    p->is_wide = o->wide;
    p->memory = ecd_cuda_alloc(be, p->size_bytes);
    char *at = p->memory;
    for (int i = 0; p->memory && i < count; i++) {
        const char *there = place_part(be, &from[i], &at);
        if (from[i].group) {
            p->numbers[o->count + p->group_count] = i;
            describe_group(&from[i], there, &p->groups[p->group_count++]);
        } else {
            p->numbers[p->containers] = i;
            o->parts[p->containers++].device_blob = there;
        }
    }
    for (int i = 0; p->memory && i < o->count; i++) {
        o->parts[i].stops = at;
        at += ecd_decode_rounded(ecd_ecf8_stops_bytes(&o->parts[i]));
    }
    if (!p->memory || !make_images(be, p, o, &at))
        return false;
    p->status = (uint32_t *)(void *)at;
    size_t words = (size_t)p->status_count + (size_t)p->group_count;
    p->host_status = malloc(words * sizeof *p->host_status);
    if (!p->host_status)
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a plan to decode %d tensors", count);
    return ecd_backend_ok(be);
}

ecd_decode_plan *ecd_cuda_decode_prepare(ecd_backend *be, const ecd_decode_part *parts, int count)
{
    opened o = {0};
    if (!ecd_backend_ok(be) || !make_event(be))
        return NULL;
    ecd_decode_plan *p = calloc(1, sizeof *p);
    bool good = p && (p->groups = calloc((size_t)count + 1, sizeof *p->groups)) &&
                (p->numbers = calloc((size_t)count + 1, sizeof *p->numbers));
    if (!good)
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a plan to decode %d tensors", count);
    good = good && open_parts(be, parts, count, false, &o) && fill(be, p, parts, count, &o) &&
           ecd_cuda_went(be, "an event", cudaEventCreateWithFlags(&p->done, cudaEventDisableTiming));
    close_parts(&o);
    if (good) {
        ecd_cuda_of(be)->held_bytes += p->size_bytes;
    } else if (p) {
        p->size_bytes = 0;
        ecd_cuda_decode_free(be, p);
        p = NULL;
    }
    return p;
}

void ecd_cuda_decode_free(ecd_backend *be, ecd_decode_plan *p)
{
    if (!p)
        return;
    if (ecd_cuda_of(be)->queues[ECD_QUEUE_DECODE])
        cudaStreamSynchronize((cudaStream_t)ecd_cuda_of(be)->queues[ECD_QUEUE_DECODE]);
    if (p->done)
        cudaEventDestroy(p->done);
    ecd_cuda_of(be)->held_bytes -= p->size_bytes;
    ecd_cuda_free(be, p->memory);
    free(p->host_status);
    free(p->own.plan.image);
    free(p->wide.plan.image);
    free(p->groups);
    free(p->numbers);
    free(p);
}

// ---- using it

static cudaError_t decode_containers(const ecd_decode_plan *p, void *out, bool checksums, cudaStream_t stream)
{
    const image *from = p->is_wide && !checksums ? &p->wide : &p->own;
    if (p->noted && !checksums && from->plan.piece_block_count)
        return (cudaError_t)ecd_ecf8_decode_pieces(&from->plan, from->there, out, p->status, stream);
    return (cudaError_t)ecd_ecf8_decode(&from->plan, from->there, out, p->status, checksums, stream);
}

// With checksums to the weights' own types.
static cudaError_t launch(const ecd_decode_plan *p, void *out, bool checksums, cudaStream_t stream)
{
    uint32_t *group_status = p->status + p->status_count;
    cudaError_t error = cudaMemsetAsync(p->status, 0, sizeof *p->status, stream);
    if (!error && p->containers)
        error = decode_containers(p, out, checksums, stream);
    if (!error && p->group_count)
        error = cudaMemsetAsync(group_status, 0, (size_t)p->group_count * sizeof *group_status, stream);
    for (int i = 0; !error && i < p->group_count; i++)
        error = (cudaError_t)ecd_ecf8_published_decode(&p->groups[i].view, p->groups[i].pieces,
                                                       p->is_wide ? ECF8_FORM_BF16 : ECF8_FORM_NATIVE,
                                                       (char *)out + p->groups[i].out_at, group_status + i, stream);
    return error;
}

// The part that the launch with checksums found damaged, or -1.
static int fault_of(ecd_backend *be, ecd_decode_plan *p, cudaStream_t stream)
{
    size_t words = (size_t)p->status_count + (size_t)p->group_count;
    uint32_t part = 0;
    uint64_t tile = 0;
    if (!ecd_cuda_went(be, "copying from the device",
                 cudaMemcpyAsync(p->host_status, p->status, words * sizeof *p->host_status, cudaMemcpyDeviceToHost,
                                 stream)) ||
        !ecd_cuda_went(be, "decoding", cudaStreamSynchronize(stream)))
        return -1;
    if (p->containers && ecd_ecf8_first_fault(&p->own.plan, p->host_status, &part, &tile) != ECF8_OK)
        return p->numbers[part];
    for (int i = 0; i < p->group_count; i++)
        if (p->host_status[p->status_count + (uint64_t)i] != ECF8_OK)
            return p->numbers[p->containers + i];
    return -1;
}

// Decodes with checksums, and waits: the first damaged part, or -1.
static int check(ecd_backend *be, ecd_decode_plan *p, void *out, cudaStream_t stream)
{
    if (!ecd_cuda_went(be, "decoding", launch(p, out, true, stream)))
        return -1;
    int fault = fault_of(be, p, stream);
    p->noted |= fault < 0 && ecd_backend_ok(be);
    return fault;
}

int ecd_cuda_decode(ecd_backend *be, ecd_decode_plan *p, void *out, bool verify)
{
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    cudaStream_t main = (cudaStream_t)cuda->stream, stream = (cudaStream_t)cuda->queues[ECD_QUEUE_DECODE];
    if (!ecd_backend_ok(be) ||
        !ecd_cuda_went(be, "ordering streams", cudaEventRecord((cudaEvent_t)cuda->free_again, main)) ||
        !ecd_cuda_went(be, "ordering streams", cudaStreamWaitEvent(stream, (cudaEvent_t)cuda->free_again, 0)))
        return -1;
    int fault = verify ? check(be, p, out, stream) : -1;
    if (fault < 0 && ecd_backend_ok(be) && (!verify || p->is_wide))
        ecd_cuda_went(be, "decoding", launch(p, out, false, stream));
    if (ecd_backend_ok(be))
        ecd_cuda_went(be, "ordering streams", cudaEventRecord(p->done, stream));
    return fault;
}

void ecd_cuda_decode_join(ecd_backend *be, ecd_decode_plan *p)
{
    if (ecd_backend_ok(be))
        ecd_cuda_went(be, "ordering streams", cudaStreamWaitEvent((cudaStream_t)ecd_cuda_of(be)->stream, p->done, 0));
}
