/* SPDX-License-Identifier: Apache-2.0 */
/* What a board brings: a vector table and a reset handler. Here for QEMU's Cortex-M4 with newlib's semihosting. */
#include <stdint.h>

extern uint32_t stack_top;
void _start(void);

static void reset(void)
{
    /* CPACR: coprocessors 10 and 11, the FPU, are off after reset */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    _start();
}

static void fault(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (const void *)reset, (const void *)fault, (const void *)fault, (const void *)fault, (const void *)fault,
    (const void *)fault,
};
