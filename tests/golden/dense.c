/* dense: a neural network in C, made by tinygen 1.2.3.
 * tinygen build dense.tflite --target cortex-m4
 */
#include "dense.h"

#include <stddef.h>
#include <string.h>

/* Called after step number `step`, whose outputs then lie in the arena: define it to trace or to time layers. */
#ifndef DENSE_HOOK
#define DENSE_HOOK(step) ((void)0)
#endif

#if defined(__GNUC__)
#define DENSE_INLINE inline __attribute__((always_inline, unused)) /* unused: helpers come in groups */
#define DENSE_NOINLINE __attribute__((noinline, unused))
#else
#define DENSE_INLINE inline
#define DENSE_NOINLINE
#endif

/* Where constants lie: define it, say, as __attribute__((section(".external"))). */
#ifndef DENSE_CONST
#define DENSE_CONST
#endif

/* Constants: weights, biases, multipliers, tables. */
static const int8_t dense_c0[6] DENSE_CONST = { /* weights of step 0 */
    1, -2, 3, -128, 0, 127,
};
static const int32_t dense_c1[2] DENSE_CONST = { /* bias of step 0 */
    98, -1048575,
};
static const int32_t dense_c2[1] DENSE_CONST = { /* multipliers of step 0 */
    1073741824,
};
static const int8_t dense_c3[1] DENSE_CONST = { /* shifts of step 0 */
    -3,
};

/* (x * multiplier + 2^30) >> 31, with a multiplier that is not negative. */
static DENSE_INLINE int32_t dense_doubled_high(int32_t x, int32_t multiplier)
{
#if defined(__ARM_ARCH_6M__) && defined(__GNUC__)
    /* Armv6-M has no long multiply: four products of halves, and of the lower ones only what carries */
    int32_t low, a, b;
    __asm__(".syntax unified\n uxth %[a], %[x]\n asrs %[x], %[x], #16\n uxth %[low], %[m]\n asrs %[m], %[m], #16\n"
            "movs %[b], %[a]\n muls %[b], %[low], %[b]\n lsrs %[b], %[b], #16\n muls %[a], %[m], %[a]\n muls %[low], %[x], %[low]\n"
            "muls %[x], %[m], %[x]\n uxth %[m], %[a]\n adds %[b], %[b], %[m]\n uxth %[m], %[low]\n adds %[b], %[b], %[m]\n"
            "asrs %[a], %[a], #16\n adds %[x], %[x], %[a]\n asrs %[low], %[low], #16\n adds %[x], %[x], %[low]\n lsls %[x], %[x], #1\n"
            "movs %[m], #1\n lsls %[m], %[m], #14\n adds %[b], %[b], %[m]\n lsrs %[b], %[b], #15\n adds %[x], %[x], %[b]"
            : [x] "+&l"(x), [m] "+&l"(multiplier), [low] "=&l"(low), [a] "=&l"(a), [b] "=&l"(b) : : "cc");
    return x;
#else
    return (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << 30)) >> 31);
#endif
}

/* x * multiplier * 2^(shift - 31), rounded as TFLite does: a rounding doubling high multiply (halves up), then a
   rounding right shift (halves away from zero). multiplier is in [2^30, 2^31) or 0, shift in -31..30. */
static DENSE_INLINE int32_t dense_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
#if defined(__ARM_ARCH_6M__)
    if (shift < 0) { /* a branch takes less than what follows */
        const int32_t product = dense_doubled_high(x, multiplier);
        return (((product + (product >> 31)) >> (-1 - shift)) + 1) >> 1;
    }
#endif
    const int32_t right = -(shift & (shift >> 31)); /* 0 where shift > 0, without a branch */
    const int32_t shifted = (int32_t)((uint32_t)x << (shift + right));
    const int32_t high = dense_doubled_high(shifted, multiplier);
    const int32_t mask = (int32_t)((UINT32_C(1) << right) - 1u);
    const int32_t threshold = (mask >> 1) + (high < 0);
    return (high >> right) + ((high & mask) > threshold);
}

static DENSE_INLINE int32_t dense_clamp(int32_t x, int32_t low, int32_t high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* The sum of x[i] * w[i] for i < n. */
static DENSE_INLINE int32_t dense_dot(const int8_t *x, const int8_t *w, int32_t n)
{
    int32_t sum = 0;
    for (; n >= 4; n -= 4) {
        sum += x[0] * w[0];
        sum += x[1] * w[1];
        sum += x[2] * w[2];
        sum += x[3] * w[3];
        x += 4;
        w += 4;
    }
    for (; n > 0; n--) {
        sum += *x++ * *w++;
    }
    return sum;
}

/* A matrix product, int8: input [rows, depth] times the transpose of weights [units, depth], output [rows, units]. The
   input's zero point is folded into `bias`; the weights' is not. */
typedef struct {
    int32_t rows, depth, units;
    int32_t weights_zero_point;
    const int8_t *weights; /* [units][depth]; none where they are unpacked first */
    int32_t output_offset, low, high;
    int32_t channel_step;       /* 1: a multiplier and a shift for each channel; 0: one for all */
    const int32_t *bias;        /* [units] */
    const int32_t *multipliers; /* [units] or [1] */
    const int8_t *shifts;       /* as multipliers */
} dense_fully_connected_t;

/* The outputs first up to end, whose weights begin at w. */
static DENSE_INLINE void dense_fully_connected_units(const dense_fully_connected_t *k, const int8_t *w, int32_t first, int32_t end, const int8_t *input, int8_t *output)
{
    for (int32_t row = 0; row < k->rows; row++) {
        int32_t offset = 0;
        if (k->weights_zero_point != 0) {
            for (int32_t i = 0; i < k->depth; i++) {
                offset -= input[i] * k->weights_zero_point;
            }
        }
        for (int32_t c = first; c < end; c++) {
            const int32_t sum = k->bias[c] + offset + dense_dot(input, w + (c - first) * k->depth, k->depth);
            output[c] = (int8_t)dense_clamp(
    dense_requantize(sum, k->multipliers[c * k->channel_step], k->shifts[c * k->channel_step]) + k->output_offset, k->low, k->high);
        }
        input += k->depth;
        output += k->units;
    }
}

static DENSE_INLINE void dense_fully_connected(const dense_fully_connected_t *k, const int8_t *input, int8_t *output)
{
    dense_fully_connected_units(k, k->weights, 0, k->units, input, output);
}

/* Parameters of each call. */
static const dense_fully_connected_t dense_p0 = { /* step 0 */
    .rows = 1,
    .depth = 3,
    .units = 2,
    .weights_zero_point = 0,
    .weights = dense_c0,
    .output_offset = -3,
    .low = -3,
    .high = 127,
    .channel_step = 0,
    .bias = dense_c1,
    .multipliers = dense_c2,
    .shifts = dense_c3,
};

static DENSE_NOINLINE void dense_call_0(const void *r0, void *w0)
{
    dense_fully_connected(&dense_p0, r0, w0);
}

void dense_run(dense_arena_t *arena)
{
    uint8_t *const a = arena->bytes; /* of calls: inputs, outputs, scratch memory */

    /* Step 0, FULLY_CONNECTED dense: int8[1,3] -> int8[1,2], 6 MACs */
    dense_call_0(a + 0, a + 8);
    DENSE_HOOK(0);
}
