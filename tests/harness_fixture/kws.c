/* kws: y = 2 * x + b, saturating. Written by hand as the generator would. */
#include "kws.h"

#include <stddef.h>
#include <string.h>

#ifndef KWS_HOOK
#define KWS_HOOK(step) ((void)0)
#endif

static void kws_double(const void *r0, void *w0)
{
    const int8_t *x = r0;
    int16_t *y = w0;
    for (int32_t i = 0; i < 16; i++) {
        y[i] = (int16_t)(2 * x[i]);
    }
}

static void kws_add(const void *r0, const void *r1, void *w0)
{
    const int16_t *x = r0;
    const int32_t *b = r1;
    int8_t *y = w0;
    for (int32_t i = 0; i < 16; i++) {
        const int32_t sum = x[i] + b[0];
        y[i] = (int8_t)(sum < -128 ? -128 : sum > 127 ? 127 : sum);
    }
}

void kws_run(kws_arena_t *arena)
{
    uint8_t *const a = arena->bytes;

    /* BREAK */
    kws_double(a + 0, a + 16);
    KWS_HOOK(0);

    kws_add(a + 16, a + 48, a + 0);
    KWS_HOOK(1);
}
