/* SPDX-License-Identifier: Apache-2.0 */
/* Recognises handwritten digits with the network in digits.c, made by: tinygen build digits.tflite --target cortex-m4 */
#include <stdio.h>

#include "digits.h"
#include "samples.h" /* pixels[SAMPLES][64], 0 to 16, and labels[SAMPLES]; written by demo.py */

/* All memory the network works in. Nothing else is needed: no heap, no setup. */
static digits_arena_t arena;

/* A real number as the network's input wants it: see the scale and zero point in digits.h. */
static int8_t quantize(float real)
{
    const int32_t q = (int32_t)(real / DIGITS_INPUT_SCALE + 0.5f) + DIGITS_INPUT_ZERO_POINT;
    return (int8_t)(q > 127 ? 127 : q);
}

static int recognise(const uint8_t *image)
{
    int8_t *input = digits_input(&arena);
    for (int i = 0; i < DIGITS_INPUT_SIZE; i++) {
        input[i] = quantize((float)image[i] / 16.0f);
    }
    digits_run(&arena);
    const int8_t *scores = digits_output(&arena);
    int best = 0;
    for (int digit = 1; digit < DIGITS_OUTPUT_SIZE; digit++) {
        if (scores[digit] > scores[best]) {
            best = digit;
        }
    }
    return best;
}

static void draw(const uint8_t *image)
{
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 8; x++) {
            fputs(image[y * 8 + x] > 10 ? "##" : image[y * 8 + x] > 4 ? "++" : "  ", stdout);
        }
        puts("");
    }
}

int main(void)
{
    int right = 0;
    for (int i = 0; i < SAMPLES; i++) {
        const int digit = recognise(pixels[i]);
        if (i < 3) {
            draw(pixels[i]);
        }
        printf("image %d: recognised %d, is %d\n", i, digit, labels[i]);
        right += digit == labels[i];
    }
    printf("%d of %d right\n", right, SAMPLES);
    return 0;
}
