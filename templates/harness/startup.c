/* SPDX-License-Identifier: Apache-2.0 */
/* From reset to main, and from a fault to the emulator's exit code. */
#include "machine.h"

#include <string.h>

#define CCR REGISTER(0xE000ED14u)
#define SHCSR REGISTER(0xE000ED24u)
#define CFSR REGISTER(0xE000ED28u)
#define MMFAR REGISTER(0xE000ED34u)
#define BFAR REGISTER(0xE000ED38u)
#define CPACR REGISTER(0xE000ED88u)
#define MPU_CTRL REGISTER(0xE000ED94u)
#define MPU_RBAR REGISTER(0xE000ED9Cu)
#define MPU_RASR REGISTER(0xE000EDA0u)

enum { MPU_RBAR_VALID = 1 << 4, MPU_RASR_XN = 1 << 28, MPU_CTRL_PRIVDEFENA = 1 << 2 };
enum { CCR_DIV_0_TRP = 1 << 4, CFSR_MMARVALID = 1 << 7, CFSR_BFARVALID = 1 << 15 };

/* From the linker script. */
extern uint8_t data_start[], data_end[], data_load[], bss_start[], bss_end[];

int main(void);
void reset(void) __attribute__((noreturn));
void report_fault(uint32_t exception, uint32_t sp) __attribute__((noreturn, used));
void count_wrap(void);
int __aeabi_idiv0(int quotient);
long long __aeabi_ldiv0(long long quotient);

static void say_number(const char *label, uint32_t value)
{
    char text[HEX_DIGITS + 1] = {0};
    hex(text, value);
    say(label);
    say(text);
}

void report_fault(uint32_t exception, uint32_t sp)
{
    uint32_t cause = 0, address = 0;
#if __ARM_ARCH_ISA_THUMB == 2
    cause = CFSR;
    address = cause & CFSR_BFARVALID ? BFAR : cause & CFSR_MMARVALID ? MMFAR : 0;
#endif
    say_number("fault exception=", exception);
    say_number(" sp=", sp);
    say_number(" cfsr=", cause);
    say_number(" address=", address);
    say("\n");
    leave(FAULT);
}

/* The stack may be what is broken: begin a new one before any C runs. */
static __attribute__((naked)) void fault(void)
{
    __asm__ volatile(
        ".syntax unified\n"
        "mrs r0, ipsr\n"
        "mov r1, sp\n"
        "ldr r2, =stack_top\n"
        "mov sp, r2\n"
        "bl report_fault\n"
        ".ltorg\n");
}

/* What compilers call where a core without a divide instruction divides by zero. */
int __aeabi_idiv0(int quotient)
{
    (void)quotient;
    leave(DIVIDED_BY_ZERO);
}

long long __aeabi_ldiv0(long long quotient)
{
    (void)quotient;
    leave(DIVIDED_BY_ZERO);
}

static void set_up_core(void)
{
#if __ARM_ARCH_ISA_THUMB == 2
    SHCSR |= 15u << 16; /* Memory, bus, usage and (Armv8-M) secure faults under their own names. */
    CCR |= CCR_DIV_0_TRP;
#if __ARM_ARCH >= 8
    __asm__ volatile("msr msplim, %0" : : "r"(stack_bottom));
#else
    /* No access to the 1 MiB below the stack: not all machines leave it empty. The default map for the rest. */
    MPU_RBAR = ((uint32_t)stack_bottom - (1u << 20)) | MPU_RBAR_VALID;
    MPU_RASR = MPU_RASR_XN | 19u << 1 | 1u;
    MPU_CTRL = MPU_CTRL_PRIVDEFENA | 1u;
#endif
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= 15u << 20;
#endif
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
}

void reset(void)
{
    set_up_core();
    memcpy(data_start, data_load, (size_t)(data_end - data_start));
    memset(bss_start, 0, (size_t)(bss_end - bss_start));
    for (int i = 0; i < STACK_CANARIES; i++) {
        stack_bottom[i] = STACK_PAINT;
    }
    leave(main());
}

void check_stack(void)
{
    for (int i = 0; i < STACK_CANARIES; i++) {
        if (stack_bottom[i] != STACK_PAINT) {
            leave(STACK_OVERFLOW);
        }
    }
}

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector_t;

/* Stack; reset, NMI and the faults (exceptions 1 to 7); none in use up to SysTick, which is number 15. */
__attribute__((section(".vectors"), used)) static const vector_t vectors[16] = {
    {.stack = stack_top}, {.handler = reset}, {.handler = fault}, {.handler = fault},
    {.handler = fault},   {.handler = fault}, {.handler = fault}, {.handler = fault},
    {.handler = fault},   {.handler = fault}, {.handler = fault}, {.handler = fault},
    {.handler = fault},   {.handler = fault}, {.handler = fault}, {.handler = count_wrap},
};
