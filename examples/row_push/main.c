/* SPDX-License-Identifier: Apache-2.0 */
/* A camera that gives an image row by row, to a network that takes it so: no image is ever in memory as a whole.
   digits.c is made by: tinygen build examples/digits/digits.tflite --target cortex-m4 --push-rows --optimize ram */
#include <stdio.h>

#include "camera.h" /* frames[FRAMES][8][8], 0 to 16, and labels[FRAMES]: what the camera sees; written by demo.py */
#include "digits.h"

static digits_arena_t arena;

/* What a driver does when a line of the sensor has come: pixels go to where the network wants its next row. */
static void on_line(const uint8_t *line)
{
    int8_t *row = digits_input(&arena);
    for (int x = 0; x < DIGITS_INPUT_ROW_SIZE; x++) {
        row[x] = digits_input_quantize((float)line[x] / 16.0f);
    }
    digits_push_row(&arena);
}

static int recognise(int frame)
{
    digits_begin(&arena);
    for (int y = 0; y < DIGITS_INPUT_ROWS; y++) {
        on_line(frames[frame][y]);
    }
    digits_run(&arena);
    const int8_t *scores = digits_output(&arena);
    int best = 0;
    for (int digit = 1; digit < DIGITS_OUTPUT_SIZE; digit++) {
        best = scores[digit] > scores[best] ? digit : best;
    }
    return best;
}

int main(void)
{
    int right = 0;
    for (int i = 0; i < FRAMES; i++) {
        const int digit = recognise(i);
        printf("frame %d: recognised %d, is %d\n", i, digit, labels[i]);
        right += digit == labels[i];
    }
    printf("%d of %d right, in %d bytes of RAM\n", right, FRAMES, DIGITS_ARENA_BYTES);
    return 0;
}
