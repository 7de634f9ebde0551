/* dense: a neural network in C, made by tinygen 1.2.3.
 * tinygen build dense.tflite --target cortex-m4
 *
 *     static dense_arena_t arena DENSE_ARENA;      (RAM: 16 bytes)
 *     int8_t *in = dense_input(&arena);         (fill 3 elements)
 *     dense_run(&arena);
 *     const int8_t *out = dense_output(&arena);
 *
 * Inputs and outputs live inside the arena and may share memory: write every input before each dense_run, and read the
 * outputs before the next one is written.
 */
#ifndef DENSE_H
#define DENSE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DENSE_ARENA_BYTES 16

/* For a declaration of the arena: define it, say, as __attribute__((section(".fast"))) to tell where it lies. */
#ifndef DENSE_ARENA
#define DENSE_ARENA
#endif

#define DENSE_INPUT_COUNT 1
#define DENSE_INPUT_SIZE 3
#define DENSE_INPUT_BYTES 3
#define DENSE_INPUT_SCALE 0.5f
#define DENSE_INPUT_ZERO_POINT 1
#define DENSE_INPUT_0_SIZE 3
#define DENSE_INPUT_0_BYTES 3
#define DENSE_INPUT_0_SCALE 0.5f
#define DENSE_INPUT_0_ZERO_POINT 1
#define DENSE_OUTPUT_COUNT 1
#define DENSE_OUTPUT_SIZE 2
#define DENSE_OUTPUT_BYTES 2
#define DENSE_OUTPUT_SCALE 2.0f
#define DENSE_OUTPUT_ZERO_POINT (-3)
#define DENSE_OUTPUT_0_SIZE 2
#define DENSE_OUTPUT_0_BYTES 2
#define DENSE_OUTPUT_0_SCALE 2.0f
#define DENSE_OUTPUT_0_ZERO_POINT (-3)

/* All working memory of one inference. Nothing in it has to be kept or cleared between runs. */
typedef union {
    uint8_t bytes[DENSE_ARENA_BYTES];
    int64_t align;
} dense_arena_t;

/* Computes the outputs from the inputs, both in `arena`. */
void dense_run(dense_arena_t *arena);

/* The integer nearest to `x` (halves away from zero) plus `zero`, at least `low` and at most `high`. */
static inline int32_t dense_round(float x, int32_t zero, int32_t low, int32_t high)
{
    const float limited = x > -262144.0f ? (x < 262144.0f ? x : 262144.0f) : -262144.0f;
    const int32_t whole = (int32_t)limited;
    const float rest = limited - (float)whole;
    const int32_t value = whole + (rest >= 0.5f) - (rest <= -0.5f) + zero;
    return value < low ? low : value > high ? high : value;
}

/* Input 0: x, int8 [1, 3] */
static inline int8_t *dense_input(dense_arena_t *arena)
{
    return (int8_t *)(void *)(arena->bytes + 0);
}

/* Input 0: x, int8 [1, 3] */
static inline int8_t *dense_input_0(dense_arena_t *arena)
{
    return (int8_t *)(void *)(arena->bytes + 0);
}

/* A real number as an element of this input. */
static inline int8_t dense_input_quantize(float real)
{
    return (int8_t)dense_round(real / 0.5f, 1, -128, 127);
}

/* A real number as an element of this input. */
static inline int8_t dense_input_0_quantize(float real)
{
    return (int8_t)dense_round(real / 0.5f, 1, -128, 127);
}

/* Output 0: y, int8 [1, 2] */
static inline const int8_t *dense_output(dense_arena_t *arena)
{
    return (const int8_t *)(void *)(arena->bytes + 8);
}

/* Output 0: y, int8 [1, 2] */
static inline const int8_t *dense_output_0(dense_arena_t *arena)
{
    return (const int8_t *)(void *)(arena->bytes + 8);
}

/* The real number that an element of this output stands for. */
static inline float dense_output_dequantize(int8_t value)
{
    return (float)(value - (-3)) * 2.0f;
}

/* The real number that an element of this output stands for. */
static inline float dense_output_0_dequantize(int8_t value)
{
    return (float)(value - (-3)) * 2.0f;
}

#ifdef __cplusplus
}
#endif

#endif
