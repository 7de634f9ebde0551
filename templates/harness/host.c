/* SPDX-License-Identifier: Apache-2.0 */
/* The platform on a computer: stdio, and the address sanitizer if HARNESS_SANITIZE is defined. */
#include "platform.h"

#include <stdio.h>
#include <stdlib.h>
#ifdef HARNESS_SANITIZE
/* Of <sanitizer/asan_interface.h>, which not every clang brings along. */
void __asan_poison_memory_region(const volatile void *from, size_t bytes);
void __asan_unpoison_memory_region(const volatile void *from, size_t bytes);
#endif

file_t open_file(const char *name, int for_writing)
{
    FILE *file = fopen(name, for_writing ? "wb" : "rb");
    if (!file) {
        leave(BAD_FILE);
    }
    return (file_t)file;
}

size_t read_file(file_t file, void *data, size_t bytes)
{
    return fread(data, 1, bytes, (FILE *)file);
}

void write_file(file_t file, const void *data, size_t bytes)
{
    if (fwrite(data, 1, bytes, (FILE *)file) != bytes) {
        leave(BAD_FILE);
    }
}

void close_file(file_t file)
{
    if (fclose((FILE *)file)) {
        leave(BAD_FILE);
    }
}

void leave(int code)
{
    exit(code);
}

void fence(const volatile void *from, size_t bytes)
{
#ifdef HARNESS_SANITIZE
    __asan_poison_memory_region(from, bytes);
#else
    (void)from, (void)bytes;
#endif
}

void unfence(const volatile void *from, size_t bytes)
{
#ifdef HARNESS_SANITIZE
    __asan_unpoison_memory_region(from, bytes);
#else
    (void)from, (void)bytes;
#endif
}

/* The operating system sees to it. */
void check_stack(void)
{
}
