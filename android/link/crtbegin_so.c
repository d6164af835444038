/*
 * Start-up object of a shared library for Android, used only where there is no NDK to take it from.
 *
 * The C++ ABI names a library by the address of a hidden __dso_handle; when the library is closed,
 * what it registered under that handle has to run. The note is how tools see which API level a
 * library was built for.
 */
#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN void *__dso_handle = &__dso_handle;

extern void __cxa_finalize(void *dso);

HIDDEN __attribute__((destructor)) void dormouse_on_unload(void) {
  __cxa_finalize(&__dso_handle);
}

/* The layout is fixed: an ELF note of type 1 by "Android" with a level and two texts. */
struct android_ident {
  int name_size, desc_size, type;
  char name[8];
  int api_level;
  char ndk_version[64];
  char ndk_build[64];
};

HIDDEN __attribute__((used, section(".note.android.ident"), aligned(4)))
const struct android_ident dormouse_android_ident = {
    8, 4 + 64 + 64, 1, "Android", __ANDROID_MIN_SDK_VERSION__, "none", "0",
};
