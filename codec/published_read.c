// Reading the published format: what must hold of a group's buffers, and its decoding, four blocks of threads at a
// time.
#include "codec/format.h"
#include "codec/published.h"

enum {
    FAST_BITS = ECF8_PUBLISHED_FAST_BITS,
    POINTER = 240,       // entries of luts from here on name another table
    NEXT_TABLE = 0x8000, // of a cleaned entry: the low bits are a table's number
    LOOKUPS = 4,         // of FAST_BITS each that a window of 57 bits always allows
    FAST_CODES = 6,      // at most, in an entry of the fast table
    LANES = 4,           // blocks decoded together
    // What LOOKUPS entries write: each stores 8 bytes, of which it counts at most 6.
    STEP_WEIGHTS = LOOKUPS * FAST_CODES,
    STEP_ROOM = (LOOKUPS - 1) * FAST_CODES + 8,
    STEP_BYTES = 6, // of the stream, rounded up
};

// The codes of a block are at least a bit long, and each begins within the block: so many weights at most.
enum { MAX_BLOCK_BYTES = 1024 * ECF8_PUBLISHED_THREAD_BYTES, STACK_WEIGHTS = 32768 };

static ecf8_status fail(ecf8_published_error *error, ecf8_status status, ecf8_published_part part, uint64_t offset,
                        uint64_t block, const char *what)
{
    if (error)
        *error = (ecf8_published_error){status, part, offset, block, what};
    return status;
}

const char *ecf8_published_part_name(ecf8_published_part part)
{
    static const char *const names[] = {"luts", "encoded", "packed_other_4bits", "gaps", "output_positions"};
    return (unsigned)part < ECF8_PUBLISHED_PARTS ? names[part] : NULL;
}

static uint64_t position(const ecf8_published *group, uint64_t block)
{
    // The published encoder leaves the last block's entry out where only the end of a code lies in that block.
    if (block >= group->block_count || (block + 1) * 8 > group->parts[ECF8_PUBLISHED_POSITIONS].bytes)
        return group->count;
    return ecf8_load64(group->parts[ECF8_PUBLISHED_POSITIONS].data + block * 8);
}

static uint64_t gap(const ecf8_published *group, uint64_t thread)
{
    const uint8_t byte = group->parts[ECF8_PUBLISHED_GAPS].data[thread / 2];
    return thread % 2 ? byte & 15 : byte >> 4;
}

// ---------------------------------------------------------------- opening

static ecf8_status check_tables(const ecf8_published *group, ecf8_published_error *error)
{
    const uint8_t *luts = group->parts[ECF8_PUBLISHED_LUTS].data, *lengths = luts + group->tables * 256;
    for (uint32_t row = 0; row < group->tables; row++)
        for (uint32_t i = 0; i < 256; i++) {
            const uint8_t entry = luts[row * 256 + i];
            const uint64_t at = row * 256 + i;
            if (entry >= POINTER && row > 0)
                return fail(error, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, at, ECF8_NO_TILE,
                            "an exponent in a table that another names");
            if (entry >= POINTER && 256u - entry >= group->tables)
                return fail(error, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, at, ECF8_NO_TILE,
                            "the number of a table that there is");
            if (entry < POINTER && entry > 15)
                return fail(error, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, at, ECF8_NO_TILE,
                            "an exponent from 0 to 15, or the number of a table");
        }
    for (uint32_t i = 0; i < 256; i++)
        if (lengths[i] > ECF8_PUBLISHED_MAX_CODE_BITS)
            return fail(error, ECF8_ERR_TABLE, ECF8_PUBLISHED_LUTS, group->tables * 256 + i, ECF8_NO_TILE,
                        "a code of at most 16 bits");
    return ECF8_OK;
}

static ecf8_status check_positions(const ecf8_published *group, ecf8_published_error *error)
{
    for (uint64_t b = 0; b < group->block_count; b++) {
        const uint64_t begin = position(group, b), end = position(group, b + 1);
        if (begin > end || end > group->count || (b == 0 && begin))
            return fail(error, ECF8_ERR_DIRECTORY, ECF8_PUBLISHED_POSITIONS, b * 8, b,
                        "positions that begin with 0 and rise to the count of weights");
        if (end - begin > (uint64_t)group->block_bytes * 8)
            return fail(error, ECF8_ERR_DIRECTORY, ECF8_PUBLISHED_POSITIONS, b * 8, b,
                        "no more weights in a block than it has bits");
    }
    return ECF8_OK;
}

static ecf8_status check_sizes(ecf8_published *group, uint32_t threads, ecf8_published_error *error)
{
    const ecf8_published_buffer *parts = group->parts;
    const uint64_t luts = parts[ECF8_PUBLISHED_LUTS].bytes, encoded = parts[ECF8_PUBLISHED_ENCODED].bytes;
    const uint64_t positions = parts[ECF8_PUBLISHED_POSITIONS].bytes;
    if (luts % 256 || luts < 512 || luts > ECF8_PUBLISHED_MAX_ROWS * 256)
        return fail(error, ECF8_ERR_HEADER, ECF8_PUBLISHED_LUTS, 0, ECF8_NO_TILE, "2 to 18 rows of 256 bytes");
    group->tables = (uint32_t)(luts / 256 - 1);
    if (parts[ECF8_PUBLISHED_NIBBLES].bytes > ECF8_PUBLISHED_MAX_COUNT / 2)
        return fail(error, ECF8_ERR_HEADER, ECF8_PUBLISHED_NIBBLES, 0, ECF8_NO_TILE,
                    "fewer than 2^31 weights, two a byte");
    group->count = parts[ECF8_PUBLISHED_NIBBLES].bytes * 2;
    if (encoded > INT32_MAX || encoded > group->count * 2 || encoded * 8 < group->count)
        return fail(error, ECF8_ERR_HEADER, ECF8_PUBLISHED_ENCODED, 0, ECF8_NO_TILE, "1 to 16 bits a weight");
    group->block_count = (encoded + group->block_bytes - 1) / group->block_bytes;
    const uint64_t last = group->block_count ? encoded - (group->block_count - 1) * group->block_bytes : 0;
    const uint64_t entries = positions / 8;
    if (positions % 8 || (entries != group->block_count + 1 && !(entries == group->block_count && last && last <= 2)))
        return fail(error, ECF8_ERR_HEADER, ECF8_PUBLISHED_POSITIONS, 0, ECF8_NO_TILE,
                    "an entry of 8 bytes for each block of the stream, and one more");
    if (parts[ECF8_PUBLISHED_GAPS].bytes != (group->block_count * threads + 1) / 2)
        return fail(error, ECF8_ERR_HEADER, ECF8_PUBLISHED_GAPS, 0, ECF8_NO_TILE,
                    "4 bits for each thread of the stream's blocks");
    if (ecf8_load64(parts[ECF8_PUBLISHED_POSITIONS].data + positions - 8) != group->count)
        return fail(error, ECF8_ERR_DIRECTORY, ECF8_PUBLISHED_POSITIONS, positions - 8, ECF8_NO_TILE,
                    "the count of weights, which packed_other_4bits gives, at the end");
    return ECF8_OK;
}

ecf8_status ecf8_published_open(const ecf8_published_buffer parts[ECF8_PUBLISHED_PARTS], uint32_t threads,
                                ecf8_published *group, ecf8_published_error *error)
{
    *group = (ecf8_published){.block_bytes = threads * ECF8_PUBLISHED_THREAD_BYTES};
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        group->parts[i] = parts[i];
        if (!parts[i].data && parts[i].bytes)
            return fail(error, ECF8_ERR_ARGUMENT, (ecf8_published_part)i, 0, ECF8_NO_TILE, "memory, not NULL");
    }
    if (threads < 2 || threads > MAX_BLOCK_BYTES / ECF8_PUBLISHED_THREAD_BYTES || (threads & (threads - 1)))
        return fail(error, ECF8_ERR_ARGUMENT, ECF8_PUBLISHED_GAPS, 0, ECF8_NO_TILE,
                    "a power of two from 2 to 1024 threads a block");
    if (parts[ECF8_PUBLISHED_POSITIONS].bytes < 8)
        return fail(error, ECF8_ERR_HEADER, ECF8_PUBLISHED_POSITIONS, 0, ECF8_NO_TILE, "at least one entry of 8 bytes");
    ecf8_status status = check_sizes(group, threads, error);
    if (!status)
        status = check_tables(group, error);
    return status ? status : check_positions(group, error);
}

// ---------------------------------------------------------------- tables

// The entry of a code of `length` bits at place `index` of a table whose rows stand for the bits after the first
// `before`; 0 if no code of that length stands there. The published encoder fills what its end mark would take with the
// entry before, so an entry counts only if all places that begin with the same code have it.
static uint16_t clean_entry(const uint8_t *row, uint32_t index, const uint8_t *lengths, uint32_t before)
{
    const uint8_t symbol = row[index], length = lengths[symbol];
    if (length <= before || length > before + 8)
        return 0;
    const uint32_t span = UINT32_C(1) << (before + 8 - length), begin = index & ~(span - 1);
    for (uint32_t i = 0; i < span; i++)
        if (row[begin + i] != symbol)
            return 0;
    return (uint16_t)(symbol << 8 | length);
}

// The code that a window of 16 bits begins with: exponent << 8 | length, or 0.
static inline uint16_t find_code(const uint16_t (*slow)[256], uint32_t window)
{
    const uint16_t entry = slow[0][window >> 8 & 255];
    return entry & NEXT_TABLE ? slow[entry & 31][window & 255] : entry;
}

// An entry holds the exponents of the whole codes that its bits begin with, shifted into place, then their count and
// the bits that they take. Zero bits stand for those not known yet: a code counts if it ends before them.
static uint64_t fast_entry(const uint16_t (*slow)[256], uint32_t bits)
{
    uint64_t entry = 0;
    unsigned used = 0, codes = 0;
    for (; codes < FAST_CODES; codes++) {
        const uint16_t code = find_code(slow, (bits << (16 - FAST_BITS) << used) & 0xffff);
        const unsigned length = code & 255;
        if (!length || used + length > FAST_BITS)
            break;
        entry |= (uint64_t)(code >> 8) << 3 << (8 * codes);
        used += length;
    }
    return entry | (uint64_t)codes << 48 | (uint64_t)used << 56;
}

ecf8_status ecf8_published_decoder_init(ecf8_published_decoder *decoder, const ecf8_published *group, void *memory,
                                        size_t memory_bytes, ecf8_published_error *error)
{
    if (!memory || memory_bytes < ECF8_PUBLISHED_DECODER_BYTES)
        return fail(error, ECF8_ERR_SPACE, ECF8_PUBLISHED_LUTS, 0, ECF8_NO_TILE, "ECF8_PUBLISHED_DECODER_BYTES");
    uint64_t *fast = (uint64_t *)(void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    uint16_t(*slow)[256] = (uint16_t(*)[256])(void *)(fast + (1 << FAST_BITS));
    const uint8_t *luts = group->parts[ECF8_PUBLISHED_LUTS].data, *lengths = luts + group->tables * 256;
    for (uint32_t row = 0; row < group->tables; row++)
        for (uint32_t i = 0; i < 256; i++) {
            const uint8_t *table = luts + row * 256;
            slow[row][i] = table[i] >= POINTER ? (uint16_t)(NEXT_TABLE | (256 - table[i]))
                                               : clean_entry(table, i, lengths, row ? 8 : 0);
        }
    const uint16_t(*tables)[256] = (const uint16_t(*)[256])slow;
    for (uint32_t i = 0; i < 1u << FAST_BITS; i++)
        fast[i] = fast_entry(tables, i);
    *decoder = (ecf8_published_decoder){*group, fast, tables};
    return ECF8_OK;
}

// ---------------------------------------------------------------- decoding

// A block on its way: `bit` of the stream is decoded next, `out` written next.
typedef struct lane {
    uint64_t bit;
    uint8_t *out, *end;
} lane;

static inline uint64_t load_window(const uint8_t *encoded, uint64_t bit)
{
    return __builtin_bswap64(ecf8_load64(encoded + bit / 8)) << (bit % 8);
}

// The same at the end of the stream, which zeros follow.
static uint64_t load_window_end(const ecf8_published_buffer *encoded, uint64_t bit)
{
    uint64_t window = 0;
    for (uint64_t i = 0, at = bit / 8; i < 8 && at + i < encoded->bytes; i++)
        window |= (uint64_t)encoded->data[at + i] << (56 - 8 * i);
    return window << (bit % 8);
}

static inline uint64_t window_at(const ecf8_published_buffer *encoded, uint64_t bit)
{
    return bit / 8 + 8 <= encoded->bytes ? load_window(encoded->data, bit) : load_window_end(encoded, bit);
}

// Steps that surely stay inside of output and stream.
static uint64_t steps_of(const ecf8_published_buffer *encoded, const lane *l)
{
    const uint64_t room = (uint64_t)(l->end - l->out), at = l->bit / 8;
    if (room < STEP_ROOM || at + 8 > encoded->bytes)
        return 0;
    const uint64_t by_room = (room - STEP_ROOM) / STEP_WEIGHTS + 1;
    const uint64_t by_bytes = (encoded->bytes - at - 8) / STEP_BYTES + 1;
    return by_room < by_bytes ? by_room : by_bytes;
}

// One step of a lane. Returns the last look-up's count: 0 where no whole code was found.
static inline uint64_t step(const uint64_t *fast, const uint8_t *encoded, lane *l)
{
    uint64_t window = load_window(encoded, l->bit), entry = 0;
    for (unsigned i = 0; i < LOOKUPS; i++) {
        entry = fast[window >> (64 - FAST_BITS)];
        ecf8_store64(l->out, entry);
        l->out += entry >> 48 & 255;
        l->bit += entry >> 56;
        window <<= entry >> 56;
    }
    return entry >> 48 & 255;
}

// A code that the fast table does not hold. false: there is none, or the stream ends.
static bool step_code(const ecf8_published_decoder *d, lane *l)
{
    const ecf8_published_buffer *encoded = &d->group.parts[ECF8_PUBLISHED_ENCODED];
    const uint16_t code = find_code(d->slow, (uint32_t)(window_at(encoded, l->bit) >> 48));
    if (!(code & 255) || l->bit + (code & 255) > encoded->bytes * 8)
        return false;
    *l->out++ = (uint8_t)(code >> 8 << 3);
    l->bit += code & 255;
    return true;
}

// Decodes four blocks together until one of them nears its end, or meets a code that there is not.
static void run_lanes(const ecf8_published_decoder *d, lane *lanes)
{
    const ecf8_published_buffer *encoded = &d->group.parts[ECF8_PUBLISHED_ENCODED];
    const uint64_t *fast = d->fast;
    lane a = lanes[0], b = lanes[1], c = lanes[2], e = lanes[3];
    bool good = true;
    for (uint64_t steps; good;) {
        steps = steps_of(encoded, &a);
        const uint64_t others[] = {steps_of(encoded, &b), steps_of(encoded, &c), steps_of(encoded, &e)};
        for (unsigned i = 0; i < LANES - 1; i++)
            steps = others[i] < steps ? others[i] : steps;
        if (!steps)
            break;
        while (steps-- && good) {
            const uint64_t p = step(fast, encoded->data, &a), q = step(fast, encoded->data, &b);
            const uint64_t r = step(fast, encoded->data, &c), s = step(fast, encoded->data, &e);
            if (p && q && r && s)
                continue;
            good = (p || step_code(d, &a)) && (q || step_code(d, &b)) && (r || step_code(d, &c)) &&
                   (s || step_code(d, &e));
            break; // the code took room that the steps were counted on
        }
    }
    lanes[0] = a, lanes[1] = b, lanes[2] = c, lanes[3] = e;
}

// The rest of a block, alone.
static bool finish_lane(const ecf8_published_decoder *d, lane *l)
{
    const ecf8_published_buffer *encoded = &d->group.parts[ECF8_PUBLISHED_ENCODED];
    for (uint64_t steps; (steps = steps_of(encoded, l)) != 0;)
        while (steps--)
            if (!step(d->fast, encoded->data, l)) {
                if (!step_code(d, l))
                    return false;
                break;
            }
    while (l->out < l->end)
        if (!step_code(d, l))
            return false;
    return true;
}

// Puts sign and mantissa of weights first .. first + count - 1 to their exponents.
static void merge(const ecf8_published *group, uint64_t first, uint64_t count, uint8_t *out)
{
    const uint8_t *nibbles = group->parts[ECF8_PUBLISHED_NIBBLES].data;
    if (count && first % 2) {
        const uint8_t low = nibbles[first / 2];
        *out++ |= (uint8_t)((low & 7) | (low & 8) << 4);
        first++, count--;
    }
    nibbles += first / 2;
    for (uint64_t i = 0; i < count / 2; i++) {
        const uint16_t pair = nibbles[i];
        const uint16_t bits = (uint16_t)((pair >> 4 & 7) | (pair & 0x80) | (pair & 7) << 8 | (pair & 8) << 12);
        ecf8_store16(out + 2 * i, ecf8_load16(out + 2 * i) | bits);
    }
    if (count % 2) {
        const uint8_t high = nibbles[count / 2];
        out[count - 1] |= (uint8_t)((high >> 4 & 7) | (high & 0x80));
    }
}

static uint64_t begin_of(const ecf8_published *group, uint64_t block)
{
    const uint64_t threads = group->block_bytes / ECF8_PUBLISHED_THREAD_BYTES;
    return block * group->block_bytes * 8 + gap(group, block * threads);
}

// Does the block's last code end where the next block, or the stream, says?
static ecf8_status check_end(const ecf8_published *group, uint64_t block, uint64_t bit, ecf8_published_error *error)
{
    if (block + 1 < group->block_count && position(group, block + 1) < group->count &&
        bit != begin_of(group, block + 1))
        return fail(error, ECF8_ERR_STREAM, ECF8_PUBLISHED_ENCODED, bit / 8, block,
                    "the block's last code to end where gaps say that the next begins");
    // Behind the last weight there is at most the end of its code's byte.
    const bool last = position(group, block + 1) == group->count && position(group, block) < group->count;
    if (last && (bit + 7) / 8 != group->parts[ECF8_PUBLISHED_ENCODED].bytes)
        return fail(error, ECF8_ERR_STREAM, ECF8_PUBLISHED_ENCODED, bit / 8, block,
                    "the stream to end with the last weight's code");
    return ECF8_OK;
}

// Follows the codes of each whole thread from its gap on: they must end where the next thread's gap says.
static ecf8_status check_gaps(const ecf8_published_decoder *d, uint64_t block, uint64_t end_bit,
                              ecf8_published_error *error)
{
    const ecf8_published *group = &d->group;
    const uint64_t threads = group->block_bytes / ECF8_PUBLISHED_THREAD_BYTES, all = group->block_count * threads;
    for (uint64_t i = 0; i < threads; i++) {
        const uint64_t thread = block * threads + i, end = (thread + 1) * 64;
        uint64_t bit = thread * 64 + gap(group, thread);
        if (end > end_bit || thread + 1 == all)
            return ECF8_OK;
        while (bit < end) {
            const uint64_t window = window_at(&group->parts[ECF8_PUBLISHED_ENCODED], bit);
            const uint64_t entry = d->fast[window >> (64 - FAST_BITS)], code = find_code(d->slow, window >> 48);
            const uint64_t taken = bit + (entry >> 56) <= end ? entry >> 56 : 0;
            if (!taken && !(code & 255))
                break;
            bit += taken ? taken : code & 255;
        }
        // Where the stream ends in a thread that only the end of a code reaches, that thread's gap means nothing.
        if (bit != end + gap(group, thread + 1) && end < end_bit && !(bit == end_bit && bit < end + 16))
            return fail(error, ECF8_ERR_PADDING, ECF8_PUBLISHED_GAPS, (thread + 1) / 2, block,
                        "the bits that the code before the thread reaches into it");
    }
    return ECF8_OK;
}

static ecf8_status bad_code(const lane *l, uint64_t block, ecf8_published_error *error)
{
    return fail(error, ECF8_ERR_STREAM, ECF8_PUBLISHED_ENCODED, l->bit / 8, block, "a code of luts within the stream");
}

// Decodes blocks first .. first + count - 1, up to four, to out.
static ecf8_status decode_blocks(const ecf8_published_decoder *d, uint64_t first, uint64_t count, uint8_t *out,
                                 unsigned flags, ecf8_published_error *error)
{
    const ecf8_published *group = &d->group;
    const uint64_t begin = position(group, first);
    lane lanes[LANES];
    for (uint64_t i = 0; i < count; i++)
        lanes[i] = (lane){begin_of(group, first + i), out + (position(group, first + i) - begin),
                          out + (position(group, first + i + 1) - begin)};
    if (count == LANES)
        run_lanes(d, lanes);
    for (uint64_t i = 0; i < count; i++) {
        if (!finish_lane(d, &lanes[i]))
            return bad_code(&lanes[i], first + i, error);
        ecf8_status status = check_end(group, first + i, lanes[i].bit, error);
        if (!status && flags & ECF8_VERIFY)
            status = check_gaps(d, first + i, lanes[i].bit, error);
        if (status)
            return status;
    }
    merge(group, begin, position(group, first + count) - begin, out);
    return ECF8_OK;
}

// Weights from .. to of one block; `from` may lie inside of it.
static ecf8_status decode_part(const ecf8_published_decoder *d, uint64_t block, uint64_t from, uint64_t to,
                               uint8_t *out, ecf8_published_error *error)
{
    const ecf8_published *group = &d->group;
    uint8_t exponents[STACK_WEIGHTS];
    uint64_t at = position(group, block);
    lane l = {begin_of(group, block), exponents, exponents};
    while (at < to) {
        const uint64_t piece = to - at < STACK_WEIGHTS ? to - at : STACK_WEIGHTS;
        l.out = exponents, l.end = exponents + piece;
        if (!finish_lane(d, &l))
            return bad_code(&l, block, error);
        const uint64_t skip = at < from ? (from - at < piece ? from - at : piece) : 0;
        memcpy(out + (at + skip - from), exponents + skip, piece - skip);
        at += piece;
    }
    merge(group, from, to - from, out);
    return ECF8_OK;
}

// The last block that begins at or before the weight and is not empty.
static uint64_t block_of(const ecf8_published *group, uint64_t weight)
{
    uint64_t low = 0, high = group->block_count;
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        if (position(group, middle) <= weight)
            low = middle;
        else
            high = middle;
    }
    return low;
}

ecf8_status ecf8_published_decode(const ecf8_published_decoder *d, uint64_t first, uint64_t count, void *out,
                                  uint64_t out_bytes, unsigned flags, ecf8_published_error *error)
{
    const ecf8_published *group = &d->group;
    if (first > group->count || count > group->count - first || (!out && count) || flags & ~(unsigned)ECF8_VERIFY)
        return fail(error, ECF8_ERR_ARGUMENT, ECF8_PUBLISHED_NIBBLES, 0, ECF8_NO_TILE, "a range within the group");
    if (out_bytes < count)
        return fail(error, ECF8_ERR_SPACE, ECF8_PUBLISHED_NIBBLES, 0, ECF8_NO_TILE, "a byte for each weight");
    const uint64_t end = first + count;
    uint8_t *to = out;
    ecf8_status status = ECF8_OK;
    for (uint64_t at = first, block = count ? block_of(group, first) : 0; !status && at < end;) {
        uint64_t whole = 0;
        while (at == position(group, block) && whole < LANES && block + whole < group->block_count &&
               position(group, block + whole + 1) <= end)
            whole++;
        if (whole) {
            status = decode_blocks(d, block, whole, to, flags, error);
        } else {
            whole = 1;
            const uint64_t next = position(group, block + 1);
            status = decode_part(d, block, at, next < end ? next : end, to, error);
        }
        const uint64_t next = position(group, block + whole), reached = next < end ? next : end;
        to += reached - at;
        at = reached;
        block += whole;
    }
    return status;
}
