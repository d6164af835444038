/*
 * Opens the library that is shipped for Android and calls it the way JNA does: a function that
 * answers, and one that panics. The second shows that the unwinder which was linked in carries a
 * panic to the boundary, where it becomes an error.
 *
 * usage: smoke LIBRARY; prints the engine's version and the panic's words.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
  uint64_t capacity, length;
  uint8_t *data;
} buffer;

typedef struct {
  int32_t length;
  const uint8_t *data;
} bytes;

typedef struct {
  int8_t code;
  buffer error;
} status;

static void *library;

static void *function(const char *name) {
  void *found = dlsym(library, name);
  if (!found) {
    fprintf(stderr, "%s\n", dlerror());
  }
  return found;
}

static void show(const char *what, buffer text) {
  printf("%s: %.*s\n", what, (int)text.length, (const char *)text.data);
}

int main(int count, char **words) {
  library = count == 2 ? dlopen(words[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) {
    fprintf(stderr, "%s\n", count == 2 ? dlerror() : "usage: smoke LIBRARY");
    return 1;
  }
  buffer (*version)(status *) = function("uniffi_dormouse_ffi_fn_func_engine_version");
  buffer (*copy)(bytes, status *) = function("ffi_dormouse_ffi_rustbuffer_from_bytes");
  if (!version || !copy || !function("JNI_OnLoad")) {
    return 1;
  }
  status first = {0};
  show("version", version(&first));
  /* No length is negative: uniffi answers that with a panic, and catches it. */
  bytes negative = {-1, (const uint8_t *)"x"};
  status second = {0};
  copy(negative, &second);
  if (first.code != 0 || second.code != 2) {
    fprintf(stderr, "codes %d and %d, not 0 and 2\n", first.code, second.code);
    return 1;
  }
  show("panic", second.error);
  return dlclose(library);
}
