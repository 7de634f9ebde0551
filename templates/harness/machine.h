/* SPDX-License-Identifier: Apache-2.0 */
/* What a Cortex-M offers the harness besides the platform: text, ticks and a look at the stack. */
#ifndef HARNESS_MACHINE_H
#define HARNESS_MACHINE_H

#include "platform.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* From the linker script. The stack ends where RAM begins, so that an overflow faults on most machines. */
extern uint32_t stack_bottom[], stack_top[];

/* The lowest words of the stack keep this value unless it overflows. */
#define STACK_PAINT 0x57AC57ACu
enum { STACK_CANARIES = 8 };

enum { HEX_DIGITS = 8 };
/* Writes `value` as 8 digits, without an end of string. */
void hex(char *text, uint32_t value);
/* To the emulator's standard output. */
void say(const char *text);

/* Elapsed SysTick ticks: wraps * 2^24 + ticks. At each wrap an interrupt runs five instructions (measure.c). */
struct count {
    uint32_t wraps;
    int32_t ticks;
};
void start_counting(void);
struct count stop_counting(void);

/* One line of stats.txt: a label that ends with a space, and two numbers in hexadecimal. */
void write_stat(file_t file, const char *label, uint32_t first, uint32_t second);

/* Paints the free stack below the caller's frame and returns where that ends. Inlined: a call would use the stack. */
static inline __attribute__((always_inline)) uint32_t *paint_stack(void)
{
    uint32_t *top;
    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (volatile uint32_t *word = stack_bottom; word != top; word++) {
        *word = STACK_PAINT;
    }
    return top;
}

/* Bytes below `top` from the lowest word that is not painted any more. */
static inline __attribute__((always_inline)) uint32_t stack_used(const uint32_t *top)
{
    const volatile uint32_t *word = stack_bottom;
    while (word != top && *word == STACK_PAINT) {
        word++;
    }
    return (uint32_t)((const volatile uint32_t *)top - word) * sizeof *word;
}

#endif
