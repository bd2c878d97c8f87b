#include "kernels/cpu/coded.h"

#include "base/process.h"

enum {
    PART_TILES = 2,    // of the largest size: the decoder takes two at a time
    PART_STEPS = 6,    // at least: every part reads all of x, so narrow ones of long rows wait for memory
    DECODE_COST = 15,  // decoding a weight takes as long as multiplying it with so many rows (AVX2: 0.33 and 0.022 ns)
    SHARE_WEIGHT = 64, // how much less an uneven cut inside a thread's share matters: the next part evens it out
};

ecd_cpu_cut ecd_cpu_cut_of(const ecd_weight *w, int64_t step, int64_t x_rows, int threads)
{
    const ecf8_view *view = &w->coded->view; // a group's blocks are small: it is cut anywhere
    uint64_t tile = w->coded->group || !view->tile_weights ? 1 : view->tile_weights;
    int64_t part = PART_TILES * (int64_t)ECF8_MAX_TILE, wanted = (w->rows * w->cols + part - 1) / part;
    int64_t steps = (w->rows + step - 1) / step, most = steps / PART_STEPS;
    wanted = wanted < most ? wanted : most;
    int64_t least = threads > 1 ? 2 * threads : 1;
    wanted = wanted > least ? (wanted + threads - 1) / threads * threads : least;
    return (ecd_cpu_cut){w->rows, step, (uint64_t)w->cols, tile, w->coded->first, wanted < steps ? wanted : steps, threads, x_rows};
}

int64_t ecd_cpu_cut_at(const ecd_cpu_cut *c, int64_t part)
{
    if (part >= c->parts)
        return c->rows;
    int64_t steps = (c->rows + c->step - 1) / c->step, ideal = steps * part / c->parts;
    int64_t reach = steps / c->parts / 2, best = ideal;
    bool share = part * c->threads % c->parts == 0;
    uint64_t least = UINT64_MAX;
    for (int64_t at = ideal - reach + 1; part && at < ideal + reach; at++) {
        uint64_t row = (uint64_t)(at * c->step), away = (uint64_t)(at < ideal ? ideal - at : at - ideal);
        uint64_t twice = (c->before + row * c->cols) % c->tile_weights; // weights that are decoded twice
        uint64_t uneven = away * (uint64_t)c->step * c->cols * (uint64_t)c->x_rows;
        uint64_t cost = twice * DECODE_COST + (share ? uneven : uneven / SHARE_WEIGHT);
        if (cost < least) {
            least = cost;
            best = at;
        }
    }
    return best * c->step;
}

int64_t ecd_cpu_cut_most(const ecd_cpu_cut *c)
{
    int64_t most = 0;
    for (int64_t part = 0, at = 0; part < c->parts; part++) {
        int64_t next = ecd_cpu_cut_at(c, part + 1);
        most = next - at > most ? next - at : most;
        at = next;
    }
    return most;
}

bool ecd_cpu_decode_begin(ecd_backend *be, const ecd_weight *w, ecd_cpu_decode *d)
{
    uint64_t start = ecd_now_ns();
    ecd_diag diag = {0};
    d->coded = w->coded;
    d->cols = w->cols;
    d->verify = w->coded->check || !atomic_load(&w->coded->proven);
    atomic_init(&d->failed, 0);
    if (ecd_coded_decoder_init(w->coded, ecd_cpu_of(be)->tables, ECF8_DECODER_MAX_BYTES, &d->decoder, &diag)) {
        ecd_backend_keep(be, &diag);
        return false;
    }
    atomic_init(&d->spent_ns, ecd_now_ns() - start);
    return true;
}

bool ecd_cpu_decode_rows(ecd_cpu_decode *d, int64_t first, int64_t count, void *to)
{
    uint64_t start = ecd_now_ns(), elements = (uint64_t)(count * d->cols);
    ecd_diag diag = {0};
    if (atomic_load(&d->failed))
        return false;
    if (ecd_coded_decode_range(d->coded, &d->decoder, (uint64_t)(first * d->cols), elements, to,
                               elements * ecd_dtype_size(d->coded->dtype), d->verify, &diag)) {
        if (!atomic_exchange(&d->failed, 1))
            d->diag = diag; // read after the pool's parts have all ended
        return false;
    }
    atomic_fetch_add(&d->spent_ns, ecd_now_ns() - start);
    return true;
}

void ecd_cpu_decode_end(ecd_backend *be, ecd_cpu_decode *d, bool all)
{
    atomic_fetch_add(&d->coded->use_ns, atomic_load(&d->spent_ns));
    if (atomic_load(&d->failed))
        ecd_backend_keep(be, &d->diag);
    else if (all)
        atomic_store(&d->coded->proven, true);
}
