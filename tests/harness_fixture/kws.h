/* kws: y = 2 * x + b, saturating. Written by hand as the generator would. */
#ifndef KWS_H
#define KWS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Not a multiple of the arena's alignment, so that the guard has padding to watch. */
#define KWS_ARENA_BYTES 52

#define KWS_INPUT_COUNT 2
#define KWS_INPUT_SIZE 16
#define KWS_INPUT_BYTES 16
#define KWS_INPUT_SCALE 0.5f
#define KWS_INPUT_ZERO_POINT 3
#define KWS_INPUT_0_SIZE 16
#define KWS_INPUT_0_BYTES 16
#define KWS_INPUT_0_SCALE 0.5f
#define KWS_INPUT_0_ZERO_POINT 3
#define KWS_INPUT_1_SIZE 1
#define KWS_INPUT_1_BYTES 4

#define KWS_OUTPUT_COUNT 1
#define KWS_OUTPUT_SIZE 16
#define KWS_OUTPUT_BYTES 16
#define KWS_OUTPUT_0_SIZE 16
#define KWS_OUTPUT_0_BYTES 16

typedef union {
    uint8_t bytes[KWS_ARENA_BYTES];
    int64_t align;
} kws_arena_t;

void kws_run(kws_arena_t *arena);

static inline int8_t *kws_input(kws_arena_t *arena)
{
    return (int8_t *)(void *)(arena->bytes + 0);
}

static inline int8_t *kws_input_0(kws_arena_t *arena)
{
    return (int8_t *)(void *)(arena->bytes + 0);
}

static inline int32_t *kws_input_1(kws_arena_t *arena)
{
    return (int32_t *)(void *)(arena->bytes + 48);
}

static inline const int8_t *kws_output(kws_arena_t *arena)
{
    return (const int8_t *)(void *)(arena->bytes + 0);
}

static inline const int8_t *kws_output_0(kws_arena_t *arena)
{
    return (const int8_t *)(void *)(arena->bytes + 0);
}

#ifdef __cplusplus
}
#endif

#endif
