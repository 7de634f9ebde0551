/* SPDX-License-Identifier: Apache-2.0 */
/* Two networks that share one arena: a quick one answers, and where it is not sure, an exact one is asked. */
#include "camera.h"
#include "quick_exact.h"

#include <stdio.h>

static quick_exact_arena_t arena;

static int best(const int8_t *scores, int count, int *margin)
{
    int first = 0, second = 1;
    for (int i = 1; i < count; i++) {
        if (scores[i] > scores[first]) {
            second = first;
            first = i;
        } else if (i != first && scores[i] > scores[second]) {
            second = i;
        }
    }
    *margin = scores[first] - scores[second];
    return first;
}

int main(void)
{
    int asked = 0;
    for (int frame = 0; frame < FRAMES; frame++) {
        int margin, digit;
        for (int i = 0; i < QUICK_INPUT_SIZE; i++) {
            quick_input(&arena.quick)[i] = quick_input_quantize(frames[frame][i / 8][i % 8] / 16.0f);
        }
        quick_run(&arena.quick);
        digit = best(quick_output(&arena.quick), QUICK_OUTPUT_SIZE, &margin);
        if (margin < 250) { /* the arena is exact's now: its input has to be written anew */
            for (int i = 0; i < EXACT_INPUT_SIZE; i++) {
                exact_input(&arena.exact)[i] = exact_input_quantize(frames[frame][i / 8][i % 8] / 16.0f);
            }
            exact_run(&arena.exact);
            digit = best(exact_output(&arena.exact), EXACT_OUTPUT_SIZE, &margin);
            asked++;
        }
        printf("frame %d: recognised %d\n", frame, digit);
    }
    printf("the exact network was asked %d times; one arena of %d bytes\n", asked, QUICK_EXACT_ARENA_BYTES);
    return 0;
}
