// CUDA graphs: what is queued on a stream while it is captured is written down, with its arguments as they are then, and done
// at each launch of the graph. One capture at a time.
//
// What a capture forbids ends it, as on a device: waiting, allocating, the legacy stream, copies from and to the host (which a
// device allows from pinned memory, and does anew at each launch), and events (which it allows between captured streams).
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime.h>

#include "tests/cuda_emu/emu_internal.h"

enum { ARGUMENTS_ALIGN = 64 };

typedef struct node {
    void (*run)(void *);
    void *arguments;
} node;

struct emu_graph {
    node *nodes;
    size_t count;
    unsigned users; // the graph itself, and what was instantiated of it
};

static struct {
    cudaStream_t stream; // NULL: none is captured
    struct emu_graph *graph;
    bool spoilt;
} capture;

static void let_go(struct emu_graph *g)
{
    if (!g || --g->users)
        return;
    for (size_t i = 0; i < g->count; i++)
        free(g->nodes[i].arguments);
    free(g->nodes);
    free(g);
}

bool emu_captures(const void *stream)
{
    return stream && stream == capture.stream;
}

int emu_capture_refuses(void)
{
    if (!capture.stream)
        return cudaSuccess;
    capture.spoilt = true;
    return cudaErrorStreamCaptureUnsupported;
}

int emu_capture(void (*run)(void *), const void *arguments, size_t bytes)
{
    struct emu_graph *g = capture.graph;
    node *nodes = realloc(g->nodes, (g->count + 1) * sizeof *nodes);
    if (nodes)
        g->nodes = nodes;
    void *copy = nodes ? aligned_alloc(ARGUMENTS_ALIGN, (bytes + ARGUMENTS_ALIGN) / ARGUMENTS_ALIGN * ARGUMENTS_ALIGN) : NULL;
    if (!copy) {
        capture.spoilt = true;
        return cudaErrorMemoryAllocation;
    }
    memcpy(copy, arguments, bytes);
    nodes[g->count++] = (node){run, copy};
    return cudaSuccess;
}

// ---------------------------------------------------------------- kernels

typedef struct launched {
    _Alignas(ARGUMENTS_ALIGN) const char *name; // so that what follows is aligned for any kernel's arguments
    const void *kernel;
    emu_xyz grid, block;
    size_t shared_bytes, argument_bytes;
    void (*body)(void *);
} launched;

static void launch_again(void *arguments)
{
    const launched *l = arguments;
    emu_launch(l->name, l->kernel, l->grid, l->block, l->shared_bytes, l->body, (void *)(uintptr_t)(l + 1),
               l->argument_bytes);
}

void emu_launch_on(const void *stream, const char *name, const void *kernel, emu_xyz grid, emu_xyz block,
                   size_t shared_bytes, void (*body)(void *), void *arguments, size_t argument_bytes)
{
    if (capture.stream && !stream) {
        capture.spoilt = true;
        emu_note_error(cudaErrorStreamCaptureImplicit);
        return;
    }
    if (!emu_captures(stream)) {
        emu_launch(name, kernel, grid, block, shared_bytes, body, arguments, argument_bytes);
        return;
    }
    const launched l = {name, kernel, grid, block, shared_bytes, argument_bytes, body};
    char *both = malloc(sizeof l + argument_bytes);
    if (both) {
        memcpy(both, &l, sizeof l);
        memcpy(both + sizeof l, arguments, argument_bytes);
    }
    emu_note_error(both ? emu_capture(launch_again, both, sizeof l + argument_bytes) : cudaErrorMemoryAllocation);
    free(both);
}

// ---------------------------------------------------------------- the runtime's calls

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    if (!stream)
        return emu_note_error(cudaErrorStreamCaptureUnsupported);
    if (capture.stream)
        return emu_note_error(cudaErrorIllegalState);
    struct emu_graph *g = calloc(1, sizeof *g);
    if (!g)
        return emu_note_error(cudaErrorMemoryAllocation);
    g->users = 1;
    capture.stream = stream;
    capture.graph = g;
    capture.spoilt = false;
    return emu_note_error(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    *out = NULL;
    if (!emu_captures(stream))
        return emu_note_error(cudaErrorIllegalState);
    struct emu_graph *g = capture.graph;
    capture.stream = NULL;
    capture.graph = NULL;
    if (capture.spoilt) {
        let_go(g);
        return emu_note_error(cudaErrorStreamCaptureInvalidated);
    }
    emu_count.objects++;
    *out = g;
    return emu_note_error(cudaSuccess);
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    *out = NULL;
    if (!graph)
        return emu_note_error(cudaErrorInvalidValue);
    graph->users++;
    emu_count.objects++;
    *out = (cudaGraphExec_t)graph;
    return emu_note_error(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    emu_count.objects -= graph != NULL;
    let_go(graph);
    return emu_note_error(graph ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    return cudaGraphDestroy((cudaGraph_t)exec);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    const struct emu_graph *g = (const struct emu_graph *)exec;
    if (!g)
        return emu_note_error(cudaErrorInvalidValue);
    if (emu_captures(stream))
        return emu_note_error(emu_capture_refuses());
    for (size_t i = 0; i < g->count && !emu_error(); i++)
        g->nodes[i].run(g->nodes[i].arguments);
    emu_count.graph_launches++;
    emu_count.graph_nodes += g->count;
    return emu_note_error(cudaSuccess);
}
