/* SPDX-License-Identifier: Apache-2.0 */
/* The platform on a Cortex-M under a debugger or an emulator: Arm semihosting. */
#include "machine.h"

#include <string.h>

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { OPEN_RB = 1, OPEN_WB = 5 };
#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

file_t open_file(const char *name, int for_writing)
{
    const uint32_t block[] = {(uint32_t)name, for_writing ? OPEN_WB : OPEN_RB, strlen(name)};
    const file_t file = (file_t)semihosting(SYS_OPEN, block);
    if (file < 0) {
        leave(BAD_FILE);
    }
    return file;
}

size_t read_file(file_t file, void *data, size_t bytes)
{
    const uint32_t block[] = {(uint32_t)file, (uint32_t)data, bytes};
    const size_t missing = semihosting(SYS_READ, block);
    return missing > bytes ? 0 : bytes - missing;
}

void write_file(file_t file, const void *data, size_t bytes)
{
    const uint32_t block[] = {(uint32_t)file, (uint32_t)data, bytes};
    if (semihosting(SYS_WRITE, block) != 0) {
        leave(BAD_FILE);
    }
}

void close_file(file_t file)
{
    const uint32_t block[] = {(uint32_t)file};
    if (semihosting(SYS_CLOSE, block) != 0) {
        leave(BAD_FILE);
    }
}

void leave(int code)
{
    const uint32_t block[] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)code};
    for (;;) {
        semihosting(SYS_EXIT_EXTENDED, block);
    }
}

void say(const char *text)
{
    semihosting(SYS_WRITE0, text);
}

void hex(char *text, uint32_t value)
{
    for (int i = HEX_DIGITS - 1; i >= 0; i--) {
        text[i] = "0123456789abcdef"[value & 15u];
        value >>= 4;
    }
}

/* No sanitizer here. */
void fence(const volatile void *from, size_t bytes)
{
    (void)from, (void)bytes;
}

void unfence(const volatile void *from, size_t bytes)
{
    (void)from, (void)bytes;
}
