/*
 * Four names of glibc that Debian's build of LLVM's unwinder asks for, in terms of bionic's.
 * Used only where there is no NDK, which brings an unwinder built for Android.
 *
 * What else that archive takes from the C library has the same names and layouts in both:
 * dl_phdr_info, Dl_info, and a pthread_rwlock_t of 56 bytes that is initialised to zeros.
 */
#define HIDDEN __attribute__((visibility("hidden")))

typedef __builtin_va_list arguments;

extern int *__errno(void);
extern int vfprintf(void *stream, const char *format, arguments list);
extern void __assert2(const char *file, int line, const char *function, const char *message)
    __attribute__((noreturn));

HIDDEN int *__errno_location(void) { return __errno(); }

/* The check of glibc's _FORTIFY_SOURCE is left out; all formats are the unwinder's own. */
HIDDEN int __fprintf_chk(void *stream, int flag, const char *format, ...) {
  (void)flag;
  arguments list;
  __builtin_va_start(list, format);
  int written = vfprintf(stream, format, list);
  __builtin_va_end(list);
  return written;
}

HIDDEN __attribute__((noreturn)) void __assert_fail(const char *message, const char *file,
                                                    unsigned line, const char *function) {
  __assert2(file, (int)line, function, message);
}
