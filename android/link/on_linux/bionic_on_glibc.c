/*
 * A "libc.so" in which a library for 64-bit x86 Android finds, on Linux, the few names of bionic
 * that glibc lacks or numbers otherwise. Everything else it finds in glibc, which this is linked
 * with. For tests alone: the kernel's structures and flags are the same, much else is not.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int *__errno(void) { return &errno; }

void __assert2(const char *file, int line, const char *function, const char *message) {
  fprintf(stderr, "%s:%d: %s: %s\n", file, line, function, message);
  abort();
}

/* No property is set, as on a device without it. */
int __system_property_get(const char *name, char *value) {
  (void)name;
  value[0] = 0;
  return 0;
}

/* The numbers are bionic's; a number that nobody here expects must not pass in silence. */
long sysconf(int name) {
  long (*theirs)(int) = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
  switch (name) {
  case 0x27:
  case 0x28:
    return theirs(_SC_PAGESIZE);
  case 0x60:
    return theirs(_SC_NPROCESSORS_CONF);
  case 0x61:
    return theirs(_SC_NPROCESSORS_ONLN);
  case 0x62:
    return theirs(_SC_PHYS_PAGES);
  default:
    fprintf(stderr, "sysconf(%#x) is not among the numbers known here\n", name);
    abort();
  }
}
