// A small interpreter of PTX, for inline assembly in its own words.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda_emu/emu_internal.h"

enum { MAX_CODE = 160, MAX_PROGRAMS = 16, LETTERS = 26, MAX_OPERANDS = 32 };

typedef enum opcode {
    OP_AND,
    OP_ADD,
    OP_SHL,
    OP_POPC,
    OP_MAD,
    OP_SHF_R_WRAP,
    OP_LOP3,
    OP_SETP_NE,
    OP_BALLOT,
    OP_LOAD_U16,
    OP_LOAD_U32,
    OP_FMA_BF16X2,
    OPCODES,
} opcode;

static const struct {
    const char *name;
    int operands; // with the result
} known[OPCODES] = {
    [OP_AND] = {"and.b32", 3},
    [OP_ADD] = {"add.u32", 3},
    [OP_SHL] = {"shl.b32", 3},
    [OP_POPC] = {"popc.b32", 2},
    [OP_MAD] = {"mad.lo.u32", 4},
    [OP_SHF_R_WRAP] = {"shf.r.wrap.b32", 4},
    [OP_LOP3] = {"lop3.b32", 5},
    [OP_SETP_NE] = {"setp.ne.u32", 3},
    [OP_BALLOT] = {"vote.sync.ballot.b32", 3},
    [OP_LOAD_U16] = {"ld.shared.u16", 2},
    [OP_LOAD_U32] = {"ld.shared.u32", 2},
    [OP_FMA_BF16X2] = {"fma.rn.bf16x2", 4},
};

// An operand: one of the caller's, a register by its letter, or a number.
typedef struct operand {
    enum { CALLERS, LETTER, NUMBER } kind;
    uint32_t value;
} operand;

typedef struct instruction {
    opcode op;
    bool guarded; // by p
    operand of[5];
} instruction;

typedef struct program {
    const char *text;
    instruction code[MAX_CODE];
    unsigned count;
} program;

static program programs[MAX_PROGRAMS];
static unsigned program_count;

static const char *skip(const char *s)
{
    while (isspace((unsigned char)*s) || strchr("{},[]", *s) != NULL) {
        if (!*s)
            break;
        s++;
    }
    return s;
}

static operand read_operand(const char **text)
{
    const char *s = skip(*text);
    char *end = NULL;
    operand o = {NUMBER, 0};
    if (*s == '%') {
        o = (operand){CALLERS, (uint32_t)strtoul(s + 1, &end, 10)};
        if (o.value >= MAX_OPERANDS)
            emu_fail("PTX operand %.8s", s);
    } else if (islower((unsigned char)*s) && !isalnum((unsigned char)s[1])) {
        o = (operand){LETTER, (uint32_t)(*s - 'a')};
        end = (char *)s + 1;
    } else if (isdigit((unsigned char)*s)) {
        o.value = (uint32_t)strtoul(s, &end, 0);
    } else {
        emu_fail("PTX that the emulator cannot read: %.20s", s);
    }
    *text = end;
    return o;
}

static const char *read_instruction(const char *s, instruction *in)
{
    *in = (instruction){.op = OPCODES};
    if (s[0] == '@') {
        if (s[1] != 'p' || !isspace((unsigned char)s[2]))
            emu_fail("PTX guarded by something else than p: %.20s", s);
        in->guarded = true;
        s = skip(s + 2);
    }
    const size_t length = strcspn(s, " \t\n");
    for (unsigned op = 0; op < OPCODES; op++)
        if (strlen(known[op].name) == length && strncmp(s, known[op].name, length) == 0)
            in->op = (opcode)op;
    if (in->op == OPCODES)
        emu_fail("PTX that the emulator does not know: %.20s", s);
    s += length;
    for (int i = 0; i < known[in->op].operands; i++)
        in->of[i] = read_operand(&s);
    s = skip(s);
    if (*s != ';')
        emu_fail("PTX without its semicolon: %.20s", s);
    return s + 1;
}

static const program *program_of(const char *text)
{
    for (unsigned i = 0; i < program_count; i++)
        if (programs[i].text == text)
            return &programs[i];
    program *p = &programs[program_count];
    if (program_count == MAX_PROGRAMS)
        emu_fail("too many PTX texts");
    p->text = text;
    p->count = 0;
    for (const char *s = skip(text); *s; s = skip(s)) {
        if (strncmp(s, ".reg", 4) == 0) {
            s = strchr(s, ';') + 1;
            continue;
        }
        if (p->count == MAX_CODE)
            emu_fail("a PTX text of more than %d instructions", MAX_CODE);
        s = read_instruction(s, &p->code[p->count++]);
    }
    program_count++;
    return p;
}

typedef struct ballot {
    bool vote;
    uint32_t votes;
} ballot;

static const char *do_ballot(void *const payloads[EMU_WARP], uint32_t lanes)
{
    uint32_t votes = 0;
    for (unsigned l = 0; l < EMU_WARP; l++)
        if ((lanes >> l & 1) && ((ballot *)payloads[l])->vote)
            votes |= UINT32_C(1) << l;
    for (unsigned l = 0; l < EMU_WARP; l++)
        if (lanes >> l & 1)
            ((ballot *)payloads[l])->votes = votes;
    return NULL;
}

static uint32_t load(uint32_t address, unsigned bytes)
{
    const void *p = emu_shared_pointer(address);
    uint32_t x = 0;
    emu_access(p, bytes, EMU_READ | EMU_ALIGNED);
    memcpy(&x, p, bytes);
    return x;
}

static uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table)
{
    uint32_t r = 0;
    for (unsigned i = 0; i < 8; i++)
        if (table >> i & 1)
            r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return r;
}

static float widen(uint32_t bf16)
{
    const uint32_t bits = bf16 << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

// Products of BF16 are exact in double, sums of them nearly always; rounded to nearest even. NaN is the canonical one.
static uint32_t fma_half(const uint32_t x[5], unsigned shift)
{
    const float f = (float)((double)widen(x[1] >> shift & 0xffff) * widen(x[2] >> shift & 0xffff) +
                            widen(x[3] >> shift & 0xffff));
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return f != f ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static uint32_t run_one(const instruction *in, const uint32_t x[5], int line)
{
    ballot b;
    switch (in->op) {
    case OP_AND: return x[1] & x[2];
    case OP_ADD: return x[1] + x[2];
    case OP_SHL: return x[2] > 31 ? 0 : x[1] << x[2];
    case OP_POPC: return (uint32_t)__builtin_popcount(x[1]);
    case OP_MAD: return x[1] * x[2] + x[3];
    case OP_SHF_R_WRAP: return (uint32_t)(((uint64_t)x[2] << 32 | x[1]) >> (x[3] & 31));
    case OP_LOP3: return lop3(x[1], x[2], x[3], x[4]);
    case OP_SETP_NE: return x[1] != x[2];
    case OP_BALLOT:
        b = (ballot){x[1] != 0, 0};
        emu_collective("vote.sync.ballot", x[2], do_ballot, &b, false, "PTX", line);
        return b.votes;
    case OP_LOAD_U16: return load(x[1], 2);
    case OP_LOAD_U32: return load(x[1], 4);
    case OP_FMA_BF16X2: return fma_half(x, 0) | fma_half(x, 16) << 16;
    case OPCODES: break;
    }
    return 0;
}

void emu_ptx(const char *text, uint32_t *const operands[])
{
    const program *p = program_of(text);
    uint32_t letters[LETTERS] = {0};
    for (unsigned i = 0; i < p->count; i++) {
        const instruction *in = &p->code[i];
        if (in->guarded && !letters['p' - 'a'])
            continue;
        uint32_t x[5] = {0};
        for (int k = 1; k < known[in->op].operands; k++)
            x[k] = in->of[k].kind == CALLERS  ? *operands[in->of[k].value]
                   : in->of[k].kind == LETTER ? letters[in->of[k].value]
                                              : in->of[k].value;
        const uint32_t result = run_one(in, x, (int)i);
        *(in->of[0].kind == CALLERS ? operands[in->of[0].value] : &letters[in->of[0].value]) = result;
    }
}
