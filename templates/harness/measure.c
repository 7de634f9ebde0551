/* SPDX-License-Identifier: Apache-2.0 */
/* Counts SysTick ticks and used stack. */
#include "machine.h"

#include <string.h>

#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)

enum { CSR_ENABLE = 1, CSR_INTERRUPT = 2, CSR_CORE_CLOCK = 4, RELOAD = 0xFFFFFF };

static volatile uint32_t wraps;

void count_wrap(void);

/* The SysTick interrupt: wraps++. Five instructions whatever the compiler, since they are taken off the count. */
__attribute__((naked)) void count_wrap(void)
{
    __asm__ volatile(
        ".syntax unified\n"
        "ldr r0, =%c0\n"
        "ldr r1, [r0]\n"
        "adds r1, #1\n"
        "str r1, [r0]\n"
        "bx lr\n"
        ".ltorg\n"
        :
        : "i"(&wraps));
}

void start_counting(void)
{
    SYST_CSR = 0;
    wraps = 0;
    SYST_RVR = RELOAD;
    SYST_CVR = 0;
    SYST_CSR = CSR_CORE_CLOCK | CSR_INTERRUPT | CSR_ENABLE;
}

struct count stop_counting(void)
{
    SYST_CSR = CSR_CORE_CLOCK;
    __asm__ volatile("isb" ::: "memory");
    /* Counts down; 0 comes with the wrap, one tick before the reload: hence -1, not RELOAD, where 0 is read. */
    const uint32_t down = (RELOAD + 1u - SYST_CVR) & RELOAD;
    return (struct count){wraps, (int32_t)down - 1};
}

void write_stat(file_t file, const char *label, uint32_t first, uint32_t second)
{
    char line[2 * HEX_DIGITS + 2];
    hex(line, first);
    line[HEX_DIGITS] = ' ';
    hex(line + HEX_DIGITS + 1, second);
    line[2 * HEX_DIGITS + 1] = '\n';
    write_file(file, label, strlen(label));
    write_file(file, line, sizeof line);
}
